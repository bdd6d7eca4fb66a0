//! Sockets of a service manager, and what it is told.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::process::{Process, Start, address_of};
use crate::harness::{
    client::{Call, PATIENCE},
    server::{ALICE, TestServer, bytes},
};

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_used_and_handed_on() {
    let server = TestServer::start().await;
    let ((clients, address), (admin, admin_address)) = (listener(), listener());
    let lines = format!("listen = \"{address}\"\nadmin = \"{admin_address}\"\ndrain_announce_seconds = 0");
    // The wrong way round, and told apart by their names and their addresses.
    for names in [Some("subgate-admin:subgate"), None] {
        let sockets = [&admin, &clients].map(|listener| OwnedFd::from(listener.try_clone().unwrap()));
        let start = Start { sockets: sockets.into(), names, ..Start::default() };
        // Whoever comes before the start waits.
        let mut early = crate::harness::client::Connection::connect(address.parse().unwrap()).await;
        let call = Call::put(&ALICE.file("early"), bytes(2000)).sign(&ALICE.hotkey(), &address);
        early.send_call(&call).await;
        std::fs::remove_file(server.dir.path().join("subgate")).unwrap_or_default();
        let mut process = Process::launch(&server, &lines, start);
        process.address = process.wait_for(|line| address_of(&line)).await;
        assert_eq!(process.address.to_string(), address);
        early.answer("PUT").await.ok();
        let second = process.hand_over(process.pid()).await;
        assert_eq!(process.exit().await.code(), Some(0));
        assert_eq!(process.get("/readyz").await.status, 200);
        process.signal(second, Signal::TERM);
        process.wait_until_gone(second).await;
    }
}

#[tokio::test]
async fn a_socket_of_another_address_is_refused_in_words() {
    let server = TestServer::start().await;
    for (names, words) in
        [(Some("subgate"), "server.listen: the service manager"), (None, "neither server.listen")]
    {
        let (clients, _) = listener();
        let sockets = vec![OwnedFd::from(clients)];
        let start = Start { sockets, names, ..Start::default() };
        std::fs::remove_file(server.dir.path().join("subgate")).unwrap_or_default();
        let mut process = Process::launch(&server, "listen = \"127.0.0.1:1\"", start);
        assert_eq!(process.exit().await.code(), Some(73));
        assert_eq!(process.count(words), 1, "{:?}", process.lines());
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_each_step() {
    let server = TestServer::start().await;
    let path = server.dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = vec![
        ("NOTIFY_SOCKET", path.to_str().unwrap().to_owned()),
        ("WATCHDOG_USEC", Duration::from_millis(200).as_micros().to_string()),
    ];
    let start = Start { environment, ..Start::default() };
    let mut process = Process::launch(&server, "drain_announce_seconds = 0", start);
    let mut is_watched = false;
    let mut told = || {
        // Signs of life come for ever, so that none of them must begin the wait anew.
        let until = Instant::now() + PATIENCE;
        loop {
            let mut bytes = [0; 64];
            let length = manager.recv(&mut bytes).unwrap();
            match std::str::from_utf8(&bytes[..length]).unwrap() {
                "WATCHDOG=1" => is_watched = true,
                other => break other.to_owned(),
            }
            assert!(Instant::now() < until, "signs of life, and nothing else");
        }
    };
    assert_eq!(told(), "READY=1");
    let second = process.hand_over(process.pid()).await;
    // The new process and the old one speak at the same time.
    let mut both = [told(), told()];
    both.sort();
    assert_eq!(both, [format!("MAINPID={second}"), "READY=1".to_owned()]);
    assert_eq!(process.exit().await.code(), Some(0));
    process.signal(second, Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    process.wait_until_gone(second).await;
    assert!(is_watched);
}

#[tokio::test]
async fn who_has_handed_over_says_no_more_that_the_service_is_alive() {
    let server = TestServer::start().await;
    let path = server.dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let environment = vec![
        ("NOTIFY_SOCKET", path.to_str().unwrap().to_owned()),
        ("WATCHDOG_USEC", Duration::from_millis(200).as_micros().to_string()),
    ];
    let start = Start { environment, ..Start::default() };
    let mut process = Process::launch(&server, "drain_announce_seconds = 600", start);
    process.address = process.wait_for(|line| address_of(&line)).await;
    // The old process lives on because of it.
    let idle = process.connect().await;
    let second = process.hand_over(process.pid()).await;
    // The new one hangs.
    process.signal(second, Signal::STOP);
    tokio::time::sleep(Duration::from_millis(300)).await;
    manager.set_nonblocking(true).unwrap();
    let mut bytes = [0; 64];
    while manager.recv(&mut bytes).is_ok() {}
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(process.runs(process.pid()));
    assert_eq!(manager.recv(&mut bytes).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    process.signal(second, Signal::CONT);
    drop(idle);
    assert_eq!(process.exit().await.code(), Some(0));
}
