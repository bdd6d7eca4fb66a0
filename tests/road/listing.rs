//! P32, P33: listings, and what the bucket itself is asked.

use crate::harness::{
    client::{Answer, Call},
    server::{ALICE, BOB, Setup, TestServer, VALIDATOR},
    store::{Reply, Seen},
};

fn list(prefix: &str) -> Call {
    Call::get("").query("list-type", "2").query("prefix", prefix)
}

fn by_slash(call: Call) -> Call {
    call.query("delimiter", "/")
}

fn names(answer: &Answer, element: &str, child: &str) -> Vec<String> {
    let root = answer.xml();
    let children = root.children.iter().filter(|entry| entry.name == element);
    children.map(|entry| entry.text_of(child).unwrap().to_owned()).collect()
}

fn prefixes(answer: &Answer) -> Vec<String> {
    names(answer, "CommonPrefixes", "Prefix")
}

fn keys(answer: &Answer) -> Vec<String> {
    names(answer, "Contents", "Key")
}

async fn filled() -> TestServer {
    // Some tests ask for hundreds of lists, one right after the other.
    let limits = "[limits.miner]\nlists_per_second = \"none\"".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    for person in [&*ALICE, &*BOB, &*VALIDATOR] {
        for name in ["a", "b/1", "b/2", "c d+ü"] {
            server.store.put(&person.file(name), "x");
        }
        server.store.put(&person.job("j"), "x");
    }
    server.store.put("outside", "x");
    server
}

#[tokio::test]
async fn p32_a_miner_lists_its_own_folders_and_nothing_else() {
    let server = filled().await;
    for key in server.both(&ALICE).await {
        for v2 in [true, false] {
            let list = |prefix: &str| {
                let call = Call::get("").query("prefix", prefix);
                if v2 { call.query("list-type", "2") } else { call }
            };
            let whole = server.send(&key, &list(&ALICE.file(""))).await;
            assert_eq!(
                keys(whole.ok()),
                [ALICE.file("a"), ALICE.file("b/1"), ALICE.file("b/2"), ALICE.file("c d+ü")]
            );
            assert_eq!(keys(server.send(&key, &list(&ALICE.file("b/"))).await.ok()).len(), 2);
            assert_eq!(keys(server.send(&key, &list(&ALICE.file("b"))).await.ok()).len(), 2);
            let walked = server.send(&key, &by_slash(list(&ALICE.file("")))).await;
            assert_eq!(prefixes(walked.ok()), [ALICE.file("b/")]);
            assert_eq!(keys(&walked), [ALICE.file("a"), ALICE.file("c d+ü")]);
            assert_eq!(
                keys(server.send(&key, &list(&format!("data/hotkey={}/", ALICE.ss58()))).await.ok()),
                [ALICE.job("j")]
            );
            // Without its slash the folder is still the folder, and never the start of another's.
            let bare = ALICE.file("").trim_end_matches('/').to_owned();
            assert_eq!(keys(server.send(&key, &list(&bare)).await.ok()).len(), 4);
            assert_eq!(server.store.last().query("prefix").unwrap(), ALICE.file(""));
            server.store.forget();
            for prefix in [
                "",
                "d",
                "data",
                "data/",
                "data/x",
                "data/x/",
                "data/x/5",
                &BOB.file(""),
                &BOB.file("a"),
                &bare[..bare.len() - 1],
                "outside",
                "data/web/",
                "data/hotkey=",
                &format!("{bare}D"),
                "data/x/5%",
            ] {
                let message = server.send(&key, &list(prefix)).await.refused(403, "AccessDenied");
                assert!(
                    message.starts_with("FolderDenied: ") && message.contains(&ALICE.file("")),
                    "{message}"
                );
                // A delimiter that is not a slash shows nothing of siblings either.
                for delimiter in ["5", "a", "%", "//", ""] {
                    server
                        .send(&key, &list(prefix).query("delimiter", delimiter))
                        .await
                        .refused(403, "AccessDenied");
                }
            }
            server.store.saw_nothing();
        }
    }
}

#[tokio::test]
async fn p32_above_the_own_folders_only_the_way_down_is_shown_and_from_here() {
    let server = filled().await;
    for key in server.both(&ALICE).await {
        for v2 in [true, false] {
            let list = |prefix: &str| {
                let call = by_slash(Call::get("").query("prefix", prefix));
                if v2 { call.query("list-type", "2") } else { call }
            };
            let hot = format!("data/hotkey={}/", ALICE.ss58());
            let cold = ALICE.file("");
            for (prefix, shown) in [
                ("", vec!["data/"]),
                ("data/", vec![hot.as_str(), "data/reddit/", "data/x/"]),
                ("data/x/", vec![cold.as_str()]),
                (cold.trim_end_matches('/'), vec![cold.as_str()]),
                (hot.trim_end_matches('/'), vec![hot.as_str()]),
            ] {
                let answer = server.send(&key, &list(prefix)).await;
                assert_eq!(prefixes(answer.ok()), shown, "{prefix:?}");
                assert!(keys(&answer).is_empty());
                let root = answer.xml();
                assert!(
                    answer
                        .text()
                        .contains("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">")
                );
                assert_eq!(root.text_of("Name"), Some("data-universe"));
                assert_eq!(root.text_of("Prefix"), Some(prefix));
                assert_eq!(root.text_of("IsTruncated"), Some("false"));
                assert_eq!(root.text_of("KeyCount").is_some(), v2);
                assert_eq!(root.text_of("MaxKeys"), Some("1000"));
            }
            // Paged one by one.
            let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let call = list("data/").query("max-keys", "1").query("encoding-type", "url");
                let call = match (after.as_str(), v2) {
                    ("", _) => call,
                    (after, true) => call.query("continuation-token", after),
                    (after, false) => call
                        .query("marker", &String::from_utf8(crate::harness::sigv4::decode(after)).unwrap()),
                };
                let answer = server.send(&key, &call).await;
                seen.extend(prefixes(answer.ok()));
                pages += 1;
                let root = answer.xml();
                assert_eq!(root.text_of("EncodingType"), Some("url"));
                if root.text_of("IsTruncated") == Some("false") {
                    break;
                }
                let next = if v2 { "NextContinuationToken" } else { "NextMarker" };
                root.text_of(next).unwrap().clone_into(&mut after);
                assert!(pages < 9);
            }
            assert_eq!((seen.len(), pages), (3, 3));
            assert!(seen[0].starts_with("data/hotkey%3D"), "{seen:?}");
            let none = server.send(&key, &list("data/").query("max-keys", "0")).await;
            assert!(prefixes(none.ok()).is_empty());
        }
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn p32_markers_and_uploads_stay_inside_as_well() {
    let server = filled().await;
    for key in server.both(&ALICE).await {
        let inside = ALICE.file("b/1");
        let answer = server.send(&key, &list(&ALICE.file("")).query("start-after", &inside)).await;
        assert_eq!(keys(answer.ok()).len(), 2);
        let answer =
            server.send(&key, &Call::get("").query("prefix", &ALICE.file("")).query("marker", &inside)).await;
        assert_eq!(keys(answer.ok()).len(), 2);
        server.send(&key, &Call::get("").query("uploads", "").query("prefix", &ALICE.file(""))).await.ok();
        server.store.forget();
        for call in [
            list(&ALICE.file("")).query("start-after", &BOB.file("a")),
            Call::get("").query("prefix", &ALICE.file("")).query("marker", &BOB.file("a")),
            Call::get("")
                .query("uploads", "")
                .query("prefix", &ALICE.file(""))
                .query("key-marker", &BOB.file("a")),
            Call::get("").query("uploads", ""),
            Call::get("").query("uploads", "").query("delimiter", "/"),
            Call::get("").query("uploads", "").query("prefix", &BOB.file("")),
        ] {
            server.send(&key, &call).await.refused(403, "AccessDenied");
        }
        for bad in [ALICE.file("../"), ALICE.file("a//"), ALICE.file("a\nb"), "/".to_owned()] {
            server.send(&key, &list(&bad)).await.refused(400, "InvalidArgument");
        }
        for outside in ["/".to_owned(), BOB.file("../"), BOB.file("a//"), BOB.file("a\nb")] {
            server
                .send(&key, &list(&ALICE.file("")).query("start-after", &outside))
                .await
                .refused(400, "InvalidArgument");
        }
        let long = ALICE.file(&"a".repeat(1024));
        for name in ["start-after", "marker"] {
            let call = if name == "marker" { Call::get("") } else { Call::get("").query("list-type", "2") };
            let call = call.query("prefix", &ALICE.file("")).query(name, &long);
            server.send(&key, &call).await.refused(400, "KeyTooLongError");
        }
        server
            .send(&key, &Call::get("").query("versions", "").query("prefix", &ALICE.file("")))
            .await
            .refused(501, "NotImplemented");
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn p32_start_after_beside_a_token_goes_on_or_is_left_out() {
    let server = filled().await;
    let key = server.session(&ALICE).await;
    let inside = ALICE.file("b/1");
    for (start_after, forwarded) in [
        (inside.clone(), Some(inside.as_str())),
        (ALICE.file("a"), None),
        (BOB.file("a"), None),
        (ALICE.file("a//b"), None),
    ] {
        let call = list(&ALICE.file("")).query("start-after", &start_after);
        let answer = server.send(&key, &call.query("continuation-token", &ALICE.file("a"))).await;
        assert_eq!(keys(answer.ok()).len(), 3);
        let seen = server.store.last();
        assert_eq!(seen.query("start-after"), forwarded, "{start_after}");
        assert_eq!(seen.query("continuation-token"), Some(ALICE.file("a").as_str()));
    }
}

#[tokio::test]
async fn p52_one_key_makes_no_list_unreadable() {
    let server = filled().await;
    let key = server.session(&VALIDATOR).await;
    let bad = [ALICE.file("n\u{fffe}"), ALICE.file("n\u{ffff}o"), ALICE.file("n\u{1}")];
    for name in &bad {
        server.store.put(name, "x");
    }
    let spelled = ["n\u{91}%01", "n\u{91}%EF%BF%BE", "n\u{91}%EF%BF%BFo"].map(|name| ALICE.file(name));
    for call in [list("data/x/"), Call::get("").query("prefix", "data/x/")] {
        let answer = server.send(&key, &call).await;
        let listed = keys(answer.ok());
        assert!(spelled.iter().all(|name| listed.contains(name)), "{listed:?}");
        assert!(listed.contains(&ALICE.file("c d+ü")) && listed.contains(&BOB.file("b/2")));
        // As the store sent it where it spells the names itself.
        let answer = server.send(&key, &call.query("encoding-type", "url")).await;
        assert!(answer.ok().text().contains("n%EF%BF%BE</Key>"));
    }
    // And no such key comes in, by any way.
    server.store.forget();
    let own = server.session(&ALICE).await;
    for name in bad.iter().chain(&spelled) {
        for call in [
            Call::put(name, vec![0; 2000]),
            Call::post(name, "").query("uploads", ""),
            Call::put(name, "").header("x-amz-copy-source", format!("/data-universe/{}", ALICE.file("a"))),
            Call::get(name),
            list(name),
        ] {
            server.send(&own, &call).await.refused(400, "InvalidArgument");
        }
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p32_a_list_goes_on_behind_a_key_that_no_client_could_have_stored() {
    let policy = "folders = [\"a/{hotkey}/\", \"b/{hotkey}/\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    let own = |root: &str, name: &str| format!("{root}/{}/{name}", ALICE.ss58());
    let mut all = Vec::new();
    for root in ["a", "b"] {
        for name in [
            "../c",
            "./c",
            "/",
            "//c",
            "1",
            "a/",
            "a/../c",
            "a/./c",
            "a//c",
            "n\u{1}",
            "na",
            "nz",
            "n\u{91}%01",
            "n\u{91}a",
            "n\u{fffe}",
            "n\u{ffff}o",
            "\u{fffe}",
        ] {
            all.push(own(root, name));
            server.store.put(&own(root, name), "x");
        }
    }
    all.sort();
    let (validator, miner) = (server.session(&VALIDATOR).await, server.session(&ALICE).await);
    let begins = |prefix: &str| all.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
    for (key, prefix) in [(&validator, String::new()), (&validator, "a/".into()), (&miner, own("a", ""))] {
        let expected: Vec<String> = begins(&prefix);
        for (v2, url) in [(true, true), (true, false), (false, true), (false, false)] {
            for max in [1, 3] {
                let (mut seen, mut after) = (Vec::<String>::new(), None::<String>);
                loop {
                    let mut call = Call::get("").query("prefix", &prefix).query("max-keys", &max.to_string());
                    call = if v2 { call.query("list-type", "2") } else { call };
                    call = if url { call.query("encoding-type", "url") } else { call };
                    // As clients of the first version do, and those that begin behind the last key they know.
                    if let Some(after) = &after {
                        call = call.query(if v2 { "start-after" } else { "marker" }, after);
                    }
                    let answer = server.send(key, &call).await;
                    let page = keys(answer.ok()).into_iter().map(|name| match url {
                        true => String::from_utf8(crate::harness::sigv4::decode(&name)).unwrap(),
                        false => name,
                    });
                    let page: Vec<_> = page.collect();
                    if page.is_empty() {
                        break;
                    }
                    seen.extend(page);
                    after = seen.last().cloned();
                    assert!(seen.len() <= expected.len() + 3, "{prefix} {v2} {url}: {seen:?}");
                }
                let spelled = |name: &String| match url {
                    true => name.clone(),
                    false => name
                        .replace('\u{91}', "\u{91}%C2%91")
                        .replace('\u{1}', "\u{91}%01")
                        .replace('\u{fffe}', "\u{91}%EF%BF%BE")
                        .replace('\u{ffff}', "\u{91}%EF%BF%BF"),
                };
                assert_eq!(
                    seen,
                    expected.iter().map(spelled).collect::<Vec<_>>(),
                    "{prefix} {v2} {url} {max}"
                );
            }
        }
    }
}

/// A page of no key that goes on behind `token`.
fn empty_page(token: &str) -> Reply {
    Reply::new(200).body(format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated>\
         <NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
    ))
}

#[tokio::test]
async fn p32_the_list_of_the_roots_follows_pages_without_a_key() {
    let policy = "folders = [\"a/{hotkey}/\", \"b/{hotkey}/\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    let all = ["a/1", "a/2", "b/1"].map(str::to_owned);
    for name in &all {
        server.store.put(name, "x");
    }
    let key = server.session(&VALIDATOR).await;
    server.store.script(|seen| match (seen.query("prefix"), seen.query("continuation-token")) {
        (Some("a/"), None) => Some(empty_page("t 1/+=&amp;")),
        (Some("a/"), Some("t 1/+=&")) => Some(empty_page("a/0")),
        _ => None,
    });
    let answer = server.send(&key, &list("")).await;
    assert_eq!(keys(answer.ok()), all);
    let asked: Vec<_> = server.store.seen();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|seen| seen.query("max-keys").is_some() && seen.query("start-after").is_none()));
    // What comes to no end is an outage, and soon.
    for script in [
        |seen: &Seen| seen.query("prefix").map(|_| empty_page("same")),
        |seen: &Seen| seen.query("prefix").map(|_| empty_page("")),
        |seen: &Seen| {
            let turn = seen.query("continuation-token").is_none_or(|token| token == "b");
            Some(empty_page(if turn { "a" } else { "b" }))
        },
        |seen: &Seen| {
            let token = seen.query("continuation-token").unwrap_or_default();
            Some(empty_page(&format!("{token}x")))
        },
    ] {
        server.store.unscript();
        server.store.forget();
        server.store.script(script);
        server.send(&key, &list("")).await.refused(503, "ServiceUnavailable");
        assert!(server.store.seen().len() < 40);
    }
}

#[tokio::test]
async fn p32_a_validator_pages_through_everything_under_the_root() {
    let server = filled().await;
    for key in server.both(&VALIDATOR).await {
        let (mut all, mut token, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let mut call = list("data/").query("max-keys", "4");
            if let Some(token) = &token {
                call = call.query("continuation-token", token);
            }
            let answer = server.send(&key, &call).await;
            all.extend(keys(answer.ok()));
            pages += 1;
            match answer.xml().text_of("NextContinuationToken") {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!((all.len(), pages), (15, 4));
        let sources = server.send(&key, &by_slash(list("data/"))).await;
        assert!(prefixes(sources.ok()).contains(&"data/x/".to_owned()));
        let miners = server.send(&key, &by_slash(list("data/x/"))).await;
        assert_eq!(prefixes(miners.ok()).len(), 3);
        assert!(miners.text().contains("<Name>data-universe</Name>"));
        server.store.forget();
        // Above the root there is the root, and no more.
        assert_eq!(prefixes(server.send(&key, &by_slash(list(""))).await.ok()), ["data/"]);
        for prefix in ["d", "outside"] {
            server.send(&key, &list(prefix)).await.refused(403, "AccessDenied");
        }
        for delimiter in ["a", "//", "t"] {
            server.send(&key, &list("").query("delimiter", delimiter)).await.refused(403, "AccessDenied");
        }
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn p32_a_validator_lists_the_roots_as_one_list() {
    let policy = "folders = [\"b/{hotkey}/\", \"a/{hotkey}/\", \"c/{coldkey}/\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    let mut all = Vec::new();
    for root in ["a", "b", "c"] {
        for name in ["1", "2 +%", "ü<&>"] {
            all.push(format!("{root}/{}/{name}", ALICE.ss58()));
        }
    }
    for name in all.iter().map(String::as_str).chain(["Outside", "aa/outside", "outside"]) {
        server.store.put(name, "x");
    }
    let key = server.session(&VALIDATOR).await;
    for (v2, url) in [(true, true), (true, false), (false, true), (false, false)] {
        for max in [1, 2, 3, 4, 9, 1000] {
            let (mut seen, mut after, mut pages) = (Vec::new(), None::<String>, 0);
            loop {
                let mut call = Call::get("").query("max-keys", &max.to_string());
                call = if v2 { call.query("list-type", "2") } else { call };
                call = if url { call.query("encoding-type", "url") } else { call };
                if let Some(after) = &after {
                    call = call.query(if v2 { "continuation-token" } else { "marker" }, after);
                }
                let answer = server.send(&key, &call).await;
                let decoded = |name: &String| match url {
                    true => String::from_utf8(crate::harness::sigv4::decode(name)).unwrap(),
                    false => name.clone(),
                };
                seen.extend(keys(answer.ok()).iter().map(decoded));
                let root = answer.xml();
                assert_eq!((root.text_of("Name"), root.text_of("Prefix")), (Some("data-universe"), Some("")));
                assert!(root.child("Contents").is_none_or(|contents| contents.child("Size").is_some()));
                pages += 1;
                assert!(pages < 12);
                if root.text_of("IsTruncated") == Some("false") {
                    break;
                }
                after = match v2 {
                    true => root.text_of("NextContinuationToken").map(str::to_owned),
                    false => seen.last().cloned(),
                };
            }
            assert_eq!(seen, all, "{v2} {url} {max}");
        }
    }
    for seen in server.store.seen() {
        assert!(["a/", "b/", "c/"].contains(&seen.query("prefix").unwrap()), "{seen:?}");
    }
    // A miner sees nothing in this way, and an outage of one root is no short list.
    server.store.forget();
    let miner = server.session(&ALICE).await;
    server.send(&miner, &list("")).await.refused(403, "AccessDenied");
    server.store.saw_nothing();
    server.store.script(|seen| {
        (seen.query("prefix") == Some("b/")).then(|| Reply::error(500, "InternalError", "why"))
    });
    server.send(&key, &list("")).await.refused(500, "InternalError");
}

#[tokio::test]
async fn p32_lists_that_are_answered_here_take_what_s3_takes() {
    let server = filled().await;
    let (miner, validator) = (server.session(&ALICE).await, server.session(&VALIDATOR).await);
    for (key, list) in [(&miner, by_slash(list(""))), (&validator, list(""))] {
        for (name, value) in [
            ("max-keys", "-1"),
            ("max-keys", "+1"),
            ("max-keys", "abc"),
            ("max-keys", "2147483648"),
            ("encoding-type", "URL"),
            ("encoding-type", "base64"),
        ] {
            let answer = server.send(key, &list.clone().query(name, value)).await;
            answer.refused(400, "InvalidArgument");
            assert_eq!(answer.element("ArgumentName").as_deref(), Some(name));
            assert_eq!(answer.element("ArgumentValue").as_deref(), Some(value));
        }
        server.store.saw_nothing();
        for (name, value) in [("max-keys", "2147483647"), ("max-keys", ""), ("encoding-type", "")] {
            let answer = server.send(key, &list.clone().query(name, value)).await;
            assert_eq!(answer.ok().xml().text_of("MaxKeys"), Some("1000"), "{name}={value}");
        }
        server.store.forget();
    }
}

#[tokio::test]
async fn p8_a_query_that_grows_past_every_bound_when_it_is_encoded_is_the_clients_fault() {
    let server = filled().await;
    let (miner, validator) = (server.session(&ALICE).await, server.session(&VALIDATOR).await);
    let long = "(".repeat(20_000);
    for (key, call, name) in [
        (&miner, Call::get(&ALICE.file("a")), "versionId"),
        (&miner, Call::get(&ALICE.file("a")), "uploadId"),
        (&miner, list(&ALICE.file("")), "continuation-token"),
        (&validator, list(""), "continuation-token"),
    ] {
        let mut query: Vec<String> =
            call.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        query.push(format!("{name}=data/{long}"));
        let mut call = call.query(name, &format!("data/{long}"));
        call.wire_query = Some(query.join("&"));
        server.send(key, &call).await.refused(400, "InvalidURI");
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p33_the_bucket_is_answered_here() {
    let server = TestServer::start().await;
    for key in [server.session(&ALICE).await, ALICE.hotkey(), server.session(&VALIDATOR).await] {
        let buckets = server.send(&key, &Call::new("GET", "/")).await;
        assert!(buckets.ok().text().contains("<Bucket><Name>data-universe</Name><CreationDate>"));
        let none = server.send(&key, &Call::new("GET", "/").query("prefix", "other")).await;
        assert!(!none.ok().text().contains("<Bucket>"));
        let head = server.send(&key, &Call::head("")).await;
        assert_eq!((head.status, head.get("x-amz-bucket-region")), (200, Some("us-east-1")));
        server.send(&key, &Call::new("HEAD", "/data-universe/")).await.ok();
        let location = server.send(&key, &Call::get("").query("location", "")).await;
        assert!(location.ok().text().contains(
            "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></LocationConstraint>"
        ));
        let body = "<CreateBucketConfiguration>\
            <LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
        for call in [Call::put("", ""), Call::put("", body)] {
            server.send(&key, &call).await.refused(409, "BucketAlreadyOwnedByYou");
        }
        for path in ["/other", "/other/", "/store-bucket", "/Data-universe", "/data-universe2"] {
            for method in ["GET", "HEAD", "PUT"] {
                server.send(&key, &Call::new(method, path)).await.refused(404, "NoSuchBucket");
            }
            let object = format!("{}/{}", path.trim_end_matches('/'), ALICE.file("f"));
            server.send(&key, &Call::new("GET", &object)).await.refused(404, "NoSuchBucket");
        }
        server.send(&key, &Call::new("GET", "//data-universe/k")).await.refused(400, "InvalidURI");
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn p33_another_region_is_told_where_it_is_asked() {
    let server =
        TestServer::with(Setup { server: "hosts = [\"s3.example.com\"]".to_owned(), ..Setup::default() })
            .await;
    let head =
        server.send(&ALICE.hotkey(), &Call::new("HEAD", "/").host("data-universe.s3.example.com")).await;
    assert_eq!(head.ok().get("x-amz-bucket-region"), Some("us-east-1"));
}
