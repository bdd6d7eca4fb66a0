use super::*;

const KEY: &str = "data/x/5A/file";

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn policy(conditions: &str) -> Result<PostPolicy> {
    let text = format!(r#"{{"expiration": "2026-11-21T12:00:00.000Z", "conditions": [{conditions}]}}"#);
    PostPolicy::parse(&STANDARD.encode(text))
}

fn check(conditions: &str, pairs: &[(&str, &str)]) -> Result<()> {
    let all: Vec<_> =
        [("key", "raw"), ("policy", "p"), ("x-amz-signature", "s")].iter().chain(pairs).copied().collect();
    let fields = fields(&all);
    let form = PostForm { fields: &fields, host: "s3.example.com", is_own_host: true };
    let now = UnixTime::from_amz("20261121T110000Z").unwrap();
    let joint = if conditions.is_empty() { "" } else { ", " };
    policy(&format!(r#"{{"bucket": "bucket"}}{joint}{conditions}"#))?.check(&form, KEY, "bucket", now)
}

#[track_caller]
fn denied(conditions: &str, pairs: &[(&str, &str)], why: &str) {
    let error = check(conditions, pairs).unwrap_err();
    assert_eq!(error.code, Code::AccessDenied);
    assert!(error.message.contains(why), "{}", error.message);
}

#[test]
fn p14_each_kind_of_condition_holds_or_refuses() {
    let key = r#"["starts-with", "$key", "data/x/5A/"]"#;
    check(key, &[]).unwrap();
    check(&format!(r#"{key}, {{"bucket": "bucket"}}, ["EQ", "$Acl", "private"]"#), &[("acl", "private")])
        .unwrap();
    check(&format!(r#"{key}, ["starts-with", "$x-amz-meta-a", ""]"#), &[("x-amz-meta-a", "anything")])
        .unwrap();
    check(&format!(r#"{key}, {{"host": "S3.Example.com"}}"#), &[]).unwrap();
    check(&format!(r#"{key}, ["starts-with", "$host", "s3."]"#), &[]).unwrap();
    denied(&format!(r#"{key}, ["starts-with", "$host", "other."]"#), &[], "$host");
    check(key, &[("x-ignore-submit", "Upload")]).unwrap();
    denied(r#"["starts-with", "$key", "data/x/5B/"]"#, &[], "$key");
    denied(r#"["eq", "$key", "raw"]"#, &[], "$key");
    denied(&format!(r#"{key}, {{"bucket": "other"}}"#), &[], "$bucket");
    denied(&format!(r#"{key}, {{"acl": "private"}}"#), &[("acl", "public-read")], "$acl");
    denied(&format!(r#"{key}, {{"acl": "private"}}"#), &[], "$acl");
    denied(
        &format!(r#"{key}, ["starts-with", "$content-type", "image/"]"#),
        &[("content-type", "text/html")],
        "$content-type",
    );
    denied(key, &[("acl", "private")], "Extra input fields: acl");
    denied(key, &[("x-amz-security-token", "t")], "Extra input fields: x-amz-security-token");
    denied("", &[], "Extra input fields: key");
    denied(&format!(r#"{key}, {{"host": "other.example.com"}}"#), &[], "$host");
}

#[test]
fn p14_every_length_range_holds() {
    let both = policy(r#"["content-length-range", 10, 100], ["content-length-range", "50", 200]"#).unwrap();
    for (bytes, verdict) in [
        (9, Err(Code::EntityTooSmall)),
        (49, Err(Code::EntityTooSmall)),
        (50, Ok(())),
        (100, Ok(())),
        (101, Err(Code::EntityTooLarge)),
        (201, Err(Code::EntityTooLarge)),
    ] {
        assert_eq!(both.check_length(bytes).map_err(|error| error.code), verdict, "{bytes}");
    }
}

#[test]
fn p14_a_policy_ends() {
    let fields = fields(&[]);
    let form = PostForm { fields: &fields, host: "h", is_own_host: true };
    let at = |text| UnixTime::from_amz(text).unwrap();
    let policy = policy(r#"{"bucket": "b"}"#).unwrap();
    policy.check(&form, KEY, "b", at("20261121T115959Z")).unwrap();
    let error = policy.check(&form, KEY, "b", at("20261121T120000Z")).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_ref()),
        (Code::AccessDenied, "Invalid according to Policy: Policy expired.")
    );
}

#[test]
fn p62_a_policy_names_the_bucket_exactly() {
    let key = r#"["starts-with", "$key", ""]"#;
    let fields = fields(&[("key", "raw")]);
    let form = PostForm { fields: &fields, host: "h", is_own_host: true };
    let now = UnixTime::from_amz("20261121T110000Z").unwrap();
    let check = |bucket: &str| policy(&format!("{key}{bucket}")).unwrap().check(&form, KEY, "bucket", now);
    for named in [r#", {"bucket": "bucket"}"#, r#", ["eq", "$Bucket", "bucket"]"#] {
        check(named).unwrap();
    }
    for unnamed in ["", r#", ["starts-with", "$bucket", ""]"#, r#", ["starts-with", "$bucket", "bucket"]"#] {
        let error = check(unnamed).unwrap_err();
        assert_eq!(error.code, Code::AccessDenied);
        assert!(error.message.contains("Extra input fields: bucket"), "{}", error.message);
    }
    assert!(check(r#", {"bucket": "other"}"#).unwrap_err().message.contains("Condition failed"));
}

#[test]
fn p62_an_expiration_has_the_form_that_s3_defines() {
    for text in ["2026-11-21T16:00:00.000Z", "2026-11-21T16:00:00Z", "2026-11-21T16:00:00.123456789Z"] {
        assert_eq!(expiration(text), UnixTime::from_amz("20261121T160000Z"), "{text}");
    }
    for text in [
        "",
        "2026-11-21",
        "2026-11-21T16:00Z",
        "2026-11-21T16:00:00",
        "2026-11-21 16:00:00Z",
        "2026-11-21 16:00:00.1+00:00",
        "2026-11-21T16:00:00+00:00",
        "2026-11-21T16:00:00.Z",
        "2026-11-21T16:00:00.1234567890Z",
        "2026-11-21T16:00:00,1Z",
        "2026-11-21t16:00:00z",
        "2026-11-21T16:00:00ZZ",
        "2026-11-21T16:00:00Z[UTC]",
        "2026-13-21T16:00:00Z",
        "2026-02-30T16:00:00Z",
        "2026-11-21T24:00:00Z",
        "+002026-11-21T16:00Z",
        "20261121T160000Z",
        "２026-11-21T16:00:00Z",
    ] {
        assert_eq!(expiration(text), None, "{text}");
    }
}

#[test]
fn p14_what_is_no_policy_is_refused() {
    let encoded = |text: &str| STANDARD.encode(text);
    let of = |conditions: &str| {
        encoded(&format!(r#"{{"expiration": "2026-11-21T12:00:00Z", "conditions": [{conditions}]}}"#))
    };
    for text in [
        "".to_owned(),
        "not base64!".to_owned(),
        of("").trim_end_matches('=').to_owned() + "=\n",
        encoded("[]"),
        encoded("{}"),
        encoded(r#"{"conditions": []}"#),
        encoded(r#"{"expiration": "2026-11-21T12:00:00Z"}"#),
        encoded(r#"{"expiration": "tomorrow", "conditions": []}"#),
        encoded(r#"{"expiration": "2026-11-21T12:00:00Z", "conditions": [], "more": 1}"#),
        of("1"),
        of("{}"),
        of(r#"{"acl": 1}"#),
        of(r#"{"acl": "private", "key": "a"}"#),
        of(r#"["eq", "$key"]"#),
        of(r#"["eq", "key", "a"]"#),
        of(r#"["ends-with", "$key", "a"]"#),
        of(r#"["content-length-range", 10, 1]"#),
        of(r#"["content-length-range", -1, 1]"#),
        of(r#"["content-length-range", 1.5, 2]"#),
        of(r#"["content-length-range", "+1", "2"]"#),
        of(&vec!["[\"eq\", \"$a\", \"b\"]"; CONDITIONS_MAX + 1].join(",")),
    ] {
        assert_eq!(PostPolicy::parse(&text).unwrap_err().code, Code::InvalidPolicyDocument, "{text}");
    }
}
