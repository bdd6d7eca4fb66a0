//! A process that takes the place of another, and one that does not.

use std::time::Duration;

use rustix::process::Signal;
use subgate::auth::bittensor::btauth;
use tokio::time::sleep;

use super::process::{Process, write_config};
use crate::harness::{
    client::{Answer, Call, PATIENCE},
    server::{ALICE, TestServer, bytes, nanos},
};

/// Asks for a session with headers that were signed before.
async fn open_session(process: &Process, headers: &[(&'static str, String)]) -> Answer {
    let mut request =
        format!("POST /v1/session HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n", process.address);
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut connection = process.connect().await;
    connection.send(request.as_bytes()).await;
    connection.answer("POST").await
}

#[tokio::test]
async fn p9_a_session_request_counts_once_across_a_hand_over() {
    let server = TestServer::start().await;
    let process = Process::start(&server, "drain_announce_seconds = 0").await;
    let sign = || btauth::sign(&ALICE.hotkey, "POST", "/v1/session", b"", None, nanos());
    let (spent, unspent) = (sign(), sign());
    open_session(&process, &spent).await.ok();
    let second = process.hand_over(process.pid()).await;
    process.wait_until_gone(process.pid()).await;
    let answer = open_session(&process, &spent).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.text().contains("already used"), "{}", answer.text());
    // What an honest client signed just before is taken.
    open_session(&process, &unspent).await.ok();
    let third = process.hand_over(second).await;
    process.wait_until_gone(second).await;
    for headers in [&spent, &unspent] {
        assert_eq!(open_session(&process, headers).await.status, 401);
    }
    assert!(process.runs(third));
}

#[tokio::test]
async fn p9_what_was_spent_at_another_place_is_not_taken_after_a_hand_over() {
    let server = TestServer::start().await;
    let process = Process::start(&server, "drain_announce_seconds = 0").await;
    let sign = || btauth::sign(&ALICE.hotkey, "POST", "/v1/session", b"", None, nanos());
    let spent = sign();
    open_session(&process, &spent).await.ok();
    // From now on replicas share nonces, and nobody has told them of this one.
    let text = std::fs::read_to_string(&process.config).unwrap();
    std::fs::write(&process.config, format!("{text}\n[limits.shared]\nurl = \"redis://127.0.0.1:9\"\n"))
        .unwrap();
    let second = process.hand_over(process.pid()).await;
    process.wait_until_gone(process.pid()).await;
    let answer = open_session(&process, &spent).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("is being replaced"), "{}", answer.text());
    // The next one shares them by the same place: this one knows what was spent there.
    sleep(Duration::from_millis(2100)).await;
    let third = process.hand_over(second).await;
    process.wait_until_gone(second).await;
    let answer = open_session(&process, &sign()).await;
    assert!(answer.text().contains("cannot be checked"), "{}", answer.text());
    let answer = open_session(&process, &spent).await;
    assert!(answer.text().contains("is being replaced"), "{}", answer.text());
    process.signal(third, Signal::TERM);
    process.wait_until_gone(third).await;
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test]
async fn an_upload_outlives_the_process_that_has_handed_over() {
    let server = TestServer::start().await;
    let mut process = Process::start(&server, "admin = \"127.0.0.1:0\"\ndrain_announce_seconds = 0").await;
    let fresh = open_files(process.pid());
    let call =
        Call::put(&ALICE.file("long"), bytes(200_000)).sign(&ALICE.hotkey(), &process.address.to_string());
    let mut upload = process.connect().await;
    upload.send(&[call.head(), call.body[..1000].to_vec()].concat()).await;
    let (first, second) = (process.pid(), process.hand_over(process.pid()).await);
    // Neither leaves because of the other: this one drains, that one serves.
    sleep(Duration::from_millis(300)).await;
    assert!(process.runs(first) && process.runs(second));
    assert_eq!(process.get("/readyz").await.status, 200);
    // One that is about to end hands nothing over, and does not end by being asked to.
    process.signal(first, Signal::USR2);
    process.wait_for_words("nothing is handed over, for this process is about to end").await;
    upload.send(&call.body[1000..]).await;
    upload.answer("PUT").await.ok();
    assert_eq!(process.exit().await.code(), Some(0));
    assert_eq!(server.store.object(&ALICE.file("long")).unwrap().data, call.body);
    // Nothing of a process stays open in the next but its listening sockets, which the first had as well.
    let third = process.hand_over(second).await;
    process.wait_until_gone(second).await;
    let end = tokio::time::Instant::now() + PATIENCE;
    while open_files(third) != fresh {
        assert!(tokio::time::Instant::now() < end, "{} {fresh}", open_files(third));
        sleep(Duration::from_millis(20)).await;
    }
    let input = std::fs::read_link(format!("/proc/{third}/fd/0")).unwrap();
    assert_eq!(input.to_str(), Some("/dev/null"));
    process.signal(third, Signal::TERM);
    process.wait_until_gone(third).await;
}

/// Waits until a process has ended, whether or not somebody has asked how.
async fn wait_until_dead(pid: u32) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{state}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// What keeps a new process from taking over, and the words of the line that says so.
async fn check_that_the_old_one_goes_on(lines: &str, spoil: impl Fn(&Process, &TestServer), words: &str) {
    let server = TestServer::start().await;
    let process = Process::start(&server, lines).await;
    spoil(&process, &server);
    // Twice, for it must be able to try again.
    for tries in 1..=2 {
        process.signal(process.pid(), Signal::USR2);
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        while process.count("nothing is handed over, and this process goes on") < tries {
            assert!(tokio::time::Instant::now() < end, "{:#?}", process.lines());
            sleep(Duration::from_millis(20)).await;
        }
        let line = process.wait_for_words("nothing is handed over, and this process goes on").await;
        assert!(line["error"].as_str().unwrap().contains(words), "{line}");
        process.send(&ALICE.hotkey(), &Call::put(&ALICE.file("f"), bytes(2000))).await.ok();
        assert_eq!(process.get("/readyz").await.status, 200);
        process.connect().await;
    }
    for pid in &process.all_pids()[1..] {
        wait_until_dead(*pid).await;
    }
    let sign = btauth::sign(&ALICE.hotkey, "POST", "/v1/session", b"", None, nanos());
    open_session(&process, &sign).await.ok();
}

#[tokio::test]
async fn a_program_that_ends_at_once_takes_nothing_over() {
    let spoil = |process: &Process, _: &TestServer| process.replace_program("#!/bin/sh\nexit 3\n");
    check_that_the_old_one_goes_on("", spoil, "exit status: 3").await;
}

#[tokio::test]
async fn a_program_that_is_gone_takes_nothing_over() {
    let spoil = |process: &Process, _: &TestServer| std::fs::remove_file(&process.program).unwrap();
    check_that_the_old_one_goes_on("", spoil, "cannot be started").await;
}

#[tokio::test]
async fn a_program_that_never_says_that_it_is_ready_is_killed() {
    let spoil = |process: &Process, _: &TestServer| process.replace_program("#!/bin/sh\nexec sleep 600\n");
    check_that_the_old_one_goes_on("hand_over_seconds_max = 1", spoil, "hand_over_seconds_max = 1").await;
}

#[tokio::test]
async fn a_program_that_talks_nonsense_takes_nothing_over() {
    // What `head` says of the closed socket comes in pieces, and would tear lines of the log.
    let script = "#!/bin/sh\nhead -c 20000000 /dev/zero >&0 2>/dev/null\nsleep 1\n";
    let spoil = |process: &Process, _: &TestServer| process.replace_program(script);
    check_that_the_old_one_goes_on("", spoil, "cannot be talked to").await;
}

#[tokio::test]
async fn a_configuration_with_a_fault_takes_nothing_over() {
    let spoil =
        |process: &Process, server: &TestServer| write_config(&process.config, server, "no_such_setting = 1");
    check_that_the_old_one_goes_on("", spoil, "1 fault").await;
}

#[tokio::test]
async fn a_registry_that_is_gone_takes_nothing_over() {
    let spoil = |_: &Process, server: &TestServer| std::fs::remove_file(server.registry()).unwrap();
    check_that_the_old_one_goes_on("", spoil, "1 fault").await;
}

#[tokio::test]
async fn there_is_one_hand_over_at_a_time_and_an_order_to_stop_ends_it() {
    let server = TestServer::start().await;
    let mut process = Process::start(&server, "drain_announce_seconds = 0").await;
    process.replace_program("#!/bin/sh\nexec sleep 600\n");
    process.signal(process.pid(), Signal::USR2);
    process.wait_for_words("a new process is to take over").await;
    process.signal(process.pid(), Signal::USR2);
    process.wait_for_words("a hand-over is under way already").await;
    process.signal(process.pid(), Signal::TERM);
    assert_eq!(process.exit().await.code(), Some(0));
    let pids = process.all_pids();
    assert_eq!(pids.len(), 2);
    wait_until_dead(pids[1]).await;
}
