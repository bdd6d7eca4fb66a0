//! What answers tell that they should not.

use super::{Arena, Check, Finding, Stop, call::Call, http, wire::Answer};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p36-absent-or-denied", "whether another's object is there", absent_or_denied),
    Check::new("p49-refusals", "refusals without a request id or S3's form", refusals),
    Check::new("p51-secrets-in-answers", "signatures, tokens and secrets in answers", secrets),
    Check::new("p63-the-store-named", "the store's address, bucket or product in answers", store_named),
];

fn absent_or_denied(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    arena.object(thief)?;
    let absent = format!("{key}.absent");
    for (label, method, name, value) in [
        ("GET", "GET", "", ""),
        ("HEAD", "HEAD", "", ""),
        ("a condition", "GET", "if-none-match", "*"),
        ("a range", "GET", "range", "bytes=999999999-"),
        ("attributes", "GET", "x-amz-object-attributes", "ObjectSize"),
        ("PUT if absent", "PUT", "if-none-match", "*"),
    ] {
        let ask = |key: &str| {
            let mut call = http::get(arena, key);
            if method != "GET" {
                call = arena.call(method, key);
            }
            if !name.is_empty() {
                call = call.header(name, value);
            }
            if method == "PUT" {
                call = call.body(&arena.content());
            }
            arena.ask(thief, &call)
        };
        let (there, not) = (ask(&key), ask(&absent));
        let told = there.status != not.status || there.element("Code") != not.element("Code");
        trial.tried(label, &there, told.then(|| format!("and of an absent one {}", not.brief())));
    }
    // The PUT of this check, where it was taken.
    arena.ask(&arena.victim, &arena.call("DELETE", &absent));
    trial.end("it is answered as for an absent one")
}

/// Answers of many kinds, most of them refusals.
fn samples(arena: &Arena) -> Result<Vec<(&'static str, Answer)>, Stop> {
    let (who, owner) = (&arena.attacker, &arena.victim);
    let (key, _) = arena.object(who)?;
    let get = arena.call("GET", &key);
    let signed = get.sign(&arena.target, who);
    let wrong = signed.value("authorization").replace(&signed.signature, &"0".repeat(64));
    let list = |name: &str| arena.call("GET", "").query(name, "").query("prefix", &arena.below(who));
    let mut stranger = who.clone();
    stranger.access_key = "AKIAIOSFODNN7EXAMPLE".to_owned();
    Ok(vec![
        ("a GET", arena.send(&signed)),
        ("a HEAD", arena.ask(who, &arena.call("HEAD", &key))),
        ("a list", arena.ask(who, &list("list-type").query("list-type", "2"))),
        ("a list by v1", arena.ask(who, &arena.call("GET", "").query("prefix", &arena.below(who)))),
        ("uploads", arena.ask(who, &list("uploads"))),
        ("a missing key", arena.ask(who, &arena.call("GET", &format!("{key}.absent")))),
        ("a missing upload", arena.ask(who, &get.clone().query("uploadId", "absent"))),
        ("a false signature", arena.send(&signed.clone().set("authorization", wrong))),
        ("a false presigned URL", {
            let url = get.clone().presigned("600").sign(&arena.target, owner);
            arena.send(&url.parameter("X-Amz-Signature", Some("00")))
        }),
        ("an unknown key id", arena.ask(&stranger, &get)),
        ("no claim", arena.send(&get.anonymous(&arena.target))),
        ("another bucket", arena.ask(who, &Call::new("GET", "/another-bucket/a"))),
        ("a bad range", arena.ask(who, &get.clone().header("range", "bytes=99999999-"))),
        ("another's list", arena.ask(who, &arena.call("GET", "").query("prefix", &owner.prefix))),
        ("a bad XML", arena.ask(who, &arena.call("POST", "").query("delete", "").body(b"<Delete>"))),
    ])
}

fn refusals(arena: &Arena) -> Verdict {
    let mut trial = arena.trial();
    for (label, answer) in samples(arena)? {
        let unnamed = answer.header("x-amz-request-id").is_none_or(str::is_empty);
        let formless = answer.status >= 400 && !answer.body.is_empty() && answer.element("Code").is_none();
        let effect = match (unnamed, formless) {
            (true, _) => Some("without a request id".to_owned()),
            (_, true) => Some("without S3's error".to_owned()),
            _ => None,
        };
        trial.tried(label, &answer, effect);
    }
    trial.end("each has a request id, and S3's error where it is one")
}

fn shown(answer: &Answer) -> String {
    let head: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    head + &answer.text()
}

fn secrets(arena: &Arena) -> Verdict {
    let mut trial = arena.trial();
    let people = [&arena.attacker, &arena.victim];
    let tokens = people.iter().filter_map(|who| who.token.as_deref());
    let hidden: Vec<&str> = tokens.chain(people.iter().map(|who| who.secret.as_str())).collect();
    for (label, answer) in samples(arena)? {
        let text = shown(&answer);
        let secret = hidden.iter().any(|secret| !secret.is_empty() && text.contains(secret));
        let words = ["Signature=", "StringToSign", "CanonicalRequest", "SignatureProvided"];
        let word = words.iter().find(|word| text.contains(*word));
        let effect = match (secret, word) {
            (true, _) => Some("and it holds a secret or a token".to_owned()),
            (_, Some(word)) => Some(format!("and it holds {word}")),
            _ => None,
        };
        trial.tried(label, &answer, effect);
    }
    trial.end("none holds a secret, a token or what was signed")
}

fn store_named(arena: &Arena) -> Verdict {
    let mut trial = arena.trial();
    let products = ["minio", "ceph", "rgw", "seaweedfs", "garage", "rustfs", "versitygw", "amazons3", "s3s"];
    for (label, answer) in samples(arena)? {
        // The namespace of S3's documents is everybody's.
        let text = shown(&answer).to_lowercase().replace("s3.amazonaws.com/doc/2006-03-01", "");
        let given = arena.target.store_words.iter().map(String::as_str);
        let product = products.into_iter().chain(given).find(|word| text.contains(&word.to_lowercase()));
        trial.tried(label, &answer, product.map(|word| format!("and it names {word}")));
    }
    trial.end("none names the store")
}
