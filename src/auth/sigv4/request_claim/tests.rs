use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const DATE: &str = "20261121T064830Z";
const REGION: &str = "us-east-1";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NAMES: &str = "host;x-amz-content-sha256;x-amz-date";
const NOW: UnixTime = UnixTime::from_seconds(1_795_243_710);

fn signature() -> String {
    "0a".repeat(32)
}

fn authorization() -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=5Abc/20261121/us-east-1/s3/aws4_request, SignedHeaders={NAMES}, \
         Signature={}",
        signature()
    )
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    headers
        .iter()
        .map(|(name, text)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(text.as_bytes()).unwrap())
        })
        .collect()
}

fn signed() -> HeaderMap {
    map(&[
        ("authorization", &authorization()),
        ("host", "h"),
        ("x-amz-date", DATE),
        ("x-amz-content-sha256", EMPTY),
        ("content-length", "0"),
    ])
}

fn with(name: &'static str, text: &str) -> HeaderMap {
    let mut headers = signed();
    headers.insert(name, HeaderValue::from_bytes(text.as_bytes()).unwrap());
    headers
}

fn without(name: &str) -> HeaderMap {
    let mut headers = signed();
    headers.remove(name);
    headers
}

fn presigned(expires: &str) -> String {
    format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=5Abc%2F20261121%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date={DATE}&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature={}",
        signature()
    )
}

/// Reads and checks the claim of a request and says with what it was refused, if at all.
fn refusal_at(headers: &HeaderMap, query: &str, now: UnixTime) -> Option<Error> {
    let query = Query::parse(Some(query)).unwrap();
    RequestClaim::read(headers, &query)
        .and_then(|claim| claim.check(REGION, PRESIGNED_SECONDS_MAX, now))
        .err()
}

fn check(headers: &HeaderMap, query: &str, code: Code, text: &str) {
    let error = refusal_at(headers, query, NOW).unwrap_or_else(|| panic!("accepted; expected {text}"));
    assert_eq!(error.code, code, "{error}");
    let shown = format!("{error} {:?}", error.elements);
    assert!(shown.contains(text), "{shown} does not contain {text}");
}

fn check_ok(headers: &HeaderMap, query: &str) {
    assert!(refusal_at(headers, query, NOW).is_none());
}

#[test]
fn p3_a_claim_stands_in_one_place() {
    check_ok(&signed(), "");
    check_ok(&HeaderMap::new(), &presigned("60"));
    check(&HeaderMap::new(), "", Code::AccessDenied, "Anonymous: ");
    check(&signed(), &presigned("60"), Code::InvalidRequest, "Only one auth mechanism");
    for part in ["X-Amz-Signature=x", "x-amz-algorithm=x", "X-Amz-Content-Sha256=x"] {
        check(&signed(), part, Code::InvalidRequest, "Only one auth mechanism");
    }
    check(&with("authorization", "AWS a:b"), &presigned("60"), Code::InvalidRequest, "Only one");
    check(&with("authorization", "AWS4-ANY x"), &presigned("60"), Code::InvalidRequest, "Only one");
}

#[test]
fn p3_a_foreign_authorization_is_ignored_beside_a_presigned_query_alone() {
    check_ok(&map(&[("authorization", "Bearer abc")]), &presigned("60"));
    check_ok(&map(&[("authorization", "Basic")]), &presigned("60"));
    check(&with("authorization", "Bearer abc"), "", Code::InvalidArgument, "Unsupported Authorization Type");
    check(&with("authorization", ""), "", Code::InvalidArgument, "Unsupported Authorization Type");
}

#[test]
fn p3_signature_version_2_is_told_what_to_do() {
    check(&with("authorization", "AWS AKIA:sig="), "", Code::InvalidRequest, "s3v4");
    for headers in [HeaderMap::new(), signed()] {
        check(&headers, "AWSAccessKeyId=A&Signature=b&Expires=1", Code::InvalidRequest, "s3v4");
    }
}

#[test]
fn p1_p2_host_a_date_and_every_amz_header_are_signed() {
    let names = |names: &str| authorization().replace(NAMES, names);
    check(
        &with("authorization", &names("x-amz-content-sha256;x-amz-date")),
        "",
        Code::AccessDenied,
        "\"host\"",
    );
    check(&with("authorization", &names("host;x-amz-content-sha256")), "", Code::AccessDenied, "x-amz-date");
    check_ok(&with("authorization", &names("host;x-amz-date")), "");
    check(&with("x-amz-acl", "private"), "", Code::AccessDenied, "x-amz-acl");
    check(&with("x-amz-security-token", "t"), "", Code::AccessDenied, "x-amz-security-token");
    let beside = map(&[("x-amz-meta-a", "b")]);
    check(&beside, &presigned("60"), Code::AccessDenied, "x-amz-meta-a");
    let unsigned_host = presigned("60").replace("SignedHeaders=host", "SignedHeaders=range");
    check(&HeaderMap::new(), &unsigned_host, Code::AccessDenied, "\"host\"");
}

#[test]
fn p1_the_list_of_signed_headers_is_bounded() {
    let presigned_with = |bytes: usize| {
        let names = format!("host%3B{}", "z".repeat(bytes - "host;".len()));
        presigned("60").replace("SignedHeaders=host", &format!("SignedHeaders={names}"))
    };
    check_ok(&HeaderMap::new(), &presigned_with(AUTHORIZATION_BYTES_MAX));
    for bytes in [AUTHORIZATION_BYTES_MAX + 1, AUTHORIZATION_BYTES_MAX + 2] {
        check(
            &HeaderMap::new(),
            &presigned_with(bytes),
            Code::AuthorizationQueryParametersError,
            "SignedHeaders",
        );
    }
}

#[test]
fn p2_the_date_header_serves_where_it_is_signed() {
    let names = "date;host;x-amz-content-sha256";
    for date in ["Sat, 21 Nov 2026 06:48:30 GMT", DATE] {
        let mut headers = with("authorization", &authorization().replace(NAMES, names));
        headers.remove("x-amz-date");
        headers.insert("date", date.parse().unwrap());
        let query = Query::default();
        let date = RequestClaim::read(&headers, &query).unwrap().claim.date;
        assert_eq!(date, DATE);
        check_ok(&headers, "");
        headers.insert("authorization", authorization().parse().unwrap());
        check(&headers, "", Code::AccessDenied, "Date");
    }
    check(&without("x-amz-date"), "", Code::AccessDenied, "Date");
}

#[test]
fn p9_a_header_is_fresh_for_fifteen_minutes_either_way() {
    let seconds = NOW.seconds();
    for now in [seconds - 900, seconds, seconds + 900] {
        assert!(refusal_at(&signed(), "", UnixTime::from_seconds(now)).is_none());
    }
    for now in [seconds - 901, seconds + 901] {
        let now = UnixTime::from_seconds(now);
        let error = refusal_at(&signed(), "", now).unwrap();
        assert_eq!(error.code, Code::RequestTimeTooSkewed);
        assert!(error.elements.contains(&("ServerTime", now.to_string())));
        assert!(error.elements.contains(&("MaxAllowedSkewMilliseconds", "900000".into())));
    }
}

#[test]
fn p9_a_presigned_query_has_its_own_window() {
    let seconds = NOW.seconds();
    let at =
        |expires: &str, now| refusal_at(&HeaderMap::new(), &presigned(expires), UnixTime::from_seconds(now));
    for (expires, now) in [("1", seconds + 1), ("604800", seconds + 604_800), ("60", seconds - 900)] {
        assert!(at(expires, now).is_none());
    }
    let expired = at("60", seconds + 61).unwrap();
    assert_eq!((expired.code, expired.message.as_ref()), (Code::AccessDenied, "Request has expired"));
    assert!(expired.elements.contains(&("Expires", "2026-11-21T06:49:30Z".into())));
    assert!(expired.elements.contains(&("ServerTime", "2026-11-21T06:49:31Z".into())));
    let early = at("60", seconds - 901).unwrap();
    assert_eq!((early.code, early.message.as_ref()), (Code::AccessDenied, "Request is not yet valid"));
    for expires in ["0", "604801", "-1", "+1", "", "x", "99999999999999999999"] {
        check(
            &HeaderMap::new(),
            &presigned(&expires.replace('+', "%2B")),
            Code::AuthorizationQueryParametersError,
            "X-Amz-Expires",
        );
    }
    let query = Query::parse(Some(&presigned("120"))).unwrap();
    let headers = HeaderMap::new();
    let claim = RequestClaim::read(&headers, &query).unwrap();
    assert!(claim.check(REGION, 119, NOW).is_err());
    assert!(claim.check(REGION, 120, NOW).is_ok());
}

#[test]
fn p9_the_scope_is_pinned() {
    let scope = |scope: &str| {
        with("authorization", &authorization().replace("20261121/us-east-1/s3/aws4_request", scope))
    };
    for (text, part) in [
        ("20261120/us-east-1/s3/aws4_request", "date"),
        ("2026112/us-east-1/s3/aws4_request", "date"),
        ("/us-east-1/s3/aws4_request", "date"),
        ("20261121/us-east-1/sts/aws4_request", "service"),
        ("20261121/us-east-1/s3/aws4", "Credential"),
        ("20261121/us-east-1/s3/aws4_request/", "Credential"),
        ("20261121/us-east-1/s3", "Credential"),
        ("", "Credential"),
    ] {
        check(&scope(text), "", Code::AuthorizationHeaderMalformed, part);
    }
    let region = scope("20261121/eu-west-1/s3/aws4_request");
    let error = refusal_at(&region, "", NOW).unwrap();
    assert_eq!(error.code, Code::AuthorizationHeaderMalformed);
    assert!(error.message.contains("expecting 'us-east-1'"));
    assert_eq!(error.elements, [("Region", REGION.to_owned())]);
    let query = presigned("60").replace("us-east-1", "auto");
    check(&HeaderMap::new(), &query, Code::AuthorizationQueryParametersError, "us-east-1");
}

#[test]
fn p10_the_payload_is_required_in_a_header_and_optional_in_a_query() {
    check(&without("x-amz-content-sha256"), "", Code::MissingSecurityHeader, "x-amz-content-sha256");
    check(&with("x-amz-content-sha256", "anything"), "", Code::InvalidArgument, "x-amz-content-sha256");
    check(
        &with("x-amz-content-sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
        "",
        Code::NotImplemented,
        "ECDSA",
    );
    let payload = |headers: &HeaderMap, more: &str| {
        let query = Query::parse(Some(&format!("{}{more}", presigned("60")))).unwrap();
        RequestClaim::read(headers, &query).map(|claim| claim.payload)
    };
    let none = HeaderMap::new();
    let empty = Declared::parse(EMPTY).unwrap();
    assert_eq!(payload(&none, "").unwrap(), Declared::Unsigned);
    assert_eq!(payload(&none, &format!("&X-Amz-Content-Sha256={EMPTY}")).unwrap(), empty);
    assert_eq!(payload(&none, &format!("&X-Amz-Content-SHA256={EMPTY}")).unwrap(), empty);
    let header = map(&[("x-amz-content-sha256", EMPTY)]);
    assert_eq!(payload(&header, "").unwrap(), empty);
    let two = payload(&header, "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD").unwrap_err();
    assert_eq!(two.code, Code::InvalidRequest);
}

#[test]
fn p16_what_may_stand_once_stands_once() {
    for name in SINGLE_HEADERS {
        let mut headers = signed();
        let value = headers.get(name).cloned().unwrap_or_else(|| HeaderValue::from_static("x"));
        headers.insert(name, value.clone());
        headers.append(name, value);
        check(&headers, "", Code::InvalidRequest, name);
    }
    for more in ["X-Amz-Date=20261121T064830Z", "x-amz-expires=60", "X-Amz-Meta-A=1&x-amz-meta-a=1"] {
        let query = format!("{}&{more}", presigned("60"));
        check(&HeaderMap::new(), &query, Code::InvalidRequest, "more than once");
    }
    let other_date = map(&[("x-amz-date", "20261121T064831Z")]);
    let query = presigned("60").replace("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-date");
    check(&other_date, &query, Code::InvalidRequest, "more than once");
    let mut both_tokens = with("x-amz-security-token", "a");
    let names = format!("{NAMES};x-amz-security-token");
    both_tokens.insert("authorization", authorization().replace(NAMES, &names).parse().unwrap());
    check(&both_tokens, "X-Amz-Security-Token=b", Code::InvalidRequest, "more than once");
    check_ok(&both_tokens, "X-Amz-Security-Token=a");
}

#[test]
fn p16_the_fields_of_the_header_stand_once_and_in_any_order() {
    let header = |text: &str| with("authorization", text);
    let (names, sig) = (format!("SignedHeaders={NAMES}"), format!("Signature={}", signature()));
    let credential = "Credential=5Abc/20261121/us-east-1/s3/aws4_request";
    check_ok(&header(&format!("AWS4-HMAC-SHA256 {sig},{credential},{names}")), "");
    check_ok(&header(&format!("AWS4-HMAC-SHA256   {sig} ,  {credential},  {names}")), "");
    for fields in [
        String::new(),
        format!("{credential}, {names}"),
        format!("{credential}, {names}, {sig}, {sig}"),
        format!("{credential}, {names}, {sig}, More=1"),
        format!("{credential}, {names}, {sig},"),
        format!("{credential}; {names}; {sig}"),
        format!("{credential}, {names}, signature={}", signature()),
        format!("{credential}, {names}, {sig}0"),
        format!("{credential}, {names}, {}", sig.to_uppercase().replace("SIGNATURE", "Signature")),
        format!("{credential}, {names}, Signature={}", "0a".repeat(64)),
        format!("Credential=5Abc, {names}, {sig}"),
        format!("{credential}, SignedHeaders=, {sig}"),
        format!("{credential}, SignedHeaders=host;;x-amz-date, {sig}"),
        format!("{credential}, SignedHeaders=Host;x-amz-date, {sig}"),
        format!("{credential}, SignedHeaders=x-amz-date;host, {sig}"),
        format!("{credential}, SignedHeaders=host;host;x-amz-date, {sig}"),
    ] {
        let headers = header(&format!("AWS4-HMAC-SHA256 {fields}"));
        check(&headers, "", Code::AuthorizationHeaderMalformed, "malformed");
    }
    for algorithm in ["AWS4-ECDSA-P256-SHA256", "AWS4-HMAC-SHA1", "AWS4-", "AWS4-hmac-sha256"] {
        let headers = header(&authorization().replace("AWS4-HMAC-SHA256", algorithm));
        check(&headers, "", Code::AuthorizationHeaderMalformed, "algorithm");
    }
    let long = format!("AWS4-HMAC-SHA256 {}", "a".repeat(AUTHORIZATION_BYTES_MAX));
    check(&header(&long), "", Code::AuthorizationHeaderMalformed, "too long");
}

#[test]
fn p26_values_that_are_not_text_are_refused() {
    check(&with("authorization", "AWS4-HMAC-SHA256 ü"), "", Code::AuthorizationHeaderMalformed, "ASCII");
    check(&with("x-amz-date", "ü"), "", Code::InvalidRequest, "ASCII");
    check(&with("x-amz-content-sha256", "ü"), "", Code::InvalidRequest, "ASCII");
    check(&with("x-amz-date", "yesterday"), "", Code::AuthorizationHeaderMalformed, "ISO8601");
}

#[test]
fn p3_a_presigned_query_is_whole() {
    for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
        let without = Query::parse(Some(&presigned("60"))).unwrap();
        let without = without.without(|other| other == format!("X-Amz-{name}")).canonical();
        check(&HeaderMap::new(), &without, Code::AuthorizationQueryParametersError, "requires");
    }
}

proptest! {
    #[test]
    fn p3_no_authorization_header_panics(text in "(AWS4-HMAC-SHA256 )?[ -~]{0,200}", query in "[ -~]{0,80}") {
        let headers = with("authorization", &text);
        if let Ok(query) = Query::parse(Some(&query)) {
            let _ = RequestClaim::read(&headers, &query).map(|claim| claim.check(REGION, 60, NOW).is_ok());
        }
    }

    #[test]
    fn p3_no_credential_panics(text in "[ -~]{0,60}", names in "[ -~]{0,60}", expires in "[ -~]{0,30}") {
        let mut query = Query::default();
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &text),
            ("X-Amz-Date", DATE),
            ("X-Amz-Expires", &expires),
            ("X-Amz-SignedHeaders", &names),
            ("X-Amz-Signature", &signature()),
        ] {
            query.push(name, value).unwrap();
        }
        let headers = HeaderMap::new();
        let _ = RequestClaim::read(&headers, &query).map(|claim| claim.check(REGION, 60, NOW).is_ok());
    }
}
