use proptest::prelude::*;

use super::*;

fn code(body: &str) -> Code {
    Delete::parse(body.as_bytes()).unwrap_err().code
}

#[test]
fn p52_the_short_way_for_plain_text_says_what_the_long_one_says() {
    let characters = ('\0'..='\u{ff}').chain(['\u{2028}', '\u{fffd}', '\u{fffe}', '\u{1f600}']);
    for character in characters {
        let text = format!("a{character}b");
        assert_eq!(escaped(&text), escape(&*legal(&text)), "{character:?}");
    }
    assert!(matches!(escaped("plain (text), 100%"), Cow::Borrowed(_)));
}

#[test]
fn p31_a_delete_is_read_as_s3_defines_it() {
    let body = r#"<?xml version="1.0"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Object><Key>a &amp; b&#x20;c</Key>
        <VersionId>v1</VersionId></Object><Object><Key> <![CDATA[d<e]]></Key></Object>
        <Quiet>true</Quiet></Delete>"#;
    let delete = Delete::parse(body.as_bytes()).unwrap();
    assert!(delete.quiet);
    assert_eq!(delete.objects[0].key, "a & b c");
    assert_eq!(delete.objects[0].further, [("VersionId".to_owned(), "v1".to_owned())]);
    assert_eq!(delete.objects[1].key, " d<e");
    assert_eq!(Delete::parse(delete.to_xml().as_bytes()).unwrap(), delete);
}

#[test]
fn p37_a_version_of_which_a_store_makes_a_path_is_refused() {
    let version =
        |id: &str| format!("<Delete><Object><Key>a</Key><VersionId>{id}</VersionId></Object></Delete>");
    assert!(Delete::parse(version("null").as_bytes()).is_ok());
    for id in ["..", "../a", "a/../../b"] {
        assert_eq!(code(&version(id)), Code::InvalidArgument, "{id}");
    }
}

#[test]
fn p31_entities_duplicates_and_excess_are_harmless() {
    for body in [
        "",
        "<Delete>",
        "<Delete></Delete>",
        "<Other><Object><Key>a</Key></Object></Other>",
        "<!DOCTYPE d [<!ENTITY x \"y\">]><Delete><Object><Key>&x;</Key></Object></Delete>",
        "<Delete><Object><Key>&x;</Key></Object></Delete>",
        "<Delete><Object><Key>&#xD800;</Key></Object></Delete>",
        "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        "<Delete><Object><VersionId>1</VersionId></Object></Delete>",
        "<Delete><Object><Key>a</Key><Extra/></Object></Delete>",
        "<Delete><Object><Key>a</Key></Object></Delete><Delete/>",
        "<Delete><Object><Key>a</Object></Key></Delete>",
        &format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(1001)),
        &format!("<Delete>{}</Delete>", "<Object/>".repeat(100_001)),
        &format!("{}{}", "<a>".repeat(100), "</a>".repeat(100)),
    ] {
        assert_eq!(code(body), Code::MalformedXML, "{}", body.get(..80).unwrap_or(body));
    }
    assert!(Delete::parse(b"\xff<Delete/>").is_err());
}

#[test]
fn completion_names_parts_in_order() {
    let part = |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>\"e\"</ETag></Part>");
    let body = |inner: &str| format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>");
    let parts = parse_complete(body(&format!("{}{}", part("1"), part(" 3 "))).as_bytes()).unwrap();
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(parse_complete(complete(&parts).as_bytes()).unwrap(), parts);
    for (inner, code) in [
        (String::new(), Code::MalformedXML),
        (part("0"), Code::InvalidArgument),
        (part("-1"), Code::InvalidArgument),
        (part("10001"), Code::InvalidArgument),
        (part("99999999999999999999"), Code::InvalidArgument),
        (part("x"), Code::MalformedXML),
        (part(""), Code::MalformedXML),
        (part("-"), Code::MalformedXML),
        (part("+1"), Code::MalformedXML),
        (part("2") + &part("1"), Code::InvalidPartOrder),
        (part("1") + &part("1"), Code::InvalidPartOrder),
        ("<Part><PartNumber>1</PartNumber></Part>".to_owned(), Code::MalformedXML),
        (
            "<Part><PartNumber>1</PartNumber><PartNumber>2</PartNumber><ETag>e</ETag></Part>".to_owned(),
            Code::MalformedXML,
        ),
    ] {
        assert_eq!(parse_complete(body(&inner).as_bytes()).unwrap_err().code, code, "{inner}");
    }
}

#[test]
fn a_page_of_parts_is_read() {
    let body = b"<ListPartsResult><IsTruncated>true</IsTruncated>\
            <NextPartNumberMarker>2</NextPartNumberMarker>\
            <Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag><Size>5242880</Size></Part>\
            </ListPartsResult>";
    let page = parse_parts(body).unwrap();
    assert_eq!(page, PartsPage { parts: vec![(1, 5_242_880, "a".to_owned())], next: Some(2) });
    // A truncated page without a marker, or a part without a size, is no answer at all: never a short sum.
    assert_eq!(parse_parts(b"<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>"), None);
    assert_eq!(
        parse_parts(b"<ListPartsResult><Part><PartNumber>1</PartNumber></Part></ListPartsResult>"),
        None
    );
    assert_eq!(parse_parts(b"<Error/>"), None);
}

#[test]
fn an_error_is_escaped_and_read_back() {
    let xml = error("AccessDenied", "<&>\"", &[("ServerTime", "t".to_owned())], "/b/k&", "1");
    let root = Element::parse(xml.as_bytes()).unwrap();
    assert_eq!((root.text_of("Code"), root.text_of("Message")), (Some("AccessDenied"), Some("<&>\"")));
    assert!(xml.contains("<ServerTime>t</ServerTime><Resource>/b/k&amp;</Resource><RequestId>1</RequestId>"));
}

#[test]
fn a_listing_of_prefixes_keeps_the_namespace() {
    let prefixes = ["data/a b/".to_owned()];
    let listing = PrefixListing {
        bucket: "b",
        prefix: "data/",
        delimiter: "/",
        v2: true,
        keys_max: 1,
        prefixes: &prefixes,
        truncated: true,
        ..PrefixListing::default()
    };
    let xml = listing.to_xml();
    assert!(xml.contains("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"));
    assert!(xml.contains("<CommonPrefixes><Prefix>data/a b/</Prefix></CommonPrefixes>"));
    assert!(xml.contains("<NextContinuationToken>data/a b/</NextContinuationToken>"));
    let encoded = PrefixListing { url_encoded: true, v2: false, ..listing }.to_xml();
    assert!(encoded.contains("<CommonPrefixes><Prefix>data/a%20b/</Prefix></CommonPrefixes>"));
    assert!(encoded.contains("<NextMarker>data/a%20b/</NextMarker>"));
}

proptest! {
    #[test]
    fn nothing_in_a_body_panics(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Element::parse(&body);
        let _ = parse_parts(&body);
    }

    #[test]
    fn every_key_survives_the_way_to_the_store(
        key in "[^\\p{Cc}]{1,64}",
        version in "[a-zA-Z0-9<>&\"']{0,16}",
    ) {
        let delete = Delete {
            quiet: false,
            objects: vec![DeleteObject { key, further: vec![("VersionId".to_owned(), version)] }],
        };
        prop_assert_eq!(Delete::parse(delete.to_xml().as_bytes()).unwrap(), delete);
    }
}

#[test]
fn p31_the_number_of_elements_is_bounded() {
    let document = |elements: usize| format!("<Delete>{}</Delete>", "<a/>".repeat(elements));
    assert!(Element::parse(document(80_001).as_bytes()).is_ok());
    let error = Element::parse(document(100_000).as_bytes()).unwrap_err();
    assert!(error.message.contains("too many elements"), "{}", error.message);
}
