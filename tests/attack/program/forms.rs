//! Forms with a policy: every hole of one is a key to the folder.

use std::time::SystemTime;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use subgate::time::UnixTime;

use super::{Arena, Check, Finding, Identity, Stop, arena::Target, call::Signed};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p14-signature", "a form with a false signature, or none", signature),
    Check::new("p14-uncovered-fields", "a field that no condition covers", uncovered),
    Check::new("p14-broken-conditions", "a field that breaks its condition", broken),
    Check::new("p14-another-folder", "a form for another's folder", another_folder),
    Check::new("p14-filename", "a filename that climbs out of the folder", filename),
    Check::new("p14-length-ranges", "a file outside one of the length ranges", lengths),
    Check::new("p14-truncated", "a form that ends before its file does", truncated),
    Check::new("p14-two-keys", "two keys, of which the policy covers one", two_keys),
    Check::new("p62-no-bucket", "a policy without a bucket, or with another", no_bucket),
    Check::new("p62-ends", "a policy that has ended, or ends at no time", ends),
];

/// What is done to a signed form.
type Change = (&'static str, fn(Form) -> Form);

/// A form before it is signed and framed.
#[derive(Clone)]
struct Form {
    fields: Vec<(String, String)>,
    conditions: Vec<Value>,
    expiration: String,
    file: Vec<u8>,
    filename: String,
    end: &'static str,
}

impl Form {
    fn new(arena: &Arena, key: &str) -> Self {
        let later = UnixTime::from_seconds(UnixTime::from(SystemTime::now()).seconds() + 600);
        Self {
            fields: vec![("key".to_owned(), key.to_owned())],
            conditions: vec![json!(["eq", "$key", key]), json!({"bucket": arena.target.bucket})],
            expiration: later.to_string(),
            file: arena.content(),
            filename: "a.bin".to_owned(),
            end: "\r\n--XX--\r\n",
        }
    }

    fn covered(mut self, name: &str, value: &str) -> Self {
        self.conditions.push(json!({ name: value }));
        self.uncovered(name, value)
    }

    fn uncovered(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn condition(mut self, condition: Value) -> Self {
        self.conditions.push(condition);
        self
    }

    /// With that key and these conditions in place of those of [`Form::new`].
    fn by(mut self, conditions: &[Value]) -> Self {
        self.conditions = conditions.to_vec();
        self
    }

    fn sign(mut self, target: &Target, who: &Identity) -> Self {
        let now = SystemTime::now();
        let date = UnixTime::from(now).to_amz();
        let day = date.get(..8).unwrap_or_default();
        let credential = format!("{}/{day}/{}/s3/aws4_request", who.access_key, target.region);
        self = self
            .covered("x-amz-algorithm", "AWS4-HMAC-SHA256")
            .covered("x-amz-credential", &credential)
            .covered("x-amz-date", &date);
        if let Some(token) = &who.token {
            self = self.covered("x-amz-security-token", token);
        }
        let policy = json!({"expiration": self.expiration, "conditions": self.conditions});
        let policy = STANDARD.encode(policy.to_string());
        let key = generate_signing_key(&who.secret, now, &target.region, "s3");
        let signature = calculate_signature(key.as_ref(), policy.as_bytes());
        self.uncovered("policy", &policy).uncovered("x-amz-signature", &signature)
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        for field in self.fields.iter_mut().filter(|(other, _)| other == name) {
            value.clone_into(&mut field.1);
        }
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| other != name);
        self
    }

    fn request(&self, target: &Target) -> Signed {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend([head.as_bytes(), value.as_bytes(), b"\r\n"].concat());
        }
        let named = format!("name=\"file\"; filename=\"{}\"", self.filename);
        body.extend(format!("--XX\r\nContent-Disposition: form-data; {named}\r\n\r\n").into_bytes());
        body.extend(&self.file);
        body.extend(self.end.bytes());
        let mut request = super::call::Call::new("POST", &format!("/{}", target.bucket))
            .header("content-type", "multipart/form-data; boundary=XX")
            .body(&body)
            .anonymous(target);
        request.signature.clear();
        request
    }
}

/// The honest form works.
fn honest(arena: &Arena) -> Result<(), Stop> {
    let (who, trial) = (&arena.attacker, arena.trial());
    let key = arena.key(who);
    let form = Form::new(arena, &key).sign(&arena.target, who);
    trial.honest("form", &arena.send(&form.request(&arena.target)))?;
    match arena.stands(who, &key)? {
        Some(back) if back == form.file => Ok(()),
        _ => Err(Stop::not_applicable("what the honest form has put reads back otherwise")),
    }
}

/// Tries forms that must bring about nothing at the key they name.
fn try_forms(arena: &Arena, owner: &Identity, forms: Vec<(&str, String, Form)>) -> Verdict {
    honest(arena)?;
    let mut trial = arena.trial();
    for (label, key, form) in forms {
        let before = arena.stands(owner, &key)?;
        trial.must_not_write(label, owner, (&key, before.as_deref()), &form.request(&arena.target))?;
    }
    trial.end("nothing was written")
}

fn signature(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let form = || {
        let key = arena.key(who);
        (key.clone(), Form::new(arena, &key).sign(&arena.target, who))
    };
    let forms: [Change; 6] = [
        ("zeroes", |form| form.set("x-amz-signature", &"0".repeat(64))),
        ("empty", |form| form.set("x-amz-signature", "")),
        ("none", |form| form.without("x-amz-signature")),
        ("no policy", |form| form.without("policy")),
        ("no claim", |form| {
            form.without("x-amz-signature")
                .without("policy")
                .without("x-amz-credential")
                .without("x-amz-date")
        }),
        ("another policy", |form| {
            let open = json!({"expiration": "2099-01-01T00:00:00Z", "conditions": []});
            form.set("policy", &STANDARD.encode(open.to_string()))
        }),
    ];
    let forms = forms.map(|(label, change)| {
        let (key, form) = form();
        (label, key, change(form))
    });
    try_forms(arena, who, forms.into())
}

fn uncovered(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let fields = [
        ("x-amz-meta-evil", "1"),
        ("acl", "public-read"),
        ("Content-Type", "text/html"),
        ("x-amz-storage-class", "STANDARD"),
        ("success_action_redirect", "https://example.org/"),
        ("tagging", "<Tagging></Tagging>"),
    ];
    let forms = fields.map(|(name, value)| {
        let key = arena.key(who);
        (name, key.clone(), Form::new(arena, &key).sign(&arena.target, who).uncovered(name, value))
    });
    try_forms(arena, who, forms.into())
}

fn broken(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let bucket = json!({"bucket": arena.target.bucket});
    let mut forms = Vec::new();
    let below = arena.below(who);
    for (label, condition) in [
        ("another key", json!(["eq", "$key", format!("{below}other")])),
        ("outside the start", json!(["starts-with", "$key", format!("{below}other/")])),
        ("an operator that is none", json!(["ends-with", "$key", ""])),
        ("a condition that is none", json!(["eq", "$key"])),
        ("no condition on the key", json!({"x-amz-meta-a": "b"})),
    ] {
        let key = arena.key(who);
        let form = Form::new(arena, &key).by(&[condition, bucket.clone()]).sign(&arena.target, who);
        forms.push((label, key, form));
    }
    let key = arena.key(who);
    let form = Form::new(arena, &key).covered("x-amz-meta-a", "b").sign(&arena.target, who);
    forms.push(("another value", key, form.set("x-amz-meta-a", "c")));
    let key = arena.key(who);
    let form = Form::new(arena, &key).condition(json!({"x-amz-meta-a": "b"})).sign(&arena.target, who);
    forms.push(("a field that is missing", key, form));
    try_forms(arena, who, forms)
}

fn another_folder(arena: &Arena) -> Verdict {
    let (key, _) = arena.secret()?;
    let (thief, owner) = (&arena.attacker, &arena.victim);
    let bucket = json!({"bucket": arena.target.bucket});
    let form = |key: &str, start: &str| {
        let conditions = [json!(["starts-with", "$key", start]), bucket.clone()];
        Form::new(arena, key).by(&conditions).sign(&arena.target, thief)
    };
    let new = arena.key(owner);
    let forms = vec![
        ("over an object", key.clone(), form(&key, "")),
        ("a new key", new.clone(), form(&new, "")),
        ("covered by its start", new.clone(), form(&new, &owner.prefix)),
        ("own start, its key", new.clone(), form(&thief.prefix, &thief.prefix).set("key", &new)),
    ];
    try_forms(arena, owner, forms)
}

fn filename(arena: &Arena) -> Verdict {
    arena.secret()?;
    let (thief, owner) = (&arena.attacker, &arena.victim);
    let bucket = json!({"bucket": arena.target.bucket});
    let new = arena.key(owner);
    let climb = "../".repeat(thief.prefix.matches('/').count());
    let names = [
        ("dots in the name", format!("{}${{filename}}", thief.prefix), format!("{climb}{new}")),
        ("dots before it", format!("{}{climb}${{filename}}", thief.prefix), new.clone()),
        ("encoded", format!("{}${{filename}}", thief.prefix), format!("{}{new}", climb.replace('.', "%2e"))),
        ("backslashes", format!("{}${{filename}}", thief.prefix), format!("{climb}{new}").replace('/', "\\")),
    ];
    let forms = names.map(|(label, key, filename)| {
        let conditions = [json!(["starts-with", "$key", thief.prefix]), bucket.clone()];
        let mut form = Form::new(arena, &key).by(&conditions).sign(&arena.target, thief);
        form.filename = filename;
        (label, new.clone(), form)
    });
    try_forms(arena, owner, forms.into())
}

fn lengths(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let ranges = [
        ("too long", vec![json!(["content-length-range", 0, 1999])]),
        ("too short", vec![json!(["content-length-range", 2001, 5000])]),
        (
            "the second of two",
            vec![json!(["content-length-range", 0, 5000]), json!(["content-length-range", 0, 1500])],
        ),
        (
            "the first of two",
            vec![json!(["content-length-range", 0, 1500]), json!(["content-length-range", 0, 5000])],
        ),
        ("upside down", vec![json!(["content-length-range", 5000, 0])]),
    ];
    let forms = ranges.map(|(label, ranges)| {
        let key = arena.key(who);
        let form = ranges.into_iter().fold(Form::new(arena, &key), Form::condition);
        (label, key, form.sign(&arena.target, who))
    });
    try_forms(arena, who, forms.into())
}

fn truncated(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let forms = ["", "\r\n", "\r\n--XX", "\r\n--XY--\r\n"].map(|end| {
        let key = arena.key(who);
        let mut form = Form::new(arena, &key).sign(&arena.target, who);
        form.end = end;
        ("no end", key, form)
    });
    try_forms(arena, who, forms.into())
}

fn two_keys(arena: &Arena) -> Verdict {
    arena.secret()?;
    let (thief, owner) = (&arena.attacker, &arena.victim);
    let mut forms = Vec::new();
    for (first, name) in [(true, "key"), (false, "key"), (true, "Key"), (false, "KEY")] {
        let (own, new) = (arena.key(thief), arena.key(owner));
        let mut form = Form::new(arena, &own).sign(&arena.target, thief);
        let at = if first { 0 } else { form.fields.len() };
        form.fields.insert(at, (name.to_owned(), new.clone()));
        forms.push((name, new, form));
    }
    try_forms(arena, owner, forms)
}

fn no_bucket(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let buckets = [
        ("none", None),
        ("another", Some(json!({"bucket": "another"}))),
        ("any", Some(json!(["starts-with", "$bucket", ""]))),
    ];
    let forms = buckets.map(|(label, bucket)| {
        let key = arena.key(who);
        let conditions: Vec<Value> = [json!(["eq", "$key", key])].into_iter().chain(bucket).collect();
        (label, key.clone(), Form::new(arena, &key).by(&conditions).sign(&arena.target, who))
    });
    try_forms(arena, who, forms.into())
}

fn ends(arena: &Arena) -> Verdict {
    let who = &arena.attacker;
    let forms = ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z", "never", "", "2099-01-01"].map(|end| {
        let key = arena.key(who);
        let mut form = Form::new(arena, &key);
        form.expiration = end.to_owned();
        ("ended, or no time", key, form.sign(&arena.target, who))
    });
    try_forms(arena, who, forms.into())
}
