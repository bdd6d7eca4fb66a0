//! Who is shown which certificate, by which version and protocol; who is asked for one; who is ended.

use std::time::{Duration, Instant};

use rustls::{
    CipherSuite, HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{NAME, Secured, ask};
use crate::harness::{
    client::{Call, Connection},
    server::{ALICE, bytes},
    tls::Authority,
};

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let names: [&[&str]; 3] = [&["first.example"], &["*.s3.example.com"], &["s3.example.com", "127.0.0.1"]];
    let secured = Secured::with(&names, "").await;
    let client = secured.authority.client();
    for name in ["first.example", "a.s3.example.com", "s3.example.com"] {
        let stream = client.connect(secured.server.address, name).await.unwrap();
        assert_eq!(ask(&mut Connection::over(stream)).await, 200, "{name}");
    }
    // Who asks for no name, or an unknown one, is shown the first.
    for name in ["127.0.0.1", "unknown.example", "a.b.s3.example.com"] {
        let error = client.connect(secured.server.address, name).await.unwrap_err().to_string();
        assert!(error.contains("only valid for DnsName(\"first.example\")"), "{name}: {error}");
    }
}

#[tokio::test]
async fn versions_and_protocols_are_agreed_on_and_sessions_resumed() {
    let secured = Secured::start().await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        for (alpn, agreed) in [
            (vec![], None),
            (vec!["http/1.1"], Some("http/1.1")),
            (vec!["h2"], Some("h2")),
            (vec!["http/1.1", "h2"], Some("h2")),
        ] {
            let mut client = secured.authority.client();
            client.versions = vec![version];
            client.alpn = alpn;
            let connector = client.connector();
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let stream = TcpStream::connect(secured.server.address).await.unwrap();
                let mut stream = connector.connect(NAME.try_into().unwrap(), stream).await.unwrap();
                let connection = stream.get_ref().1;
                assert_eq!(connection.protocol_version(), Some(expected));
                assert_eq!(connection.alpn_protocol(), agreed.map(str::as_bytes));
                assert_eq!(connection.handshake_kind(), Some(kind));
                if agreed == Some("h2") {
                    // The server's settings come once the client's have.
                    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
                    let mut frame = [0; 9];
                    stream.read_exact(&mut frame).await.unwrap();
                    assert_eq!(frame[3], 4, "{frame:?}");
                } else {
                    assert_eq!(ask(&mut Connection::over(stream)).await, 200);
                }
            }
        }
        let mut client = secured.authority.client();
        client.alpn = vec!["imap"];
        let error = client.connect(secured.server.address, NAME).await.unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    }
    let stream = secured.authority.client().connect(secured.server.address, NAME).await.unwrap();
    let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert!(matches!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256 | CipherSuite::TLS13_AES_256_GCM_SHA384));
}

/// The first message of a client that knows nothing above `version`.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    // The version, 32 random bytes, no session, two old suites, no compression.
    let body = [&version[..], &[7; 32], &[0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[tokio::test]
async fn old_versions_are_refused_with_an_alert() {
    let secured = Secured::start().await;
    for version in [[3, 0], [3, 1], [3, 2]] {
        let mut stream = TcpStream::connect(secured.server.address).await.unwrap();
        stream.write_all(&old_hello(version)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // A fatal alert: handshake_failure or protocol_version.
        assert_eq!((answer.len(), answer[0], answer[5]), (7, 21, 2), "{version:?}: {answer:?}");
        assert!(matches!(answer[6], 40 | 70), "{version:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_client_that_must_have_a_certificate_is_served_with_one_of_the_authority_alone() {
    let clients = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clients.pem");
    std::fs::write(&file, clients.pem()).unwrap();
    let own = clients.issue(&["miner"]);
    let foreign = Authority::new().issue(&["miner"]);
    let expired =
        clients.issue_with(&["miner"], |params| params.not_after = rcgen::date_time_ymd(2000, 1, 1));
    for (word, served_without) in [("optional", true), ("required", false)] {
        let rest = format!("tls.client_certificates = \"{word}\"\ntls.client_ca_file = {file:?}");
        let secured = Secured::with(&[&[NAME]], &rest).await;
        for version in [&TLS12, &TLS13] {
            for (certificate, is_served) in
                [(None, served_without), (Some(&own), true), (Some(&foreign), false), (Some(&expired), false)]
            {
                let mut client = secured.authority.client();
                client.versions = vec![version];
                client.certificate = certificate.map(|issued| (issued.chain.clone(), issued.key.clone()));
                // With TLS 1.3 the client has shaken hands before the server has looked at its certificate.
                let served = async {
                    let mut connection = secured.connect(&client).await?;
                    let get = format!("GET /healthcheck HTTP/1.1\r\nhost: {NAME}\r\n\r\n");
                    connection.try_send(get.as_bytes()).await?;
                    connection.try_answer("GET").await
                };
                let served = served.await.is_ok_and(|answer| answer.status == 200);
                assert_eq!(served, is_served, "{word} {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_session_outlives_a_clients_certificate() {
    let clients = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clients.pem");
    std::fs::write(&file, clients.pem()).unwrap();
    let own = clients.issue(&["miner"]);
    for word in ["optional", "required"] {
        let rest = format!("tls.client_certificates = \"{word}\"\ntls.client_ca_file = {file:?}");
        let secured = Secured::with(&[&[NAME]], &rest).await;
        for version in [&TLS12, &TLS13] {
            let mut client = secured.authority.client();
            client.versions = vec![version];
            client.certificate = Some((own.chain.clone(), own.key.clone()));
            let connector = client.connector();
            for _ in 0..3 {
                let stream = TcpStream::connect(secured.server.address).await.unwrap();
                let stream = connector.connect(NAME.try_into().unwrap(), stream).await.unwrap();
                let kind = stream.get_ref().1.handshake_kind();
                assert_eq!(kind, Some(HandshakeKind::Full), "{word} {version:?}");
                assert_eq!(ask(&mut Connection::over(stream)).await, 200);
            }
        }
    }
}

#[tokio::test]
async fn p47_p55_a_handshake_that_does_not_end_is_ended_and_holds_nobody_up() {
    let secured = Secured::with(&[&[NAME]], "tls.handshake_seconds_max = 1").await;
    let hello = old_hello([3, 3]);
    let start = Instant::now();
    let mut waiting = Vec::new();
    for said in [&hello[..0], &hello[..1], &hello[..20]] {
        let mut connection = secured.server.connect().await;
        connection.send(said).await;
        waiting.push(connection);
    }
    // The others are served meanwhile.
    assert_eq!(ask(&mut secured.connect(&secured.authority.client()).await.unwrap()).await, 200);
    for mut connection in waiting {
        assert!(connection.closed().await);
    }
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn plain_http_is_told_so_and_rubbish_is_ended() {
    let secured = Secured::start().await;
    for said in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PUT /", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut connection = secured.server.connect().await;
        connection.send(said.as_bytes()).await;
        let answer = connection.answer("GET").await;
        assert_eq!((answer.status, answer.get("connection")), (400, Some("close")), "{said}");
        assert_eq!(answer.text(), "This port speaks HTTPS, and this was plain HTTP\n");
        assert!(answer.whole && connection.closed().await);
    }
    for said in
        [&b"\x00\x01\x02"[..], b"get / http/1.1\r\n\r\n", b"\x16\x16\x16\x16\x16\x16", b"\x17\x03\x03"]
    {
        let mut stream = TcpStream::connect(secured.server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        // Nothing, or an alert.
        assert!(answer.is_empty() || answer[0] == 21, "{said:?}: {answer:?}");
    }
    // Whoever came with nothing but that, the server is there.
    assert_eq!(ask(&mut secured.connect(&secured.authority.client()).await.unwrap()).await, 200);
}

#[tokio::test]
async fn p40_a_body_travels_and_a_client_that_says_no_more_sees_its_answer() {
    let secured = Secured::start().await;
    let server = &secured.server;
    let client = secured.authority.client();
    let (body, key) = (bytes(3_000_000), ALICE.hotkey());
    let put = server.sign(&key, &Call::put(&ALICE.file("f"), body.clone()));
    let mut connection = secured.connect(&client).await.unwrap();
    connection.send_call(&put).await;
    // close_notify: the answer comes all the same.
    connection.shut().await;
    connection.answer("PUT").await.ok();
    let get = server.sign(&key, &Call::get(&ALICE.file("f")));
    let mut connection = secured.connect(&client).await.unwrap();
    connection.send_call(&get).await;
    let answer = connection.answer("GET").await;
    assert!(answer.ok().body == body);
    // The same connection serves on.
    connection.send_call(&get).await;
    assert_eq!(connection.answer("GET").await.body.len(), body.len());
}

#[tokio::test]
async fn p5_an_upload_that_ends_before_its_length_leaves_nothing_however_tls_ends() {
    let secured = Secured::start().await;
    let server = &secured.server;
    for says_so in [true, false] {
        let put = server.sign(&ALICE.hotkey(), &Call::put(&ALICE.file("torn"), bytes(300_000)));
        let sent = [put.head(), put.body[..200_000].to_vec()].concat();
        let mut stream = secured.authority.client().connect(server.address, NAME).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
        match says_so {
            true => stream.shutdown().await.unwrap(),
            false => stream.get_mut().0.shutdown().await.unwrap(),
        }
        let mut connection = Connection::over(stream);
        if let Ok(answer) = connection.try_answer("PUT").await {
            assert!(answer.status >= 400, "{}", answer.status);
        }
        let get = server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("torn")));
        let mut connection = secured.connect(&secured.authority.client()).await.unwrap();
        connection.send_call(&get).await;
        connection.answer("GET").await.refused(404, "NoSuchKey");
    }
}

#[tokio::test]
async fn a_session_is_told_the_https_url() {
    let secured = Secured::start().await;
    let mut connection = secured.connect(&secured.authority.client()).await.unwrap();
    let headers = subgate::auth::bittensor::btauth::sign(
        &ALICE.hotkey,
        "POST",
        "/v1/session",
        b"",
        None,
        crate::harness::server::nanos(),
    );
    let mut request = format!("POST /v1/session HTTP/1.1\r\nhost: {NAME}:8443\r\ncontent-length: 0\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    connection.send(format!("{request}\r\n").as_bytes()).await;
    let answer = connection.answer("POST").await;
    let json: serde_json::Value = serde_json::from_slice(&answer.ok().body).unwrap();
    assert_eq!(json["endpoint"], format!("https://{NAME}:8443"));
}
