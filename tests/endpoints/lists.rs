//! Presigned lists that page.

use crate::harness::{
    client::Call,
    server::{ALICE, BOB, TestServer},
    sigv4::encode,
    vending::{folder_request, ok},
};

#[tokio::test]
async fn a_list_url_is_followed_to_its_end_and_never_leaves_its_prefix() {
    let server = TestServer::start().await;
    for index in 0..3500 {
        server.store.put(&ALICE.file(&format!("f{index:05}")), vec![1]);
    }
    server.store.put(&BOB.file("foreign"), vec![1]);
    let access = ok(&server.post_json("/get-folder-access", &folder_request(&ALICE, Some("x"))).await);
    let url = access["list_url"].as_str().unwrap();
    let (mut keys, mut pages, mut more) = (Vec::new(), 0, String::new());
    loop {
        let answer = server.follow(url, &more).await;
        let page = answer.ok().xml();
        assert!(answer.text().contains("http://s3.amazonaws.com/doc/2006-03-01/"));
        keys.extend(
            page.children
                .iter()
                .filter(|child| child.name == "Contents")
                .map(|child| child.text_of("Key").unwrap().to_owned()),
        );
        pages += 1;
        match page.text_of("NextContinuationToken") {
            Some(token) => more = format!("&continuation-token={}", encode(token.as_bytes(), false)),
            None => break,
        }
    }
    assert_eq!((pages, keys.len()), (4, 3500));
    assert!(keys.iter().all(|key| key.starts_with(&ALICE.file(""))));

    let narrowed = server.follow(url, &format!("&prefix={}&max-keys=5", ALICE.file("f0001"))).await;
    assert_eq!(narrowed.ok().xml().children.iter().filter(|child| child.name == "Contents").count(), 5);
    assert_eq!(server.store.last().query("prefix"), Some(ALICE.file("f0001").as_str()));
    let after = server.follow(url, &format!("&start-after={}", ALICE.file("f03498"))).await;
    assert!(after.ok().text().contains("f03499") && !after.text().contains("f03498<"));
}

#[tokio::test]
async fn what_is_added_to_a_presigned_list_only_narrows_it() {
    let server = TestServer::start().await;
    let access = ok(&server.post_json("/get-folder-access", &folder_request(&ALICE, Some("x"))).await);
    let url = access["list_url"].as_str().unwrap().to_owned();
    for (more, status, code) in [
        ("&prefix=".to_owned(), 403, "AccessDenied"),
        ("&prefix=data/".to_owned(), 403, "AccessDenied"),
        (format!("&prefix={}", BOB.file("")), 403, "AccessDenied"),
        (format!("&prefix={}", ALICE.file("").trim_end_matches('/')), 403, "AccessDenied"),
        (format!("&start-after={}", BOB.file("")), 403, "AccessDenied"),
        (format!("&prefix={0}&prefix={0}", ALICE.file("a")), 400, "InvalidArgument"),
        (format!("&prefix={}", ALICE.file("../")), 400, "InvalidArgument"),
        ("&versions=".to_owned(), 403, "SignatureDoesNotMatch"),
        ("&encoding-type=url".to_owned(), 403, "SignatureDoesNotMatch"),
        ("&max-keys=1&fetch-owner=true".to_owned(), 403, "SignatureDoesNotMatch"),
    ] {
        server.follow(&url, &more).await.refused(status, code);
    }
    // Before the signature nothing is added.
    let before = url.replacen("list-type=2", "max-keys=1&list-type=2", 1);
    server.follow(&before, "").await.refused(403, "SignatureDoesNotMatch");
    server.store.saw_nothing();

    // Any presigned list pages, by either signature; other presigned requests take nothing.
    for key in server.both(&ALICE).await {
        let list = Call::get("").query("list-type", "2").query("prefix", &ALICE.file("")).presigned();
        let mut signed = server.sign(&key, &list);
        signed.target.push_str("&max-keys=1");
        server.send_signed(&signed).await.ok();
        assert_eq!(server.store.last().query("max-keys"), Some("1"));
        for call in [
            Call::get(&ALICE.file("f")).presigned(),
            Call::get("").query("prefix", &ALICE.file("")).presigned(),
        ] {
            let mut signed = server.sign(&key, &call);
            signed.target.push_str("&max-keys=1");
            server.send_signed(&signed).await.refused(403, "SignatureDoesNotMatch");
        }
    }
}
