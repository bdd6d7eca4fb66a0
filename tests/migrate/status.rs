//! What stands in which place, and what proves that it is the same.

use super::{CHUNK, Place, Run, X7};

const ONE: &str = "data/train-DataEntity_chunk_1.parquet";
const TWO: &str = "data/train-DataEntity_chunk_2.parquet";

/// The standing of each row by the last part of its name.
fn standings(report: &serde_json::Value) -> Vec<(String, String)> {
    let rows = report["files"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let name = |row: &serde_json::Value| text(&row["path"]).or(text(&row["key"])).unwrap();
    rows.iter()
        .map(|row| (name(row).rsplit('/').next().unwrap().to_owned(), text(&row["standing"]).unwrap()))
        .collect()
}

fn owned(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(name, standing)| ((*name).to_owned(), (*standing).to_owned())).collect()
}

#[test]
fn s7_each_place_is_told_and_nothing_is_equal_without_a_hash() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 3, 20_000);
    let command = ["migrate", "status", X7, "--json"];
    let before = place.run(&command).ends(1);
    assert_eq!(before.json()["summary"]["only_on_hub"], 3);
    place.run(&["migrate", "hf", X7]).ok();
    let after = place.run(&command).ok();
    assert_eq!(after.json()["summary"]["equal"], 3);

    // One was put by another client, with the same bytes; one with others; one is nobody's.
    let key = |path: &str| format!("{}{}", place.home(), path.rsplit('/').next().unwrap());
    let same = place.hub.file(X7, ONE).unwrap();
    let mut other = place.hub.file(X7, TWO).unwrap();
    other[0] ^= 1;
    place.put_bare(&key(ONE), &same);
    place.put_bare(&key(TWO), &other);
    place.put_bare(&key("more.bin"), &other);
    let report = place.run(&command).ends(1);
    let names = [ONE, TWO, CHUNK].map(|path| path.rsplit('/').next().unwrap());
    assert_eq!(
        standings(&report.json()),
        owned(&[
            ("more.bin", "only-here"),
            (names[2], "equal"),
            (names[0], "unknown"),
            (names[1], "unknown"),
        ])
    );
    assert!(report.fault().contains("2 unknown (--read tells)"), "{}", report.err);
    let read = place.run(&["migrate", "status", X7, "--json", "--read"]).ends(1);
    assert_eq!(
        standings(&read.json()),
        owned(&[
            ("more.bin", "only-here"),
            (names[2], "equal"),
            (names[0], "equal"),
            (names[1], "different"),
        ])
    );
    // The table has what needs somebody, and says how many do not.
    let table = place.run(&["migrate", "status", X7, "--read"]).ends(1);
    assert!(table.out.contains("DIFFERENT") && table.out.contains("2 equal, 1 different"), "{}", table.out);
    assert!(!table.out.contains("  data/train-DataEntity_chunk_1.parquet"), "{}", table.out);

    // What differs is left alone unless that is asked for; what nothing proves is read.
    let kept = place.run(&["migrate", "hf", X7, "--json"]).ends(1);
    assert_eq!((kept.files("refused"), kept.files("same"), kept.files("copied")), (1, 2, 0), "{}", kept.out);
    assert!(kept.out.contains("--replace") && kept.fault().contains("refused"), "{}", kept.err);
    assert!(place.objects()[&key(TWO)] == other);
    let dry = place.run(&["migrate", "hf", X7, "--json", "--dry-run"]).ends(1);
    assert_eq!((dry.files("refused"), dry.files("would-copy")), (1, 0));
    let repaired = place.run(&["migrate", "hf", X7, "--json", "--replace"]).ok();
    assert_eq!((repaired.files("copied"), repaired.files("same")), (2, 1));
    assert_eq!(repaired.out.matches("replaced the object").count(), 2, "{}", repaired.out);
    place.run(&command).ok();
}

#[test]
fn s7_a_validator_compares_any_folder_and_believes_no_uploader() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 2, 5000);
    place.run(&["migrate", "hf", X7]).ok();
    let home = place.home();
    let status = |wallet: &str, more: &[&str]| {
        let arguments = [&["migrate", "status", X7, "--to", &home, "--json"], more].concat();
        Run::of(place.command_as(wallet, &arguments).output().unwrap())
    };
    status("validator", &["--read"]).ok();
    // As large, called by the right name, carrying the right sha256, and something else.
    let sha256 = crate::harness::sigv4::sha256_hex(&place.hub.file(X7, CHUNK).unwrap());
    let name = CHUNK.rsplit('/').next().unwrap();
    place.put(&format!("{home}{name}"), &[9; 5000], Some(&sha256));
    assert_eq!(status("validator", &[]).ok().json()["summary"]["equal"], 2);
    let read = status("validator", &["--read"]).ends(1);
    assert_eq!(read.json()["summary"]["different"], 1);
    // Another miner may not look.
    assert!(status("miner-b", &[]).ends(64).fault().contains("not in a folder of yours"));
}

#[test]
fn small_files_of_git_are_compared_by_their_bytes() {
    let place = Place::start();
    place.hub.commit(X7, &[("notes.txt", vec![b'a'; 2000]), ("more.txt", vec![b'b'; 2000])]);
    let arguments = ["--include", "*.txt", "--json"];
    place.run(&[&["migrate", "hf", X7], &arguments[..]].concat()).ok();
    let status = [&["migrate", "status", X7], &arguments[..]].concat();
    assert_eq!(place.run(&status).ok().json()["summary"]["equal"], 2);
    place.put_bare(&format!("{}notes.txt", place.home()), &[b'c'; 2000]);
    let report = place.run(&status).ends(1);
    assert_eq!(standings(&report.json()), owned(&[("more.txt", "equal"), ("notes.txt", "different")]));
}
