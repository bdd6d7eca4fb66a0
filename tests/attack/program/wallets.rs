//! Hotkeys of Bittensor: requests signed by them, and sessions opened with them. Subgate alone has these.

use std::time::SystemTime;

use subgate::{
    auth::bittensor::{btauth, sr25519::Keypair},
    chain::AccountId,
    time::UnixTime,
};

use super::{
    Arena, Check, Finding, Identity, Signs, Stop,
    call::{SIGNED_CHUNKS, SIGNED_TRAILER, Signed},
    wire::Answer,
};

type Verdict = Result<Finding, Stop>;

/// Names and values.
type Headers = Vec<(&'static str, String)>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p3-hotkey-signatures", "a hotkey's signature that is another's, or none", signatures),
    Check::new("p3-the-zero-key", "the key of zeroes, whose signatures anybody makes", zero_key),
    Check::new("p3-schemes-confused", "one scheme's claim with the other's signature", schemes),
    Check::new("p4-hotkey-chunks", "signed chunks, for which a hotkey has no secret", chunks),
    Check::new("p9-hotkey-dates", "a hotkey's request out of its time or place", dates),
    Check::new("p23-other-addresses", "an address in another spelling, or of another network", addresses),
    Check::new("p9-session-replayed", "a session request that is sent once more, or late", session_replayed),
    Check::new("p12-session-of-another", "a session in another's name", session_of_another),
    Check::new("p12-session-altered", "a session request that was signed otherwise", session_altered),
];

fn nanos(ahead_seconds: i64) -> u64 {
    let now = UnixTime::from(SystemTime::now()).nanos();
    let now = u64::try_from(now).unwrap_or_default();
    now.saturating_add_signed(ahead_seconds.saturating_mul(1_000_000_000))
}

/// The attacker by its hotkey, for which an honest request works.
fn hotkey(arena: &Arena) -> Result<Identity, Stop> {
    let who = arena.attacker.by_hotkey()?;
    arena.victim.hotkey()?;
    let (key, content) = arena.object(&arena.attacker)?;
    let answer = arena.ask(&who, &arena.call("GET", &key));
    if answer.body == content {
        return Ok(who);
    }
    Err(Stop::not_applicable(format!("a hotkey's honest GET is answered {}", answer.brief())))
}

fn signatures(arena: &Arena) -> Verdict {
    let who = hotkey(arena)?;
    let owner = arena.victim.by_hotkey()?;
    let (key, content) = arena.secret()?;
    let mut trial = arena.trial();
    let get = arena.call("GET", &key);
    let thief_as_owner = Identity { access_key: owner.access_key.clone(), ..who };
    trial.must_not_read("another's address", &get.sign(&arena.target, &thief_as_owner), &content);
    let url = get.clone().presigned("600").sign(&arena.target, &thief_as_owner);
    trial.must_not_read("another's address in the query", &url, &content);
    let signed = get.sign(&arena.target, &owner);
    for (label, other) in [
        ("zeroes", "0".repeat(128)),
        ("zeroes with schnorrkel's mark", format!("{}80", "0".repeat(126))),
        ("short", "00".to_owned()),
        ("none", String::new()),
        ("capitals and more", format!("{}00", signed.signature.to_uppercase())),
        ("halves swapped", {
            let (left, right) = signed.signature.split_at(64);
            format!("{right}{left}")
        }),
    ] {
        let claim = signed.value("authorization").replace(&signed.signature, &other);
        trial.must_not_read(label, &signed.clone().set("authorization", claim), &content);
    }
    trial.end("nothing was read")
}

fn zero_key(arena: &Arena) -> Verdict {
    let who = hotkey(arena)?;
    let (key, content) = arena.object(&arena.attacker)?;
    let mut trial = arena.trial();
    let signed = arena.call("GET", &key).sign(&arena.target, &who);
    let zero = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM";
    for signature in [format!("{}80", "0".repeat(126)), "0".repeat(128)] {
        let claim = signed.value("authorization");
        let claim = claim.replace(&who.access_key, zero).replace(&signed.signature, &signature);
        trial.must_not_read("a request", &signed.clone().set("authorization", claim), &content);
        let headers = btauth::sign(&*who.hotkey()?, "POST", "/v1/session", b"", None, nanos(0));
        let headers = headers.into_iter().map(|(name, value)| match name {
            "x-bittensor-hotkey" => (name, zero.to_owned()),
            "x-bittensor-signature" => (name, format!("0x{signature}")),
            _ => (name, value),
        });
        let answer = ask_session(arena, "/v1/session", headers, b"");
        let opened = answer.is_success().then(|| "and a session is open".to_owned());
        trial.tried("a session", &answer, opened);
    }
    trial.end("nobody has that key")
}

fn schemes(arena: &Arena) -> Verdict {
    let who = hotkey(arena)?;
    let owner = arena.victim.by_hotkey()?;
    let (key, content) = arena.secret()?;
    let mut trial = arena.trial();
    let get = arena.call("GET", &key);
    let public = hex::encode(owner.hotkey()?.account().as_bytes());
    for secret in [String::new(), owner.access_key.clone(), public, arena.attacker.secret.clone()] {
        let claimed = Identity { signs: Signs::Secret, secret, token: None, ..owner.clone() };
        trial.must_not_read("HMAC with a public secret", &get.sign(&arena.target, &claimed), &content);
    }
    let as_hmac = |signed: Signed| {
        let claim = signed.value("authorization").replace("AWS4-SR25519-SHA256", "AWS4-HMAC-SHA256");
        signed.set("authorization", claim)
    };
    trial.must_not_read("the algorithm renamed", &as_hmac(get.sign(&arena.target, &owner)), &content);
    let url = get.clone().presigned("600").sign(&arena.target, &who);
    let renamed = url.parameter("X-Amz-Algorithm", Some("AWS4-HMAC-SHA256"));
    trial.must_not_read("renamed in the query", &renamed, &content);
    let mut token = who;
    token.token.clone_from(&arena.victim.token);
    if let Some(token) = &token.token {
        let signed = get.sign(&arena.target, &arena.attacker.by_hotkey()?);
        trial.must_not_read("with another's token", &signed.with("x-amz-security-token", token), &content);
    }
    trial.end("nothing was read")
}

fn chunks(arena: &Arena) -> Verdict {
    let who = hotkey(arena)?;
    let mut trial = arena.trial();
    let content = arena.content();
    for payload in [SIGNED_CHUNKS, SIGNED_TRAILER] {
        let key = arena.key(&who);
        let put = arena.call("PUT", &key).body(&content).payload(payload);
        trial.must_not_write(payload, &arena.attacker, (&key, None), &put.sign(&arena.target, &who))?;
        let put = put.header("content-encoding", "aws-chunked").in_one_piece();
        trial.must_not_write(
            "in one piece",
            &arena.attacker,
            (&key, None),
            &put.sign(&arena.target, &who),
        )?;
    }
    trial.end("nothing stands")
}

fn dates(arena: &Arena) -> Verdict {
    let who = hotkey(arena)?;
    let mut trial = arena.trial();
    let (key, content) = arena.object(&arena.attacker)?;
    let get = arena.call("GET", &key);
    for (label, call) in [
        ("old", get.clone().clock(-1000)),
        ("ahead", get.clone().clock(1000)),
        ("another region", get.clone().region("mars-1")),
        ("another service", get.clone().service("sts")),
        ("another day", get.clone().scope_day("20200101")),
        ("no host", get.clone().unsigned("host")),
        ("no date", get.clone().unsigned("x-amz-date")),
        ("another host", get.clone().signed_host("other.example")),
        ("presigned and ended", get.clone().presigned("60").clock(-120)),
        ("presigned for too long", get.presigned("604801")),
    ] {
        trial.must_not_read(label, &call.sign(&arena.target, &who), &content);
    }
    trial.end("nothing was read")
}

fn addresses(arena: &Arena) -> Verdict {
    let who = hotkey(arena)?;
    let mut trial = arena.trial();
    let (key, content) = arena.object(&arena.attacker)?;
    let address = who.access_key.clone();
    let other: String = address.chars().rev().collect();
    let hex = hex::encode(who.hotkey()?.account().as_bytes());
    for spelled in [address.to_lowercase(), format!("{address}1"), format!("1{address}"), other, hex] {
        let claimed = Identity { access_key: spelled.clone(), ..who.clone() };
        trial.must_not_read(&spelled, &arena.call("GET", &key).sign(&arena.target, &claimed), &content);
    }
    trial.end("nothing was read")
}

fn ask_session(
    arena: &Arena,
    target: &str,
    headers: impl IntoIterator<Item = (&'static str, String)>,
    body: &[u8],
) -> Answer {
    let mut head = format!(
        "POST {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
        arena.target.host,
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    arena.send_bytes("POST", &[head.as_bytes(), b"\r\n", body].concat())
}

/// An honest request for a session, which works.
fn session(arena: &Arena) -> Result<Headers, Stop> {
    let headers = btauth::sign(&*arena.attacker.hotkey()?, "POST", "/v1/session", b"", None, nanos(0));
    let answer = ask_session(arena, "/v1/session", headers.clone(), b"");
    arena.trial().honest("POST /v1/session", &answer)?;
    Ok(headers)
}

/// Session requests none of which may open one.
fn try_sessions(arena: &Arena, tries: Vec<(&str, Headers, &[u8])>) -> Verdict {
    let mut trial = arena.trial();
    for (label, headers, body) in tries {
        if trial.goes_on() {
            let answer = ask_session(arena, "/v1/session", headers, body);
            let opened = answer.is_success() && answer.holds(b"SecretAccessKey");
            trial.tried(label, &answer, opened.then(|| "and a session is open".to_owned()));
        }
    }
    trial.end("no session was opened")
}

fn session_replayed(arena: &Arena) -> Verdict {
    let spent = session(arena)?;
    let hotkey = arena.attacker.hotkey()?;
    let at = |seconds| btauth::sign(&hotkey, "POST", "/v1/session", b"", None, nanos(seconds));
    try_sessions(
        arena,
        vec![
            ("once more", spent.clone(), b""),
            ("and again", spent, b""),
            ("a minute old", at(-60), b""),
            ("a day old", at(-86_400), b""),
            ("a minute ahead", at(60), b""),
        ],
    )
}

fn session_of_another(arena: &Arena) -> Verdict {
    session(arena)?;
    let (thief, owner) = (arena.attacker.hotkey()?, arena.victim.hotkey()?);
    let named = |keypair: &Keypair| {
        let headers = btauth::sign(keypair, "POST", "/v1/session", b"", None, nanos(0));
        let headers = headers.into_iter().map(|(name, value)| match name {
            "x-bittensor-hotkey" => (name, owner.account().to_ss58()),
            _ => (name, value),
        });
        headers.collect::<Vec<_>>()
    };
    let stranger = Keypair::from_mini_secret(&[0x5a; 32]).map_err(|_| Stop::trouble("no such key"))?;
    let two = || {
        let mut headers = btauth::sign(&thief, "POST", "/v1/session", b"", None, nanos(0));
        headers.push(("x-bittensor-hotkey", owner.account().to_ss58()));
        headers
    };
    try_sessions(
        arena,
        vec![
            ("signed by the attacker", named(&thief), b""),
            ("signed by a stranger", named(&stranger), b""),
            ("two hotkeys", two(), b""),
            ("a stranger's own", btauth::sign(&stranger, "POST", "/v1/session", b"", None, nanos(0)), b""),
        ],
    )
}

fn session_altered(arena: &Arena) -> Verdict {
    session(arena)?;
    let hotkey = arena.attacker.hotkey()?;
    let elsewhere: AccountId = arena.victim.hotkey()?.account();
    let sign =
        |method: &str, target: &str, body: &[u8]| btauth::sign(&hotkey, method, target, body, None, nanos(0));
    let addressed = btauth::sign(&hotkey, "POST", "/v1/session", b"", Some(&elsewhere), nanos(0));
    let without = |gone: &str| {
        let headers = sign("POST", "/v1/session", b"").into_iter().filter(|(name, _)| *name != gone);
        headers.collect::<Vec<_>>()
    };
    let changed = |named: &str, to: &str| {
        let headers = sign("POST", "/v1/session", b"")
            .into_iter()
            .map(|(name, value)| if name == named { (name, to.to_owned()) } else { (name, value) });
        headers.collect::<Vec<_>>()
    };
    try_sessions(
        arena,
        vec![
            ("another body", sign("POST", "/v1/session", b""), b"{\"ttl_seconds\": 86400}"),
            ("another method", sign("GET", "/v1/session", b""), b""),
            ("another path", sign("POST", "/v1/sessions", b""), b""),
            ("to another server", addressed, b""),
            ("another nonce", changed("x-bittensor-nonce", &nanos(1).to_string()), b""),
            ("another scheme", changed("x-bittensor-crypto", "ed25519"), b""),
            ("another version", changed("x-bittensor-version", "2"), b""),
            ("no nonce", without("x-bittensor-nonce"), b""),
            ("no signature", without("x-bittensor-signature"), b""),
            (
                "a signature of zeroes",
                changed("x-bittensor-signature", &format!("0x{}", "0".repeat(128))),
                b"",
            ),
        ],
    )
}
