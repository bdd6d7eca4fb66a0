use super::*;

const DATE: &str = "20130524T000000Z";

/// The seeds and chunks of AWS's own examples: 65 KiB of `a` in chunks of 64 KiB.
fn example(signature: &str) -> ChunkSeed {
    let secret = SecretText::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    ChunkSeed {
        signing_key: signing_key(&secret, UnixTime::from_amz(DATE).unwrap(), "us-east-1"),
        date: DATE.into(),
        scope: "20130524/us-east-1/s3/aws4_request".into(),
        signature: signature.into(),
    }
}

fn check(seed: &ChunkSeed, trailers: Option<&[(&str, &str)]>, signatures: &[&str]) {
    let encoded = encode_chunks(Some(seed), &[b'a'; 66_560], 65_536, trailers);
    let text = String::from_utf8(encoded).unwrap();
    let mut rest = text.as_str();
    for signature in signatures {
        let (_, after) = rest.split_once(signature).unwrap_or_else(|| panic!("{signature} is not there"));
        rest = after;
    }
    assert!(text.starts_with("10000;chunk-signature="));
    assert!(text.ends_with("\r\n\r\n"));
}

#[test]
fn p4_aws_example_of_signed_chunks() {
    check(
        &example("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
        None,
        &[
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
    );
}

#[test]
fn p4_aws_example_of_signed_chunks_with_a_trailer() {
    check(
        &example("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"),
        Some(&[("x-amz-checksum-crc32c", "sOO8/Q==")]),
        &[
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            "x-amz-checksum-crc32c:sOO8/Q==",
            "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
        ],
    );
}

#[test]
fn p6_an_unsigned_body_has_bare_sizes() {
    let encoded = encode_chunks(None, b"hello world", 8, Some(&[("x-amz-checksum-crc32", "DUoRhQ==")]));
    assert_eq!(
        String::from_utf8(encoded).unwrap(),
        "8\r\nhello wo\r\n3\r\nrld\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"
    );
    assert_eq!(encode_chunks(None, b"", 8, None), b"0\r\n\r\n");
}
