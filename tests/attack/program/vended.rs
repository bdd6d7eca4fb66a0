//! URLs and forms that are handed out for a hotkey's signed string. Subgate alone has these here.

use std::time::SystemTime;

use serde_json::{Value, json};
use subgate::{auth::bittensor::sr25519::Keypair, time::UnixTime};

use super::{
    Arena, Check, Finding, Stop,
    call::{Call, encode},
    wire::Answer,
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p12-folder-access-of-another", "another's folder by a signed string", folder_of_another),
    Check::new("p9-folder-access-out-of-time", "a signed string that is old, ahead or altered", out_of_time),
    Check::new("p14-vended-form-widened", "a vended form for another's folder", form_widened),
    Check::new("p61-vended-list-widened", "a vended list with more added to it", list_widened),
    Check::new("p30-validators-endpoints", "a miner at what is a validator's", validators),
];

fn now() -> u64 {
    UnixTime::from(SystemTime::now()).seconds()
}

fn post(arena: &Arena, path: &str, body: &Value) -> Answer {
    let call = Call::new("POST", path).header("content-type", "application/json");
    arena.send(&call.body(body.to_string().as_bytes()).anonymous(&arena.target))
}

fn sign(hotkey: &Keypair, text: &str) -> String {
    hex::encode(hotkey.sign(text.as_bytes()))
}

/// A request for a folder, as of that time.
fn folder_request(coldkey: &str, hotkey: &Keypair, source: &str, timestamp: u64) -> Value {
    let text = format!("s3:access:{coldkey}:{source}:{timestamp}");
    json!({
        "coldkey": coldkey, "hotkey": hotkey.account().to_ss58(), "timestamp": timestamp,
        "expiry": now() + 3600, "source": source, "signature": sign(hotkey, &text),
    })
}

/// The source in the attacker's prefix.
fn source(arena: &Arena) -> Result<String, Stop> {
    let coldkey = arena.attacker.coldkey()?;
    let before = arena.attacker.prefix.split(&coldkey).next().unwrap_or_default();
    let source = before.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Ok(source.to_owned())
}

/// An honest answer of `/get-folder-access`.
fn access(arena: &Arena) -> Result<Value, Stop> {
    let hotkey = arena.attacker.hotkey()?;
    arena.victim.hotkey()?;
    let request = folder_request(&arena.attacker.coldkey()?, &hotkey, &source(arena)?, now());
    let answer = post(arena, "/get-folder-access", &request);
    arena.trial().honest("POST /get-folder-access", &answer)?;
    serde_json::from_slice(&answer.body).map_err(|error| Stop::trouble(error.to_string()))
}

fn try_requests(arena: &Arena, requests: Vec<(&str, Value)>) -> Verdict {
    let mut trial = arena.trial();
    for (label, request) in requests {
        if trial.goes_on() {
            let answer = post(arena, "/get-folder-access", &request);
            let given = answer.is_success().then(|| "and access is given".to_owned());
            trial.tried(label, &answer, given);
        }
    }
    trial.end("no access was given")
}

fn changed(mut request: Value, name: &str, value: Value) -> Value {
    if let Some(field) = request.get_mut(name) {
        *field = value;
    }
    request
}

fn folder_of_another(arena: &Arena) -> Verdict {
    access(arena)?;
    let (thief, owner) = (arena.attacker.hotkey()?, arena.victim.hotkey()?);
    let (source, own, theirs) = (source(arena)?, arena.attacker.coldkey()?, arena.victim.coldkey()?);
    let address = json!(owner.account().to_ss58());
    let request = folder_request(&theirs, &thief, &source, now());
    try_requests(
        arena,
        vec![
            ("its coldkey", request.clone()),
            ("its coldkey and hotkey", changed(request, "hotkey", address.clone())),
            ("its hotkey", changed(folder_request(&own, &thief, &source, now()), "hotkey", address)),
            ("its coldkey, not signed", {
                changed(folder_request(&own, &thief, &source, now()), "coldkey", json!(theirs))
            }),
            ("a source with a slash", folder_request(&own, &thief, &format!("{source}/{theirs}"), now())),
            ("dots for a source", folder_request(&own, &thief, "..", now())),
        ],
    )
}

fn out_of_time(arena: &Arena) -> Verdict {
    access(arena)?;
    let hotkey = arena.attacker.hotkey()?;
    let (source, own) = (source(arena)?, arena.attacker.coldkey()?);
    let at = |timestamp| folder_request(&own, &hotkey, &source, timestamp);
    try_requests(
        arena,
        vec![
            ("old", at(now() - 400)),
            ("a day old", at(now() - 86_400)),
            ("ahead", at(now() + 120)),
            ("another time than signed", changed(at(now()), "timestamp", json!(now() - 1))),
            ("ended", changed(at(now()), "expiry", json!(now() - 1))),
            ("a time below zero", changed(at(now()), "timestamp", json!(-1))),
            ("a signature of zeroes", changed(at(now()), "signature", json!("0".repeat(128)))),
            ("no signature", changed(at(now()), "signature", json!(""))),
            ("another source than signed", changed(at(now()), "source", json!("reddit2"))),
        ],
    )
}

fn form_widened(arena: &Arena) -> Verdict {
    arena.secret()?;
    let access = access(arena)?;
    let mut trial = arena.trial();
    let fields = access.get("fields").and_then(Value::as_object).cloned().unwrap_or_default();
    let content = arena.content();
    let post = |key: &str, filename: &str| {
        let mut body = Vec::new();
        let all = fields.iter().filter(|(name, _)| *name != "key");
        let all = all.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
        for (name, value) in [("key", key)].into_iter().chain(all) {
            let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend([head.as_bytes(), value.as_bytes(), b"\r\n"].concat());
        }
        let named = format!("name=\"file\"; filename=\"{filename}\"");
        body.extend(format!("--XX\r\nContent-Disposition: form-data; {named}\r\n\r\n").into_bytes());
        body.extend([content.as_slice(), b"\r\n--XX--\r\n"].concat());
        let call = Call::new("POST", &format!("/{}", arena.target.bucket)).body(&body);
        call.header("content-type", "multipart/form-data; boundary=XX").anonymous(&arena.target)
    };
    let own = arena.key(&arena.attacker);
    trial.honest("vended form", &arena.send(&post(&own, "a.bin")))?;
    let prefix = &arena.attacker.prefix;
    let climb = "../".repeat(prefix.matches('/').count());
    let new = arena.key(&arena.victim);
    for (label, key, filename) in [
        ("its key", new.clone(), "a.bin".to_owned()),
        ("by dots", format!("{prefix}{climb}{new}"), "a.bin".to_owned()),
        ("by the file's name", format!("{prefix}${{filename}}"), format!("{climb}{new}")),
        ("another folder", format!("{}x/evil", prefix.trim_end_matches('/')), "a.bin".to_owned()),
    ] {
        let request = post(&key, &filename);
        trial.must_not_write(label, &arena.victim, (&new, None), &request)?;
        if label == "another folder" {
            trial.must_fail(label, &request);
        }
    }
    trial.end("nothing was written")
}

fn list_widened(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let access = access(arena)?;
    let mut trial = arena.trial();
    let url = access.get("list_url").and_then(Value::as_str).unwrap_or_default();
    let target = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
    let target = target.ok_or_else(|| Stop::trouble("the list URL is none"))?;
    let get = |more: &str| {
        let spelled = target.split('?').next().unwrap_or_default();
        let mut request = Call::new("GET", spelled).anonymous(&arena.target);
        request.target = format!("{target}{more}");
        request
    };
    trial.honest("vended list", &arena.send(&get("")))?;
    let theirs = encode(&arena.below(&arena.victim), false);
    let before: String = key.chars().take(key.len() - 1).collect();
    for more in [
        format!("&prefix={theirs}"),
        "&prefix=".to_owned(),
        "&prefix=data%2F".to_owned(),
        format!("&start-after={}", encode(&before, false)),
        format!("&marker={}", encode(&before, false)),
        format!("&continuation-token={}", encode(&before, false)),
        "&versions".to_owned(),
    ] {
        trial.must_not_read(&more, &get(&more), key.as_bytes());
    }
    let widened = target.replacen(&encode(&arena.attacker.prefix, false), &theirs, 1);
    let mut in_place = get("");
    in_place.target = widened;
    trial.must_not_read("its prefix in place", &in_place, key.as_bytes());
    trial.end("no key of another's was shown")
}

fn validators(arena: &Arena) -> Verdict {
    access(arena)?;
    let (thief, owner) = (arena.attacker.hotkey()?, arena.victim.hotkey()?);
    let (key, _) = arena.secret()?;
    let (time, own, theirs) = (now(), thief.account().to_ss58(), owner.account().to_ss58());
    let mut trial = arena.trial();
    for (path, kind, more) in [
        ("/get-validator-access", "access".to_owned(), json!({})),
        ("/get-miner-specific-access", format!("miner:{theirs}"), json!({"miner_hotkey": theirs})),
        ("/get-folder-presigned-urls", format!("folders:{own}"), json!({})),
        (
            "/get-file-presigned-urls",
            format!("files:{theirs}:{own}"),
            json!({"miner_hotkey": theirs, "file_keys": [key], "expiry_hours": 1}),
        ),
    ] {
        for hotkey in [&own, &theirs] {
            let mut request = json!({
                "hotkey": hotkey, "timestamp": time, "expiry": time + 3600,
                "signature": sign(&thief, &format!("s3:validator:{kind}:{time}")),
            });
            if let (Some(request), Some(more)) = (request.as_object_mut(), more.as_object()) {
                request.extend(more.clone());
            }
            let answer = post(arena, path, &request);
            let given = answer.is_success().then(|| "and URLs are given".to_owned());
            trial.tried(path, &answer, given);
        }
    }
    trial.end("no URL was given")
}
