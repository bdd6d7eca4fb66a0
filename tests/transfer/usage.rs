//! `subgate usage`: complete numbers or an error.

use crate::harness::{
    machine::Machine,
    server::{ALICE, BOB, TestServer},
    store::Reply,
};

/// A server with objects of two miners, and one that is nobody's.
async fn filled() -> (TestServer, Machine) {
    let server = TestServer::start().await;
    for (key, bytes) in [
        (ALICE.file("a.parquet"), 2048),
        (ALICE.file("2026/b.parquet"), 1000),
        (ALICE.file("2026/"), 0),
        (ALICE.job("c.bin"), 24),
        (BOB.file("d.bin"), 7),
        ("data/README".to_owned(), 5),
    ] {
        server.store.put(&key, vec![7; bytes]);
    }
    let machine = Machine::new(&server);
    (server, machine)
}

fn folders(json: &serde_json::Value) -> Vec<(String, u64, u64)> {
    let rows = json["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let name = row["folder"].as_str().or(row["owner"].as_str()).unwrap_or("nobody");
        (name.to_owned(), row["files"].as_u64().unwrap(), row["bytes"].as_u64().unwrap())
    })
    .collect()
}

fn folder_x(coldkey: &str) -> String {
    format!("data/x/{coldkey}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_sees_the_own_folders_in_a_table() {
    let (_server, machine) = filled().await;
    let run = machine.run("alice", &["usage"]).await;
    let (x, jobs) = (ALICE.file(""), format!("data/hotkey={}/", ALICE.ss58()));
    let lines: Vec<Vec<&str>> =
        run.check(0, &[]).stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["FOLDER", "FILES", "SIZE"], "{run:#?}");
    assert_eq!(lines[1], [x.as_str(), "2", "2.9", "KiB", "2026-11-03", "10:11:12"], "{run:#?}");
    assert_eq!(lines[2], [jobs.as_str(), "1", "24", "B", "2026-11-03", "10:11:12"]);
    // Of the other source there is nothing, and a row that says so.
    assert_eq!(lines[3], [x.replace("/x/", "/reddit/").as_str(), "0", "0", "B"]);
    assert_eq!(lines[4][..4], ["total", "3", "3.0", "KiB"]);
    assert!(!run.stdout.contains(&BOB.coldkey.to_ss58()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_sees_everybody_exactly_in_json() {
    let (server, machine) = filled().await;
    let json = machine.run("validator", &["usage", "--json"]).await.check(0, &[]).json();
    let (alice, bob) = (ALICE.coldkey.to_ss58(), BOB.coldkey.to_ss58());
    let jobs = format!("data/hotkey={}/", ALICE.ss58());
    assert_eq!(
        folders(&json),
        [
            (folder_x(&alice), 2, 3048),
            (jobs.clone(), 1, 24),
            (folder_x(&bob), 1, 7),
            ("data/".to_owned(), 1, 5),
        ]
    );
    assert_eq!((&json["role"], &json["bucket"]), (&"validator".into(), &"data-universe".into()));
    assert_eq!(json["rows"][0]["owner"], alice.as_str());
    assert_eq!(json["rows"][0]["newest"], "2026-11-03T10:11:12.345Z");
    assert_eq!((json["total"]["files"].as_u64(), json["total"]["bytes"].as_u64()), (Some(5), Some(3084)));
    let of = async |more: &[&str]| {
        let arguments = [&["usage", "--json"], more].concat();
        folders(&machine.run("validator", &arguments).await.check(0, &[]).json())
    };
    // Everything of one coldkey, and nothing of another is even listed.
    server.store.forget();
    assert_eq!(of(&["--miner", &bob]).await, [(folder_x(&bob), 1, 7)]);
    let listed = server.store.seen().iter().any(|seen| seen.query("prefix") == Some(&folder_x(&alice)));
    assert!(!listed, "{:?}", server.store.seen());
    assert_eq!(of(&["--folder", "data/x/", "--sort", "files"]).await.len(), 2);
    assert_eq!(
        of(&["--miner", &alice, "--depth", "1", "--sort", "name"]).await,
        [(folder_x(&alice), 1, 2048), (format!("{}2026/", folder_x(&alice)), 1, 1000)]
    );
    let hotkey = ALICE.ss58();
    assert_eq!(of(&["--miner", &hotkey, "--depth", "1"]).await, [(format!("{jobs}job_id=j1/"), 1, 24)]);
    assert_eq!(of(&["--by", "miner", "--folder", "data/x/"]).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_followed_to_the_last_key() {
    let server = TestServer::start().await;
    for at in 0..3500 {
        server.store.put(&ALICE.file(&format!("{at:05}")), vec![1; 3]);
    }
    let machine = Machine::new(&server);
    let json = machine.run("validator", &["usage", "--json"]).await.check(0, &[]).json();
    assert_eq!(folders(&json), [(folder_x(&ALICE.coldkey.to_ss58()), 3500, 10_500)]);
    let pages =
        server.store.seen().iter().filter(|seen| seen.query("prefix") == Some(&ALICE.file(""))).count();
    assert_eq!(pages, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_breaks_off_is_an_error_without_numbers() {
    let server = TestServer::start().await;
    for at in 0..1500 {
        server.store.put(&ALICE.file(&format!("{at:05}")), vec![1; 3]);
    }
    server.store.put(&BOB.file("a"), vec![1; 3]);
    let machine = Machine::new(&server);
    for reply in [
        Reply::error(500, "InternalError", "broken"),
        // A page that says that there is more, and not where.
        Reply::new(200).body("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
        Reply::new(200).body("<html></html>"),
        Reply::error(403, "AccessDenied", "the store's own"),
    ] {
        server.store.script(move |seen| seen.query("continuation-token").map(|_| reply.clone()));
        let run = machine.run("validator", &["usage", "--json", "--retry-seconds", "1"]).await;
        assert!(matches!(run.code, Some(69 | 77)), "{run:#?}");
        run.check(run.code.unwrap(), &["not complete, so there are no numbers", &ALICE.file("")]);
        assert_eq!(run.stdout, "");
        server.store.unscript();
    }
    machine.run("validator", &["usage", "--json"]).await.check(0, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_is_told_its_folders_where_it_asks_for_others() {
    let (_server, machine) = filled().await;
    let run = machine.run("alice", &["usage", "--folder", &BOB.file("")]).await;
    run.check(77, &["FolderDenied", &ALICE.file("")]);
    assert_eq!(run.stdout, "");
    machine.run("alice", &["usage", "--folder", "s3://b/data/"]).await.check(64, &["--folder"]);
    machine.run("alice", &["usage", "--miner", "5F"]).await.check(64, &["--miner"]);
}

/// What a process has taken of memory at the most, in MiB.
fn memory_mib_max(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_large_miner_take_little_memory() {
    const FILES: u64 = 110_000;
    let server = TestServer::start().await;
    for at in 0..FILES {
        server.store.put(&ALICE.file(&format!("2026/11/scraped-{at:06}.parquet")), vec![1; 2]);
    }
    let machine = Machine::new(&server);
    let child = machine.command("validator", &["usage", "--json"]).spawn().unwrap();
    let process = child.id().unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let watching = tokio::spawn(async move {
        let mut most = 0;
        while stopped.try_recv().is_err() {
            most = memory_mib_max(process).unwrap_or(most).max(most);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        most
    });
    let run = crate::harness::machine::Run::of(child.wait_with_output().await.unwrap());
    stop.send(()).unwrap();
    let most = watching.await.unwrap();
    assert_eq!(folders(&run.check(0, &[]).json()), [(folder_x(&ALICE.coldkey.to_ss58()), FILES, 2 * FILES)]);
    assert!((1..100).contains(&most), "{most} MiB");
}
