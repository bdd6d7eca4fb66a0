//! Signed chunks whose chain is broken, and framings of chunks that are none.

use super::{
    Arena, Check, Finding, Stop,
    call::{Call, SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER},
};

type Verdict = Result<Finding, Stop>;
/// What is done to an encoded body.
type Change = (&'static str, fn(&str) -> String);

pub(super) const CHECKS: &[Check] = &[
    Check::new("p4-chunk-signatures", "chunks altered, reordered, left out, signed falsely", chain),
    Check::new("p4-last-chunk", "a chain without its last link", last_chunk),
    Check::new("p4-trailer-signature", "a signed trailer altered, dropped, not signed", trailer_signature),
    Check::new("p4-decoded-length", "a decoded length that is not the body's", decoded_length),
    Check::new("p4-surplus", "more after the end of the chunks", surplus),
    Check::new("p8-chunk-sizes", "sizes of chunks that are no sizes", sizes),
    Check::new("p43-content-encoding", "aws-chunked kept as the object's encoding", encoding),
];

/// Three chunks of letters, so that a changed body is text still.
fn content(arena: &Arena) -> Vec<u8> {
    arena.content_of(40_000)
}

fn put(arena: &Arena, key: &str, content: &[u8], payload: &str) -> Call {
    let call = arena.call("PUT", key).body(content).payload(payload);
    if payload == SIGNED_CHUNKS { call } else { call.trailer("x-amz-checksum-crc32") }
}

fn try_changes(arena: &Arena, payload: &str, changes: &[Change]) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = content(arena);
    let key = arena.key(who);
    trial.honest_write(who, &key, &put(arena, &key, &content, payload), &content)?;
    for (label, change) in changes {
        let key = arena.key(who);
        let request = put(arena, &key, &content, payload).sign(&arena.target, who);
        let body = change(&String::from_utf8_lossy(&request.body));
        trial.must_not_write(label, who, (&key, None), &request.with_body(body.into_bytes()))?;
    }
    trial.end("nothing stands")
}

/// The chunks with their lines, cut where each begins.
fn pieces(body: &str) -> Vec<&str> {
    let starts: Vec<usize> = body
        .match_indices(";chunk-signature=")
        .map(|(at, _)| body.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |line| line + 1))
        .chain([body.len()])
        .collect();
    starts.windows(2).filter_map(|pair| body.get(*pair.first()?..*pair.last()?)).collect()
}

fn swapped(body: &str) -> String {
    let mut pieces = pieces(body);
    pieces.swap(0, 1);
    pieces.concat()
}

fn without(body: &str, gone: usize) -> String {
    let kept = pieces(body).into_iter().enumerate().filter(|(at, _)| *at != gone);
    kept.map(|(_, piece)| piece).collect()
}

fn chain(arena: &Arena) -> Verdict {
    try_changes(
        arena,
        SIGNED_CHUNKS,
        &[
            ("a byte of the first chunk", |body| body.replacen("content ", "Content ", 1)),
            ("a byte of the last data", |body| {
                let at = body.rfind("attack-").unwrap_or_default();
                let (start, end) = body.split_at(at);
                format!("{start}{}", end.replacen('a', "A", 1))
            }),
            ("a signature of zeroes", |body| {
                let at = body.find("chunk-signature=").unwrap_or_default() + 16;
                let (start, end) = body.split_at(at);
                format!("{start}{}{}", "0".repeat(64), end.get(64..).unwrap_or_default())
            }),
            ("no signatures", |body| {
                let lines = body.split("\r\n").map(|line| line.split(";chunk-").next().unwrap_or_default());
                lines.collect::<Vec<_>>().join("\r\n")
            }),
            ("two chunks swapped", swapped),
            ("the second chunk left out", |body| without(body, 1)),
            ("the first chunk twice", |body| {
                format!("{}{body}", pieces(body).first().copied().unwrap_or_default())
            }),
        ],
    )
}

fn last_chunk(arena: &Arena) -> Verdict {
    try_changes(
        arena,
        SIGNED_CHUNKS,
        &[
            ("left out", |body| without(body, 3)),
            ("the one before left out", |body| without(body, 2)),
            ("not signed", |body| {
                let at = body.rfind("0;chunk-signature=").unwrap_or_default();
                format!("{}0\r\n\r\n", body.get(..at).unwrap_or_default())
            }),
            ("signed falsely", |body| {
                let at = body.rfind("0;chunk-signature=").unwrap_or_default();
                let start = body.get(..at).unwrap_or_default();
                format!("{start}0;chunk-signature={}\r\n\r\n", "a".repeat(64))
            }),
        ],
    )
}

fn trailer_signature(arena: &Arena) -> Verdict {
    try_changes(
        arena,
        SIGNED_TRAILER,
        &[
            ("dropped", |body| {
                let at = body.rfind("x-amz-trailer-signature").unwrap_or(body.len());
                format!("{}\r\n", body.get(..at).unwrap_or_default())
            }),
            ("zeroes", |body| {
                let at = body.rfind("x-amz-trailer-signature:").unwrap_or_default() + 24;
                format!("{}{}\r\n\r\n", body.get(..at).unwrap_or_default(), "0".repeat(64))
            }),
            ("the checksum left out", |body| {
                let kept = body.split("\r\n").filter(|line| !line.starts_with("x-amz-checksum"));
                kept.collect::<Vec<_>>().join("\r\n")
            }),
            ("a trailer more", |body| {
                body.replacen("x-amz-checksum-crc32:", "x-amz-meta-a:b\r\nx-amz-checksum-crc32:", 1)
            }),
            ("everything after the chunks left out", |body| {
                let at = body.rfind("x-amz-checksum").unwrap_or(body.len());
                format!("{}\r\n", body.get(..at).unwrap_or_default())
            }),
        ],
    )
}

fn decoded_length(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = content(arena);
    for payload in [SIGNED_CHUNKS, UNSIGNED_TRAILER] {
        let key = arena.key(who);
        trial.honest_write(who, &key, &put(arena, &key, &content, payload), &content)?;
        for length in
            ["39999", "40001", "0", "-1", "18446744073709551616", "4e4", "+40000", "", "9000000000000"]
        {
            let key = arena.key(who);
            let call = put(arena, &key, &content, payload).header("x-amz-decoded-content-length", length);
            let request = call.sign(&arena.target, who);
            let label = format!("{length:?} for 40000");
            trial.must_not_write(&label, who, (&key, None), &request)?;
        }
    }
    trial.end("nothing stands")
}

fn surplus(arena: &Arena) -> Verdict {
    let changes: [Change; 3] = [
        ("text", |body| format!("{body}surplus")),
        ("a chunk", |body| format!("{body}5\r\nextra\r\n0\r\n\r\n")),
        ("white space", |body| format!("{body}\r\n\r\n")),
    ];
    match try_changes(arena, SIGNED_CHUNKS, &changes)? {
        Finding::Held(_) => try_changes(arena, UNSIGNED_TRAILER, &changes),
        other => Ok(other),
    }
}

fn sizes(arena: &Arena) -> Verdict {
    // Chunks are of 0x4000 bytes.
    try_changes(
        arena,
        UNSIGNED_TRAILER,
        &[
            ("hexadecimal that is none", |body| body.replacen("4000\r\n", "4000zz\r\n", 1)),
            ("a prefix", |body| body.replacen("4000\r\n", "0x4000\r\n", 1)),
            ("a sign", |body| body.replacen("4000\r\n", "+4000\r\n", 1)),
            ("below zero", |body| body.replacen("4000\r\n", "-4000\r\n", 1)),
            ("wrapped round", |body| body.replacen("4000\r\n", "10000000000004000\r\n", 1)),
            ("far too large", |body| body.replacen("4000\r\n", "7fffffffffffffff\r\n", 1)),
            ("white space", |body| body.replacen("4000\r\n", " 4000\r\n", 1)),
            ("nothing", |body| body.replacen("4000\r\n", "\r\n", 1)),
            ("a long line", |body| {
                body.replacen("4000\r\n", &format!("4000;{}\r\n", "a".repeat(100_000)), 1)
            }),
        ],
    )
}

fn encoding(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = content(arena);
    for (sent, kept) in
        [("aws-chunked", None), ("aws-chunked,gzip", Some("gzip")), ("gzip, aws-chunked", Some("gzip"))]
    {
        let key = arena.key(who);
        let call = put(arena, &key, &content, SIGNED_CHUNKS).header("content-encoding", sent);
        trial.honest("PUT", &arena.ask(who, &call))?;
        let head = arena.ask(who, &arena.call("HEAD", &key));
        let found = head.header("content-encoding");
        let lost = (found != kept).then(|| format!("and the object's encoding is {found:?}"));
        trial.tried(sent, &head, lost);
    }
    trial.end("the encoding of the object is its own")
}
