use proptest::prelude::*;

use super::*;
use crate::auth::{
    SessionKeys,
    tests::{NOW, key, keypair, session, verifier},
};

#[test]
fn p12_tokens_are_canonical_base64_of_exactly_the_layout() {
    let session = session(&verifier());
    let text = session.session_token.expose();
    let keys = SessionKeys::new(vec![key("k1", 1, None)], "k1").unwrap();
    let bytes = TokenBytes::of(text, &[]).unwrap().bytes;
    assert_eq!(Token::parse(&bytes).unwrap().text(&keys.issuing).unwrap(), text);
    assert!(TokenBytes::of(&format!("{text}="), &[]).is_none());
    assert!(TokenBytes::of(&text.replace(['-', '_'], "+"), &[]).is_none() || !text.contains(['-', '_']));
    assert!(Token::parse(&[&bytes[..], &[0]].concat()).is_none());
    for length in 0..bytes.len() {
        assert!(Token::parse(&bytes[..length]).is_none(), "{length}");
    }
    let too_long = Token { evidence: &"e".repeat(1025), ..Token::parse(&bytes).unwrap() };
    assert!(too_long.encode().is_none());
    let longest_id = "k".repeat(KEY_ID_BYTES_MAX);
    let longest = Token { evidence: &"e".repeat(1024), key_id: &longest_id, ..Token::parse(&bytes).unwrap() };
    assert!(longest.text(&keys.issuing).unwrap().len() <= TOKEN_CHARS_MAX);
}

#[test]
fn strings_of_the_vending_server_leave_sealed_and_count_in_no_other_way() {
    let keys = SessionKeys::new(vec![key("k1", 1, None)], "k1").unwrap();
    let other = SessionKeys::new(vec![key("k1", 2, None)], "k1").unwrap();
    let string = "s3:validator:access:1795243710";
    let evidence = format!("{}\n{string}", keypair().account());
    let expires_at = NOW.plus_seconds(3600);
    let token = Token {
        secret_alphabet: SecretAlphabet::Base64Url,
        key_id: "k1",
        wrapped: false,
        expires_at,
        evidence: &evidence,
        signature: keypair().sign(string.as_bytes()),
    };
    let text = token.text(&keys.issuing).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    for part in [string.as_bytes(), &token.signature[..], keypair().account().to_ss58().as_bytes()] {
        assert!(!bytes.windows(part.len()).any(|window| window == part));
    }
    let opened = TokenBytes::of(&text, &keys.keys).unwrap();
    assert_eq!(opened.token().unwrap().evidence, evidence);
    assert!(TokenBytes::of(&text, &other.keys).is_none());
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let read = TokenBytes::of(&URL_SAFE_NO_PAD.encode(&flipped), &keys.keys);
        assert!(read.is_none_or(|read| read.token().is_none()), "byte {at}");
    }
    // In the clear it is no token, and what belongs in the clear is none when it is sealed.
    let clear = TokenBytes::of(&URL_SAFE_NO_PAD.encode(token.encode().unwrap()), &keys.keys).unwrap();
    assert!(clear.token().is_none());
    let session = session(&verifier());
    let plain = URL_SAFE_NO_PAD.decode(session.session_token.expose()).unwrap();
    let sealed = URL_SAFE_NO_PAD.encode(keys.issuing.sealed(plain).unwrap());
    assert!(TokenBytes::of(&sealed, &keys.keys).unwrap().token().is_none());
}

proptest! {
    #[test]
    fn p12_no_token_panics_and_what_parses_is_what_encode_writes(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "[A-Za-z0-9_=-]{0,80}",
        base64: bool,
    ) {
        let _ = TokenBytes::of(&text, &[]).map(|bytes| bytes.token().is_some());
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if base64 { TOKEN_VERSION_BASE64 } else { TOKEN_VERSION };
        }
        if let Some(token) = Token::parse(&bytes) {
            prop_assert_eq!(&bytes, &token.encode().unwrap());
        }
    }

    #[test]
    fn p12_tokens_go_round(
        key_id in "[!-~]{1,32}",
        base64: bool,
        wrapped: bool,
        seconds: u64,
        evidence in "\\PC{1,200}",
        byte: u8,
        flip in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let secret_alphabet =
            if base64 { SecretAlphabet::Base64 } else { SecretAlphabet::Base64Url };
        let token = Token {
            secret_alphabet,
            key_id: &key_id,
            wrapped,
            expires_at: UnixTime::from_seconds(seconds),
            evidence: &evidence,
            signature: [byte; 64],
        };
        let mut bytes = token.encode().unwrap();
        let whole = bytes.clone();
        prop_assert_eq!(&Token::parse(&bytes).unwrap().encode().unwrap(), &whole);
        let index = flip.index(bytes.len());
        bytes[index] ^= 1u8 << bit;
        if let Some(other) = Token::parse(&bytes) {
            prop_assert_ne!(other.encode().unwrap(), whole);
        }
    }
}
