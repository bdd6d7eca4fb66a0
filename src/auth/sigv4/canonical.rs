//! SigV4's canonical request and string to sign, for what arrives and for what leaves.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
//!
//! Invariant: path and query come in decoded and are encoded here and nowhere else, so that a signature
//! covers exactly the text that was authorised (P20).

use aws_lc_rs::digest::{SHA256, digest};
use http::Method;

use super::signed_headers::SignedHeaders;
use crate::{
    error::Result,
    s3::uri::{self, Query},
};

/// The query parameter that holds a presigned signature, the one that cannot sign itself.
const SIGNATURE_PARAMETER: &str = "x-amz-signature";

/// As many bytes as the canonical form of a request with a session token and some headers has; what has more
/// takes a second allocation.
const TEXT_BYTES: usize = 2048;

/// What SigV4 signs of a request.
#[derive(Clone, Copy)]
pub(crate) struct CanonicalRequest<'a, 'b> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The decoded path, with its leading `/`.
    pub(crate) path: &'a str,
    /// The decoded query; a presigned signature in it is left out.
    pub(crate) query: &'a Query,
    /// The headers that are signed.
    pub(crate) signed_headers: &'a SignedHeaders<'b>,
    /// Values that stand in for those of headers, by lower-case name: `host` above all, which HTTP/2 has
    /// elsewhere.
    pub(crate) overrides: &'a [(&'a str, &'a str)],
    /// The value of `x-amz-content-sha256`, as it is sent.
    pub(crate) payload_hash: &'a str,
}

impl CanonicalRequest<'_, '_> {
    /// The whole text.
    ///
    /// # Errors
    /// Those of [`SignedHeaders::push_lines`].
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = String::with_capacity(TEXT_BYTES);
        text.push_str(self.method.as_str());
        text.push('\n');
        uri::push_encoded_path(&mut text, self.path);
        text.push('\n');
        self.query.push_canonical(&mut text, |name| name.eq_ignore_ascii_case(SIGNATURE_PARAMETER));
        text.push('\n');
        self.signed_headers.push_lines(&mut text, self.overrides)?;
        text.push('\n');
        text.push_str(self.signed_headers.text());
        text.push('\n');
        text.push_str(self.payload_hash);
        Ok(text)
    }

    /// The string to sign for `algorithm`; `date` is `yyyymmddThhmmssZ`, `scope` is
    /// `yyyymmdd/region/s3/aws4_request`.
    ///
    /// # Errors
    /// Those of [`CanonicalRequest::text`].
    pub(crate) fn string_to_sign(&self, algorithm: &str, date: &str, scope: &str) -> Result<String> {
        let mut text = self.text()?;
        let hash = sha256(text.as_bytes());
        // It is shorter than what was hashed and takes its place.
        text.clear();
        for part in [algorithm, date, scope] {
            text.push_str(part);
            text.push('\n');
        }
        text.push_str(HexHash::of(&hash).as_str());
        Ok(text)
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// 32 bytes as 64 lower-case hex characters, without an allocation.
pub(crate) struct HexHash([u8; 64]);

impl HexHash {
    pub(crate) fn of(hash: &[u8; 32]) -> Self {
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(hash) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
        }
        Self(hex)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// The 32 bytes that 64 hex characters of either case stand for; none for any other text.
pub(super) fn hash_of_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks() else { return None };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    // Without a branch for each character, so that the processor takes many of them in one step.
    let is_hex = pairs.as_flattened().iter().fold(true, |is_hex, digit| is_hex & digit.is_ascii_hexdigit());
    let hash = pairs.map(|[high, low]| (hex_value(high) << 4) | hex_value(low));
    is_hex.then_some(hash)
}

/// The value of a hex digit: those of letters end in 1 to 6 and have bit 6, those of digits have not.
fn hex_value(digit: u8) -> u8 {
    (digit & 0xf) + 9 * (digit >> 6)
}

/// SHA-256 of `bytes` as 64 lower-case hex characters.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::time::UnixTime;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hex_of_each_byte_in_either_case_is_that_byte() {
        for byte in 0..=u8::MAX {
            let mut hash = [0; 32];
            hash[usize::from(byte) % 32] = byte;
            let lower = HexHash::of(&hash);
            assert_eq!(lower.as_str(), hex::encode(hash));
            assert_eq!(hash_of_hex(lower.as_str()), Some(hash));
            assert_eq!(hash_of_hex(&lower.as_str().to_uppercase()), Some(hash));
        }
    }

    #[test]
    fn p4_a_text_with_one_other_character_is_no_hash() {
        for at in 0..64 {
            for other in (0..0x80_u8).filter(|other| !other.is_ascii_hexdigit()).map(char::from) {
                let mut text = "0".repeat(64);
                text.replace_range(at..=at, &other.to_string());
                assert_eq!(hash_of_hex(&text), None, "{other:?} at {at}");
            }
        }
        for text in ["", "0", &"0".repeat(63), &"0".repeat(65), &"0".repeat(66), &"é".repeat(32)] {
            assert_eq!(hash_of_hex(text), None, "{text:?}");
        }
    }

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    /// The examples of AWS's own page on header-based authentication: one set of example keys, one second.
    fn check_example(
        method: Method,
        path: &str,
        query: &str,
        headers: &[(&'static str, &str)],
        payload_hash: &str,
        signature: &str,
    ) {
        let date = "20130524T000000Z";
        let mut headers = map(headers);
        headers.insert("host", HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
        headers.insert("x-amz-date", HeaderValue::from_static(date));
        headers.insert("x-amz-content-sha256", HeaderValue::from_str(payload_hash).unwrap());
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let names = names.join(";");
        let query = Query::parse(Some(query)).unwrap();
        let request = CanonicalRequest {
            method: &method,
            path,
            query: &query,
            signed_headers: &SignedHeaders::parse(&names, &headers).unwrap(),
            overrides: &[],
            payload_hash,
        };
        let string_to_sign =
            request.string_to_sign("AWS4-HMAC-SHA256", date, "20130524/us-east-1/s3/aws4_request").unwrap();
        let key = generate_signing_key(
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            UnixTime::from_amz(date).unwrap().into(),
            "us-east-1",
            "s3",
        );
        assert_eq!(calculate_signature(key, string_to_sign.as_bytes()), signature);
    }

    #[test]
    fn aws_example_get_object_range() {
        check_example(
            Method::GET,
            "/test.txt",
            "",
            &[("range", "bytes=0-9")],
            EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
    }

    #[test]
    fn aws_example_put_object() {
        check_example(
            Method::PUT,
            "/test$file.text",
            "",
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
    }

    #[test]
    fn aws_example_get_bucket_lifecycle() {
        check_example(
            Method::GET,
            "/",
            "lifecycle",
            &[],
            EMPTY,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
    }

    #[test]
    fn aws_example_list_objects() {
        check_example(
            Method::GET,
            "/",
            "max-keys=2&prefix=J",
            &[],
            EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }
}
