//! Lists: neither a prefix nor a marker nor a delimiter shows what is another's.

use super::{Arena, Check, Finding, Stop, call::Call};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p32-prefixes", "lists by an empty, short or foreign prefix", prefixes),
    Check::new("p32-markers", "markers that lead out of one's own folder", markers),
    Check::new("p32-delimiters", "delimiters that show siblings", delimiters),
    Check::new("p32-versions", "versions of what is another's", versions),
    Check::new("p32-two-prefixes", "two prefixes in one request", two_prefixes),
    Check::new("p33-questions-about-the-bucket", "what is told of the bucket and of others", bucket),
];

/// A key that must not be shown, after a list of one's own has worked.
fn hidden(arena: &Arena) -> Result<String, Stop> {
    let (key, _) = arena.secret()?;
    let (own, _) = arena.object(&arena.attacker)?;
    let answer = arena.ask(&arena.attacker, &list(arena).query("prefix", &arena.below(&arena.attacker)));
    arena.trial().honest("list", &answer)?;
    if answer.holds(own.as_bytes()) {
        return Ok(key);
    }
    Err(Stop::not_applicable("an honest list does not show one's own object"))
}

fn list(arena: &Arena) -> Call {
    arena.call("GET", "").query("list-type", "2")
}

fn lists(arena: &Arena, calls: Vec<(String, Call)>, secret: &str) -> Verdict {
    let mut trial = arena.trial();
    for (label, call) in calls {
        trial.must_not_read(&label, &call.sign(&arena.target, &arena.attacker), secret.as_bytes());
    }
    trial.end("no key of another's was shown")
}

fn prefixes(arena: &Arena) -> Verdict {
    let key = hidden(arena)?;
    let theirs = &arena.victim.prefix;
    let mut prefixes = vec![String::new(), theirs.trim_end_matches('/').to_owned(), theirs.clone()];
    prefixes.extend(theirs.match_indices('/').map(|(at, _)| theirs.get(..at).unwrap_or_default().to_owned()));
    prefixes
        .extend(theirs.match_indices('/').map(|(at, _)| theirs.get(..=at).unwrap_or_default().to_owned()));
    prefixes.push(theirs.chars().take(theirs.len() - 5).collect());
    prefixes.push(format!("{}../{}", arena.attacker.prefix, theirs));
    prefixes.push(key.clone());
    let mut calls = Vec::new();
    for prefix in prefixes {
        calls.push((format!("v2 {prefix:?}"), list(arena).query("prefix", &prefix)));
        calls.push((format!("v1 {prefix:?}"), arena.call("GET", "").query("prefix", &prefix)));
    }
    calls.push(("no prefix".to_owned(), list(arena)));
    calls.push(("no prefix, by v1".to_owned(), arena.call("GET", "")));
    lists(arena, calls, &key)
}

fn markers(arena: &Arena) -> Verdict {
    let key = hidden(arena)?;
    let before: String = key.chars().take(key.len() - 1).collect();
    let own = arena.below(&arena.attacker);
    let mut calls = Vec::new();
    for prefix in [own.as_str(), ""] {
        for (name, marker) in [("start-after", before.as_str()), ("continuation-token", before.as_str())] {
            let call = list(arena).query("prefix", prefix).query(name, marker);
            calls.push((format!("{name} under {prefix:?}"), call));
        }
        let call = arena.call("GET", "").query("prefix", prefix).query("marker", &before);
        calls.push((format!("marker under {prefix:?}"), call));
    }
    lists(arena, calls, &key)
}

fn delimiters(arena: &Arena) -> Verdict {
    let key = hidden(arena)?;
    // A delimiter that is in no key, or only at its end, shows whole keys as common prefixes.
    let root = arena.victim.prefix.split_inclusive('/').next().unwrap_or_default().to_owned();
    let mut calls = Vec::new();
    for delimiter in ["", "n", "bin", "\u{1}", "attack", ".bin"] {
        for prefix in ["", root.as_str()] {
            let call = list(arena).query("prefix", prefix).query("delimiter", delimiter);
            calls.push((format!("{delimiter:?} under {prefix:?}"), call));
        }
    }
    // The name of the victim's folder itself is what a list of siblings would show.
    let name = arena.victim.prefix.trim_end_matches('/').rsplit('/').next().unwrap_or(&key).to_owned();
    lists(arena, calls, &name)
}

fn versions(arena: &Arena) -> Verdict {
    let key = hidden(arena)?;
    let versions = arena.call("GET", "").query("versions", "");
    let below = arena.below(&arena.victim);
    let calls = vec![
        ("of all".to_owned(), versions.clone()),
        ("by prefix".to_owned(), versions.clone().query("prefix", &below)),
        ("by marker".to_owned(), versions.query("key-marker", &below)),
    ];
    lists(arena, calls, &key)
}

fn two_prefixes(arena: &Arena) -> Verdict {
    let key = hidden(arena)?;
    let (own, theirs) = (arena.below(&arena.attacker), arena.below(&arena.victim));
    let calls = vec![
        ("own first".to_owned(), list(arena).query("prefix", &own).query("prefix", &theirs)),
        ("own last".to_owned(), list(arena).query("prefix", &theirs).query("prefix", &own)),
        ("in capitals".to_owned(), list(arena).query("prefix", &own).query("Prefix", &theirs)),
        ("own, then none".to_owned(), list(arena).query("prefix", &own).query("prefix", "")),
        ("two list types".to_owned(), list(arena).query("list-type", "1").query("prefix", &theirs)),
    ];
    let mut trial = arena.trial();
    for (label, call) in calls {
        let signed = call.sign(&arena.target, &arena.attacker);
        trial.must_not_read(&label, &signed, key.as_bytes());
        // As it was asked, not in the order of the canonical form.
        let (path, query) = signed.target.split_once('?').unwrap_or_default();
        let backwards = query.split('&').rev().collect::<Vec<_>>().join("&");
        let mut other = signed.clone();
        other.target = format!("{path}?{backwards}");
        trial.must_not_read(&label, &other, key.as_bytes());
    }
    trial.end("no key of another's was shown")
}

fn bucket(arena: &Arena) -> Verdict {
    let key = hidden(arena)?;
    let mut trial = arena.trial();
    for (label, call) in [
        ("a list of another bucket", Call::new("GET", "/another-bucket").query("list-type", "2")),
        ("of all buckets", Call::new("GET", "/").query("list-type", "2")),
        ("of a bucket above", Call::new("GET", &format!("/../{}", arena.target.bucket))),
        ("by POST", arena.call("POST", "").query("list-type", "2")),
        ("an inventory", arena.call("GET", "").query("inventory", "")),
    ] {
        trial.must_not_read(label, &call.sign(&arena.target, &arena.attacker), key.as_bytes());
    }
    trial.end("no key of another's was shown")
}
