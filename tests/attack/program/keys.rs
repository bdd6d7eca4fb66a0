//! Which key is meant: paths that are read in two ways.

use super::{
    Arena, Check, Finding, Stop,
    call::{Call, decode, encode},
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p22-dots-read", "dot segments that lead to another's object", dots_read),
    Check::new("p22-dots-write", "dot segments that lead into another's folder", dots_write),
    Check::new("p21-double-encoding", "a key encoded twice is decoded twice", double_encoding),
    Check::new("p22-aliases", "two keys that are one object", aliases),
    Check::new("p20-odd-targets", "request targets that name the bucket oddly", odd_targets),
    Check::new("p18-open-paths", "paths that need no signature, and what follows them", open_paths),
    Check::new("p23-neighbours", "a folder whose name begins as another's", neighbours),
    Check::new("p52-characters-no-xml-holds", "keys that make a list unreadable", noncharacters),
    Check::new("p15-rewritten-urls", "headers that name another URL", rewritten),
];

/// From the attacker's folder to `key`, with these dots and slashes; the path as it is signed and as sent.
fn climbing(arena: &Arena, key: &str, dots: &str, slash: &str) -> (String, String) {
    let thief = &arena.attacker;
    let climb = format!("{dots}{slash}").repeat(thief.prefix.matches('/').count());
    let wire =
        format!("/{}/{}{climb}{}", arena.target.bucket, encode(&thief.prefix, true), encode(key, true));
    (decode(&wire), wire)
}

const SPELLINGS: [(&str, &str); 10] = [
    ("..", "/"),
    ("%2e%2e", "/"),
    ("%2E%2e", "/"),
    (".%2e", "/"),
    ("..", "%2f"),
    ("%2e%2e", "%2F"),
    ("./..", "/"),
    ("%252e%252e", "%252f"),
    ("..", "%5c"),
    ("../.", "//"),
];

fn dots_read(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    arena.object(thief)?;
    for (dots, slash) in SPELLINGS {
        let (path, wire) = climbing(arena, &key, dots, slash);
        for path in [path, wire.clone()] {
            let call = Call::new("GET", &path).spelled(&wire);
            let label = format!("{dots}{slash}");
            trial.must_not_read(&label, &call.sign(&arena.target, thief), &content);
            trial.must_not_read(&label, &call.presigned("600").sign(&arena.target, thief), &content);
        }
    }
    trial.end("nothing was read")
}

fn dots_write(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    arena.object(thief)?;
    for (dots, slash) in SPELLINGS {
        for method in ["PUT", "DELETE"] {
            let (path, wire) = climbing(arena, &key, dots, slash);
            let mut call = Call::new(method, &path).spelled(&wire);
            if method == "PUT" {
                call = call.body(&arena.content());
            }
            let before = (key.as_str(), Some(content.as_slice()));
            let label = format!("{method} {dots}{slash}");
            trial.must_not_write(&label, owner, before, &call.sign(&arena.target, thief))?;
        }
    }
    trial.end("the object reads back whole")
}

fn double_encoding(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    for (from, to) in [("bin", "%62in"), ("/attack", "%2fattack"), (".bin", "%2ebin")] {
        // The text with its percent sign is the key, and another than the one it would decode to.
        let other = key.replacen(from, to, 1);
        let call = arena.call("GET", &other);
        trial.must_not_read(&format!("GET of {to}"), &call.sign(&arena.target, who), &content);
        let before = (key.as_str(), Some(content.as_slice()));
        let put = arena.call("PUT", &other).body(&arena.content());
        trial.must_not_write(&format!("PUT of {to}"), who, before, &put.sign(&arena.target, who))?;
        arena.ask(who, &arena.call("DELETE", &other));
    }
    let plus = key.replacen(".bin", "+a.bin", 1);
    let space = key.replacen(".bin", " a.bin", 1);
    let put = arena.call("PUT", &plus).body(&content).sign(&arena.target, who);
    trial.must_not_write("PUT of +", who, (&space, None), &put)?;
    arena.ask(who, &arena.call("DELETE", &plus));
    trial.end("the other key stands as it stood")
}

fn aliases(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", &key));
    let odd = [
        format!("{folder}//{name}"),
        format!("{folder}/./{name}"),
        format!("{folder}/a/../{name}"),
        format!("{folder}/{name}/."),
        format!("{folder}/{name}/"),
        format!("{folder}/{name}\0"),
        format!("{folder}/{name}\0.txt"),
        format!("{folder}/\n{name}"),
        format!("{folder}/{name}\u{7f}"),
        format!("{folder}\\{name}"),
    ];
    for other in odd {
        let get = arena.call("GET", &other).sign(&arena.target, who);
        trial.must_not_read(&format!("GET of {other:?}"), &get, &content);
        let before = (key.as_str(), Some(content.as_slice()));
        let put = arena.call("PUT", &other).body(&arena.content()).sign(&arena.target, who);
        trial.must_not_write(&format!("PUT of {other:?}"), who, before, &put)?;
        let delete = arena.call("DELETE", &other).sign(&arena.target, who);
        trial.must_not_write(&format!("DELETE of {other:?}"), who, before, &delete)?;
    }
    trial.end("the other key stands as it stood")
}

fn odd_targets(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, owner, mut trial) = (&arena.attacker, &arena.victim, arena.trial());
    let (bucket, own) = (&arena.target.bucket, &thief.prefix);
    arena.object(thief)?;
    let before = (key.as_str(), Some(content.as_slice()));
    for wire in [
        format!("//{bucket}/{key}"),
        format!("/./{bucket}/{key}"),
        format!("/{bucket}//{key}"),
        format!("/{bucket}%2f{key}"),
        format!("/{bucket}/{own}?/../{key}"),
        format!("/other/../{bucket}/{key}"),
        format!("/{}/{key}", bucket.to_uppercase()),
        format!("http://{}/{bucket}/{key}", arena.target.host),
        format!("http://other.example/{bucket}/{key}"),
        format!("/{bucket}/{own};/../../{key}"),
        format!("/{bucket}/{key}#"),
    ] {
        let path = decode(wire.split('?').next().unwrap_or_default());
        let path = path
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .map_or(path.clone(), |(_, p)| format!("/{p}"));
        let get = Call::new("GET", &path).spelled(&wire);
        trial.must_not_read(&wire, &get.sign(&arena.target, thief), &content);
        trial.must_not_read(&wire, &get.anonymous(&arena.target), &content);
        let put = Call::new("PUT", &path).spelled(&wire).body(&arena.content());
        trial.must_not_write(&wire, owner, before, &put.sign(&arena.target, thief))?;
    }
    trial.end("the object reads back whole")
}

fn open_paths(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (owner, mut trial) = (&arena.victim, arena.trial());
    let bucket = &arena.target.bucket;
    let before = (key.as_str(), Some(content.as_slice()));
    for open in
        ["docs", "docs2", "healthz", "healthcheck", "openapi.json", "minio/health/live", "favicon.ico"]
    {
        for between in ["/", "/../", "/%2e%2e/", "%2f..%2f", "/..;/", "?/../"] {
            let wire = format!("/{open}{between}{bucket}/{key}");
            let get = Call::new("GET", "/").spelled(&wire).anonymous(&arena.target);
            trial.must_not_read(&wire, &get, &content);
            let put = Call::new("PUT", "/").spelled(&wire).body(&arena.content()).anonymous(&arena.target);
            trial.must_not_write(&wire, owner, before, &put)?;
        }
    }
    trial.end("the object reads back whole")
}

fn neighbours(arena: &Arena) -> Verdict {
    arena.secret()?;
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    arena.object(thief)?;
    for whose in [&arena.attacker, &arena.victim] {
        let name = whose.prefix.trim_end_matches('/');
        for other in
            [format!("{name}x/evil"), name.to_owned(), format!("{name}-evil"), name.to_lowercase() + "/e"]
        {
            if other.starts_with(&thief.prefix) {
                continue;
            }
            let put = arena.call("PUT", &other).body(&arena.content()).sign(&arena.target, thief);
            trial.must_fail(&format!("PUT of {other}"), &put);
            if trial.goes_on() {
                let get = arena.call("GET", &other).sign(&arena.target, thief);
                trial.must_fail(&format!("GET of {other}"), &get);
            }
        }
    }
    trial.end("nothing was written")
}

fn noncharacters(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let key = arena.key(who);
    let content = arena.content();
    let honest = key.replacen(".bin", "-\u{e4}\u{1f600}.bin", 1);
    trial.honest_write(who, &honest, &arena.call("PUT", &honest).body(&content), &content)?;
    arena.ask(who, &arena.call("DELETE", &honest));
    for odd in ['\u{fffe}', '\u{ffff}', '\u{1}', '\u{b}', '\u{1f}'] {
        let other = key.replacen(".bin", &format!("{odd}.bin"), 1);
        let put = arena.call("PUT", &other).body(&content).sign(&arena.target, who);
        trial.must_not_write(&format!("{odd:?}"), who, (&other, None), &put)?;
        if !trial.goes_on() {
            arena.ask(who, &arena.call("DELETE", &other));
        }
    }
    let wire = format!("/{}/{}%ff%fe", arena.target.bucket, encode(&key, true));
    let put = Call::new("PUT", &decode(&wire)).spelled(&wire).body(&content);
    trial.must_fail("bytes that are no text", &put.sign(&arena.target, who));
    trial.end("nothing stands")
}

fn rewritten(arena: &Arena) -> Verdict {
    let (key, content) = arena.secret()?;
    let (thief, mut trial) = (&arena.attacker, arena.trial());
    let (own, _) = arena.object(thief)?;
    let path = format!("/{}/{}", arena.target.bucket, encode(&key, true));
    for name in
        ["x-original-url", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-path", "x-http-method-override"]
    {
        let get = arena.call("GET", &own).sign(&arena.target, thief).with(name, &path);
        trial.must_not_read(name, &get, &content);
        let url = arena.call("GET", &own).presigned("600").sign(&arena.target, thief).with(name, &path);
        trial.must_not_read(name, &url, &content);
    }
    trial.end("nothing was read")
}
