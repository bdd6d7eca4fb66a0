//! A configuration with faults changes nothing, and every fault is named.

use super::{Client, with_keys};
use crate::harness::{
    client::Call,
    server::{ALICE, KEY_ONE, Setup, TestServer, bytes},
};

#[tokio::test]
async fn every_fault_is_named_and_nothing_changes() {
    let server = TestServer::with(with_keys("one", &["one"])).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let (key, get) = (server.session(&ALICE).await, Call::get(&ALICE.file("f")));
    let mut client = Client::new(&server).await;
    client.send(&key, &get).await.ok();
    let wrong = Setup {
        limits: "object_bytes_min = -1\n[limits.miner]\nreads_per_second = 0".to_owned(),
        policy: "folders = [\"data/{nobody}/\"]".to_owned(),
        ..with_keys("two", &["two", "three"])
    };
    let faults = server.reload(&wrong).await.unwrap_err().to_string();
    for setting in [
        "session.keys[1].file: ",
        "policy.folders: ",
        "limits.object_bytes_min: ",
        "limits.miner.reads_per_second: ",
    ] {
        assert!(faults.lines().any(|line| line.starts_with(setting)), "{setting}\n{faults}");
    }
    client.send(&key, &get).await.ok();
    let running = server.reloader.running().await;
    assert_eq!(running.session.issue_with, "one");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_faults_and_nothing_waits_for_them() {
    let server = TestServer::with(with_keys("one", &["one"])).await;
    let key = server.session(&ALICE).await;
    let more = with_keys("one", &["one", "two"]);
    let place = |name: &str| server.dir.path().join(name);
    let spoilt = [
        ("store.json", "{\"access_key\": \"AKIDhunter2\"", "store.credentials"),
        ("registry.json", "{", "chain.file"),
        ("two.key", "22", "session.keys[1].file"),
    ];
    for (name, text, setting) in spoilt {
        let sound = std::fs::read_to_string(place(name)).unwrap();
        server.write_private(name, text);
        let faults = server.reload(&more).await.unwrap_err().to_string();
        assert!(faults.lines().count() == 1 && faults.starts_with(setting), "{faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
        server.write_private(name, &sound);
    }
    // A directory, a pipe that nobody writes to, and nothing at all.
    std::fs::remove_file(place("two.key")).unwrap();
    let fault = || async { server.reload(&more).await.unwrap_err().to_string() };
    assert!(fault().await.contains("cannot be read"));
    std::fs::create_dir(place("two.key")).unwrap();
    assert!(fault().await.contains("is not a regular file"));
    std::fs::remove_dir(place("two.key")).unwrap();
    let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(place("two.key")).status();
    assert!(made.unwrap().success());
    assert!(fault().await.contains("is not a regular file"));
    std::fs::remove_file(place("two.key")).unwrap();
    server.write_private("two.key", KEY_ONE);
    for (name, setting) in [("store.json", "store.credentials"), ("registry.json", "chain.file")] {
        std::fs::rename(place(name), place("aside")).unwrap();
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(place(name)).status();
        assert!(made.unwrap().success());
        let fault = fault().await;
        assert!(fault.starts_with(setting) && fault.contains("is not a regular file"), "{fault}");
        // It is looked at while it serves, too.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        server.send(&key, &Call::put(&ALICE.file("f"), bytes(2000))).await.ok();
        std::fs::rename(place("aside"), place(name)).unwrap();
    }
    server.reload(&more).await.unwrap();
    server.send(&key, &Call::put(&ALICE.file("f"), bytes(2000))).await.ok();
}

#[tokio::test]
async fn what_needs_a_restart_is_told_and_kept_while_the_rest_counts() {
    let server = TestServer::start().await;
    let moved = Setup {
        server: "admin = \"127.0.0.1:1\"\nconnections_max = 7".to_owned(),
        chain: "netuid = 13\nvalidator_stake_min = 30000.0".to_owned(),
        ..Setup::default()
    };
    for _ in 0..2 {
        let reloaded = server.reload(&moved).await.unwrap();
        assert_eq!(
            reloaded.needs_restart,
            [
                "chain.netuid: not set -> 13",
                "server.admin: not set -> \"127.0.0.1:1\"",
                "server.connections_max: not set -> 7",
            ]
        );
        let running = server.reloader.running().await;
        assert_eq!((running.server.admin, running.server.connections_max), (None, None));
        assert_eq!(running.server.listen, server.address);
        assert!(running.chain.validator.stake_min > 20_000.0);
    }
    let reloaded = server.reload(&Setup::default()).await.unwrap();
    assert_eq!(reloaded.changed, ["chain.validator_stake_min: 30000.0 -> not set"]);
    assert_eq!(reloaded.needs_restart, Vec::<String>::new());
}
