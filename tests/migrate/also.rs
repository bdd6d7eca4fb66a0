//! `subgate upload --also`: the same files in both places, and each place told by itself.

use std::path::PathBuf;

use serde_json::Value;

use super::{Place, Run, X7, write};
use crate::harness::hub::{Failure, Fault, Place as At, Side, Visibility};

const ONE: &str = "train-DataEntity_chunk_1.parquet";
const TWO: &str = "train-DataEntity_chunk_2.parquet";
const NOTES: &str = "notes/a b.txt";

impl Place {
    /// A directory with two files for LFS and one that goes inside the commit.
    fn scraped(&self) -> PathBuf {
        let dir = self.dev.dir.path().join("scraped");
        write(&dir.join(ONE), &vec![1; 30_000]);
        write(&dir.join(TWO), &(0..3 << 20).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        write(&dir.join(NOTES), &[b'n'; 3000]);
        dir
    }

    fn upload_also(&self, more: &[&str]) -> Run {
        let (dir, to) = (self.scraped(), self.folder("x"));
        let arguments =
            [&["upload", dir.to_str().unwrap(), "--to", &to, "--also", "hf:alice/x_dataset_7"], more]
                .concat();
        Run::of(self.command(&arguments).env("HF_TOKEN", "hf_alice").output().unwrap())
    }

    #[track_caller]
    fn assert_in_both(&self) {
        let (objects, dir) = (self.objects(), self.scraped());
        for name in [ONE, TWO, NOTES] {
            let content = std::fs::read(dir.join(name)).unwrap();
            assert!(objects[&format!("{}{name}", self.folder("x"))] == content, "{name} at the server");
            assert!(self.hub.file(X7, &format!("data/{name}")).unwrap() == content, "{name} on the Hub");
        }
        assert_eq!(self.hub.violations(), Vec::<String>::new());
    }
}

/// Files of that outcome at the Hub.
fn there(run: &Run, outcome: &str) -> u64 {
    let report: Value = run.json();
    report["also"]["totals"][outcome]["files"].as_u64().unwrap_or(0)
}

#[test]
fn s7_the_same_files_stand_in_both_places_and_are_sent_once() {
    let place = Place::start();
    // One of them goes in parts.
    place.hub.upload_in_parts(1 << 20, 1 << 20);
    let dry = place.upload_also(&["--dry-run", "--json"]).ok();
    assert_eq!((dry.files("would-send"), there(&dry, "would-send")), (3, 3));
    assert!(place.objects().is_empty() && place.hub.paths(X7).is_empty());

    let run = place.upload_also(&["--json"]).ok();
    assert_eq!((run.files("sent"), there(&run, "sent")), (3, 3));
    assert!(!run.out.contains("hf_alice") && !run.err.contains("hf_alice"));
    place.assert_in_both();
    let commits = place.hub.commits(X7);
    let seen = place.hub.seen();
    let puts = seen.iter().filter(|seen| seen.side == Side::Cdn && seen.method == "PUT").count();
    assert_eq!(puts, 1 + 3, "a file by one PUT, and one in three parts");

    let again = place.upload_also(&["--json"]).ok();
    assert_eq!((again.files("same"), there(&again, "same")), (3, 3));
    assert_eq!(place.hub.commits(X7), commits);

    // What is read from the Hub is what stands at the server.
    let to = place.folder("x");
    let status = ["migrate", "status", X7, "--to", &to, "--include", "data/**", "--json"];
    assert_eq!(place.run(&status).ok().json()["summary"]["equal"], 3);
    let table = place.upload_also(&[]).ok();
    assert!(table.out.contains("hf:alice/x_dataset_7 at http"), "{}", table.out);
}

#[test]
fn a_hub_that_stumbles_gets_everything_all_the_same() {
    let place = Place::start();
    place.hub.upload_in_parts(1 << 20, 1 << 20);
    for at in [At::Preupload, At::Batch, At::Complete, At::Verify, At::Commit] {
        place.hub.order(Fault::status(at, 503, Some(0)).times(1));
    }
    place.hub.order(Fault::status(At::Put, 500, None).times(2));
    // A URL that has expired is asked for anew; an answer that got lost leaves a commit that is there.
    place.hub.order(Fault::on(At::Put, Failure::Expired).times(1));
    place.hub.order(Fault::on(At::Commit, Failure::Unanswered).times(1));
    let run = place.upload_also(&["--json"]).ok();
    assert_eq!(there(&run, "sent"), 3, "{}", run.out);
    place.assert_in_both();
}

#[test]
fn s7_what_a_lost_answer_has_done_is_asked_and_not_done_again() {
    let place = Place::start();
    place.hub.upload_in_parts(1 << 20, 1 << 20);
    let before = place.hub.commits(X7).len();
    for at in [At::Complete, At::Verify, At::Commit] {
        place.hub.order(Fault::on(at, Failure::Unanswered).times(1));
    }
    let run = place.upload_also(&["--json"]).ok();
    assert_eq!(there(&run, "sent"), 3, "{}", run.out);
    place.assert_in_both();
    let seen = place.hub.seen();
    let asked = |end: &str| seen.iter().filter(|seen| seen.target.contains(end)).count();
    assert_eq!((place.hub.commits(X7).len() - before, asked("/commit/")), (1, 1));
    let puts = seen.iter().filter(|seen| seen.side == Side::Cdn && seen.method == "PUT").count();
    assert_eq!(puts, 1 + 3);
}

#[test]
fn files_with_the_same_content_are_sent_once() {
    let place = Place::start();
    place.hub.upload_in_parts(1 << 20, 1 << 20);
    let dir = place.scraped();
    std::fs::copy(dir.join(TWO), dir.join("train-DataEntity_chunk_3.parquet")).unwrap();
    let run = place.upload_also(&["--json"]).ok();
    assert_eq!(there(&run, "sent"), 4, "{}", run.out);
    place.assert_in_both();
    let puts = place.hub.seen().iter().filter(|seen| seen.side == Side::Cdn && seen.method == "PUT").count();
    assert_eq!(puts, 1 + 3);
}

#[test]
fn s7_what_was_put_in_a_files_place_meanwhile_is_not_committed() {
    let place = Place::start();
    place.hub.order(Fault::on(At::Preupload, Failure::Late { milliseconds: 4000 }).times(1));
    let (dir, to) = (place.scraped(), place.folder("x"));
    let secret = place.dev.dir.path().join("secret");
    write(&secret, &[b's'; 30_000]);
    let arguments =
        ["upload", dir.to_str().unwrap(), "--to", &to, "--also", "hf:alice/x_dataset_7", "--json"];
    let child = place.command(&arguments).env("HF_TOKEN", "hf_alice").spawn().unwrap();
    super::failures::until("all stands at the server", || place.objects().len() == 3);
    // The first place proves what stands there by one more look.
    std::thread::sleep(std::time::Duration::from_millis(1000));
    // A link to elsewhere in the place of one, and other content of the same size in another.
    std::fs::remove_file(dir.join(ONE)).unwrap();
    std::os::unix::fs::symlink(&secret, dir.join(ONE)).unwrap();
    write(&dir.join(NOTES), &[b'm'; 3000]);
    let run = Run::ended(child).ends(1);
    assert_eq!((run.files("sent"), there(&run, "sent"), there(&run, "failed")), (3, 1, 2), "{}", run.out);
    assert!(run.out.contains("it changed while it was looked at"), "{}", run.out);
    assert_eq!(place.hub.paths(X7), [format!("data/{TWO}")]);
}

#[test]
fn s7_what_fails_in_one_place_does_not_hide_the_other() {
    let place = Place::start();
    place.hub.order(Fault::status(At::Commit, 403, None));
    let run = place.upload_also(&["--json"]).ends(77);
    assert_eq!((run.files("sent"), there(&run, "not-begun")), (3, 3), "{}", run.out);
    assert!(run.fault().contains("all is well at the server, but 3 files are not in hf:"), "{}", run.err);
    assert_eq!(place.objects().len(), 3);

    // A single file that the Hub's storage does not take keeps the others from nothing.
    let place = Place::start();
    let sha256 = crate::harness::sigv4::sha256_hex(&std::fs::read(place.scraped().join(ONE)).unwrap());
    place.hub.order(Fault::status(At::Put, 403, None).target(&sha256));
    let run = place.upload_also(&["--json"]).ends(1);
    assert_eq!((run.files("sent"), there(&run, "sent"), there(&run, "failed")), (3, 2, 1), "{}", run.out);
    assert!(run.fault().contains("run the same again"), "{}", run.err);
    place.hub.recover();
    place.upload_also(&[]).ok();
    place.assert_in_both();
}

#[test]
fn a_repository_that_cannot_be_written_is_told_before_anything_is_sent() {
    let place = Place::start();
    let (dir, to) = (place.scraped(), place.folder("x"));
    let upload = |also: &str, token: &str| {
        let arguments = ["upload", dir.to_str().unwrap(), "--to", &to, "--also", also];
        Run::of(place.command(&arguments).env("HF_TOKEN", token).output().unwrap())
    };
    for (also, token, code, says) in [
        ("hf:alice/x_dataset_7", "", 64, "needs a token"),
        ("alice/x_dataset_7", "hf_alice", 64, "hf:USER/NAME"),
        ("hf:alice/nothing", "hf_alice", 77, "check the repository's name"),
        ("hf:alice", "hf_alice", 64, "a dataset repository is expected"),
    ] {
        let run = upload(also, token).ends(code);
        assert!(run.fault().contains(says) && run.out.is_empty(), "{also}: {}", run.err);
    }
    assert!(place.objects().is_empty());

    // A file that the server would not take is sent nowhere, and neither are the others.
    place.hub.dataset("alice/more", Visibility::Public);
    write(&dir.join("small.parquet"), b"few");
    let run = upload("hf:alice/more", "hf_alice").ends(65);
    assert!(run.fault().contains("nothing was sent"), "{}", run.err);
    assert!(place.objects().is_empty() && place.hub.paths("alice/more").is_empty());
}
