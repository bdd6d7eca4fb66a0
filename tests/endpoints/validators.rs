//! What validators get.

use serde_json::{Value, json};

use crate::harness::{
    server::{ALICE, BOB, STRANGER, Setup, TestServer, VALIDATOR, bytes, registry},
    store::Reply,
    vending::{now, ok, refused, signature, validator_request},
};

async fn filled() -> TestServer {
    let limits = "progress_idle_seconds = 5\n[endpoints]\ndiscovery_cache_seconds = 0".into();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    for person in [&*ALICE, &*BOB, &*STRANGER] {
        server.store.put(&person.file("f1"), bytes(2000));
        server.store.put(&person.job("f2"), bytes(2000));
    }
    server.store.put(&format!("data/hotkey={}/job_id=j2/f3", ALICE.ss58()), bytes(2000));
    server.store.put(&format!("data/hotkey={}/job id/f4", ALICE.ss58()), bytes(2000));
    server
}

fn files_request(miner: &str, keys: &[String], hours: u64) -> Value {
    let mut request = validator_request(&VALIDATOR, &format!("files:{miner}:{}", VALIDATOR.ss58()));
    request["miner_hotkey"] = json!(miner);
    request["file_keys"] = json!(keys);
    request["expiry_hours"] = json!(hours);
    request
}

#[tokio::test]
async fn a_validator_gets_everything_each_source_and_each_miner() {
    let server = filled().await;
    let mut request = validator_request(&VALIDATOR, "access");
    request["validator_hotkey"] = request.as_object_mut().unwrap().remove("hotkey").unwrap();
    let access = ok(&server.post_json("/get-validator-access", &request).await);
    assert_eq!(access["validator_hotkey"], json!(VALIDATOR.ss58()));
    assert!(access["expiry_seconds"].as_u64().unwrap() > 86_000);
    let urls = &access["urls"];
    let follow = async |url: &Value| server.follow(url.as_str().unwrap(), "").await.ok().text();
    assert!(follow(&urls["global"]["list_all_data"]).await.contains(&BOB.file("f1")));
    assert_eq!(urls["sources"].as_object().unwrap().keys().collect::<Vec<_>>(), ["reddit", "x"]);
    assert_eq!(urls["sources"]["x"]["prefix"], json!("data/x/"));
    let miners = follow(&urls["sources"]["x"]["list_miners"]).await;
    assert!(miners.contains(&format!("<Prefix>{}</Prefix>", ALICE.file(""))));
    let miners = urls["miners"].as_object().unwrap();
    let mut expected = vec![ALICE.coldkey.to_ss58(), BOB.coldkey.to_ss58(), ALICE.ss58(), BOB.ss58()];
    expected.push("list_all_miners".to_owned());
    expected.sort();
    assert_eq!(miners.keys().cloned().collect::<Vec<_>>(), expected);
    let folder = &miners[&ALICE.coldkey.to_ss58()]["x"];
    assert_eq!(folder["prefix"], json!(ALICE.file("")));
    assert_eq!(folder["hotkeys"].as_array().unwrap().len(), 2);
    assert!(follow(&folder["list_files"]).await.contains("f1"));
    assert!(follow(&miners[&ALICE.ss58()]["all"]["list_files"]).await.contains("f2"));
    // A URL that was handed out is worth what its validator is.
    std::fs::write(server.registry(), registry(&[&ALICE, &BOB, &VALIDATOR], &[])).unwrap();
    server.follow(urls["global"]["list_all_data"].as_str().unwrap(), "").await.refused(403, "AccessDenied");
    refused(
        &server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await,
        401,
        "You are not validator",
    );
}

#[tokio::test]
async fn one_miner_job_folders_and_files() {
    let server = filled().await;
    let mut request = validator_request(&VALIDATOR, &format!("miner:{}", ALICE.ss58()));
    request["miner_hotkey"] = json!(ALICE.ss58());
    let miner = ok(&server.post_json("/get-miner-specific-access", &request).await);
    assert_eq!(miner["prefix"], json!(format!("data/hotkey={}/", ALICE.ss58())));
    assert!(
        server
            .follow(miner["miner_url"].as_str().unwrap(), "&max-keys=5")
            .await
            .ok()
            .text()
            .contains("j2/f3")
    );
    request["source"] = json!("x");
    assert_eq!(
        ok(&server.post_json("/get-miner-specific-access", &request).await)["prefix"],
        json!(ALICE.file(""))
    );

    let request = validator_request(&VALIDATOR, &format!("folders:{}", VALIDATOR.ss58()));
    let folders = ok(&server.post_json("/get-folder-presigned-urls", &request).await);
    assert!(folders["commitment_used"].as_str().unwrap().starts_with("s3:validator:folders:"));
    let of = &folders["folder_urls"][ALICE.ss58()];
    assert_eq!(
        (of["total_jobs"].as_u64(), of["miner_path"].as_str()),
        (Some(2), Some(format!("data/hotkey={}/", ALICE.ss58()).as_str()))
    );
    let job = &of["job_folders"][1];
    assert_eq!(
        (job["job_id"].as_str(), job["path"].as_str().unwrap().ends_with("/job_id=j2/")),
        (Some("j2"), true)
    );
    assert!(server.follow(job["presigned_url"].as_str().unwrap(), "").await.ok().text().contains("f3"));
    assert!(folders["folder_urls"].get(STRANGER.ss58()).is_none());

    let good = ALICE.job("f2");
    let keys =
        [good.clone(), ALICE.file("f1"), BOB.job("f2"), ALICE.job("../x"), String::new(), "data/x".into()];
    let files =
        ok(&server.post_json("/get-file-presigned-urls", &files_request(&ALICE.ss58(), &keys, 2)).await);
    assert_eq!(
        (files["valid_files_count"].as_u64(), files["invalid_files_count"].as_u64()),
        (Some(2), Some(4))
    );
    let file = &files["file_urls"][&good];
    assert_eq!(
        (file["file_name"].as_str(), file["expires_in_seconds"].as_u64(), file["file_key"].as_str()),
        (Some("f2"), Some(7200), Some(good.as_str()))
    );
    let answer = server.follow(file["presigned_url"].as_str().unwrap(), "").await;
    assert_eq!(answer.ok().body, bytes(2000));
}

#[tokio::test]
async fn validators_alone_and_within_bounds() {
    let server = filled().await;
    for (path, kind) in [
        ("/get-validator-access", "access".to_owned()),
        ("/get-folder-presigned-urls", format!("folders:{}", ALICE.ss58())),
    ] {
        refused(
            &server.post_json(path, &validator_request(&ALICE, &kind)).await,
            401,
            "You are not validator",
        );
        refused(
            &server.post_json(path, &validator_request(&VALIDATOR, "else")).await,
            401,
            "Invalid signature",
        );
    }
    let many: Vec<String> = (0..501).map(|index| ALICE.job(&format!("f{index}"))).collect();
    refused(
        &server.post_json("/get-file-presigned-urls", &files_request(&ALICE.ss58(), &many, 1)).await,
        400,
        "500",
    );
    let files = ok(&server
        .post_json("/get-file-presigned-urls", &files_request(&ALICE.ss58(), &many[..500], 1))
        .await);
    assert_eq!(files["valid_files_count"].as_u64(), Some(500));
    refused(
        &server.post_json("/get-file-presigned-urls", &files_request(&ALICE.ss58(), &[], 25)).await,
        400,
        "expiry_hours",
    );
    refused(
        &server.post_json("/get-file-presigned-urls", &files_request(&STRANGER.ss58(), &[], 1)).await,
        400,
        "not registered",
    );
    let timestamp = now() - 400;
    let string = format!("s3:validator:access:{timestamp}");
    let signature = signature(&VALIDATOR.hotkey, &string);
    let old = json!({ "hotkey": VALIDATOR.ss58(), "timestamp": timestamp, "signature": signature });
    refused(&server.post_json("/get-validator-access", &old).await, 400, "Invalid timestamp");
}

#[tokio::test]
async fn a_list_that_could_not_be_completed_is_no_list() {
    let server = filled().await;
    let ask =
        async || server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await;
    let lists = |reply: Reply| {
        server.store.unscript();
        server.store.script(move |seen| {
            seen.query("prefix").is_some_and(|prefix| prefix == "data/x/").then(|| reply.clone())
        });
    };
    let page = |inner: &str| Reply::new(200).body(format!("<ListBucketResult>{inner}</ListBucketResult>"));
    for reply in [
        Reply::error(500, "InternalError", "why"),
        Reply::error(403, "AccessDenied", "why"),
        Reply::error(404, "NoSuchBucket", "why"),
        Reply::new(200).body("<html/>"),
        Reply::new(200).body(""),
        page(""),
        page("<IsTruncated>true</IsTruncated>"),
        page("<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>"),
        page("<IsTruncated>false</IsTruncated><CommonPrefixes/>"),
        Reply::new(200).header("content-length", "900").piece(0, "<ListBucketResult>").broken(),
    ] {
        lists(reply);
        let answer = ask().await;
        refused(&answer, 503, "could not be completed");
        assert!(answer.get("retry-after").is_some());
    }
    server.store.unscript();
    ok(&ask().await);
}

#[tokio::test]
async fn miners_are_discovered_page_by_page() {
    let server = filled().await;
    for index in 0..2500 {
        server.store.put(&format!("data/x/5{index:05}/f"), vec![1]);
    }
    let access =
        ok(&server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await);
    assert!(access["urls"]["miners"][ALICE.coldkey.to_ss58()]["x"].is_object());
    assert!(access["urls"]["miners"][BOB.coldkey.to_ss58()]["x"].is_object());
    let pages =
        server.store.seen().into_iter().filter(|seen| seen.query("prefix") == Some("data/x/")).count();
    assert_eq!(pages, 3);
}

/// Both endpoints that discover.
async fn discoveries(server: &TestServer) -> [crate::harness::client::Answer; 2] {
    let folders = format!("folders:{}", VALIDATOR.ss58());
    [
        server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await,
        server.post_json("/get-folder-presigned-urls", &validator_request(&VALIDATOR, &folders)).await,
    ]
}

#[tokio::test]
async fn a_validator_that_may_not_list_discovers_nothing() {
    for rights in ["", "own = [\"list\", \"read\"]\n"] {
        let policy = format!(
            "folders = [\"data/{{source}}/{{coldkey}}/\", \"data/hotkey={{hotkey}}/job_id={{job_id}}/\"]\n\
             [policy.variables]\nsource = [\"x\", \"reddit\"]\njob_id = {{ pattern = \"[a-z0-9]+\" }}\n\
             [policy.roles.validator]\n{rights}all = [\"read\"]"
        );
        let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
        server.store.put(&ALICE.job("f"), bytes(2000));
        for answer in discoveries(&server).await {
            refused(&answer, 403, "FolderDenied");
        }
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn one_miner_with_very_many_folders_costs_the_others_nothing() {
    let server = TestServer::start().await;
    for index in 0..10_100 {
        server.store.put(&format!("data/hotkey={}/job_id=j{index:05}/f", ALICE.ss58()), vec![1]);
    }
    server.store.put(&BOB.job("f"), bytes(2000));
    let [_, folders] = discoveries(&server).await;
    let folders = ok(&folders);
    let (many, few) = (&folders["folder_urls"][ALICE.ss58()], &folders["folder_urls"][BOB.ss58()]);
    assert_eq!((many["total_jobs"].as_u64(), many["truncated"].as_bool()), (Some(10_000), Some(true)));
    assert_eq!((few["total_jobs"].as_u64(), few["truncated"].as_bool()), (Some(1), Some(false)));
    assert!(few.get("rest_urls").is_none());
    let rest = many["rest_urls"][many["miner_path"].as_str().unwrap()].as_str().unwrap();
    let last = format!("data/hotkey={}/job_id=j10099/", ALICE.ss58());
    assert!(server.follow(rest, &format!("&prefix={last}")).await.ok().text().contains("j10099/f"));
}

#[tokio::test]
async fn a_failed_discovery_is_remembered_as_a_good_one_is() {
    let server = TestServer::start().await;
    server.store.always(Reply::error(500, "InternalError", "why"));
    for answer in discoveries(&server).await {
        refused(&answer, 503, "could not be completed");
    }
    let seen = server.store.seen().len();
    for answer in discoveries(&server).await {
        refused(&answer, 503, "could not be completed");
    }
    assert_eq!(server.store.seen().len(), seen);
}

#[tokio::test]
async fn each_root_and_each_layout_has_its_own_name() {
    let policy = "folders = [\"a/{hotkey}/\", \"b/{hotkey}/\", \"c/{coldkey}/\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    for key in [
        format!("a/{}/f", ALICE.ss58()),
        format!("b/{}/f", ALICE.ss58()),
        format!("c/{}/f", ALICE.coldkey.to_ss58()),
    ] {
        server.store.put(&key, bytes(2000));
    }
    let [access, _] = discoveries(&server).await;
    let access = ok(&access);
    let (global, miners) = (&access["urls"]["global"], &access["urls"]["miners"]);
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&global["list_all_roots"]), ["a/", "b/", "c/"]);
    assert_eq!(names(&miners[ALICE.ss58()]), ["a/{hotkey}/", "b/{hotkey}/"]);
    assert_eq!(names(&miners[ALICE.coldkey.to_ss58()]), ["all"]);
    let url = global["list_all_roots"]["b/"].as_str().unwrap();
    assert!(server.follow(url, "").await.ok().text().contains(&format!("b/{}/f", ALICE.ss58())));

    let policy = "folders = [\"{hotkey}/\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    let request = validator_request(&VALIDATOR, "access");
    refused(&server.post_json("/get-validator-access", &request).await, 500, "policy.folders");
    server.store.saw_nothing();
}
