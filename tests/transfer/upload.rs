//! `subgate upload` as a process, in front of a server and a store that do as they are told.

use std::{
    collections::BTreeMap,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::harness::{
    machine::{Machine, Run},
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::{Reply, Seen, md5_hex},
};

/// Content of this size is one part; our parts are no larger.
const PART: usize = 8 << 20;

/// A server, and somebody who uploads to it.
struct Place {
    server: TestServer,
    machine: Machine,
}

impl Place {
    async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        let server = TestServer::with(setup).await;
        let machine = Machine::new(&server);
        std::fs::create_dir(machine.path("d")).unwrap();
        Self { server, machine }
    }

    fn write(&self, name: &str, data: impl AsRef<[u8]>) {
        let path = self.machine.path("d").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }

    /// `subgate upload d --to` Alice's folder.
    async fn upload(&self, more: &[&str]) -> Run {
        let to = ALICE.file("t/");
        let arguments = [&["upload", "d", "--to", to.as_str()], more].concat();
        self.machine.run("alice", &arguments).await
    }

    /// What stands below the prefix, by its name there.
    fn standing(&self) -> BTreeMap<String, Vec<u8>> {
        let prefix = ALICE.file("t/");
        let keys = self.server.store.keys();
        let below = keys.iter().filter_map(|key| Some((key.strip_prefix(&prefix)?, key)));
        below.map(|(name, key)| (name.to_owned(), self.server.store.object(key).unwrap().data)).collect()
    }

    /// The requests that changed something, as method and name.
    fn changes(&self) -> Vec<String> {
        let seen = self.server.store.seen();
        let changes = seen.iter().filter(|seen| !matches!(seen.method.as_str(), "GET" | "HEAD"));
        changes.map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    fn count(&self, is_meant: impl Fn(&Seen) -> bool) -> usize {
        self.server.store.seen().iter().filter(|seen| is_meant(seen)).count()
    }
}

fn is_part(seen: &Seen) -> bool {
    seen.method == "PUT" && seen.query("partNumber").is_some_and(|number| number != "10000")
}

fn is_put(seen: &Seen) -> bool {
    seen.method == "PUT" && seen.query("partNumber").is_none()
}

fn sha256_of(data: &[u8]) -> String {
    hex::encode(subgate::auth::sigv4::sha256(data))
}

/// Files and bytes of one outcome.
fn total(json: &Value, outcome: &str) -> u64 {
    json["totals"][outcome]["files"].as_u64().unwrap_or(0)
}

/// The row of a file.
fn row<'a>(json: &'a Value, name: &str) -> &'a Value {
    let rows = json["files"].as_array().unwrap();
    let is_it = |row: &&Value| {
        ["path", "key"].iter().any(|field| row[field].as_str().unwrap().ends_with(&format!("/{name}")))
    };
    rows.iter().find(is_it).unwrap_or_else(|| panic!("no {name} in {json:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_stands_there_byte_for_byte_and_is_not_sent_twice() {
    let place = Place::new().await;
    let large = bytes(2 * PART + 5);
    let contents: BTreeMap<String, Vec<u8>> = [
        ("a.bin", bytes(3000)),
        ("sub/b c+d ä%2F.bin", bytes(4000)),
        ("sub/deeper/part.bin", bytes(PART)),
        ("large.bin", large.clone()),
    ]
    .map(|(name, data)| (name.to_owned(), data))
    .into();
    for (name, data) in &contents {
        place.write(name, data);
    }
    let run = place.upload(&["--json"]).await;
    assert_eq!(total(&run.check(0, &[]).json(), "sent"), 4);
    assert_eq!(place.standing(), contents);
    assert_eq!((place.count(is_put), place.count(is_part), place.server.store.uploads()), (2, 4, 0));
    // Every object says what its content is.
    for (name, data) in &contents {
        let object = place.server.store.object(&ALICE.file(&format!("t/{name}"))).unwrap();
        let sha256 = object.headers.iter().find(|(name, _)| name == "x-amz-meta-sha256");
        assert_eq!(sha256.map(|(_, value)| value.clone()), Some(sha256_of(data)), "{name}");
    }
    // Each body came with both of its digests.
    for seen in place.server.store.seen().iter().filter(|seen| seen.method == "PUT") {
        assert!(seen.header("content-md5").is_some(), "{}", seen.target);
    }

    place.server.store.forget();
    let run = place.upload(&["--json"]).await;
    assert_eq!(total(&run.check(0, &[]).json(), "same"), 4);
    assert_eq!(place.changes(), Vec::<String>::new());

    // One byte of one file, at the same size; and times alone are no change.
    place.write("a.bin", [&bytes(2999)[..], b"x"].concat());
    place.write("large.bin", &large);
    let json = place.upload(&["--json"]).await.check(0, &[]).json();
    assert_eq!((total(&json, "sent"), total(&json, "same")), (1, 3));
    assert_eq!(row(&json, "a.bin")["outcome"], "sent");
    assert_eq!(place.standing()["a.bin"].last(), Some(&b'x'));
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_all_faults_are_told_before_anything_is_sent() {
    let limits = "object_bytes_max = 20000".to_owned();
    let place = Place::with(Setup { limits, ..Setup::default() }).await;
    place.write("good.bin", bytes(3000));
    place.write("small.bin", b"x");
    place.write("large.bin", bytes(20_001));
    place.write("line\nbreak.bin", bytes(3000));
    let run = place.upload(&[]).await;
    run.check(
        65,
        &[
            "1 bytes; the server takes 1024 and more",
            "20000 at most",
            "control character",
            "nothing was sent",
        ],
    );
    assert!(run.stdout.matches("REFUSED").count() >= 4, "{run:?}");
    place.server.store.saw_nothing();
    // What is left out is no fault.
    let exclude = ["--exclude", "small.bin", "--exclude", "large*", "--exclude", "line*"];
    place.upload(&exclude).await.check(0, &["left out by --include or --exclude"]);
    assert_eq!(Vec::from_iter(place.standing().into_keys()), ["good.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_is_refused_with_the_own_ones() {
    let place = Place::new().await;
    place.write("a.bin", bytes(3000));
    let upload = async |to: &str| place.machine.run("alice", &["upload", "d", "--to", to]).await;
    let own = ALICE.file("");
    for to in
        [&BOB.file("")[..], "data/", "data/x/", "other/", "s3://data-universe/data/", "data/x/../x/", "/"]
    {
        upload(to).await.check(64, &["--to", if to.contains("..") || to == "/" { "--to" } else { &own }]);
    }
    // An open folder is filled in by the names of directories, as far as they fit.
    let jobs = format!("data/hotkey={}", ALICE.ss58());
    upload(&jobs).await.check(65, &["is not in a folder of yours"]);
    place.server.store.saw_nothing();
    std::fs::remove_file(place.machine.path("d/a.bin")).unwrap();
    place.write("job_id=j1/a.bin", bytes(3000));
    upload(&jobs).await.check(0, &["job_id=j1/a.bin"]);
    assert!(place.server.store.object(&ALICE.job("a.bin")).is_some());
    place.write("job_id=not allowed/a.bin", bytes(3000));
    upload(&jobs).await.check(65, &["job_id=not allowed/a.bin is not in a folder of yours"]);
    // Without --to there is a choice.
    place.machine.run("alice", &["upload", "d"]).await.check(64, &["--to is missing", &own]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_one_folder_needs_no_prefix() {
    let policy = "folders = [\"data/{source}/{coldkey}/\"]\n[policy.variables]\nsource = [\"x\"]".to_owned();
    let place = Place::with(Setup { policy, ..Setup::default() }).await;
    place.write("a.bin", bytes(3000));
    place.machine.run("alice", &["upload", "d/a.bin"]).await.check(0, &["sent"]);
    assert!(place.server.store.object(&ALICE.file("a.bin")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_out_of_the_directory_is_not_followed() {
    let place = Place::new().await;
    std::fs::write(place.machine.path("secret"), bytes(3000)).unwrap();
    place.write("a.bin", bytes(3000));
    place.write(".hidden", bytes(3000));
    place.write("half.part", bytes(3000));
    symlink("../secret", place.machine.path("d/out")).unwrap();
    symlink("a.bin", place.machine.path("d/inside")).unwrap();
    let run = place.upload(&[]).await;
    run.check(0, &["out: a link that leads out of the directory", "a hidden name", "a temporary name"]);
    assert_eq!(Vec::from_iter(place.standing().into_keys()), ["a.bin", "inside"]);
    place.upload(&["--all-names"]).await.check(0, &[]);
    assert_eq!(Vec::from_iter(place.standing().into_keys()), [".hidden", "a.bin", "half.part", "inside"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_all_and_changes_nothing() {
    let place = Place::new().await;
    place.write("a.bin", bytes(3000));
    place.upload(&[]).await.check(0, &[]);
    place.write("b.bin", bytes(PART));
    place.server.store.put(&ALICE.file("t/gone.bin"), bytes(3000));
    place.server.store.forget();
    let json = place.upload(&["--dry-run", "--delete", "--json"]).await.check(0, &[]).json();
    assert_eq!(row(&json, "a.bin")["outcome"], "same");
    assert_eq!(row(&json, "b.bin")["outcome"], "would-send");
    assert_eq!(row(&json, "gone.bin")["outcome"], "would-delete");
    assert_eq!(place.changes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_delete_deletes_and_only_what_is_missing_below_the_prefix() {
    let place = Place::new().await;
    let store = &place.server.store;
    place.write("a.bin", bytes(3000));
    let outside = [ALICE.file("other/a.bin"), ALICE.file("t2/a.bin"), BOB.file("t/a.bin")];
    for key in outside.iter().chain([&ALICE.file("t/gone.bin"), &ALICE.file("t/x/gone too.bin")]) {
        store.put(key, bytes(3000));
    }
    store.put(&ALICE.file("t/x/"), b"");
    place.upload(&[]).await.check(0, &[]);
    assert_eq!(place.standing().len(), 4);

    // A file that failed: nothing is deleted.
    let key = ALICE.file("t/a.bin");
    place.write("a.bin", bytes(3001));
    store.script(move |seen| {
        (is_put(seen) && seen.key == key).then(|| Reply::error(400, "InvalidArgument", "no"))
    });
    place.upload(&["--delete"]).await.check(1, &["nothing is deleted", "FAILED"]);
    assert_eq!(place.standing().len(), 4);
    store.unscript();

    place.upload(&["--delete"]).await.check(0, &["deleted", "gone.bin", "gone too.bin"]);
    assert_eq!(Vec::from_iter(place.standing().into_keys()), ["a.bin", "x/"]);
    for key in &outside {
        assert!(store.object(key).is_some(), "{key}");
    }

    // An empty directory is more likely the wrong one.
    std::fs::remove_file(place.machine.path("d/a.bin")).unwrap();
    place.upload(&["--delete"]).await.check(65, &["delete all 2 objects", "--delete-all"]);
    assert_eq!(place.standing().len(), 2);
    place.upload(&["--delete", "--delete-all"]).await.check(0, &["deleted"]);
    assert_eq!(Vec::from_iter(place.standing().into_keys()), ["x/"]);
    let file = ["upload", "secret", "--delete", "--to", &ALICE.file("t/")];
    std::fs::write(place.machine.path("secret"), bytes(3000)).unwrap();
    place.machine.run("alice", &file).await.check(64, &["--delete needs one directory"]);
}

/// Ends the process in the middle of a large file, by a signal that it cannot catch or one that it can.
async fn cut_off(place: &Place, signal: &str) -> Option<i32> {
    place.server.store.script(|seen| {
        // Three parts arrive, the others hang.
        let is_early = ["1", "2", "3"].map(Some).contains(&seen.query("partNumber"));
        (is_part(seen) && !is_early).then(|| Reply::new(200).piece(120_000, "x"))
    });
    let to = ALICE.file("t/");
    let mut child = place.machine.command("alice", &["upload", "d", "--to", &to]).spawn().unwrap();
    // None is still on its way, to be stored once the others no longer hang.
    place.server.store.wait(|seen| seen.iter().filter(|seen| is_part(seen) && seen.whole).count() >= 7).await;
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
    place.server.store.unscript();
    status.code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_is_gone_on_with() {
    for (signal, code) in [("-KILL", None), ("-INT", Some(1)), ("-TERM", Some(1))] {
        let place = Place::new().await;
        let large = bytes(6 * PART + 9);
        place.write("large.bin", &large);
        assert_eq!(cut_off(&place, signal).await, code, "{signal}");
        assert_eq!((place.standing().len(), place.server.store.uploads()), (0, 1));
        place.server.store.forget();
        let run = place.upload(&[]).await;
        run.check(0, &["25165824 bytes stood there from an earlier run"]);
        assert_eq!(place.count(is_part), 4, "{signal}: only what was missing is sent");
        assert_eq!(place.standing()["large.bin"], large);
        assert_eq!(place.server.store.uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_other_content_are_not_gone_on_with() {
    let place = Place::new().await;
    let mut large = bytes(6 * PART + 9);
    place.write("large.bin", &large);
    cut_off(&place, "-KILL").await;
    // The parts that stand there are equal; what comes behind them is not.
    *large.last_mut().unwrap() ^= 1;
    place.write("large.bin", &large);
    place.server.store.forget();
    place.upload(&[]).await.check(0, &["sent"]);
    assert_eq!(place.count(is_part), 7);
    let object = place.server.store.object(&ALICE.file("t/large.bin")).unwrap();
    assert_eq!(object.data, large);
    assert!(object.headers.contains(&("x-amz-meta-sha256".to_owned(), sha256_of(&large))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_a_failure_and_no_object() {
    let place = Place::new().await;
    place.write("large.bin", bytes(20 * PART));
    place.write("good.bin", bytes(3000));
    let path = place.machine.path("d/large.bin");
    place.server.store.script(move |seen| {
        if is_part(seen) && seen.query("partNumber") == Some("1") {
            let mut file = std::fs::File::options().write(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, b"changed").unwrap();
        }
        None
    });
    let json = place.upload(&["--json"]).await.check(1, &[]).json();
    assert_eq!(row(&json, "large.bin")["outcome"], "failed");
    assert!(row(&json, "large.bin")["detail"].as_str().unwrap().contains("changed while"), "{json}");
    assert_eq!(row(&json, "good.bin")["outcome"], "sent");
    assert_eq!(Vec::from_iter(place.standing().into_keys()), ["good.bin"]);
    assert_eq!(place.server.store.uploads(), 0, "its parts are of no use");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_for_and_one_that_lasts_is_told() {
    let place = Place::new().await;
    for name in ["a.bin", "b.bin", "c.bin"] {
        place.write(name, bytes(3000));
    }
    let failures = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&failures);
    place.server.store.script(move |seen| {
        (is_put(seen) && count.fetch_add(1, Ordering::SeqCst) < 4)
            .then(|| Reply::error(503, "SlowDown", "less").header("retry-after", "1"))
    });
    place.upload(&[]).await.check(0, &["sent"]);
    assert_eq!(place.standing().len(), 3);
    assert!(failures.load(Ordering::SeqCst) >= 7);

    // It fails for good, after the lists: what was not begun is told as that.
    place.server.store.unscript();
    for name in ["a.bin", "b.bin", "c.bin", "d.bin", "e.bin"] {
        place.write(name, bytes(4000));
    }
    place.server.store.script(|seen| is_put(seen).then(|| Reply::error(503, "SlowDown", "less")));
    let run = place.upload(&["--retry-seconds", "1", "--parallel", "1"]).await;
    run.check(69, &["FAILED", "NOT BEGUN", "503", "run the same again"]);
    // And from the start: what is here is told, and not that there is nothing.
    place.server.store.always(Reply::new(503));
    let run = place.upload(&["--retry-seconds", "1", "--json"]).await;
    let json = run.check(69, &["503"]).json();
    assert_eq!((total(&json, "not-begun"), json["complete"].as_bool()), (5, Some(false)), "{json}");
    place.upload(&["--retry-seconds", "1"]).await.check(69, &["NOT BEGUN"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_the_store_cannot_take_does_not_hold_up_the_others() {
    let place = Place::new().await;
    for name in ["a.bin", "b.bin", "c.bin"] {
        place.write(name, bytes(3000));
    }
    let bad = ALICE.file("t/a.bin");
    place.server.store.script(move |seen| {
        (is_put(seen) && seen.key == bad).then(|| Reply::error(500, "InternalError", "always"))
    });
    let run = place.upload(&["--retry-seconds", "1", "--parallel", "1", "--json"]).await;
    let json = run.check(1, &[]).json();
    assert_eq!((total(&json, "sent"), total(&json, "failed"), total(&json, "not-begun")), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_keeps_is_proven_by_its_etag_or_not_believed() {
    let place = Place::new().await;
    let data = bytes(3000);
    let other = md5_hex(&bytes(2999));
    let (right, random) = (md5_hex(&data), "0f8e7d6c-random".to_owned());
    for (etag, kms, is_good) in
        [(right, false, true), (other.clone(), false, false), (random, false, true), (other, true, true)]
    {
        // The same content, so that each round sends it anew.
        place.server.store.unscript();
        place.write("a.bin", &data);
        let key = ALICE.file("t/a.bin");
        place.server.store.put(&key, bytes(1));
        let (store, content) = (place.server.store.clone(), data.clone());
        let given = etag.clone();
        place.server.store.script(move |seen| {
            if !is_put(seen) {
                return None;
            }
            let sha256 = sha256_of(&content);
            let mut headers = vec![("x-amz-meta-sha256", sha256.as_str())];
            if kms {
                headers.push(("x-amz-server-side-encryption", "aws:kms"));
            }
            store.put_with(&seen.key, content.clone(), &headers);
            store.set_etag(&seen.key, &given);
            Some(Reply::new(200).header("etag", &format!("\"{given}\"")))
        });
        let json = place.upload(&["--json"]).await;
        let json = json.check(if is_good { 0 } else { 1 }, &[]).json();
        let row = row(&json, "a.bin");
        assert_eq!(row["outcome"], if is_good { "sent" } else { "failed" }, "{etag} {kms}");
        let detail = row["detail"].as_str().unwrap_or_default();
        assert_eq!(detail.contains("not proven"), !is_good, "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_another_run_completed_meanwhile_is_no_failure() {
    let place = Place::new().await;
    let large = bytes(6 * PART + 9);
    place.write("large.bin", &large);
    cut_off(&place, "-KILL").await;
    assert_eq!(place.server.store.uploads(), 1);
    // The other run is quicker: its object stands there, and the upload is over.
    let (store, content) = (place.server.store.clone(), large.clone());
    place.server.store.script(move |seen| {
        is_part(seen).then(|| {
            let sha256 = sha256_of(&content);
            store.put_with(&seen.key, content.clone(), &[("x-amz-meta-sha256", &sha256)]);
            Reply::error(404, "NoSuchUpload", "The specified upload does not exist.")
        })
    });
    let json = place.upload(&["--json"]).await.check(0, &[]).json();
    assert_eq!(row(&json, "large.bin")["detail"], "another run has put it");
    assert_eq!(place.standing()["large.bin"], large);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upload_of_an_earlier_run_stays_when_this_one_fails() {
    let place = Place::new().await;
    let large = bytes(6 * PART + 9);
    place.write("large.bin", &large);
    cut_off(&place, "-KILL").await;
    let path = place.machine.path("d/large.bin");
    place.server.store.script(move |seen| {
        if is_part(seen) {
            let mut file = std::fs::File::options().write(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, b"changed").unwrap();
        }
        None
    });
    place.upload(&[]).await.check(1, &["changed while"]);
    assert_eq!(place.server.store.uploads(), 1, "it may be that of a run which is at it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lists_no_uploads_takes_large_files() {
    let place = Place::new().await;
    place.write("large.bin", bytes(PART + 1));
    place.server.store.script(|seen| {
        (seen.method == "GET" && seen.query("uploads").is_some())
            .then(|| Reply::error(501, "NotImplemented", "not here"))
    });
    place.upload(&[]).await.check(0, &["sent"]);
    assert_eq!(place.standing()["large.bin"].len(), PART + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_there_afterwards_is_looked_at_and_not_believed() {
    let place = Place::new().await;
    place.write("a.bin", bytes(3000));
    let (key, store) = (ALICE.file("t/a.bin"), place.server.store.clone());
    let heads = AtomicUsize::new(0);
    // Somebody else puts another object there before the last look.
    place.server.store.script(move |seen| {
        if seen.method == "HEAD" && heads.fetch_add(1, Ordering::SeqCst) == 1 {
            store.put(&key, bytes(3001));
        }
        None
    });
    place.upload(&[]).await.check(1, &["FAILED", "something else stands there"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p51_nothing_secret_is_told_on_the_way() {
    let place = Place::new().await;
    place.write("a.bin", bytes(3000));
    place.server.store.script(|seen| is_put(seen).then(|| Reply::error(400, "InvalidArgument", "no")));
    let mut command = place.machine.command("alice", &["upload", "d", "--to", &ALICE.file("t/")]);
    let run = Run::of(command.env("SUBGATE_LOG", "trace").output().await.unwrap());
    run.check(1, &["FAILED"]);
    let cache = std::fs::read_dir(place.machine.path("cache/subgate")).unwrap();
    let sessions: Vec<Value> = cache
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        .collect();
    assert_eq!(sessions.len(), 1);
    for name in ["SecretAccessKey", "SessionToken"] {
        let secret = sessions[0][name].as_str().unwrap();
        assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{name}");
    }
    assert!(!run.stderr.contains("Signature="));
}

/// The outcome of that file on the next lines of a watch.
async fn until(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStderr>>, name: &str) -> String {
    let waiting = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let path = event["path"].as_str().unwrap_or_default();
            if event["event"] == "file" && Path::new(path).ends_with(name) {
                return event["outcome"].as_str().unwrap().to_owned();
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("no {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_grows_is_uploaded_file_by_file_once_each_is_whole() {
    let place = Place::new().await;
    place.write("first.bin", bytes(3000));
    place.write("small.bin", b"x");
    let to = ALICE.file("t/");
    let arguments = ["upload", "d", "--to", &to, "--watch", "--settle-seconds", "3"];
    let mut child = place.machine.command("alice", &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(until(&mut lines, "small.bin").await, "refused");
    assert_eq!(until(&mut lines, "first.bin").await, "sent");
    // One that is being written, in steps shorter than the settle time.
    let (mut data, mut longest) = (Vec::new(), Duration::ZERO);
    let mut last = Instant::now();
    for _ in 0..12 {
        data.extend(bytes(1000));
        place.write("growing.bin", &data);
        place.write("growing.bin.tmp", &data);
        longest = longest.max(last.elapsed());
        last = Instant::now();
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(until(&mut lines, "growing.bin").await, "sent");
    // On a machine that stood still for the settle time, a file that grows looked like one that is whole.
    if longest < Duration::from_millis(2900) {
        assert_eq!(place.standing()["growing.bin"], data);
    }
    // It changes again; and the store fails for a while.
    place.server.store.script(|seen| is_put(seen).then(|| Reply::error(400, "InvalidArgument", "no")));
    place.write("growing.bin", bytes(6000));
    assert_eq!(until(&mut lines, "growing.bin").await, "failed");
    place.server.store.unscript();
    assert_eq!(until(&mut lines, "growing.bin").await, "sent");
    std::fs::remove_file(place.machine.path("d/small.bin")).unwrap();
    place.write("last.bin", bytes(3000));
    assert_eq!(until(&mut lines, "last.bin").await, "sent");
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await.unwrap();
    let run = Run::of(output.unwrap());
    run.check(0, &["sent"]);
    assert_eq!(Vec::from_iter(place.standing().into_keys()), ["first.bin", "growing.bin", "last.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_no_longer_takes_is_replaced_on_the_way() {
    let place = Place::new().await;
    place.write("a.bin", bytes(3000));
    place.upload(&[]).await.check(0, &[]);
    place.write("a.bin", bytes(4000));
    // The cached session is one of a key that is gone.
    let keys = "[[session.keys]]\nid = \"two\"\nfile = \"two.key\"".to_owned();
    let session = "issue_with = \"two\"\nallow_no_receiver = true".to_owned();
    place.server.reload(&Setup { keys, session, ..Setup::default() }).await.unwrap();
    place.upload(&[]).await.check(0, &["sent"]);
    assert_eq!(place.standing()["a.bin"], bytes(4000));
}
