//! Discoveries in layouts with an open variable above the identity: what one miner makes costs the others
//! neither their list nor their time, and an incomplete list never looks complete.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    client::Answer,
    server::{ALICE, BOB, Person, STRANGER, Setup, TestServer, VALIDATOR},
    store::Reply,
    vending::{ok, refused, validator_request},
};

const OPEN: &str = "folders = [\"data/{job}/{coldkey}/\"]\n\
                    [policy.variables]\njob = { pattern = \"[A-Za-z0-9._-]{1,64}\" }";

async fn server(policy: &str, seconds_max: u64) -> TestServer {
    let limits = format!("[endpoints]\ndiscovery_cache_seconds = 0\ndiscovery_seconds_max = {seconds_max}");
    TestServer::with(Setup { policy: policy.to_owned(), limits, ..Setup::default() }).await
}

fn key(job: &str, person: &Person, name: &str) -> String {
    format!("data/{job}/{}/{name}", person.coldkey.to_ss58())
}

async fn access(server: &TestServer) -> Answer {
    server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await
}

async fn folders(server: &TestServer) -> Answer {
    let kind = format!("folders:{}", VALIDATOR.ss58());
    server.post_json("/get-folder-presigned-urls", &validator_request(&VALIDATOR, &kind)).await
}

/// A miner's entry in the answer with all folders: its folders, and whether there are more.
fn of(folders: &Value, person: &Person) -> (Vec<String>, bool) {
    let miner = &folders["folder_urls"][person.coldkey.to_ss58()];
    let jobs: Vec<Value> = miner["job_folders"].as_array().unwrap().clone();
    assert_eq!(miner["total_jobs"], json!(jobs.len()));
    let ids = jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect();
    (ids, miner["truncated"].as_bool().unwrap())
}

#[tokio::test]
async fn directories_above_the_identity_are_swept() {
    let server = server(OPEN, 25).await;
    for (job, person) in
        [("j1", &*ALICE), ("j1", &*BOB), ("j2", &*ALICE), ("j1-x", &*BOB), ("j9", &*STRANGER)]
    {
        server.store.put(&key(job, person, "f"), vec![1]);
        server.store.put(&key(job, person, "g"), vec![1]);
    }
    // What no miner could have made.
    for key in ["data/j1/x", "data/j 1/y/z", "data/../x/y", "data//x/y", "data/j3/", "data/j1/5Bad/z"] {
        server.store.put(key, vec![1]);
    }
    let found = ok(&folders(&server).await);
    assert_eq!(of(&found, &ALICE), (vec!["j1".to_owned(), "j2".to_owned()], false));
    assert_eq!(of(&found, &BOB), (vec!["j1-x".to_owned(), "j1".to_owned()], false));
    assert_eq!(found["total_miners"], json!(2));
    let urls = &ok(&access(&server).await)["urls"];
    assert_eq!(urls["miners"][BOB.coldkey.to_ss58()].as_object().unwrap().len(), 2);
    assert!(urls.get("truncated").is_none() && urls.get("rest_urls").is_none());
    let url = urls["miners"][ALICE.coldkey.to_ss58()]["j2"]["list_files"].as_str().unwrap();
    assert!(server.follow(url, "").await.ok().text().contains("/g<"));
}

#[tokio::test]
async fn one_miners_many_directories_cost_the_others_neither_list_nor_time() {
    let server = server(OPEN, 25).await;
    for index in 0..12_500 {
        server.store.put(&key(&format!("a{index:06}"), &ALICE, "f"), vec![1]);
    }
    server.store.put(&key("z", &BOB, "f"), vec![1]);
    let found = ok(&folders(&server).await);
    assert_eq!(of(&found, &BOB), (vec!["z".to_owned()], false));
    let (jobs, is_truncated) = of(&found, &ALICE);
    assert_eq!((jobs.len(), is_truncated), (10_000, true));
    let rest = &found["folder_urls"][ALICE.coldkey.to_ss58()]["rest_urls"];
    assert_eq!(rest.as_object().unwrap().keys().collect::<Vec<_>>(), ["data/"]);
    // A thousand objects for each page that they cost.
    assert!(server.store.seen().len() <= 14, "{}", server.store.seen().len());

    let urls = &ok(&access(&server).await)["urls"];
    assert_eq!(urls["miners"][BOB.coldkey.to_ss58()].as_object().unwrap().len(), 1);
    assert_eq!(urls["miners"][ALICE.coldkey.to_ss58()].as_object().unwrap().len(), 100);
    assert_eq!(urls["truncated"], json!({ ALICE.coldkey.to_ss58(): ["data/"] }));
    let rest = urls["rest_urls"]["data/"].as_str().unwrap();
    assert!(server.follow(rest, "&start-after=data/y").await.ok().text().contains("data/z/"));
}

#[tokio::test]
async fn large_folders_are_stepped_over_and_their_directories_listed_side_by_side() {
    let server = server(OPEN, 25).await;
    for index in 0..60 {
        for file in 0..1100 {
            server.store.put(&key(&format!("j{index:03}"), &ALICE, &format!("{file:05}")), vec![1]);
        }
        server.store.put(&key(&format!("j{index:03}"), &BOB, "f"), vec![1]);
    }
    let found = ok(&folders(&server).await);
    for person in [&*ALICE, &*BOB] {
        let (jobs, is_truncated) = of(&found, person);
        assert_eq!((jobs.len(), is_truncated), (60, false));
    }
    let seen = server.store.seen();
    let pages_of_keys = seen.iter().filter(|seen| seen.query("delimiter").is_none()).count();
    assert!(pages_of_keys <= 3 && seen.len() <= 60 + 8, "{pages_of_keys} {}", seen.len());
}

#[tokio::test]
async fn every_variable_above_the_identity_is_swept() {
    let policy = "folders = [\"data/{source}/j={job}/{part}/all/{coldkey}/{name}/\"]\n\
                  [policy.variables]\nsource = [\"x\", \"y\"]\njob = { pattern = \"[a-z0-9]+\" }\n\
                  part = { pattern = \"[0-9]+\" }\nname = { pattern = \"[a-z0-9]+\" }";
    let server = server(policy, 25).await;
    let folder = |source: &str, job: usize, part: usize, person: &Person| {
        format!("data/{source}/j={job}/{part}/all/{}/n{job}", person.coldkey.to_ss58())
    };
    let mut expected = 0;
    for (source, job, parts, files) in [("x", 1, 3, 1200), ("x", 2, 40, 1), ("y", 3, 2, 1), ("x", 4, 2, 1500)]
    {
        for part in 0..parts {
            expected += 1;
            for file in 0..files {
                server.store.put(&format!("{}/{file:05}", folder(source, job, part, &ALICE)), vec![1]);
            }
            server.store.put(&format!("{}/f", folder(source, job, part, &BOB)), vec![1]);
        }
    }
    server.store.put("data/x/k=1/clutter", vec![1]);
    let found = ok(&folders(&server).await);
    for person in [&*ALICE, &*BOB] {
        let (jobs, is_truncated) = of(&found, person);
        assert_eq!((jobs.len(), is_truncated), (expected, false));
    }
}

#[tokio::test]
async fn a_sweep_that_did_not_come_around_says_so_and_goes_on_where_it_stopped() {
    let server = server(OPEN, 3).await;
    for index in 0..8000 {
        server.store.put(&key(&format!("m{index:06}"), &ALICE, "f"), vec![1]);
    }
    server.store.put(&key("a", &BOB, "f"), vec![1]);
    server.store.put(&key("z", &BOB, "f"), vec![1]);
    // A page takes its time: not all of them fit into the time for what is above the folders.
    server.store.script(|_| {
        std::thread::sleep(Duration::from_millis(300));
        None
    });
    let mut seen_before = (false, false);
    let mut rounds = 0;
    while seen_before != (true, true) || rounds < 3 {
        rounds += 1;
        assert!(rounds < 20, "{seen_before:?}");
        let found = ok(&folders(&server).await);
        let (jobs, is_truncated) = of(&found, &BOB);
        let sees = |job: &str| jobs.iter().any(|other| other == job);
        assert!(is_truncated, "an incomplete list looks complete");
        // What was found once stays while the sweep is elsewhere.
        assert!((sees("a") || !seen_before.0) && (sees("z") || !seen_before.1), "{jobs:?}");
        seen_before = (sees("a"), sees("z"));
        assert!(of(&found, &ALICE).1);
        // Nor does one who has nothing look as if that were certain.
        assert_eq!(of(&found, &VALIDATOR), (Vec::new(), true));
    }
    let urls = &ok(&access(&server).await)["urls"];
    assert_eq!(urls["truncated"].as_object().unwrap().len(), 3);
    assert_eq!(urls["rest_urls"].as_object().unwrap().keys().collect::<Vec<_>>(), ["data/"]);
    // With time enough it comes around.
    server.store.unscript();
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 10);
        let found = ok(&folders(&server).await);
        let (mut jobs, is_truncated) = of(&found, &BOB);
        jobs.sort();
        assert_eq!(jobs, ["a", "z"]);
        if !is_truncated {
            assert!(found["folder_urls"].get(VALIDATOR.coldkey.to_ss58()).is_none());
            break;
        }
    }
}

#[tokio::test]
async fn a_sweep_that_fails_is_no_list() {
    let server = server(OPEN, 25).await;
    for reply in [
        Reply::error(500, "InternalError", "why"),
        Reply::new(200).body("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
        Reply::new(200).body(
            "<ListBucketResult><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
        ),
        // A store that takes no notice of where a list is to begin.
        Reply::new(200).body(
            "<ListBucketResult><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>t</NextContinuationToken>\
             <Contents><Key>data/a</Key></Contents></ListBucketResult>",
        ),
    ] {
        server.store.unscript();
        server.store.always(reply);
        for answer in [access(&server).await, folders(&server).await] {
            refused(&answer, 503, "could not be completed");
        }
    }
}

#[tokio::test]
async fn readers_of_all_folders_that_do_not_read_hold_nobody_up() {
    let server = TestServer::start().await;
    for index in 0..4000 {
        server.store.put(&format!("data/hotkey={}/job_id=j{index:05}/f", ALICE.ss58()), vec![1]);
    }
    let kind = format!("folders:{}", VALIDATOR.ss58());
    let body = validator_request(&VALIDATOR, &kind).to_string();
    let request = format!(
        "POST /get-folder-presigned-urls HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
        server.host(),
        body.len()
    );
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut connection = server.connect().await;
        connection.send(request.as_bytes()).await;
        stalled.push(connection);
    }
    let answer = server.send_raw("POST", request.as_bytes());
    let answer = tokio::time::timeout(Duration::from_secs(60), answer).await.unwrap();
    assert_eq!(answer.get("content-length"), None);
    let found = ok(&answer);
    assert_eq!(found["folder_urls"][ALICE.ss58()]["total_jobs"], json!(4000));
    // They still get the same, once they read.
    for mut connection in stalled {
        let late = connection.answer("POST").await;
        assert_eq!(ok(&late)["folder_urls"][ALICE.ss58()]["total_jobs"], json!(4000));
    }
    assert_eq!(server.send_raw("HEAD", request.replacen("POST", "HEAD", 1).as_bytes()).await.status, 405);
}
