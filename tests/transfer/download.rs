//! `subgate download`: whole files or none, whatever line, store, disk and other people's names do.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{
    machine::{Machine, Run},
    server::{ALICE, BOB, TestServer, bytes},
    store::{Reply, Seen, md5_hex},
};

/// What is read as one range.
const RANGE_BYTES: usize = 16 << 20;

/// `LAST_MODIFIED_XML` of the store, 2026-11-03T10:11:12.345Z.
const MODIFIED: (i64, i64) = (1_793_700_672, 345_000_000);

const WORK_DIR: &str = ".subgate-download";

async fn place() -> (TestServer, Machine) {
    let server = TestServer::start().await;
    let machine = Machine::new(&server);
    (server, machine)
}

/// The validator downloads ALICE's folder to `to`.
async fn download(machine: &Machine, more: &[&str]) -> Run {
    let prefix = ALICE.file("");
    machine.run("validator", &[&["download", &prefix, "--to", "to", "--json"], more].concat()).await
}

/// The files below a directory, without the program's own.
fn files(dir: &Path) -> Vec<PathBuf> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_name() == WORK_DIR {
                continue;
            }
            match entry.file_type().unwrap().is_dir() {
                true => walk(root, &path, found),
                false => found.push(path.strip_prefix(root).unwrap().to_owned()),
            }
        }
    }
    let mut found = Vec::new();
    if dir.exists() {
        walk(dir, dir, &mut found);
    }
    found.sort();
    found
}

fn total(run: &Run, outcome: &str) -> u64 {
    run.json()["totals"][outcome]["files"].as_u64().unwrap_or(0)
}

/// Key (below ALICE's folder) and remark of each row of an outcome.
fn rows(run: &Run, outcome: &str) -> Vec<(String, String)> {
    let json = run.json();
    let rows = json["files"].as_array().unwrap().iter().filter(|row| row["outcome"] == outcome);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(row, "key").replace(&ALICE.file(""), ""), text(row, "detail"))).collect()
}

/// The ranges that were read of a key, each as it was asked for; whole reads are `whole`.
fn reads(server: &TestServer, key: &str) -> Vec<String> {
    let seen = server.store.seen();
    let gets = seen.iter().filter(|seen| seen.method == "GET" && seen.key == key);
    gets.map(|seen| seen.header("range").unwrap_or("whole").to_owned()).collect()
}

fn is_read_of(seen: &Seen, key: &str) -> bool {
    seen.method == "GET" && seen.key == key
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_with_their_bytes_and_times_and_only_once() {
    let (server, machine) = place().await;
    let large = bytes(2 * RANGE_BYTES + 12_345);
    let all =
        [("a.bin", bytes(3000)), ("2026/b c+d.bin", bytes(1)), ("empty", vec![]), ("2026/large.bin", large)];
    for (name, data) in &all {
        server.store.put(&ALICE.file(name), data.clone());
    }
    server.store.put(&ALICE.file("2026/"), vec![]);
    server.store.put(&BOB.file("theirs.bin"), bytes(2000));
    let run = download(&machine, &[]).await;
    run.check(0, &[]);
    assert_eq!((total(&run, "received"), run.json()["folder_markers"].as_u64()), (4, Some(1)));
    assert_eq!(files(&machine.path("to")).len(), 4);
    for (name, data) in &all {
        let path = machine.path("to").join(name);
        assert!(fs::read(&path).unwrap() == *data, "{name}");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), MODIFIED, "{name}");
    }
    let ranges = [0, 1, 2].map(|at| {
        let start = at * RANGE_BYTES;
        format!("bytes={start}-{}", (start + RANGE_BYTES).min(2 * RANGE_BYTES + 12_345) - 1)
    });
    let mut read = reads(&server, &ALICE.file("2026/large.bin"));
    read.sort();
    assert_eq!(read, ranges);
    // Every read says of which version it is.
    for seen in server.store.seen().iter().filter(|seen| seen.method == "GET" && !seen.key.is_empty()) {
        let etag = server.store.object(&seen.key).unwrap().etag;
        assert_eq!(seen.header("if-match"), Some(format!("\"{etag}\"").as_str()));
    }
    for more in [&[][..], &["--verify-all"]] {
        server.store.forget();
        let run = download(&machine, more).await;
        assert_eq!((total(run.check(0, &[]), "same"), total(&run, "received")), (4, 0));
        let asked: Vec<_> = server.store.seen().iter().map(|seen| seen.key.clone()).collect();
        assert!(asked.iter().all(String::is_empty), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_on_either_side_is_fetched_and_nothing_else() {
    let (server, machine) = place().await;
    for name in ["a", "b", "c", "d"] {
        server.store.put(&ALICE.file(name), bytes(5000));
    }
    download(&machine, &[]).await.check(0, &[]);
    // Same size, other bytes: there, and here with the old time.
    server.store.put(&ALICE.file("a"), [bytes(4999), vec![1]].concat());
    let b = machine.path("to/b");
    let modified = fs::metadata(&b).unwrap().modified().unwrap();
    fs::write(&b, [&bytes(4999)[..], &[2]].concat()).unwrap();
    fs::File::options().write(true).open(&b).unwrap().set_modified(modified).unwrap();
    fs::write(machine.path("to/c"), b"short").unwrap();
    fs::write(machine.path("to/mine"), b"mine").unwrap();
    let run = download(&machine, &[]).await;
    let received: Vec<_> = rows(run.check(0, &[]), "received").into_iter().map(|(key, _)| key).collect();
    assert_eq!((total(&run, "same"), received.len()), (1, 3), "{received:?}");
    for name in ["a", "b", "c", "d"] {
        let object = server.store.object(&ALICE.file(name)).unwrap();
        assert!(fs::read(machine.path("to").join(name)).unwrap() == object.data, "{name}");
    }
    assert_eq!(fs::read(machine.path("to/mine")).unwrap(), b"mine");
}

/// Waits until `holds`, for a process that is under way.
async fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ranges that the journal of the one unfinished file names.
fn kept_ranges(machine: &Machine) -> usize {
    let Ok(entries) = fs::read_dir(machine.path("to").join(WORK_DIR)) else { return 0 };
    let journals = entries.map(|entry| entry.unwrap().path());
    let journal = journals.into_iter().find(|path| path.extension().is_some_and(|name| name == "ranges"));
    journal.map_or(0, |path| fs::read_to_string(path).unwrap().lines().count().saturating_sub(1))
}

/// A download of one large object, of which the ranges from the third on do not come to an end.
async fn half_downloaded(server: &TestServer, machine: &Machine) -> tokio::process::Child {
    let key = ALICE.file("large.bin");
    server.store.put(&key, bytes(4 * RANGE_BYTES));
    let slow = key.clone();
    server.store.script(move |seen| {
        let is_late = seen.header("range").is_some_and(|range| {
            !["bytes=0-", "bytes=16777216-"].iter().any(|start| range.starts_with(start))
        });
        let etag = format!("\"{}\"", md5_hex(&bytes(4 * RANGE_BYTES)));
        let range = seen.header("range").unwrap_or_default().replace('=', " ");
        (is_read_of(seen, &slow) && is_late).then(|| {
            Reply::new(206)
                .header("etag", &etag)
                .header("content-length", &RANGE_BYTES.to_string())
                .header("content-range", &format!("{range}/{}", 4 * RANGE_BYTES))
                .piece(0, vec![0; 100_000])
                .piece(600_000, vec![0; RANGE_BYTES - 100_000])
        })
    });
    let prefix = ALICE.file("");
    let child = machine.command("validator", &["download", &prefix, "--to", "to", "--json"]).spawn().unwrap();
    until(|| kept_ranges(machine) == 2).await;
    child
}

/// The second run reads what the first has not brought, and it is all there.
async fn goes_on(server: &TestServer, machine: &Machine) {
    let key = ALICE.file("large.bin");
    assert_eq!(files(&machine.path("to")), Vec::<PathBuf>::new());
    server.store.unscript();
    server.store.forget();
    let run = download(machine, &[]).await;
    assert_eq!(total(run.check(0, &[]), "received"), 1);
    let mut read = reads(server, &key);
    read.sort();
    assert_eq!(read, ["bytes=33554432-50331647", "bytes=50331648-67108863"]);
    assert!(fs::read(machine.path("to/large.bin")).unwrap() == bytes(4 * RANGE_BYTES));
    let left: Vec<_> = fs::read_dir(machine.path("to").join(WORK_DIR))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["verified.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_download_leaves_no_file_and_goes_on() {
    let (server, machine) = place().await;
    let mut child = half_downloaded(&server, &machine).await;
    child.kill().await.unwrap();
    goes_on(&server, &machine).await;
}

/// Files under their names are whole.
#[track_caller]
fn check_whole(server: &TestServer, machine: &Machine) -> usize {
    let found = files(&machine.path("to"));
    for path in &found {
        let object = server.store.object(&ALICE.file(path.to_str().unwrap())).unwrap();
        assert!(fs::read(machine.path("to").join(path)).unwrap() == object.data, "{path:?}");
    }
    found.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_it_is_killed_the_files_are_whole() {
    let (server, machine) = place().await;
    for at in 0..150 {
        server.store.put(&ALICE.file(&format!("{:02}/{at}", at % 7)), bytes(1500 + at));
    }
    server.store.put(&ALICE.file("large.bin"), bytes(3 * RANGE_BYTES - 5));
    let prefix = ALICE.file("");
    let mut partly = 0;
    for round in 0..8 {
        let arguments = ["download", &prefix, "--to", "to", "--parallel", "3"];
        let mut child = machine.command("validator", &arguments).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(60 + 120 * round)).await;
        child.kill().await.unwrap();
        partly += usize::from((1..151).contains(&check_whole(&server, &machine)));
    }
    assert!(partly > 0, "it was never killed in the middle");
    download(&machine, &[]).await.check(0, &[]);
    assert_eq!(check_whole(&server, &machine), 151);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_says_so_and_goes_on() {
    let (server, machine) = place().await;
    let child = half_downloaded(&server, &machine).await;
    let process = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output: Output = child.wait_with_output().await.unwrap();
    let run = Run::of(output);
    run.check(1, &["interrupted", "goes on where this one ended"]);
    assert_eq!((total(&run, "not-begun"), run.json()["complete"].as_bool()), (1, Some(false)));
    goes_on(&server, &machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_downloads_do_not_work_in_one_folder() {
    let (server, machine) = place().await;
    let mut child = half_downloaded(&server, &machine).await;
    download(&machine, &[]).await.check(73, &["another download into this folder is running"]);
    child.kill().await.unwrap();
    goes_on(&server, &machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_another_version_is_not_used() {
    let (server, machine) = place().await;
    let mut child = half_downloaded(&server, &machine).await;
    child.kill().await.unwrap();
    server.store.unscript();
    let other: Vec<u8> = bytes(4 * RANGE_BYTES).into_iter().map(|byte| !byte).collect();
    server.store.put(&ALICE.file("large.bin"), other.clone());
    download(&machine, &[]).await.check(0, &[]);
    assert!(fs::read(machine.path("to/large.bin")).unwrap() == other);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_two_versions_never_come_into_one_file() {
    let (server, machine) = place().await;
    let key = ALICE.file("large.bin");
    server.store.put(&key, bytes(3 * RANGE_BYTES));
    let new: Vec<u8> = bytes(3 * RANGE_BYTES - 7).into_iter().map(|byte| !byte).collect();
    let (store, replaced) = (server.store.clone(), new.clone());
    let old_etag = md5_hex(&bytes(3 * RANGE_BYTES));
    server.store.script(move |seen| {
        // Its owner puts a new one while the second range is asked for.
        let is_second = seen.header("range").is_some_and(|range| range.starts_with("bytes=16777216-"));
        if is_read_of(seen, &key)
            && is_second
            && store.object(&key).is_some_and(|object| object.etag == old_etag)
        {
            store.put(&key, replaced.clone());
        }
        None
    });
    let run = download(&machine, &[]).await;
    assert_eq!(total(run.check(0, &[]), "received"), 1);
    assert!(fs::read(machine.path("to/large.bin")).unwrap() == new);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_are_never_a_file() {
    let (server, machine) = place().await;
    let sha256 = "00".repeat(32);
    server.store.put(&ALICE.file("damaged"), bytes(3000));
    server.store.put_with(&ALICE.file("mislabelled"), bytes(2000), &[("x-amz-meta-sha256", &sha256)]);
    server.store.put_with(&ALICE.file("wrong-crc"), bytes(2000), &[("x-amz-checksum-crc32", "AAAAAA==")]);
    server.store.put(&ALICE.file("sound"), bytes(1500));
    let key = ALICE.file("damaged");
    let etag = format!("\"{}\"", md5_hex(&bytes(3000)));
    server.store.script(move |seen| {
        is_read_of(seen, &key)
            .then(|| Reply::new(200).header("etag", &etag).body([&bytes(2999)[..], b"!"].concat()))
    });
    let run = download(&machine, &[]).await;
    run.check(1, &["3 objects are not here"]);
    let mut failed = rows(&run, "failed");
    failed.sort();
    for ((key, detail), (expected, word)) in
        failed.iter().zip([("damaged", "ETag"), ("mislabelled", "sha256"), ("wrong-crc", "CRC32")])
    {
        assert!(key == expected && detail.contains(word) && detail.contains("upload it again"), "{failed:?}");
    }
    assert_eq!((files(&machine.path("to")), failed.len()), (vec![PathBuf::from("sound")], 3));
    // Once the line is sound again, it comes.
    server.store.unscript();
    let run = download(&machine, &["--include", "damaged"]).await;
    assert_eq!(total(run.check(0, &[]), "received"), 1);
    assert_eq!(fs::read(machine.path("to/damaged")).unwrap(), bytes(3000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_off_goes_on_where_it_ended() {
    let (server, machine) = place().await;
    let (key, data) = (ALICE.file("a.bin"), bytes(3_000_000));
    server.store.put(&key, data.clone());
    let etag = format!("\"{}\"", md5_hex(&data));
    let first = data[..1_000_000].to_vec();
    server.store.script(move |seen| {
        (is_read_of(seen, &key) && seen.header("range").is_none()).then(|| {
            let whole = Reply::new(200).header("etag", &etag).header("content-length", "3000000");
            whole.piece(0, first.clone()).broken()
        })
    });
    let run = download(&machine, &[]).await;
    assert_eq!(total(run.check(0, &[]), "received"), 1);
    assert!(fs::read(machine.path("to/a.bin")).unwrap() == data);
    let read = reads(&server, &ALICE.file("a.bin"));
    assert!(read.len() == 2 && read[1].ends_with("-2999999") && read[1] != "bytes=0-2999999", "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_the_run_and_the_next_goes_on() {
    let (server, machine) = place().await;
    for at in 0..40 {
        server.store.put(&ALICE.file(&format!("{at:02}")), bytes(2000 + at));
    }
    server.store.script(|seen| {
        let is_late = seen.key.rsplit('/').next().is_some_and(|name| name > "09");
        is_late.then(|| Reply::error(500, "InternalError", "broken"))
    });
    let run = download(&machine, &["--retry-seconds", "1", "--parallel", "2"]).await;
    run.check(69, &["goes on where this one ended"]);
    assert_eq!((total(&run, "received"), total(&run, "failed") + total(&run, "not-begun")), (10, 30));
    assert_eq!(files(&machine.path("to")).len(), 10);
    server.store.unscript();
    let run = download(&machine, &[]).await;
    assert_eq!((total(run.check(0, &[]), "same"), total(&run, "received")), (10, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_the_store_cannot_give_do_not_hold_up_the_others() {
    let (server, machine) = place().await;
    for at in 0..30 {
        server.store.put(&ALICE.file(&format!("{at:02}")), bytes(2000 + at));
    }
    server.store.script(|seen| {
        let is_lost = seen.key.rsplit('/').next().is_some_and(|name| ("00".."05").contains(&name));
        is_lost.then(|| Reply::error(500, "InternalError", "lost"))
    });
    // While these are tried again, the others come.
    let run = download(&machine, &["--retry-seconds", "4"]).await;
    assert_eq!((total(run.check(1, &["5 objects"]), "failed"), total(&run, "received")), (5, 25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_breaks_off_is_an_error_and_nothing_is_written() {
    let (server, machine) = place().await;
    for at in 0..1001 {
        server.store.put(&ALICE.file(&format!("{at:04}")), vec![1]);
    }
    server.store.script(|seen| {
        seen.query("continuation-token").map(|_| Reply::error(500, "InternalError", "broken"))
    });
    let run = download(&machine, &["--retry-seconds", "1"]).await;
    run.check(69, &[]);
    assert_eq!((run.stdout.as_str(), machine.path("to").exists()), ("", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn p72_other_peoples_names_stay_in_the_folder() {
    let (server, machine) = place().await;
    let long = "n".repeat(256);
    let hostile = [
        "../escaped",
        "a/../../../escaped",
        "./dot",
        "//etc/escaped",
        "empty//name",
        "line\nbreak",
        "nul\u{1}l",
        "\u{1b}[2Jscreen",
        ".subgate-download/verified.jsonl",
        ".SUBGATE-Download/x",
        long.as_str(),
        "both",
        "folder-with-bytes/",
    ];
    let plain =
        ["both/inside", "plain", "..dots..", ".subgate-part", "plain.subgate-part", "back\\..\\slash"];
    for name in hostile.iter().chain(&plain) {
        server.store.put(&ALICE.file(name), bytes(1100));
    }
    let run = download(&machine, &[]).await;
    run.check(1, &["13 objects are not here"]);
    let refused = rows(&run, "refused");
    for name in hostile {
        let row = refused.iter().find(|(key, _)| key == name);
        let (_, detail) = row.unwrap_or_else(|| panic!("{name:?} is not refused: {refused:#?}"));
        // Why, and what to do.
        assert!(detail.ends_with(')') && detail.len() > 40, "{name:?}: {detail}");
        assert!(!server.store.seen().iter().any(|seen| is_read_of(seen, &ALICE.file(name))), "{name:?}");
    }
    let mut expected: Vec<PathBuf> = plain.iter().map(PathBuf::from).collect();
    expected.sort();
    assert_eq!(files(&machine.path("to")), expected);
    let home: Vec<_> =
        files(machine.dir.path()).into_iter().filter(|path| path.ends_with("escaped")).collect();
    assert_eq!(home, Vec::<PathBuf>::new());
    // The table shows no control character of theirs.
    let table = machine.run("validator", &["download", &ALICE.file(""), "--to", "to"]).await;
    assert!(table.stdout.chars().all(|c| c == '\n' || !c.is_control()), "{table:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p72_nothing_is_written_through_a_link() {
    let (server, machine) = place().await;
    let names = ["link/a", "deep/link/b", "file-link", "file/c", "folder", "pipe", "good/d", "dangling"];
    for name in names {
        server.store.put(&ALICE.file(name), bytes(1200));
    }
    let (to, outside) = (machine.path("to"), machine.path("outside"));
    fs::create_dir_all(to.join("deep")).unwrap();
    fs::create_dir_all(to.join("folder/with")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), b"precious").unwrap();
    symlink(&outside, to.join("link")).unwrap();
    symlink("../../outside", to.join("deep/link")).unwrap();
    symlink(outside.join("precious"), to.join("file-link")).unwrap();
    symlink(outside.join("new"), to.join("dangling")).unwrap();
    fs::write(to.join("file"), b"a file").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, to.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let run = download(&machine, &[]).await;
    run.check(1, &["7 objects are not here"]);
    let refused = rows(&run, "refused");
    for (name, word) in [
        ("link/a", "symbolic link"),
        ("deep/link/b", "symbolic link"),
        ("file-link", "symbolic link"),
        ("dangling", "symbolic link"),
        ("file/c", "has to be a folder"),
        ("folder", "has to be a file"),
        ("pipe", "a pipe"),
    ] {
        assert!(
            refused.iter().any(|(key, detail)| key == name && detail.contains(word)),
            "{name}: {refused:#?}"
        );
    }
    assert_eq!(files(&outside), [PathBuf::from("precious")]);
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"precious");
    assert_eq!(fs::read(to.join("good/d")).unwrap(), bytes(1200));
    assert_eq!(fs::read(to.join("file")).unwrap(), b"a file");
    // The program's own folder may be no link either.
    fs::remove_dir_all(to.join(WORK_DIR)).unwrap();
    symlink(&outside, to.join(WORK_DIR)).unwrap();
    download(&machine, &[]).await.check(73, &[WORK_DIR, "move it away"]);
    assert_eq!(files(&outside), [PathBuf::from("precious")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_the_caller_names_is_the_callers() {
    let (server, machine) = place().await;
    server.store.put(&ALICE.file("a"), bytes(1200));
    fs::create_dir(machine.path("real")).unwrap();
    symlink("real", machine.path("to")).unwrap();
    download(&machine, &[]).await.check(0, &[]);
    assert_eq!(files(&machine.path("real")), [PathBuf::from("a")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_come_and_writes_nothing() {
    let (server, machine) = place().await;
    server.store.put(&ALICE.file("a"), bytes(1200));
    server.store.put(&ALICE.file("../b"), bytes(1200));
    let run = download(&machine, &["--dry-run"]).await;
    assert_eq!((total(run.check(1, &[]), "would-receive"), total(&run, "refused")), (1, 1));
    assert!(!machine.path("to").exists());
    assert!(reads(&server, &ALICE.file("a")).is_empty());
    download(&machine, &["--exclude", "b"]).await.check(0, &[]);
    server.store.put(&ALICE.file("c"), bytes(1300));
    let before = files(&machine.path("to"));
    let run = download(&machine, &["--dry-run", "--exclude", "b"]).await;
    assert_eq!((total(run.check(0, &[]), "same"), total(&run, "would-receive")), (1, 1));
    assert_eq!(files(&machine.path("to")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_by_its_size_alone_is_named() {
    let (server, machine) = place().await;
    server.store.put(&ALICE.file("opaque"), bytes(1200));
    server.store.set_etag(&ALICE.file("opaque"), "0f-opaque");
    server.store.put(&ALICE.file("known"), bytes(1300));
    let run = download(&machine, &[]).await;
    let by_size = rows(run.check(0, &[]), "received-by-size");
    assert_eq!(by_size, [("opaque".to_owned(), "nothing but its size could be compared".to_owned())]);
    assert_eq!(total(&run, "received"), 1);
    // It is remembered for as long as neither changes, and otherwise not taken for the same.
    let again = download(&machine, &[]).await;
    assert_eq!((total(again.check(0, &[]), "same"), total(&again, "received")), (1, 0));
    assert_eq!(rows(&again, "same-by-size"), by_size);
    assert_eq!(total(download(&machine, &["--verify-all"]).await.check(0, &[]), "received-by-size"), 1);
    let table = machine.run("validator", &["download", &ALICE.file(""), "--to", "other"]).await;
    table.check(0, &["received, by size", "opaque", "nothing but its size"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_parts_are_proved_by_the_size_of_their_parts() {
    let (server, machine) = place().await;
    let part_bytes = 5 << 20;
    let (small, large) = (bytes(part_bytes + 1), bytes(RANGE_BYTES + 99));
    server.store.put_in_parts(&ALICE.file("small"), small.clone(), part_bytes);
    server.store.put_in_parts(&ALICE.file("large"), large.clone(), part_bytes);
    let run = download(&machine, &[]).await;
    assert_eq!((total(run.check(0, &[]), "received"), total(&run, "received-by-size")), (2, 0));
    server.store.forget();
    let run = download(&machine, &["--verify-all"]).await;
    assert_eq!(total(run.check(0, &[]), "same"), 2);
    assert!(
        reads(&server, &ALICE.file("small")).is_empty() && reads(&server, &ALICE.file("large")).is_empty()
    );
    // Other bytes under that ETag are seen.
    let damaged = [&large[..RANGE_BYTES], &[0; 99]].concat();
    let etag = server.store.object(&ALICE.file("large")).unwrap().etag;
    server.store.put_in_parts(&ALICE.file("large"), damaged, part_bytes);
    server.store.set_etag(&ALICE.file("large"), &etag);
    fs::remove_file(machine.path("to/large")).unwrap();
    let run = download(&machine, &[]).await;
    assert!(rows(run.check(1, &[]), "failed")[0].1.contains("ETag of the parts"));
    assert!(!machine.path("to/large").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_is_begun() {
    let (server, machine) = place().await;
    server.store.put(&ALICE.file("a"), bytes(1200));
    let key = ALICE.file("a");
    server.store.script(move |seen| {
        (seen.query("list-type") == Some("2")).then(|| {
            Reply::new(200).body(format!(
                "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>{key}</Key>\
                 <Size>4611686018427387904</Size><ETag>x</ETag></Contents></ListBucketResult>"
            ))
        })
    });
    let run = download(&machine, &[]).await;
    run.check(73, &["the download needs 4096.0 PiB of room", "--include"]);
    assert!(reads(&server, &ALICE.file("a")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_and_prefixes_choose() {
    let (server, machine) = place().await;
    for name in ["2026-01/a.parquet", "2026-01/b.json", "2026-02/c.parquet", "x.parquet"] {
        server.store.put(&ALICE.file(name), bytes(1100));
    }
    let run = download(&machine, &["--include", "*.parquet", "--exclude", "2026-02/*"]).await;
    assert_eq!((total(run.check(0, &[]), "received"), run.json()["left_out"].as_u64()), (2, Some(2)));
    let paths = ["2026-01/a.parquet", "x.parquet"].map(PathBuf::from);
    assert_eq!(files(&machine.path("to")), paths);
    let (prefix, key) = (ALICE.file("2026-"), ALICE.file("x.parquet"));
    machine.run("validator", &["download", &prefix, "--to", "months"]).await.check(0, &["received"]);
    let paths = ["2026-01/a.parquet", "2026-01/b.json", "2026-02/c.parquet"].map(PathBuf::from);
    assert_eq!(files(&machine.path("months")), paths);
    machine.run("validator", &["download", &key, "--to", "one"]).await.check(0, &[]);
    assert_eq!(files(&machine.path("one")), [PathBuf::from("x.parquet")]);
    let nothing = ALICE.file("nothing");
    machine
        .run("validator", &["download", &nothing, "--to", "none"])
        .await
        .check(0, &["nothing to download"]);
    machine.run("validator", &["download", "data/", "--to", "all", "--parallel", "64"]).await.check(0, &[]);
    assert_eq!(files(&machine.path("all")).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_words_are_told_before_anything_is_asked() {
    let (server, machine) = place().await;
    for (arguments, code, words) in [
        (&["download", "s3://b/data/", "--to", "to"][..], 64, "without the bucket"),
        (&["download", "/data/", "--to", "to"], 64, "no key begins with a /"),
        (&["download", "data/", "--to", "to", "--include", "[a"], 64, "[a"),
        (&["download", "data/", "--to", "to", "--parallel", "0"], 64, "--parallel"),
        (&["download", "data/"], 64, "--to"),
    ] {
        machine.run("alice", arguments).await.check(code, &[words]);
    }
    server.store.saw_nothing();
    // A miner reads its own folders, and is told which these are.
    server.store.put(&BOB.file("a"), bytes(1200));
    let run = machine.run("alice", &["download", &BOB.file(""), "--to", "to"]).await;
    run.check(77, &["FolderDenied", &ALICE.file("")]);
    machine
        .run("alice", &["download", "--to", "to"])
        .await
        .check(64, &["PREFIX is missing", &ALICE.file("")]);
    assert!(!machine.path("to").exists());
    fs::write(machine.path("to"), b"a file").unwrap();
    machine.run("bob", &["download", &BOB.file(""), "--to", "to"]).await.check(73, &["--to"]);
}
