//! What one party can cost the others: connections that take much and give little, held for as long as the
//! server lets them, while the victim works. Held is an attack if the victim is served as before, the
//! server's memory stays bounded, and every connection has ended within the given patience.

mod crowd;
mod http2;

use std::time::Duration;

use self::crowd::{Crowd, Pace};
use super::{
    Arena, Check, Finding, Stop,
    bodies::content_md5,
    call::{Call, UNSIGNED},
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p55-silent-connections", "300 connections that ask nothing", silent),
    Check::new("p47-slow-heads", "100 heads of requests, a byte each second", slow_heads),
    Check::new("p54-slow-bodies", "200 slow bodies of nobody's", slow_bodies),
    Check::new("p55-pings", "100 HTTP/2 connections with one request, then pings", pings),
    Check::new("p56-slow-readers", "20 downloads read at 60 bytes per second", slow_readers),
    Check::new("p56-slow-uploads", "20 uploads of 1 KB per second", slow_uploads),
    Check::new("p56-closed-windows", "20 HTTP/2 downloads into windows of 0", closed_windows),
    Check::new("p58-slow-batches", "8 batch deletes sent slowly, while the victim sends one", slow_batches),
    Check::new("p17-false-signatures", "a flood of false signatures from one address", false_signatures),
];

fn silent(arena: &Arena) -> Verdict {
    Crowd::new(arena, 300).hold(Vec::new(), Pace::silent())
}

fn slow_heads(arena: &Arena) -> Verdict {
    let head = format!("GET /{}/a HTTP/1.1\r\nhost: {}\r\nx-a: ", arena.target.bucket, arena.target.host);
    Crowd::new(arena, 100).hold(head.into_bytes(), Pace::sending(b"a", Duration::from_secs(1)))
}

fn slow_bodies(arena: &Arena) -> Verdict {
    let path = match arena.victim.hotkey {
        Some(_) => "/get-file-presigned-urls".to_owned(),
        None => format!("/{}", arena.target.bucket),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\n\
         content-type: application/json\r\ncontent-length: 1887436\r\n\r\n",
        arena.target.host
    );
    let begin = [head.as_bytes(), b"{\"file_keys\": [\"", &[b'a'; 1_800_000]].concat();
    Crowd::new(arena, 200).hold(begin, Pace::sending(b"a", Duration::from_millis(500)))
}

fn pings(arena: &Arena) -> Verdict {
    let get = arena.call("GET", &arena.key(&arena.attacker)).sign(&arena.target, &arena.attacker);
    let begin = http2::begin(&get, 65_535);
    Crowd::new(arena, 100).with_http2().hold(begin, Pace::sending(&http2::PING, Duration::from_millis(500)))
}

/// An object of the attacker's that no socket buffer holds.
fn large_object(arena: &Arena) -> Result<String, Stop> {
    let (key, content) = (arena.key(&arena.attacker), arena.content_of(24 << 20));
    let put = arena.call("PUT", &key).body(&content).payload(UNSIGNED);
    arena.trial().honest("PUT of 24 MiB", &arena.ask(&arena.attacker, &put))?;
    Ok(key)
}

fn slow_readers(arena: &Arena) -> Verdict {
    let key = large_object(arena)?;
    let get = arena.call("GET", &key).sign(&arena.target, &arena.attacker);
    Crowd::new(arena, 20).hold(get.head(), Pace::reading(30, Duration::from_millis(500)))
}

fn slow_uploads(arena: &Arena) -> Verdict {
    let crowd = Crowd::new(arena, 20);
    let key = arena.key(&arena.attacker);
    let put = arena.call("PUT", &key).payload(UNSIGNED).sign(&arena.target, &arena.attacker);
    let put = put.set("content-length", "50000000");
    crowd.hold(put.head(), Pace::sending(&[b'a'; 540], Duration::from_millis(500)))
}

fn closed_windows(arena: &Arena) -> Verdict {
    let key = large_object(arena)?;
    let get = arena.call("GET", &key).sign(&arena.target, &arena.attacker);
    let begin = http2::begin(&get, 0);
    Crowd::new(arena, 20).with_http2().hold(begin, Pace::sending(&http2::PING, Duration::from_millis(500)))
}

/// A batch delete of one key that may be absent.
pub(super) fn batch(arena: &Arena, key: &str) -> Call {
    let document = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
    let md5 = content_md5(document.as_bytes());
    let call = arena.call("POST", "").query("delete", "").header("content-md5", &md5);
    call.body(document.as_bytes())
}

fn slow_batches(arena: &Arena) -> Verdict {
    let call = arena.call("POST", "").query("delete", "").payload(UNSIGNED);
    let request = call.header("content-md5", &content_md5(b"")).sign(&arena.target, &arena.attacker);
    let request = request.set("content-length", "1000000");
    let begin = [request.head(), b"<Delete><Object><Key>".to_vec()].concat();
    Crowd::new(arena, 8).hold(begin, Pace::sending(b"a", Duration::from_millis(500)))
}

fn false_signatures(arena: &Arena) -> Verdict {
    let mut keys = vec![arena.attacker.clone()];
    keys.extend(arena.attacker.by_hotkey().ok());
    let (key, _) = arena.object(&arena.attacker)?;
    let requests: Vec<Vec<u8>> = keys
        .iter()
        .map(|who| {
            let get = arena.call("GET", &key).sign(&arena.target, who);
            let zeroes = "0".repeat(get.signature.len());
            let claim = get.value("authorization").replace(&get.signature, &zeroes);
            get.set("authorization", claim).head()
        })
        .collect();
    Crowd::new(arena, 40).flood(&requests)
}
