//! `subgate healthcheck`, as an image's HEALTHCHECK calls it, before servers that do well, badly, or nothing.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use crate::harness::{
    closed_port::ClosedPort,
    server::{Setup, TestServer},
    store::Reply,
    tls::Authority,
};

/// The exit code and all that was printed.
async fn check(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
    command.arg("healthcheck").args(arguments).env_clear().envs(environment.iter().copied());
    let done = command.kill_on_drop(true).output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    // An image's log of its health shows either.
    assert_eq!((stdout + &stderr).lines().count(), 1, "{stderr}");
    assert_eq!(done.status.success(), stderr.is_empty(), "{stderr}");
    (done.status.code(), stderr)
}

/// It is not well, and the line has all of `words`.
#[track_caller]
fn unhealthy((code, line): (Option<i32>, String), words: &[&str]) {
    assert_eq!(code, Some(1), "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_lives_while_its_store_fails_and_is_not_ready() {
    let setup = Setup { server: "admin = \"127.0.0.1:0\"".into(), ..Setup::default() };
    let server = TestServer::with(setup).await;
    let (public, admin) = (format!("http://{}", server.address), format!("http://{}", server.admin.unwrap()));
    for url in [&public, &admin] {
        for more in [&[][..], &["--ready"]] {
            assert_eq!(check(&[&["--url", url], more].concat(), &[]).await.0, Some(0), "{url} {more:?}");
        }
    }

    let server = TestServer::start().await;
    server.store.always(Reply::error(403, "InvalidAccessKeyId", "m"));
    let url = format!("http://{}", server.address);
    let environment = [("SUBGATE_HEALTHCHECK_URL", url.as_str())];
    assert_eq!(check(&[], &environment).await.0, Some(0));
    let words = ["/readyz answered 503: Not ready: ", "does not let this server in"];
    unhealthy(check(&["--ready"], &environment).await, &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_looked_at_beyond_this_machine_alone() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let entry = authority.issue(&["s3.example.com"]).write(dir.path(), "a");
    let setup = Setup { server: format!("tls.certificates = [{entry}]"), ..Setup::default() };
    let server = TestServer::with(setup).await;
    let port = server.address.port();
    assert_eq!(check(&["--url", &format!("https://127.0.0.1:{port}")], &[]).await.0, Some(0));
    assert_eq!(check(&["--url", &format!("https://localhost:{port}"), "--ready"], &[]).await.0, Some(0));
    // Loopback by a name that is not known to be loopback's.
    let elsewhere = format!("https://[::ffff:127.0.0.1]:{port}");
    unhealthy(check(&["--url", &elsewhere], &[]).await, &["cannot be reached", "certificate"]);
    let plain = format!("http://127.0.0.1:{port}");
    unhealthy(check(&["--url", &plain], &[]).await, &["answered 400: This port speaks HTTPS"]);
}

/// A server that answers each connection's request with these bytes and keeps it open.
async fn scripted(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_too_long_or_too_late_is_unhealthy() {
    let gone = ClosedPort::hold();
    unhealthy(check(&["--url", &gone.url()], &[]).await, &["cannot be reached", "refused"]);

    let mut endless = b"HTTP/1.1 503 x\r\ncontent-length: 900000000\r\n\r\n".to_vec();
    endless.extend([b'x'; 100_000]);
    let endless = scripted(endless).await;
    let answer = check(&["--url", &format!("http://{endless}")], &[]).await;
    assert!(answer.1.ends_with("/healthz answered 503\n"), "{}", answer.1);
    unhealthy(answer, &[]);

    let moved = scripted(b"HTTP/1.1 302 x\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    unhealthy(check(&["--url", &format!("http://{moved}")], &[]).await, &["answered 302"]);

    let silent = scripted(Vec::new()).await;
    let url = format!("http://{silent}");
    let arguments = ["--url", url.as_str()];
    let asking = tokio::time::timeout(Duration::from_secs(60), check(&arguments, &[]));
    unhealthy(asking.await.unwrap(), &["did not answer within 5 seconds"]);
}

#[tokio::test]
async fn an_address_that_cannot_be_asked_is_a_wrong_option() {
    for url in ["127.0.0.1:8014", "ftp://127.0.0.1", "http://127.0.0.1:8014/readyz", "http://a@127.0.0.1"] {
        let (code, line) = check(&["--url", url], &[]).await;
        assert_eq!(code, Some(64), "{line}");
        assert!(line.contains("--url"), "{line}");
    }
}
