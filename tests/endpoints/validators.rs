//! What validators get.

use serde_json::{Value, json};

use crate::{
    ask::{now, ok, refused, signature, validator_request},
    gate::{A, B, Gate, STRANGER, Setup, VALIDATOR, bytes, registry},
    store::Reply,
};

async fn filled() -> Gate {
    let limits = "body_idle_seconds = 5\n[endpoints]\ndiscovery_cache_seconds = 0".into();
    let gate = Gate::with(Setup { limits, ..Setup::default() }).await;
    for person in [&*A, &*B, &*STRANGER] {
        gate.store.put(&person.file("f1"), bytes(2000));
        gate.store.put(&person.job("f2"), bytes(2000));
    }
    gate.store.put(&format!("data/hotkey={}/job_id=j2/f3", A.ss58()), bytes(2000));
    gate.store.put(&format!("data/hotkey={}/job id/f4", A.ss58()), bytes(2000));
    gate
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
    let gate = filled().await;
    let mut request = validator_request(&VALIDATOR, "access");
    request["validator_hotkey"] = request.as_object_mut().unwrap().remove("hotkey").unwrap();
    let access = ok(&gate.post_json("/get-validator-access", &request).await);
    assert_eq!(access["validator_hotkey"], json!(VALIDATOR.ss58()));
    assert!(access["expiry_seconds"].as_u64().unwrap() > 86_000);
    let urls = &access["urls"];
    let follow = async |url: &Value| gate.follow(url.as_str().unwrap(), "").await.ok().text();
    assert!(follow(&urls["global"]["list_all_data"]).await.contains(&B.file("f1")));
    assert_eq!(urls["sources"].as_object().unwrap().keys().collect::<Vec<_>>(), ["reddit", "x"]);
    assert_eq!(urls["sources"]["x"]["prefix"], json!("data/x/"));
    let miners = follow(&urls["sources"]["x"]["list_miners"]).await;
    assert!(miners.contains(&format!("<Prefix>{}</Prefix>", A.file(""))));
    let miners = urls["miners"].as_object().unwrap();
    let mut expected = vec![A.coldkey.to_ss58(), B.coldkey.to_ss58(), A.ss58(), B.ss58()];
    expected.sort();
    assert_eq!(miners.keys().cloned().collect::<Vec<_>>(), expected);
    let folder = &miners[&A.coldkey.to_ss58()]["x"];
    assert_eq!(folder["prefix"], json!(A.file("")));
    assert_eq!(folder["hotkeys"].as_array().unwrap().len(), 2);
    assert!(follow(&folder["list_files"]).await.contains("f1"));
    assert!(follow(&miners[&A.ss58()]["all"]["list_files"]).await.contains("f2"));
    // A URL that was handed out is worth what its validator is.
    std::fs::write(gate.registry(), registry(&[&A, &B, &VALIDATOR], &[])).unwrap();
    gate.follow(urls["global"]["list_all_data"].as_str().unwrap(), "").await.refused(403, "AccessDenied");
    refused(
        &gate.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await,
        401,
        "You are not validator",
    );
}

#[tokio::test]
async fn one_miner_job_folders_and_files() {
    let gate = filled().await;
    let mut request = validator_request(&VALIDATOR, &format!("miner:{}", A.ss58()));
    request["miner_hotkey"] = json!(A.ss58());
    let miner = ok(&gate.post_json("/get-miner-specific-access", &request).await);
    assert_eq!(miner["prefix"], json!(format!("data/hotkey={}/", A.ss58())));
    assert!(
        gate.follow(miner["miner_url"].as_str().unwrap(), "&max-keys=5").await.ok().text().contains("j2/f3")
    );
    request["source"] = json!("x");
    assert_eq!(
        ok(&gate.post_json("/get-miner-specific-access", &request).await)["prefix"],
        json!(A.file(""))
    );

    let request = validator_request(&VALIDATOR, &format!("folders:{}", VALIDATOR.ss58()));
    let folders = ok(&gate.post_json("/get-folder-presigned-urls", &request).await);
    assert!(folders["commitment_used"].as_str().unwrap().starts_with("s3:validator:folders:"));
    let of = &folders["folder_urls"][A.ss58()];
    assert_eq!(
        (of["total_jobs"].as_u64(), of["miner_path"].as_str()),
        (Some(2), Some(format!("data/hotkey={}/", A.ss58()).as_str()))
    );
    let job = &of["job_folders"][1];
    assert_eq!(
        (job["job_id"].as_str(), job["path"].as_str().unwrap().ends_with("/job_id=j2/")),
        (Some("j2"), true)
    );
    assert!(gate.follow(job["presigned_url"].as_str().unwrap(), "").await.ok().text().contains("f3"));
    assert!(folders["folder_urls"].get(STRANGER.ss58()).is_none());

    let good = A.job("f2");
    let keys = [good.clone(), A.file("f1"), B.job("f2"), A.job("../x"), String::new(), "data/x".into()];
    let files = ok(&gate.post_json("/get-file-presigned-urls", &files_request(&A.ss58(), &keys, 2)).await);
    assert_eq!(
        (files["valid_files_count"].as_u64(), files["invalid_files_count"].as_u64()),
        (Some(2), Some(4))
    );
    let file = &files["file_urls"][&good];
    assert_eq!(
        (file["file_name"].as_str(), file["expires_in_seconds"].as_u64(), file["file_key"].as_str()),
        (Some("f2"), Some(7200), Some(good.as_str()))
    );
    let answer = gate.follow(file["presigned_url"].as_str().unwrap(), "").await;
    assert_eq!(answer.ok().body, bytes(2000));
}

#[tokio::test]
async fn validators_alone_and_within_bounds() {
    let gate = filled().await;
    for (path, kind) in [
        ("/get-validator-access", "access".to_owned()),
        ("/get-folder-presigned-urls", format!("folders:{}", A.ss58())),
    ] {
        refused(&gate.post_json(path, &validator_request(&A, &kind)).await, 401, "You are not validator");
        refused(
            &gate.post_json(path, &validator_request(&VALIDATOR, "else")).await,
            401,
            "Invalid signature",
        );
    }
    let many: Vec<String> = (0..501).map(|index| A.job(&format!("f{index}"))).collect();
    refused(
        &gate.post_json("/get-file-presigned-urls", &files_request(&A.ss58(), &many, 1)).await,
        400,
        "500",
    );
    let files =
        ok(&gate.post_json("/get-file-presigned-urls", &files_request(&A.ss58(), &many[..500], 1)).await);
    assert_eq!(files["valid_files_count"].as_u64(), Some(500));
    refused(
        &gate.post_json("/get-file-presigned-urls", &files_request(&A.ss58(), &[], 25)).await,
        400,
        "expiry_hours",
    );
    refused(
        &gate.post_json("/get-file-presigned-urls", &files_request(&STRANGER.ss58(), &[], 1)).await,
        400,
        "not registered",
    );
    let timestamp = now() - 400;
    let old = json!({ "hotkey": VALIDATOR.ss58(), "timestamp": timestamp, "signature": signature(&VALIDATOR.hotkey, &format!("s3:validator:access:{timestamp}")) });
    refused(&gate.post_json("/get-validator-access", &old).await, 400, "Invalid timestamp");
}

#[tokio::test]
async fn a_list_that_could_not_be_completed_is_no_list() {
    let gate = filled().await;
    let ask =
        async || gate.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await;
    let lists = |reply: Reply| {
        gate.store.unscript();
        gate.store.script(move |seen| {
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
    gate.store.unscript();
    ok(&ask().await);
}

#[tokio::test]
async fn miners_are_discovered_page_by_page() {
    let gate = filled().await;
    for index in 0..2500 {
        gate.store.put(&format!("data/x/5{index:05}/f"), vec![1]);
    }
    let access = ok(&gate.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await);
    assert!(access["urls"]["miners"][A.coldkey.to_ss58()]["x"].is_object());
    assert!(access["urls"]["miners"][B.coldkey.to_ss58()]["x"].is_object());
    let pages = gate.store.seen().into_iter().filter(|seen| seen.query("prefix") == Some("data/x/")).count();
    assert_eq!(pages, 3);
}

/// Both endpoints that discover.
async fn discoveries(gate: &Gate) -> [crate::client::Answer; 2] {
    let folders = format!("folders:{}", VALIDATOR.ss58());
    [
        gate.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await,
        gate.post_json("/get-folder-presigned-urls", &validator_request(&VALIDATOR, &folders)).await,
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
        let gate = Gate::with(Setup { policy, ..Setup::default() }).await;
        gate.store.put(&A.job("f"), bytes(2000));
        for answer in discoveries(&gate).await {
            refused(&answer, 403, "FolderDenied");
        }
        gate.store.saw_nothing();
    }
}

#[tokio::test]
async fn one_miner_with_very_many_folders_costs_the_others_nothing() {
    let gate = Gate::start().await;
    for index in 0..10_100 {
        gate.store.put(&format!("data/hotkey={}/job_id=j{index:05}/f", A.ss58()), vec![1]);
    }
    gate.store.put(&B.job("f"), bytes(2000));
    let [_, folders] = discoveries(&gate).await;
    let folders = ok(&folders);
    let (many, few) = (&folders["folder_urls"][A.ss58()], &folders["folder_urls"][B.ss58()]);
    assert_eq!((many["total_jobs"].as_u64(), many["truncated"].as_bool()), (Some(10_000), Some(true)));
    assert_eq!((few["total_jobs"].as_u64(), few["truncated"].as_bool()), (Some(1), Some(false)));
    assert!(few.get("rest_urls").is_none());
    let rest = many["rest_urls"][many["miner_path"].as_str().unwrap()].as_str().unwrap();
    let last = format!("data/hotkey={}/job_id=j10099/", A.ss58());
    assert!(gate.follow(rest, &format!("&prefix={last}")).await.ok().text().contains("j10099/f"));
}

#[tokio::test]
async fn a_failed_discovery_is_remembered_as_a_good_one_is() {
    let gate = Gate::start().await;
    gate.store.always(Reply::error(500, "InternalError", "why"));
    for answer in discoveries(&gate).await {
        refused(&answer, 503, "could not be completed");
    }
    let seen = gate.store.seen().len();
    for answer in discoveries(&gate).await {
        refused(&answer, 503, "could not be completed");
    }
    assert_eq!(gate.store.seen().len(), seen);
}

#[tokio::test]
async fn each_root_and_each_layout_has_its_own_name() {
    let policy = "folders = [\"a/{hotkey}/\", \"b/{hotkey}/\", \"c/{coldkey}/\"]".to_owned();
    let gate = Gate::with(Setup { policy, ..Setup::default() }).await;
    for key in
        [format!("a/{}/f", A.ss58()), format!("b/{}/f", A.ss58()), format!("c/{}/f", A.coldkey.to_ss58())]
    {
        gate.store.put(&key, bytes(2000));
    }
    let [access, _] = discoveries(&gate).await;
    let access = ok(&access);
    let (global, miners) = (&access["urls"]["global"], &access["urls"]["miners"]);
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&global["list_all_roots"]), ["a/", "b/", "c/"]);
    assert_eq!(names(&miners[A.ss58()]), ["a/{hotkey}/", "b/{hotkey}/"]);
    assert_eq!(names(&miners[A.coldkey.to_ss58()]), ["all"]);
    let url = global["list_all_roots"]["b/"].as_str().unwrap();
    assert!(gate.follow(url, "").await.ok().text().contains(&format!("b/{}/f", A.ss58())));

    let policy = "folders = [\"{hotkey}/\"]".to_owned();
    let gate = Gate::with(Setup { policy, ..Setup::default() }).await;
    let request = validator_request(&VALIDATOR, "access");
    refused(&gate.post_json("/get-validator-access", &request).await, 500, "policy.folders");
    gate.store.saw_nothing();
}
