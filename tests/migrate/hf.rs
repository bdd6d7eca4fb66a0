//! What goes where, what does not, and who is told what.

use std::collections::BTreeSet;

use super::{CHUNK, Place, Run, X7, write};
use crate::harness::hub::{Failure, Fault, Place as At, Visibility};

#[test]
fn a_miners_repository_goes_where_it_belongs_without_an_option() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 3, 30_000);
    place.hub.commit(X7, &[("README.md", vec![b'#'; 5000]), ("stats.json", b"{}".to_vec())]);
    let dry = place.run(&["migrate", "hf", X7, "--dry-run", "--json"]).ok();
    assert_eq!((dry.files("would-copy"), dry.json()["left_out"].as_u64()), (3, Some(3)));
    assert!(place.objects().is_empty());

    let run = place.run(&["migrate", "hf", "hf:alice/x_dataset_7"]).ok();
    assert!(run.out.contains(&place.home()) && run.out.contains("copied"), "{}", run.out);
    let paths = [0, 1, 2].map(|n| format!("data/train-DataEntity_chunk_{n}.parquet"));
    place.assert_copied(&place.home(), &paths.each_ref().map(String::as_str));
    // The number of another hotkey is remarked on, and no more: hotkeys share numbers.
    assert!(run.err.contains("make sure that it is yours"), "{}", run.err);

    // Again: nothing of a file is read, at either side.
    place.hub.forget();
    let journal = place.journal().len();
    let again = place.run(&["migrate", "hf", X7, "--json"]).ok();
    assert_eq!((again.files("same"), again.files("copied")), (3, 0));
    assert!(place.hub.seen().iter().all(|seen| !seen.target.contains("/resolve/")));
    assert_eq!(place.journal().len(), journal);
}

#[test]
fn names_are_mapped_and_files_chosen_as_told() {
    let place = Place::start();
    let data = "alice/data";
    place.hub.dataset(data, Visibility::Public);
    let bytes = |n: u8| vec![n; 2000];
    let files =
        [("a/one.csv", bytes(1)), ("a/b/two.csv", bytes(2)), ("README.md", bytes(3)), ("x.bin", bytes(4))];
    place.hub.commit(data, &files);
    // Which of several folders is not clear.
    let unclear = place.run(&["migrate", "hf", data]).ends(64);
    assert!(unclear.fault().contains("--to is missing") && unclear.fault().contains(&place.folder("reddit")));

    let to = format!("{}2026", place.folder("reddit"));
    place.run(&["migrate", "hf", data, "--to", &to, "--exclude", "*.md", "--exclude", "x.*"]).ok();
    let keys: Vec<String> = place.objects().into_keys().collect();
    assert_eq!(keys, [format!("{to}/a/b/two.csv"), format!("{to}/a/one.csv")]);
    assert_eq!(place.objects()[&keys[0]], bytes(2));

    let hotkey = place.run(&["migrate", "hf", data]).fault().to_owned();
    let jobs = hotkey.split(' ').find(|word| word.starts_with("data/hotkey=")).unwrap();
    let jobs = jobs.split("job_id").next().unwrap();
    let template = "job_id=hf_{repo}/{path}";
    place.run(&["migrate", "hf", data, "--to", jobs, "--as", template, "--include", "a/*.csv"]).ok();
    assert_eq!(place.objects()[&format!("{jobs}job_id=hf_data/a/one.csv")], bytes(1));

    // Of two files under one name neither is taken: nobody has said which.
    place.hub.commit(data, &[("c/one.csv", bytes(5))]);
    let clash = place.run(&["migrate", "hf", data, "--to", &to, "--as", "{file}", "--json"]).ends(1);
    assert_eq!((clash.files("refused"), clash.files("copied")), (2, 3), "{}", clash.out);
}

#[test]
fn what_the_server_would_not_take_is_told_before_anything_is_sent() {
    let place = Place::start();
    let large = vec![7_u8; 2000];
    place.hub.commit(X7, &[(CHUNK, large.clone()), ("data/small.parquet", vec![1; 1023])]);
    place.hub.commit(X7, &[("data/b/two.parquet", large.clone()), ("data/c/two.parquet", large)]);
    let run = place.run(&["migrate", "hf", X7, "--as", "{file}", "--json"]).ends(1);
    assert_eq!((run.files("refused"), run.files("copied")), (3, 1), "{}", run.out);
    let first = run.err.lines().find(|line| line.contains("\"event\":\"file\"")).unwrap();
    assert!(first.contains("refused"), "refusals come first: {}", run.err);
    assert!(run.out.contains("has 1023 bytes") && run.out.contains("the same key"), "{}", run.out);
    assert!(run.fault().contains("--exclude"), "{}", run.err);
    place.assert_copied(&place.home(), &[CHUNK]);
    // What is left out is no fault.
    place.run(&["migrate", "hf", X7, "--as", "{file}", "--exclude", "small*", "--exclude", "data/c/*"]).ok();
}

#[test]
fn p73_a_private_repository_is_read_with_the_token_which_shows_nowhere() {
    let place = Place::start();
    let private = "alice/x_dataset_9";
    place.hub.dataset(private, Visibility::Private);
    place.hub.commit(private, &[(CHUNK, vec![9_u8; 3000])]);
    let refused = place.run(&["migrate", "hf", private]).ends(77);
    assert!(refused.fault().contains("HF_TOKEN"), "{}", refused.err);

    let with_token = |token: &str| {
        Run::of(place.command(&["migrate", "hf", private]).env("HF_TOKEN", token).output().unwrap())
    };
    let wrong = with_token("hf_secret_of_nobody").ends(77);
    let right = with_token("hf_alice").ok();
    for run in [&wrong, &right] {
        assert!(!run.err.contains("hf_") && !run.out.contains("hf_"), "{}{}", run.out, run.err);
    }
    let key = format!("{}x_dataset_9/{}", place.folder("x"), "train-DataEntity_chunk_0.parquet");
    assert_eq!(place.objects()[&key], [9; 3000]);

    // The file that the Hub's own tools write.
    write(&place.dev.dir.path().join(".cache/huggingface/token"), b"hf_alice\n");
    let by_file = place.run(&["migrate", "hf", private, "--json"]).ok();
    assert_eq!(by_file.files("same"), 1);
    assert_eq!(place.hub.violations(), Vec::<String>::new());
}

#[test]
fn a_repository_that_changes_meanwhile_is_read_at_one_commit() {
    let place = Place::start();
    let commit = place.hub.commit_chunks(X7, 3, 2000);
    let files: Vec<Vec<u8>> = (0..3)
        .map(|n| place.hub.file(X7, &format!("data/train-DataEntity_chunk_{n}.parquet")).unwrap())
        .collect();
    place.hub.page_entries(1);
    place.hub.order(Fault::on(At::Tree, Failure::Moves).times(1));
    let run = place.run(&["migrate", "hf", X7, "--json"]).ok();
    assert_eq!((run.files("copied"), run.json()["commit"].as_str()), (3, Some(commit.as_str())));
    let found: Vec<Vec<u8>> = place.objects().into_values().collect();
    assert!(found == files, "the files are those of the first commit");
    // Now the branch is another one; the old commit stays within reach.
    let newer = place.run(&["migrate", "hf", X7, "--json"]).ok();
    assert_ne!(newer.json()["commit"].as_str(), Some(commit.as_str()));
    let older = place.run(&["migrate", "hf", X7, "--revision", &commit, "--json"]).ok();
    assert_eq!(older.files("same"), 3);
}

#[test]
fn s7_ten_thousand_files_are_listed_page_by_page() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 10_000, 1024);
    let dry = place.run(&["migrate", "hf", X7, "--dry-run", "--json"]).ok();
    assert_eq!(dry.files("would-copy"), 10_000);
    // A page that was lost on its way is asked for again.
    let seen = place.hub.seen();
    let pages = seen.iter().map(|seen| &seen.target).filter(|target| target.contains("/tree/"));
    assert_eq!(pages.collect::<BTreeSet<_>>().len(), 11);
    let chosen = place.run(&["migrate", "hf", X7, "--dry-run", "--json", "--include", "*[05]0.parquet"]);
    assert_eq!(chosen.ok().files("would-copy"), 199);
    assert!(place.objects().is_empty());
}

#[test]
fn s7_every_file_arrives_while_the_storage_stumbles() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 200, 1024);
    place.hub.order(Fault::status(At::Cdn, 503, Some(0)).times(50));
    let run = ["migrate", "hf", X7, "--json", "--parallel", "32"];
    assert_eq!(place.run(&run).ok().files("copied"), 200);
    assert_eq!(place.run(&run).ok().files("same"), 200);
    let objects = place.objects();
    assert_eq!(objects.len(), 200);
    for (key, content) in &objects {
        let path = format!("data/{}", key.rsplit('/').next().unwrap());
        assert!(*content == place.hub.file(X7, &path).unwrap(), "{path}");
    }
}

#[test]
fn bad_input_is_told_in_one_line_before_anybody_is_asked() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 1, 2000);
    for (arguments, says) in [
        (&["x_dataset_7"][..], "REPO \"x_dataset_7\": a dataset repository is expected"),
        (&[X7, "--revision", "a b"], "--revision"),
        (&[X7, "--include", "["], "--include"),
        (&[X7, "--as", "{paht}"], "{paht} is none of"),
        (&[X7, "--hf-endpoint", "http://hub.example.com"], "HF_ENDPOINT"),
        (&[X7, "--to", "data/x/5Fother/"], "not in a folder of yours"),
    ] {
        let run = place.run(&[&["migrate", "hf"], arguments].concat()).ends(64);
        assert!(run.fault().contains(says) && run.out.is_empty(), "{arguments:?}: {}", run.err);
    }
    let run = place.run(&["migrate", "hf", X7, "--revision", "nothing"]).ends(77);
    assert!(run.fault().contains("--revision"), "{}", run.err);
    assert!(place.objects().is_empty());
    let nothing = place.run(&["migrate", "hf", "alice/x_dataset_0"]).ends(77);
    assert!(nothing.fault().contains("check the repository's name"), "{}", nothing.err);
}
