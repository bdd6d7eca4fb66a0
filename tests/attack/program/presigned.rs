//! Who signed: claims in the query, which whoever sees the URL may widen.

use super::{
    Arena, Check, Finding, Stop,
    call::{Signed, sha256_hex},
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p1-presigned-amz-header", "an x-amz-* header beside a presigned PUT", amz_header),
    Check::new("p9-presigned-lifetimes", "presigned for too long, for nothing, ended, not begun", lifetimes),
    Check::new("p9-presigned-altered", "a presigned URL whose parameters are altered", altered),
    Check::new("p9-presigned-moved", "a presigned URL for another key or method", moved),
    Check::new("p9-presigned-more", "parameters added to a presigned URL", more),
    Check::new("p12-presigned-token", "the token of a presigned URL altered, dropped, moved", token),
    Check::new("p10-presigned-hash", "the declared hash of a presigned PUT is another's", hash),
    Check::new("p16-presigned-twice", "a parameter of the claim twice", twice),
    Check::new("p15-forwarded-host", "a host that only forwarding headers name", forwarded),
    Check::new("p61-presigned-list-widened", "a presigned list with more added to it", list_widened),
];

fn amz_header(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (source, _) = arena.object(who)?;
    let content = arena.content();
    let put = |key: &str| arena.call("PUT", key).body(&content).presigned("600");
    let key = arena.key(who);
    trial.honest_write(who, &key, &put(&key), &content)?;
    let source = format!("{}/{source}", arena.target.bucket);
    for (name, value) in [
        ("x-amz-meta-evil", "1"),
        ("x-amz-copy-source", source.as_str()),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
    ] {
        let key = arena.key(who);
        let request = put(&key).sign(&arena.target, who).with(name, value);
        trial.must_not_write(name, who, (&key, None), &request)?;
    }
    trial.end("nothing stands")
}

fn lifetimes(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let url = |seconds: &str, clock| {
        arena.call("GET", &key).presigned(seconds).clock(clock).sign(&arena.target, who)
    };
    trial.honest("presigned GET", &arena.send(&url("600", -60)))?;
    for (label, seconds, clock) in [
        ("over a week", "604801", 0),
        ("far over a week", "99999999999999999999", 0),
        ("none", "0", 0),
        ("below none", "-1", 0),
        ("no number", "+600", 0),
        ("ended", "60", -120),
        ("ended long ago", "604800", -700_000),
        ("not begun", "600", 3600),
    ] {
        trial.must_not_read(label, &url(seconds, clock), &content);
    }
    trial.end("nothing was read")
}

fn presigned_get(arena: &Arena) -> Result<(String, Vec<u8>, Signed), Stop> {
    let who = &arena.attacker;
    let (key, content) = arena.object(who)?;
    let url = arena.call("GET", &key).presigned("600").sign(&arena.target, who);
    arena.trial().honest("presigned GET", &arena.send(&url))?;
    Ok((key, content, url))
}

fn altered(arena: &Arena) -> Verdict {
    let (key, content, url) = presigned_get(arena)?;
    let mut trial = arena.trial();
    let backwards: String = url.signature.chars().rev().collect();
    for (name, value) in [
        ("X-Amz-Expires", Some("604800")),
        ("X-Amz-Date", Some("20260101T000000Z")),
        ("X-Amz-Signature", Some(backwards.as_str())),
        ("X-Amz-Signature", Some("")),
        ("X-Amz-Signature", None),
        ("X-Amz-Expires", None),
        ("X-Amz-Date", None),
        ("X-Amz-SignedHeaders", None),
        ("X-Amz-SignedHeaders", Some("")),
        ("X-Amz-Algorithm", None),
        ("X-Amz-Algorithm", Some("NONE")),
        ("X-Amz-Credential", Some("a/20260101/us-east-1/s3/aws4_request")),
    ] {
        trial.must_not_read(&format!("{name}={value:?}"), &url.clone().parameter(name, value), &content);
    }
    let hostless = arena.call("GET", &key).unsigned("host").presigned("600");
    trial.must_not_read("host not signed", &hostless.sign(&arena.target, &arena.attacker), &content);
    trial.end("nothing was read")
}

fn moved(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content, url) = presigned_get(arena)?;
    let (other, secret) = arena.object(who)?;
    trial.must_not_read("to another key of one's own", &url.clone().retarget(&key, &other), &secret);
    if let Ok((theirs, secret)) = arena.secret() {
        trial.must_not_read("to another's key", &url.clone().retarget(&key, &theirs), &secret);
    }
    let before = (key.as_str(), Some(content.as_slice()));
    for (method, body) in [("DELETE", Vec::new()), ("PUT", arena.content()), ("POST", Vec::new())] {
        let mut request = url.clone().with_body(body);
        request.method = method.to_owned();
        trial.must_not_write(method, who, before, &request)?;
    }
    trial.end("the object reads back whole")
}

fn more(arena: &Arena) -> Verdict {
    let (_, content, url) = presigned_get(arena)?;
    let mut trial = arena.trial();
    for added in [
        "response-content-type=text%2Fhtml",
        "response-content-disposition=attachment",
        "versionId=null",
        "x-id=GetObject2",
        "acl",
        "partNumber=1",
    ] {
        let mut request = url.clone();
        request.target = format!("{}&{added}", request.target);
        trial.must_not_read(added, &request, &content);
    }
    trial.end("nothing was read")
}

fn token(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let Some(token) = &who.token else {
        return Err(Stop::not_applicable("the identities have no session tokens"));
    };
    let (_, content, url) = presigned_get(arena)?;
    let mut trial = arena.trial();
    let name = "X-Amz-Security-Token";
    let backwards: String = token.chars().rev().collect();
    for (label, request) in [
        ("dropped", url.clone().parameter(name, None)),
        ("altered", url.clone().parameter(name, Some(&format!("{token}A")))),
        ("backwards", url.clone().parameter(name, Some(&backwards))),
        ("moved to a header", url.clone().parameter(name, None).with("x-amz-security-token", token)),
        ("in a header too", url.clone().with("x-amz-security-token", token)),
    ] {
        trial.must_not_read(label, &request, &content);
    }
    if let Some(theirs) = &arena.victim.token {
        trial.must_not_read("another's", &url.parameter(name, Some(theirs)), &content);
    }
    trial.end("nothing was read")
}

fn hash(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = arena.content();
    let key = arena.key(who);
    let put = |key: &str, hash: &str| {
        arena.call("PUT", key).header("x-amz-content-sha256", hash).body(&content).presigned("600")
    };
    // In the header or in the query, as clients differ.
    let by_query =
        |key: &str, hash: &str| arena.call("PUT", key).payload(hash).presigned("600").body(&content);
    trial.honest_write(who, &key, &by_query(&key, &sha256_hex(&content)), &content)?;
    let other = sha256_hex(b"another body");
    let key = arena.key(who);
    trial.must_not_write(
        "in the query",
        who,
        (&key, None),
        &by_query(&key, &other).sign(&arena.target, who),
    )?;
    let key = arena.key(who);
    let signed = put(&key, &other).payload(&other).sign(&arena.target, who);
    trial.must_not_write("in a signed header", who, (&key, None), &signed)?;
    trial.end("nothing stands")
}

fn twice(arena: &Arena) -> Verdict {
    let (_, content, url) = presigned_get(arena)?;
    let mut trial = arena.trial();
    for added in
        ["X-Amz-Expires=604800", "X-Amz-Signature=00", "X-Amz-Date=20200101T000000Z", "X-Amz-Algorithm=NONE"]
    {
        let mut request = url.clone();
        request.target = format!("{}&{added}", request.target);
        trial.must_not_read(added, &request, &content);
        let mut request = url.clone();
        request.target = request.target.replacen('?', &format!("?{added}&"), 1);
        trial.must_not_read(added, &request, &content);
    }
    trial.end("nothing was read")
}

fn forwarded(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let call = arena.call("GET", &key).signed_host("other.example");
    for (name, value) in [
        ("x-forwarded-host", "other.example"),
        ("forwarded", "host=other.example"),
        ("x-host", "other.example"),
        ("x-original-host", "other.example"),
        ("x-forwarded-server", "other.example"),
    ] {
        let header = call.sign(&arena.target, who).with(name, value);
        trial.must_not_read(name, &header, &content);
        let url = call.clone().presigned("600").sign(&arena.target, who).with(name, value);
        trial.must_not_read(name, &url, &content);
    }
    trial.end("nothing was read")
}

fn list_widened(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let (who, mut trial) = (&arena.attacker, arena.trial());
    arena.object(who)?;
    let list = arena.call("GET", "").query("list-type", "2").query("prefix", &arena.below(who));
    let url = list.query("delimiter", "/").presigned("600").sign(&arena.target, who);
    trial.honest("presigned list", &arena.send(&url))?;
    let (theirs, secret) = (arena.below(&arena.victim), key.as_bytes());
    let theirs = super::call::encode(&theirs, false);
    for added in [format!("prefix={theirs}"), "prefix=".to_owned(), format!("prefix={theirs}&delimiter=")] {
        let mut request = url.clone();
        request.target = format!("{}&{added}", request.target);
        trial.must_not_read(&added, &request, secret);
        request.target = url.target.replacen('?', &format!("?{added}&"), 1);
        trial.must_not_read(&added, &request, secret);
    }
    let in_place =
        url.parameter("prefix", Some(&arena.below(&arena.victim))).parameter("delimiter", Some(""));
    trial.must_not_read("another prefix in its place", &in_place, secret);
    trial.end("no key was shown")
}
