//! P55, P57: how many connections an address may have, and a hotkey at the store.

use tokio::net::TcpStream;

use crate::harness::{
    client::{Call, Connection},
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::Reply,
};

#[tokio::test]
async fn p55_an_address_beyond_its_connections_is_closed_at_once_and_served_again_later() {
    let limits = "[limits.address]\nconnections_max = 2".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let get = format!("GET /healthcheck HTTP/1.1\r\nhost: {}\r\n\r\n", server.host());
    let mut held = [server.connect().await, server.connect().await];
    for connection in &mut held {
        connection.send(get.as_bytes()).await;
        assert_eq!(connection.answer("GET").await.status, 200);
    }
    for _ in 0..3 {
        assert!(server.connect().await.closed().await);
    }
    // Another address of loopback is somebody else.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other: TcpStream = socket.connect(server.address).await.unwrap();
    let mut other = Connection::over(other);
    other.send(get.as_bytes()).await;
    assert_eq!(other.answer("GET").await.status, 200);
    drop(held);
    let served = async {
        loop {
            let mut connection = server.connect().await;
            if connection.try_send(get.as_bytes()).await.is_ok()
                && connection.try_answer("GET").await.is_ok_and(|answer| answer.status == 200)
            {
                return;
            }
        }
    };
    tokio::time::timeout(crate::harness::client::PATIENCE, served).await.expect("its places come back");
}

#[tokio::test]
async fn p55_the_trusted_edge_may_have_as_many_as_it_likes() {
    let setup = Setup {
        limits: "[limits.address]\nconnections_max = 1".to_owned(),
        edge: "networks = [\"127.0.0.1\"]".to_owned(),
        ..Setup::default()
    };
    let server = TestServer::with(setup).await;
    let held: Vec<Connection> = futures_util::future::join_all((0..5).map(|_| server.connect())).await;
    for mut connection in held {
        connection
            .send(format!("GET /healthcheck HTTP/1.1\r\nhost: {}\r\n\r\n", server.host()).as_bytes())
            .await;
        assert_eq!(connection.answer("GET").await.status, 200);
    }
}

#[tokio::test]
async fn p57_one_hotkey_takes_its_own_places_at_the_store_until_its_answers_end() {
    let store = "connections_max = 3\nconnections_per_hotkey_max = 2".to_owned();
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let [alice, bob] = [server.session(&ALICE).await, server.session(&BOB).await];
    server.store.put(&ALICE.file("quick"), bytes(1000));
    server.store.put(&BOB.file("quick"), bytes(1000));
    server.store.script(|seen| {
        let reply = Reply::new(200).header("content-length", "20").piece(0, bytes(10)).piece(6000, bytes(10));
        seen.key.ends_with("slow").then_some(reply)
    });
    let mut held = Vec::new();
    for number in 1..=2 {
        let mut connection = server.connect().await;
        connection.send_call(&server.sign(&alice, &Call::get(&ALICE.file("slow")))).await;
        server.store.wait(|seen| seen.len() == number).await;
        held.push(connection);
    }
    let answer = server.send(&alice, &Call::get(&ALICE.file("quick"))).await;
    answer.refused(503, "SlowDown");
    assert!(answer.get("retry-after").is_some());
    assert!(answer.text().contains("<Limit>store.connections_per_hotkey_max</Limit>"), "{}", answer.text());
    server.send(&bob, &Call::get(&BOB.file("quick"))).await.ok();
    // All that there are, whoever has them.
    let mut connection = server.connect().await;
    connection.send_call(&server.sign(&bob, &Call::get(&BOB.file("slow")))).await;
    server.store.wait(|seen| seen.len() == 4).await;
    let answer = server.send(&bob, &Call::get(&BOB.file("quick"))).await;
    assert!(answer.text().contains("<Limit>store.connections_max</Limit>"), "{}", answer.text());
    drop((held, connection));
    let served = async {
        while server.send(&alice, &Call::get(&ALICE.file("quick"))).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::harness::client::PATIENCE, served).await.expect("places come back");
}
