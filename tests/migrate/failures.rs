//! Kills, lost connections, limits and lies, on the way from the Hub to the store.

use std::{
    net::TcpListener,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{CHUNK, Place, Run, X7};
use crate::harness::{
    closed_port::ClosedPort,
    hub::{Failure, Fault, Place as At, Side},
};

const MIB: u64 = 1 << 20;

/// Waits until it holds.
#[track_caller]
pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn s7_a_run_that_was_killed_goes_on_from_the_parts_that_stand_there() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 1, 40 * MIB);
    // Three parts of 8 MiB leave, and then the bytes come slowly.
    place.hub.order(Fault::on(At::Cdn, Failure::Stall { after: 30 * MIB }).times(1));
    let mut child = place.command(&["migrate", "hf", X7]).spawn().unwrap();
    until("three parts are put", || place.parts_put() == 3);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(place.objects().is_empty(), "no object comes to be of a part");

    let run = place.run(&["migrate", "hf", X7, "--json"]).ok();
    assert_eq!(run.files("copied"), 1);
    assert!(run.out.contains("stood there from an earlier run"), "{}", run.out);
    assert_eq!(place.parts_put(), 5, "each part is put once");
    place.assert_copied(&place.home(), &[CHUNK]);
}

#[test]
fn an_interrupted_run_tells_what_is_done() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 3, 2000);
    let stall = Fault::on(At::Cdn, Failure::Stall { after: 100 });
    place.hub.order(stall.after(1));
    let child = place.command(&["migrate", "hf", X7, "--json", "--parallel", "1"]).spawn().unwrap();
    until("one object stands there", || place.objects().len() == 1);
    until("the next is begun", || place.hub.seen().iter().filter(|seen| seen.side == Side::Cdn).count() == 2);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let run = Run::ended(child).ends(1);
    assert_eq!((run.files("copied"), run.files("not-begun")), (1, 2), "{}", run.out);
    assert!(run.fault().contains("run the command again"), "{}", run.err);
    place.hub.recover();
    let again = place.run(&["migrate", "hf", X7, "--json"]).ok();
    assert_eq!((again.files("same"), again.files("copied")), (1, 2));
}

#[test]
fn redirects_that_have_expired_are_asked_for_anew() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 2, 3000);
    place.hub.order(Fault::on(At::Cdn, Failure::Expired).times(2));
    place.hub.order(Fault::on(At::Resolve, Failure::Expired).times(2));
    let run = place.run(&["migrate", "hf", X7, "--json", "--parallel", "1"]).ok();
    assert_eq!(run.files("copied"), 2);
    place.assert_copied(&place.home(), &[CHUNK, "data/train-DataEntity_chunk_1.parquet"]);
}

#[test]
fn limits_are_waited_out_as_long_as_the_hub_says() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 2, 3000);
    for at in [At::Info, At::Tree, At::Resolve, At::Cdn] {
        place.hub.order(Fault::status(at, 429, Some(1)).times(1));
    }
    let start = Instant::now();
    let run = place.run(&["migrate", "hf", X7, "--json", "--parallel", "1"]).ok();
    assert_eq!(run.files("copied"), 2);
    assert!(start.elapsed() >= Duration::from_secs(4), "each of the four was waited for");
    place.assert_copied(&place.home(), &[CHUNK, "data/train-DataEntity_chunk_1.parquet"]);
}

#[test]
fn a_hub_that_stumbles_is_asked_again() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 2, 3000);
    for at in [At::Info, At::Tree, At::Resolve, At::Cdn] {
        place.hub.order(Fault::status(at, 500, None).times(1));
        place.hub.order(Fault::status(at, 503, None).times(1));
    }
    place.hub.order(Fault::on(At::Tree, Failure::Cut { after: 40 }).times(1));
    let run = place.run(&["migrate", "hf", X7, "--json"]).ok();
    assert_eq!(run.files("copied"), 2);
    place.assert_copied(&place.home(), &[CHUNK, "data/train-DataEntity_chunk_1.parquet"]);
}

#[test]
fn a_body_that_is_cut_goes_on_where_it_broke() {
    for failure in [None, Some(Failure::Whole)] {
        let place = Place::start();
        place.hub.commit_chunks(X7, 1, 20 * MIB);
        place.hub.order(Fault::on(At::Cdn, Failure::Cut { after: 3 * MIB }).times(2));
        // A storage that knows no ranges begins anew, and what was read is passed over.
        if let Some(failure) = failure {
            place.hub.order(Fault::on(At::Cdn, failure).times(1));
        }
        let run = place.run(&["migrate", "hf", X7, "--json"]).ok();
        assert_eq!(run.files("copied"), 1);
        let seen = place.hub.seen();
        let resolved = seen.iter().filter(|seen| seen.target.contains("/resolve/"));
        let ranges: Vec<&str> = resolved.filter_map(|seen| seen.header("range")).collect();
        assert_eq!(ranges.len(), 2, "{ranges:?}");
        assert!(ranges.iter().all(|range| *range != "bytes=0-"), "{ranges:?}");
        place.assert_copied(&place.home(), &[CHUNK]);
    }
}

#[test]
fn s7_a_wrong_byte_never_becomes_an_object_and_what_stood_there_stays() {
    let place = Place::start();
    let other = "data/train-DataEntity_chunk_1.parquet";
    let small = "data/notes.txt";
    let key = |path: &str| format!("{}{}", place.home(), path.rsplit('/').next().unwrap());
    place
        .hub
        .commit(X7, &[(CHUNK, vec![1_u8; 20 << 20]), (other, vec![2_u8; 3000]), (small, vec![3_u8; 3000])]);
    for path in [CHUNK, small] {
        place.put_bare(&key(path), &[9; 2000]);
    }
    place.hub.order(Fault::on(At::Cdn, Failure::Wrong).target(&sha256_of(&place, CHUNK)));
    place.hub.order(Fault::on(At::Small, Failure::Wrong).target("notes.txt"));
    let run = place.run(&["migrate", "hf", X7, "--include", "data/*", "--json", "--replace"]).ends(1);
    assert_eq!((run.files("failed"), run.files("copied")), (2, 1), "{}", run.out);
    assert!(run.out.contains("another hash"), "{}", run.out);
    let objects = place.objects();
    assert_eq!((objects[&key(CHUNK)].len(), objects[&key(small)].len()), (2000, 2000));
    assert_eq!(objects[&key(other)], [2; 3000]);
    // Nothing of the wrong bytes stays open either.
    let count = |word: &str| place.journal().iter().filter(|line| line.get(word).is_some()).count();
    assert_eq!((count("begin"), count("end")), (1, 1));

    place.hub.recover();
    let again = place.run(&["migrate", "hf", X7, "--include", "data/*", "--json", "--replace"]).ok();
    assert_eq!((again.files("copied"), again.files("same")), (2, 1));
    assert!(place.objects()[&key(CHUNK)] == vec![1; 20 << 20]);
}

/// By which the CDN knows a file.
fn sha256_of(place: &Place, path: &str) -> String {
    crate::harness::sigv4::sha256_hex(&place.hub.file(X7, path).unwrap())
}

#[test]
fn p73_redirects_lead_neither_in_circles_nor_to_where_a_token_would_show() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 1, 3000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = listener.local_addr().unwrap();
    let heads = thread::spawn(move || {
        let mut heads = Vec::new();
        for stream in listener.incoming() {
            let mut stream = std::io::BufReader::new(stream.unwrap());
            let mut head = String::new();
            while std::io::BufRead::read_line(&mut stream, &mut head).unwrap_or(0) > 2 {}
            let is_end = head.starts_with("GET /end");
            heads.push(head);
            let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = std::io::Write::write_all(stream.get_mut(), answer);
            if is_end {
                return heads;
            }
        }
        heads
    });
    let circle = format!("{}/datasets/{X7}/resolve/main/{CHUNK}", place.hub.endpoint);
    for (to, says) in [
        (circle.as_str(), "redirects more than"),
        ("http://192.0.2.1/x", "redirects to where it is not followed"),
        ("ftp://127.0.0.1/x", "redirects to where it is not followed"),
        (&format!("http://{elsewhere}/x"), "403"),
    ] {
        place.hub.recover();
        place.hub.order(Fault::on(At::Resolve, Failure::Redirect { to: to.to_owned() }));
        let mut command = place.command(&["migrate", "hf", X7, "--json"]);
        let run = Run::of(command.env("HF_TOKEN", "hf_alice").output().unwrap()).ends(1);
        assert_eq!(run.files("failed"), 1, "{to}: {}", run.out);
        assert!(run.out.contains(says), "{to}: {}", run.out);
    }
    let mut end = std::net::TcpStream::connect(elsewhere).unwrap();
    std::io::Write::write_all(&mut end, b"GET /end HTTP/1.1\r\n\r\n").unwrap();
    let heads = heads.join().unwrap();
    assert!(heads.len() > 1 && heads.iter().all(|head| !head.to_lowercase().contains("authorization")));
    assert!(place.objects().is_empty());
}

#[test]
fn what_cannot_be_reached_is_said_and_ends() {
    let place = Place::start();
    place.hub.commit_chunks(X7, 1, 3000);
    let closed = ClosedPort::hold();
    let run = place.run(&["migrate", "hf", X7, "--hf-endpoint", &closed.url()]).ends(69);
    assert!(run.fault().contains("cannot be reached"), "{}", run.err);
    // A limit of a day is not waited for.
    place.hub.order(Fault::status(At::Info, 429, Some(86_400)));
    let run = place.run(&["migrate", "hf", X7]).ends(69);
    assert!(run.fault().contains("429"), "{}", run.err);
}
