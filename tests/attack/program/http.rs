//! Headers and parameters that widen rights, and what an upload is told while it is under way.

use std::time::Duration;

use super::{
    Arena, Check, Finding, Stop,
    call::{Call, UNSIGNED},
    wire::Connection,
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p34-subresources", "sub-resources of the bucket and of objects", subresources),
    Check::new("p34-unknown-parameters", "a parameter that nobody thought of", unknown),
    Check::new("p34-odd-methods", "methods that S3 does not have", methods),
    Check::new("p35-grants", "headers that grant rights to everybody", grants),
    Check::new("p35-other-dialects", "headers of a store's own dialect, and of other rights", dialects),
    Check::new("p53-storage-classes", "a storage class of the client's choosing", storage_classes),
    Check::new("p40-refusal-is-seen", "the refusal of a large upload is lost in a reset", refusal_seen),
    Check::new("p40-expected-continue", "a 100 for an upload that will be refused", continued),
    Check::new("p44-heads-and-lengths", "a HEAD without its length, a body that is recoded", heads),
    Check::new("p48-ranges-and-conditions", "ranges and conditions get lost", conditions),
];

fn subresources(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, _) = arena.object(who)?;
    for name in [
        "policy",
        "acl",
        "versioning",
        "lifecycle",
        "cors",
        "website",
        "replication",
        "logging",
        "notification",
        "object-lock",
        "encryption",
        "publicAccessBlock",
        "ownershipControls",
        "accelerate",
    ] {
        let call = arena.call("PUT", "").query(name, "").body(b"{}");
        trial.must_fail(&format!("PUT ?{name}"), &call.sign(&arena.target, who));
    }
    let public = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:*",
           "Resource":"arn:aws:s3:::{}/*"}}]}}"#,
        arena.target.bucket
    );
    let call = arena.call("PUT", "").query("policy", "").body(public.as_bytes());
    trial.must_fail("PUT ?policy for everybody", &call.sign(&arena.target, who));
    let call = arena.call("PUT", &key).query("acl", "").header("x-amz-acl", "public-read");
    trial.must_fail("PUT of an object's ?acl", &call.sign(&arena.target, who));
    trial.must_fail("DELETE of the bucket", &arena.call("DELETE", "").sign(&arena.target, who));
    trial.end("none was taken")
}

fn unknown(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    arena.object(who)?;
    let content = arena.content();
    for (name, value) in [("frobnicate", ""), ("legal-hold", ""), ("x-minio-extract", "true"), ("append", "")]
    {
        let key = arena.key(who);
        let put = arena.call("PUT", &key).query(name, value).body(&content);
        trial.must_not_write(name, who, (&key, None), &put.sign(&arena.target, who))?;
    }
    trial.end("nothing stands")
}

fn methods(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    for method in ["PATCH", "MKCOL", "PROPFIND", "TRACE", "CONNECT", "get", "Get", "MOVE", "BREW"] {
        let request = arena.call(method, &key).sign(&arena.target, who);
        trial.must_not_read(method, &request, &content);
        trial.must_fail(method, &request);
    }
    trial.end("none was taken")
}

fn grants(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    arena.object(who)?;
    for (name, value) in [
        ("x-amz-acl", "public-read"),
        ("x-amz-acl", "public-read-write"),
        ("x-amz-grant-read", "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\""),
        ("x-amz-grant-full-control", "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\""),
    ] {
        let (key, content) = (arena.key(who), arena.content());
        let put = arena.call("PUT", &key).body(&content).header(name, value);
        let answer = arena.ask(who, &put);
        // Whether it was refused or overheard: nobody else may read it.
        let read = arena.send(&arena.call("GET", &key).anonymous(&arena.target));
        let effect = read.holds(&content).then(|| "and everybody reads it".to_owned());
        trial.tried(&format!("{name}: {value}"), &answer, effect);
    }
    trial.end("nobody else reads it")
}

fn dialects(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    arena.object(who)?;
    for (name, value) in [
        ("x-amz-website-redirect-location", "https://example.org/"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-bypass-governance-retention", "true"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-replication-status", "REPLICA"),
        ("x-amz-frobnicate", "1"),
    ] {
        let (key, content) = (arena.key(who), arena.content());
        let put = arena.call("PUT", &key).body(&content).header(name, value);
        let answer = arena.ask(who, &put);
        let head = arena.ask(who, &arena.call("HEAD", &key));
        let kept = head.header(name).map(|value| format!("and the object has {name}: {value}"));
        trial.tried(name, &answer, kept);
    }
    trial.end("no object has one of them")
}

fn storage_classes(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = (arena.key(who), arena.content());
    trial.honest_write(who, &key, &arena.call("PUT", &key).body(&content), &content)?;
    for class in ["GLACIER", "DEEP_ARCHIVE", "REDUCED_REDUNDANCY", "standard", "ANYTHING"] {
        let key = arena.key(who);
        let put = arena.call("PUT", &key).body(&content).header("x-amz-storage-class", class);
        trial.must_not_write(class, who, (&key, None), &put.sign(&arena.target, who))?;
        let create = arena.call("POST", &key).query("uploads", "").header("x-amz-storage-class", class);
        trial.must_fail(&format!("{class} of an upload"), &create.sign(&arena.target, who));
    }
    trial.end("nothing stands")
}

fn refusal_seen(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    arena.object(thief)?;
    let before = (key.as_str(), Some(content.as_slice()));
    for bytes in [200_000, 4_000_000] {
        let put = arena.call("PUT", &key).body(&arena.content_of(bytes)).payload(UNSIGNED);
        let request = put.sign(&arena.target, thief);
        let answer = arena.send(&request);
        trial.must_be_as_before(&format!("{bytes} bytes"), owner, before, &answer)?;
        let unseen = (answer.status == 0).then(|| "without an answer".to_owned());
        trial.tried(&format!("{bytes} bytes"), &answer, unseen);
    }
    trial.end("the client sees the answer, and the object reads back whole")
}

fn continued(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    arena.object(thief)?;
    let put = arena.call("PUT", &key).body(&arena.content()).payload(UNSIGNED);
    let request = put.sign(&arena.target, thief).with("expect", "100-continue");
    let io = |error: std::io::Error| Stop::trouble(error.to_string());
    let mut connection = Connection::open(&arena.target).map_err(io)?;
    connection.send(&request.head()).map_err(io)?;
    let first = connection.read_some().map_err(io)?;
    let told = String::from_utf8_lossy(&first).starts_with("HTTP/1.1 100");
    let answer = super::wire::Answer { status: if told { 100 } else { 403 }, ..Default::default() };
    trial.tried("another's key", &answer, told.then(|| "and the body is asked for".to_owned()));
    drop(connection);
    trial.must_be_as_before("another's key", owner, (&key, Some(&content)), &answer)?;
    trial.end("it is refused before the body")
}

fn heads(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let head = arena.ask(who, &arena.call("HEAD", &key));
    let length = content.len().to_string();
    let lost = (head.header("content-length") != Some(&length)).then(|| "and its length is lost".to_owned());
    trial.tried("HEAD", &head, lost);
    let request = arena.call("GET", &key).sign(&arena.target, who).with("accept-encoding", "gzip, br, zstd");
    let get = arena.send(&request);
    let recoded = get.header("content-encoding").is_some() || get.body != content;
    trial.tried("GET", &get, recoded.then(|| "and the body is recoded".to_owned()));
    trial.end("lengths and bytes are the object's")
}

fn conditions(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let get = arena.call("GET", &key);
    trial.honest("GET", &arena.ask(who, &get))?;
    for (name, value, status) in
        [("range", "bytes=10-19", 206), ("range", "bytes=9000-", 416), ("if-match", "\"0123\"", 412)]
    {
        let answer = arena.ask(who, &get.clone().header(name, value));
        let part = content.get(10..20).unwrap_or_default();
        let wrong = answer.status != status || (status == 206 && answer.body != part);
        trial.tried(&format!("{name}: {value}"), &answer, wrong.then(|| format!("not {status}")));
    }
    std::thread::sleep(Duration::from_millis(1));
    trial.end("as S3 answers them")
}

/// A request that anybody understands.
pub(super) fn get(arena: &Arena, key: &str) -> Call {
    arena.call("GET", key)
}
