//! Two readings of one framing: requests hidden in bodies, lengths that are no lengths.

use std::time::Duration;

use super::{
    Arena, Check, Finding, Stop,
    call::{Signed, UNSIGNED},
    wire::{Answer, Connection},
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p45-length-and-encoding", "Content-Length beside Transfer-Encoding", both),
    Check::new("p45-odd-encodings", "Transfer-Encoding in odd spellings", odd_encodings),
    Check::new("p45-two-lengths", "two lengths, and lists of them", two_lengths),
    Check::new("p45-odd-lengths", "lengths that are no lengths", odd_lengths),
    Check::new("p45-odd-chunks", "chunks of HTTP's own whose sizes are none", odd_chunks),
    Check::new("p45-odd-lines", "bare line ends, NULs, space before the colon", odd_lines),
    Check::new("p45-connection-headers", "signed headers that Connection takes away", connection_headers),
    Check::new("p45-header-injection", "line ends that get into an answer's head", injection),
    Check::new("p45-upgrades", "another protocol within the connection", upgrades),
    Check::new(
        "p68-unreadable-requests",
        "requests that no server can read have an answer of S3's form",
        unreadable,
    ),
];

/// A signed upload whose head says both; the body hides an unsigned DELETE of `victim`.
struct Smuggle<'a> {
    arena: &'a Arena,
    /// What the hidden request would delete.
    prize: String,
    content: Vec<u8>,
}

impl<'a> Smuggle<'a> {
    fn new(arena: &'a Arena) -> Result<Self, Stop> {
        arena.object(&arena.attacker)?;
        let (prize, content) = arena.object(&arena.victim)?;
        Ok(Self { arena, prize, content })
    }

    fn hidden(&self) -> String {
        let target = &self.arena.target;
        format!("DELETE /{}/{} HTTP/1.1\r\nhost: {}\r\n\r\n", target.bucket, self.prize, target.host)
    }

    /// An upload to a fresh key, without any framing yet.
    fn upload(&self) -> (String, Signed) {
        let (arena, who) = (self.arena, &self.arena.attacker);
        let key = arena.key(who);
        let content = arena.content();
        let request = arena.call("PUT", &key).body(&content).payload(UNSIGNED).sign(&arena.target, who);
        (key, request.without("content-length"))
    }

    /// Sends the head and these bytes on one connection, and looks at what came of it.
    fn attempt(
        &self,
        trial: &mut super::finding::Trial<'_>,
        label: &str,
        key: &str,
        bytes: &[u8],
    ) -> Result<(), Stop> {
        if !trial.goes_on() {
            return Ok(());
        }
        let who = &self.arena.attacker;
        let (first, second) = self.exchange(bytes);
        trial.must_be_as_before(label, &self.arena.victim, (&self.prize, Some(&self.content)), &first)?;
        // RFC 9112, 6.3: who takes an ambiguous message must close behind it.
        let stands = self.arena.stands(who, key)?.is_some();
        let taken = (stands && second).then(|| "and the connection goes on behind it".to_owned());
        trial.tried(label, &first, taken);
        Ok(())
    }

    /// The first answer, and whether the connection lives on after it.
    fn exchange(&self, bytes: &[u8]) -> (Answer, bool) {
        let Ok(mut connection) = Connection::open(&self.arena.target) else { return Default::default() };
        let _ = connection.send(bytes);
        let _ = connection.read_for(Duration::from_secs(3));
        let first = connection.answer("PUT").unwrap_or_default();
        let lives = first.status != 0 && !connection.closes_within(Duration::from_millis(300));
        (first, lives)
    }
}

/// The head with further lines as they are.
fn head_with(request: &Signed, lines: &str) -> Vec<u8> {
    let mut head = request.head();
    head.truncate(head.len() - 2);
    [head.as_slice(), lines.as_bytes(), b"\r\n\r\n"].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

/// Uploads by these header lines; the body is one chunk and hides a request behind it.
fn try_lines(arena: &Arena, lines: &[(&str, &str)]) -> Verdict {
    let smuggle = Smuggle::new(arena)?;
    let mut trial = arena.trial();
    for (label, lines) in lines {
        let (key, request) = smuggle.upload();
        let hidden = smuggle.hidden();
        // By its chunks the body ends before the hidden request, by its length behind it.
        let body = [chunked(&request.body).as_slice(), hidden.as_bytes()].concat();
        let lines = lines
            .replace("ALL", &body.len().to_string())
            .replace("CHUNKS", &(body.len() - hidden.len()).to_string());
        let bytes = [head_with(&request, &lines), body].concat();
        smuggle.attempt(&mut trial, label, &key, &bytes)?;
    }
    trial.end("the hidden request has done nothing")
}

fn both(arena: &Arena) -> Verdict {
    try_lines(
        arena,
        &[
            ("length first", "content-length: ALL\r\ntransfer-encoding: chunked"),
            ("encoding first", "transfer-encoding: chunked\r\ncontent-length: ALL"),
            ("length of the chunks", "content-length: CHUNKS\r\ntransfer-encoding: chunked"),
            ("length of nothing", "content-length: 0\r\ntransfer-encoding: chunked"),
            ("length of four", "transfer-encoding: chunked\r\ncontent-length: 4"),
            ("in capitals", "Content-Length: ALL\r\nTRANSFER-ENCODING: CHUNKED"),
        ],
    )
}

fn odd_encodings(arena: &Arena) -> Verdict {
    try_lines(
        arena,
        &[
            ("xchunked", "content-length: ALL\r\ntransfer-encoding: xchunked"),
            ("space before the colon", "content-length: ALL\r\ntransfer-encoding : chunked"),
            ("a tab before the value", "content-length: ALL\r\ntransfer-encoding:\tchunked"),
            ("a vertical tab", "content-length: ALL\r\ntransfer-encoding: \x0bchunked"),
            ("identity behind", "content-length: ALL\r\ntransfer-encoding: chunked, identity"),
            ("identity before", "content-length: ALL\r\ntransfer-encoding: identity, chunked"),
            (
                "two of them",
                "content-length: ALL\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity",
            ),
            ("in quotes", "content-length: ALL\r\ntransfer-encoding: \"chunked\""),
            ("folded", "content-length: ALL\r\ntransfer-encoding:\r\n chunked"),
            ("two times chunked", "transfer-encoding: chunked, chunked"),
            ("nothing", "content-length: ALL\r\ntransfer-encoding: "),
            ("a parameter", "content-length: ALL\r\ntransfer-encoding: chunked;a=b"),
        ],
    )
}

/// Uploads by length; what is behind the first bytes of the body is the hidden request.
fn try_lengths(arena: &Arena, lines: &[(&str, &str)]) -> Verdict {
    let smuggle = Smuggle::new(arena)?;
    let mut trial = arena.trial();
    for (label, lines) in lines {
        let (key, request) = smuggle.upload();
        let lines = lines
            .replace("SHORT", &request.body.len().to_string())
            .replace("LONG", &(request.body.len() + smuggle.hidden().len()).to_string());
        let bytes =
            [head_with(&request, &lines).as_slice(), &request.body, smuggle.hidden().as_bytes()].concat();
        smuggle.attempt(&mut trial, label, &key, &bytes)?;
    }
    trial.end("the hidden request has done nothing")
}

fn two_lengths(arena: &Arena) -> Verdict {
    try_lengths(
        arena,
        &[
            ("the short first", "content-length: SHORT\r\ncontent-length: LONG"),
            ("the long first", "content-length: LONG\r\ncontent-length: SHORT"),
            ("a list", "content-length: SHORT, LONG"),
            ("a list, the long first", "content-length: LONG, SHORT"),
            ("in capitals", "content-length: LONG\r\nCONTENT-LENGTH: SHORT"),
        ],
    )
}

fn odd_lengths(arena: &Arena) -> Verdict {
    try_lengths(
        arena,
        &[
            ("a sign", "content-length: +SHORT"),
            ("below zero", "content-length: -SHORT"),
            ("hexadecimal", "content-length: 0xSHORT"),
            ("a point", "content-length: SHORT.0"),
            ("two words", "content-length: SHORT LONG"),
            ("quotes", "content-length: \"SHORT\""),
            ("over 64 bits", "content-length: 18446744073709553616"),
            ("space before the colon", "content-length : SHORT"),
        ],
    )
}

fn odd_chunks(arena: &Arena) -> Verdict {
    let smuggle = Smuggle::new(arena)?;
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let length = arena.content().len();
    for (label, size, end) in [
        ("a sign", format!("+{length:x}\r\n"), "\r\n"),
        ("below zero", format!("-{length:x}\r\n"), "\r\n"),
        ("a prefix", format!("0x{length:x}\r\n"), "\r\n"),
        ("wrapped round", format!("1{length:016x}\r\n"), "\r\n"),
        ("no number", format!("{length:x}zz\r\n"), "\r\n"),
        ("a space before", format!(" {length:x}\r\n"), "\r\n"),
        ("a bare line feed", format!("{length:x}\n"), "\r\n"),
        ("a bare line feed in an extension", format!("{length:x};a\nb\r\n"), "\r\n"),
        ("another end of the data", format!("{length:x}\r\n"), "XX"),
    ] {
        let (key, request) = smuggle.upload();
        let request = request.with("x-amz-decoded-content-length", length.to_string());
        let signed = arena
            .call("PUT", &key)
            .payload(UNSIGNED)
            .header("x-amz-decoded-content-length", &length.to_string())
            .sign(&arena.target, who)
            .without("content-length");
        let body = [size.as_bytes(), &request.body, end.as_bytes(), b"0\r\n\r\n"].concat();
        let bytes = [head_with(&signed, "transfer-encoding: chunked"), body].concat();
        if trial.goes_on() {
            let (answer, _) = smuggle.exchange(&bytes);
            trial.must_be_as_before(label, who, (&key, None), &answer)?;
        }
    }
    trial.end("nothing stands")
}

fn odd_lines(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let get = arena.call("GET", &key).sign(&arena.target, who);
    trial.honest("GET", &arena.send(&get))?;
    let text = String::from_utf8_lossy(&get.head()).into_owned();
    for (label, head) in [
        ("space before the colon", text.replacen("host:", "host :", 1)),
        ("a bare carriage return", text.replacen("\r\nx-amz-date", "\rx-amz-date", 1)),
        ("a line without a colon", text.replacen("\r\nx-amz-date", "\r\nnothing\r\nx-amz-date", 1)),
        ("a NUL in a value", text.replacen("host: ", "x-a: a\0b\r\nhost: ", 1)),
        ("a space in a name", text.replacen("host: ", "x a: b\r\nhost: ", 1)),
        ("an empty name", text.replacen("host: ", ": b\r\nhost: ", 1)),
        ("two spaces in the request line", text.replacen("GET /", "GET  /", 1)),
        ("another version", text.replacen("HTTP/1.1", "HTTP/1.2", 1)),
    ] {
        if trial.goes_on() {
            let answer = arena.send_bytes("GET", head.as_bytes());
            trial.must_not_hold(label, &answer, &content);
        }
    }
    trial.end("nothing was read")
}

fn connection_headers(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let get = arena.call("GET", &key).header("range", "bytes=0-9").sign(&arena.target, who);
    let honest = arena.send(&get);
    if honest.status != 206 && !honest.holds(&content) {
        return Err(Stop::not_applicable(format!("an honest range is answered {}", honest.brief())));
    }
    // Taken away on the way, the rest would be the whole object, or another request.
    for names in ["range", "close, range", "host", "x-amz-date", "authorization"] {
        trial.must_not_read(names, &get.clone().with("connection", names), &content);
    }
    trial.end("no header was taken away")
}

fn injection(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, _) = arena.object(who)?;
    let evil = "a\r\nx-evil: 1";
    let get = arena.call("GET", &key);
    for (label, call) in [
        ("content type", get.clone().query("response-content-type", evil)),
        ("disposition", get.clone().query("response-content-disposition", evil)),
        ("cache control", get.clone().query("response-cache-control", evil)),
        ("a bare line feed", get.query("response-content-type", "a\nx-evil: 1")),
        ("the key", arena.call("GET", &format!("{key}\r\nx-evil: 1"))),
    ] {
        let answer = arena.ask(who, &call);
        let evil = answer.header("x-evil").map(|_| "and its head has a line more".to_owned());
        trial.tried(label, &answer, evil);
    }
    trial.end("no head has a line more")
}

fn upgrades(arena: &Arena) -> Verdict {
    let smuggle = Smuggle::new(arena)?;
    let mut trial = arena.trial();
    let get = |name: &str| {
        let get = arena.call("GET", &arena.key(&arena.attacker)).sign(&arena.target, &arena.attacker);
        get.with("connection", "upgrade").with("upgrade", name)
    };
    for name in ["h2c", "websocket", "TLS/1.0"] {
        let bytes = [get(name).head(), smuggle.hidden().into_bytes()].concat();
        if trial.goes_on() {
            let (answer, _) = smuggle.exchange(&bytes);
            let before = (smuggle.prize.as_str(), Some(smuggle.content.as_slice()));
            trial.must_be_as_before(name, &arena.victim, before, &answer)?;
            let changed = (answer.status == 101).then(|| "and the protocol is another".to_owned());
            trial.tried(name, &answer, changed);
        }
    }
    trial.end("the protocol stays, and the hidden request has done nothing")
}

fn unreadable(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, _) = arena.object(who)?;
    let path = format!("/{}/{key}", arena.target.bucket);
    let host = &arena.target.host;
    let many: String = (0..400).map(|number| format!("x-a{number}: b\r\n")).collect();
    for (label, bytes) in [
        (
            "a head too long",
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nx-a: {}\r\n\r\n", "a".repeat(300_000)),
        ),
        ("too many headers", format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{many}\r\n")),
        ("a target too long", format!("GET {path}{} HTTP/1.1\r\nhost: {host}\r\n\r\n", "a".repeat(60_000))),
        ("no host", format!("GET {path} HTTP/1.1\r\n\r\n")),
        ("two hosts", format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nhost: other\r\n\r\n")),
    ] {
        let answer = arena.send_bytes("GET", bytes.as_bytes());
        let named = answer.header("x-amz-request-id").is_some() && answer.element("Code").is_some();
        // A head beyond every bound may be cut off, but never taken.
        let wrong = answer.is_success() || (!named && answer.status != 0);
        trial.tried(label, &answer, wrong.then(|| "without a request id and S3's error".to_owned()));
    }
    trial.end("each has a request id and S3's error")
}
