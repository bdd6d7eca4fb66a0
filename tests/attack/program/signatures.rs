//! Who signed: claims in the `Authorization` header.

use super::{
    Arena, Check, Finding, Stop,
    call::{SIGNED_CHUNKS, UNSIGNED, UNSIGNED_TRAILER},
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p1-unsigned-amz-header", "an x-amz-* header joins after signing", unsigned_header),
    Check::new("p1-unsigned-copy-source", "a copy source joins after signing", unsigned_copy_source),
    Check::new("p2-unsigned-host", "a signature without its host", unsigned_host),
    Check::new("p2-unsigned-date", "a signature without its date", unsigned_date),
    Check::new("p3-anonymous", "no claim at all", anonymous),
    Check::new("p3-empty-claims", "claims that claim nothing, or by other schemes", empty_claims),
    Check::new("p3-two-claims", "a true claim beside another's", two_claims),
    Check::new("p3-anonymous-streaming", "a STREAMING payload and a bare key id", anonymous_streaming),
    Check::new("p3-mixed-credentials", "key id, secret and token of two people", mixed),
    Check::new("p3-wrong-signature", "a signature that is nearly right", wrong_signature),
    Check::new("p3-another-method-or-key", "a signature moved to another request", moved),
    Check::new("p9-old-and-future-dates", "a date outside the window", dates),
    Check::new("p9-false-scope", "another region, service or day", scopes),
    Check::new("p12-unsigned-token", "a session token outside the signature", unsigned_token),
    Check::new("p13-streaming-into-another", "signed chunks into another's folder", streaming_into_another),
    Check::new("p16-two-copies", "two copies of a header that stands once", two_copies),
    Check::new("p20-unsigned-query", "a parameter joins after signing", unsigned_query),
    Check::new("p26-bytes-that-are-no-text", "a header that is not UTF-8", no_text),
    Check::new("p36-plain-requests", "another's object by plain signed requests", plain),
];

fn unsigned_header(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = (arena.key(who), arena.content());
    let call = arena.call("PUT", &key).body(&content);
    trial.honest_write(who, &key, &call.header("x-amz-meta-a", "signed"), &content)?;
    for (name, value) in [
        ("x-amz-meta-evil", "1"),
        ("X-Amz-Tagging", "a=b"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-website-redirect-location", "https://example.org/"),
        ("x-amz-object-lock-legal-hold", "ON"),
    ] {
        let key = arena.key(who);
        let request = arena.call("PUT", &key).body(&content).sign(&arena.target, who);
        trial.must_not_write(name, who, (&key, None), &request.with(name, value))?;
    }
    trial.end("nothing stands")
}

fn unsigned_copy_source(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.victim, arena.trial());
    let (source, _) = arena.object(who)?;
    let (key, content) = arena.object(who)?;
    let source = format!("{}/{source}", arena.target.bucket);
    let request = arena.call("PUT", &key).sign(&arena.target, who);
    let before = (key.as_str(), Some(content.as_slice()));
    for name in ["x-amz-copy-source", "X-AMZ-COPY-SOURCE"] {
        trial.must_not_write(name, who, before, &request.clone().with(name, &source))?;
    }
    trial.end("the object reads back whole")
}

fn unsigned_host(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let call = arena.call("GET", &key);
    let without = call.clone().unsigned("host").sign(&arena.target, who);
    trial.must_not_read("host not signed", &without, &content);
    trial.must_not_read("and another sent", &without.set("host", "other.example"), &content);
    let signed = call.sign(&arena.target, who).set("host", "other.example");
    trial.must_not_read("another host sent than signed", &signed, &content);
    trial.end("nothing was read")
}

fn unsigned_date(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let call = arena.call("GET", &key).unsigned("x-amz-date");
    trial.must_not_read("x-amz-date not signed", &call.sign(&arena.target, who), &content);
    trial.must_not_read("no date", &call.sign(&arena.target, who).without("x-amz-date"), &content);
    trial.end("nothing was read")
}

fn anonymous(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let mut trial = arena.trial();
    trial.must_not_read("GET", &arena.call("GET", &key).anonymous(&arena.target), &content);
    let list = arena.call("GET", "").query("list-type", "2").query("prefix", &arena.below(&arena.victim));
    trial.must_not_read("list", &list.anonymous(&arena.target), key.as_bytes());
    let before = (key.as_str(), Some(content.as_slice()));
    let put = arena.call("PUT", &key).body(&arena.content());
    trial.must_not_write("PUT", &arena.victim, before, &put.anonymous(&arena.target))?;
    let put = put.payload(UNSIGNED);
    trial.must_not_write("PUT, unsigned body", &arena.victim, before, &put.anonymous(&arena.target))?;
    let delete = arena.call("DELETE", &key).anonymous(&arena.target);
    trial.must_not_write("DELETE", &arena.victim, before, &delete)?;
    trial.end("the object reads back whole")
}

fn empty_claims(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let mut trial = arena.trial();
    let id = &arena.victim.access_key;
    let signed = arena.call("GET", &key).sign(&arena.target, &arena.victim);
    let claim = signed.value("authorization");
    let bare = claim.rsplit_once("Signature=").map_or("", |(start, _)| start).to_owned();
    for value in [
        String::new(),
        format!("{bare}Signature="),
        format!("{bare}Signature={}", "0".repeat(64)),
        bare.trim_end_matches([',', ' ']).to_owned(),
        claim.replacen("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", 1),
        claim.replacen("AWS4-HMAC-SHA256", "NONE", 1),
        format!("AWS {id}:"),
        format!("AWS {id}:AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        format!("Bearer {id}"),
        "Basic OjA=".to_owned(),
    ] {
        let request = signed.clone().set("authorization", &value);
        trial.must_not_read(value.split(' ').next().unwrap_or_default(), &request, &content);
    }
    let anonymous = arena.call("GET", &key).query("AWSAccessKeyId", id).query("Signature", "AAAA");
    let anonymous = anonymous.query("Expires", "4102444800").anonymous(&arena.target);
    trial.must_not_read("version 2 in the query", &anonymous, &content);
    trial.end("nothing was read")
}

fn two_claims(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let mut trial = arena.trial();
    let (target, thief, owner) = (&arena.target, &arena.attacker, &arena.victim);
    let call = arena.call("GET", &key);
    let own = call.sign(target, thief);
    let false_claim = own.value("authorization").replace(&thief.access_key, &owner.access_key);
    let query = call.clone().presigned("600").sign(target, owner).parameter("X-Amz-Signature", Some("00"));
    let mut both = query;
    both.headers = own.headers.clone();
    trial.must_not_read("own header, another's query", &both, &content);
    let url = call.presigned("600").sign(target, thief);
    trial.must_not_read("own query, another's header", &url.with("authorization", &false_claim), &content);
    trial.must_not_read(
        "own header, then another's",
        &own.clone().with("authorization", &false_claim),
        &content,
    );
    let mut first = own;
    first.headers.insert(1, ("authorization".to_owned(), false_claim.into_bytes()));
    trial.must_not_read("another's header, then own", &first, &content);
    // Of one person's, of which both are true: still one claim too many.
    let (mine, content) = arena.object(thief)?;
    let call = arena.call("GET", &mine);
    let mut both = call.clone().presigned("600").sign(target, thief);
    both.headers = call.query("X-Amz-Algorithm", "AWS4-HMAC-SHA256").sign(target, thief).headers;
    trial.must_not_read("header and query", &both, &content);
    trial.end("nothing was read")
}

fn anonymous_streaming(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let mut trial = arena.trial();
    let (target, owner) = (&arena.target, &arena.victim);
    let before = (key.as_str(), Some(content.as_slice()));
    let put = arena.call("PUT", &key).body(&arena.content());
    for payload in [UNSIGNED_TRAILER, SIGNED_CHUNKS] {
        let put = put.clone().payload(payload).trailer("x-amz-checksum-crc32");
        let bare = put.sign(target, owner).without("authorization");
        trial.must_not_write(payload, owner, before, &bare)?;
        let credential = format!("{}?X-Amz-Credential={}%2F20260101", bare.target, owner.access_key);
        let mut query = bare;
        query.target = credential;
        trial.must_not_write("key id in the query", owner, before, &query)?;
        let url = put.presigned("600").sign(target, owner).parameter("X-Amz-Signature", None);
        trial.must_not_write("query without signature", owner, before, &url)?;
    }
    trial.end("the object reads back whole")
}

fn mixed(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let mut trial = arena.trial();
    let (thief, owner) = (&arena.attacker, &arena.victim);
    trial.honest("GET", &arena.ask(owner, &arena.call("GET", &key)))?;
    let mut changed = vec![thief.clone(); 3];
    if let [key_id, secret, token] = changed.as_mut_slice() {
        key_id.access_key.clone_from(&owner.access_key);
        secret.access_key.clone_from(&owner.access_key);
        secret.token.clone_from(&owner.token);
        token.token.clone_from(&owner.token);
    }
    for (label, who) in ["its key id", "its key id and token", "its token"].iter().zip(&changed) {
        if who.access_key == thief.access_key && who.token == thief.token {
            continue;
        }
        trial.must_not_read(label, &arena.call("GET", &key).sign(&arena.target, who), &content);
        let url = arena.call("GET", &key).presigned("600").sign(&arena.target, who);
        trial.must_not_read(label, &url, &content);
    }
    trial.end("nothing was read")
}

fn wrong_signature(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.victim, arena.trial());
    let (key, content) = arena.object(who)?;
    let signed = arena.call("GET", &key).sign(&arena.target, who);
    let last = if signed.signature.ends_with('0') { "1" } else { "0" };
    let start = signed.signature.get(..signed.signature.len() - 1).unwrap_or_default();
    for (label, other) in [
        ("last digit", format!("{start}{last}")),
        ("shorter", start.to_owned()),
        ("longer", format!("{}00", signed.signature)),
        ("backwards", signed.signature.chars().rev().collect()),
    ] {
        let claim = signed.value("authorization").replace(&signed.signature, &other);
        trial.must_not_read(label, &signed.clone().set("authorization", claim), &content);
    }
    trial.end("nothing was read")
}

fn moved(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.victim, arena.trial());
    let (key, content) = arena.object(who)?;
    let (other, _) = arena.object(who)?;
    let before = (key.as_str(), Some(content.as_slice()));
    let get = arena.call("GET", &key).sign(&arena.target, who);
    let mut delete = get.clone();
    delete.method = "DELETE".to_owned();
    trial.must_not_write("of a GET to a DELETE", who, before, &delete)?;
    let moved = arena.call("DELETE", &other).sign(&arena.target, who).retarget(&other, &key);
    trial.must_not_write("of another key's DELETE", who, before, &moved)?;
    let put = arena.call("PUT", &other).body(&content).sign(&arena.target, who);
    trial.must_not_read("of another key's GET", &get.retarget(&key, &other), b"content");
    let body = arena.content();
    trial.must_not_write("of another body", who, before, &put.retarget(&other, &key).with_body(body))?;
    trial.end("the object reads back whole")
}

fn dates(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let near = arena.call("GET", &key).clock(-600);
    trial.honest("GET of ten minutes ago", &arena.ask(who, &near))?;
    for seconds in [-1000, -3600, -86_400, -604_800, 1000, 3600, 86_400] {
        let call = arena.call("GET", &key).clock(seconds);
        trial.must_not_read(&format!("{seconds} s"), &call.sign(&arena.target, who), &content);
    }
    for date in ["19700101T000000Z", "20260230T000000Z", "today"] {
        let call = arena.call("GET", &key).header("x-amz-date", date);
        trial.must_not_read(date, &call.sign(&arena.target, who), &content);
    }
    trial.end("nothing was read")
}

fn scopes(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let call = arena.call("GET", &key);
    for (label, call) in [
        ("region", call.clone().region("mars-1")),
        ("service", call.clone().service("sts")),
        ("day", call.clone().scope_day("20200101")),
        ("no day", call.clone().scope_day("")),
    ] {
        trial.must_not_read(label, &call.sign(&arena.target, who), &content);
    }
    let signed = call.sign(&arena.target, who);
    let claim = signed.value("authorization").replace("aws4_request", "aws5_request");
    trial.must_not_read("end", &signed.set("authorization", claim), &content);
    trial.end("nothing was read")
}

fn unsigned_token(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    if who.token.is_none() {
        return Err(Stop::not_applicable("the identities have no session tokens"));
    }
    let (key, content) = arena.object(who)?;
    let call = arena.call("GET", &key).unsigned("x-amz-security-token").sign(&arena.target, who);
    trial.must_not_read("not signed", &call, &content);
    let call = arena.call("GET", &key).sign(&arena.target, who);
    trial.must_not_read("not sent", &call.clone().without("x-amz-security-token"), &content);
    let token = call.value("x-amz-security-token");
    for other in [token.to_lowercase(), format!("{token}A"), token.chars().rev().collect()] {
        let changed = call.clone().set("x-amz-security-token", &other);
        trial.must_not_read("altered, not signed anew", &changed, &content);
        let mut whose = who.clone();
        whose.token = Some(other);
        trial.must_not_read("altered", &arena.call("GET", &key).sign(&arena.target, &whose), &content);
    }
    trial.end("nothing was read")
}

fn streaming_into_another(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    let body = arena.content();
    let own = arena.key(thief);
    let call = arena.call("PUT", &own).body(&body).payload(SIGNED_CHUNKS);
    trial.honest_write(thief, &own, &call, &body)?;
    let new = arena.key(owner);
    for payload in [SIGNED_CHUNKS, UNSIGNED_TRAILER] {
        for (key, before) in [(&key, Some(content.as_slice())), (&new, None)] {
            let mut call = arena.call("PUT", key).body(&body).payload(payload);
            if payload == UNSIGNED_TRAILER {
                call = call.trailer("x-amz-checksum-crc32");
            }
            trial.must_not_write(payload, owner, (key, before), &call.sign(&arena.target, thief))?;
        }
    }
    trial.end("the object reads back whole")
}

fn two_copies(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = arena.content();
    let put = |key: &str| arena.call("PUT", key).body(&content).sign(&arena.target, who);
    let key = arena.key(who);
    trial.honest("PUT", &arena.send(&put(&key)))?;
    for (name, value) in [
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-content-sha256", UNSIGNED),
        ("host", "other.example"),
        ("content-length", "3"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00"),
        ("x-amz-security-token", "another"),
    ] {
        for first in [false, true] {
            let key = arena.key(who);
            let mut request = put(&key);
            let at = if first { 0 } else { request.headers.len() };
            request.headers.insert(at, (name.to_owned(), value.as_bytes().to_vec()));
            trial.must_not_write(&format!("a second {name}"), who, (&key, None), &request)?;
        }
    }
    trial.end("nothing stands")
}

fn unsigned_query(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let call = arena.call("GET", &key);
    trial.honest("GET", &arena.ask(who, &call))?;
    for added in ["versionId=null", "response-content-type=text/html", "a", "partNumber=1", "="] {
        let mut request = call.sign(&arena.target, who);
        request.target = format!("{}?{added}", request.target);
        trial.must_not_read(added, &request, &content);
    }
    trial.end("nothing was read")
}

fn no_text(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = arena.content();
    let key = arena.key(who);
    let call = arena.call("PUT", &key).body(&content).header("x-amz-meta-a", "plain text");
    trial.honest_write(who, &key, &call, &content)?;
    for value in [&b"\xff\xfe"[..], b"\xc3\x28", b"a\xe2\x82"] {
        let key = arena.key(who);
        let call = arena.call("PUT", &key).body(&content).header("x-amz-meta-a", "b");
        let request = call.sign(&arena.target, who).set("x-amz-meta-a", value);
        trial.must_not_write("bytes that are no text", who, (&key, None), &request)?;
    }
    trial.end("nothing stands, and the server answers")
}

fn plain(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    arena.object(thief)?;
    let sign = |method, body: &[u8]| arena.call(method, &key).body(body).sign(&arena.target, thief);
    trial.must_not_read("GET", &sign("GET", b""), &content);
    let url = arena.call("GET", &key).presigned("600").sign(&arena.target, thief);
    trial.must_not_read("presigned GET", &url, &content);
    let before = (key.as_str(), Some(content.as_slice()));
    trial.must_not_write("PUT", owner, before, &sign("PUT", &arena.content()))?;
    trial.must_not_write("DELETE", owner, before, &sign("DELETE", b""))?;
    let head = |key: &str| arena.ask(thief, &arena.call("HEAD", key)).status;
    let (there, absent) = (head(&key), head(&format!("{key}.absent")));
    let answer = arena.ask(thief, &arena.call("HEAD", &key));
    let told = (there != absent).then(|| format!("and HEAD of an absent key {absent}"));
    trial.tried("HEAD tells what exists", &answer, told);
    trial.end("the object reads back whole, and a HEAD does not tell whether it is there")
}
