//! What addresses and signatures look like, for those who check before they send.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// SS58 of an address: 32 bytes with prefix 42 and their checksum are 48 characters, from `5C4h…` to `5HrN…`.
/// That the checksum is right no expression can say.
pub(super) const SS58: &str = "^5[C-H][1-9A-HJ-NP-Za-km-z]{46}$";

/// A signature of 64 bytes in hex, with or without `0x`.
const SIGNATURE: &str = "^(0x)?[0-9A-Fa-f]{128}$";

/// The signature of btauth/1.
pub(super) const BTAUTH_SIGNATURE: &str = "^0x[0-9A-Fa-f]{128}$";

/// The signature of X-Tao v2: base64 with its padding, or hex.
pub(super) const TAO_SIGNATURE: &str = "^([A-Za-z0-9+/]{86}==|(0x)?[0-9A-Fa-f]{128})$";

/// A UUID as it is printed, in lower case.
pub(super) const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// A number in its one spelling.
pub(super) const NUMBER: &str = "^(0|[1-9][0-9]{0,19})$";

/// An address, where the schema of a request or an answer is derived.
pub(in crate::endpoints) enum Ss58 {}

/// A signature in hex, likewise.
pub(in crate::endpoints) enum HexSignature {}

impl PartialSchema for Ss58 {
    fn schema() -> RefOr<Schema> {
        text(SS58, "An SS58 address with prefix 42")
    }
}

impl PartialSchema for HexSignature {
    fn schema() -> RefOr<Schema> {
        text(SIGNATURE, "A signature of 64 bytes in hex, with or without `0x`")
    }
}

impl ToSchema for Ss58 {
    fn name() -> Cow<'static, str> {
        "Ss58".into()
    }
}

impl ToSchema for HexSignature {
    fn name() -> Cow<'static, str> {
        "HexSignature".into()
    }
}

fn text(pattern: &str, what: &str) -> RefOr<Schema> {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    schema.pattern(Some(pattern)).description(Some(what)).into()
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;

    use super::*;
    use crate::{auth::bittensor::sr25519::Keypair, chain::AccountId};

    #[test]
    fn every_address_fits_and_nothing_else_does() {
        let pattern = Regex::new(SS58).unwrap();
        let of = |bytes: [u8; 32]| AccountId::from_bytes(bytes).unwrap().to_ss58();
        for address in [of([255; 32]), of([1; 32]), of([0x7f; 32])] {
            assert!(pattern.is_match(&address), "{address}");
        }
        for seed in 0..=255 {
            let address = Keypair::from_mini_secret(&[seed; 32]).unwrap().account().to_ss58();
            assert!(pattern.is_match(&address), "{address}");
        }
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        assert!(pattern.is_match(alice));
        for other in [
            "",
            // Polkadot's and Kusama's own prefixes, an address cut short, one too long.
            "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
            "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F",
            alice.get(..47).unwrap(),
            &format!("{alice}Y"),
            &format!(" {alice}"),
            &format!("{alice}\n"),
            // 0, O, I and l are no digits of base58.
            &alice.replace('z', "0"),
            &alice.replace('z', "O"),
            &alice.replace('z', "I"),
            &alice.replace('z', "l"),
            // What none of these addresses begins with.
            &alice.replacen("5G", "5B", 1),
            &alice.replacen("5G", "5J", 1),
            &alice.to_lowercase(),
        ] {
            assert!(!pattern.is_match(other), "{other}");
        }
    }

    #[test]
    fn signatures_fit_in_the_spellings_that_are_taken() {
        let check = |pattern: &str, text: &str, fits: bool| {
            assert_eq!(Regex::new(pattern).unwrap().is_match(text), fits, "{pattern} {text}");
        };
        let signature = Keypair::from_mini_secret(&[7; 32]).unwrap().sign(b"text");
        let (plain, prefixed) = (hex::encode(signature), format!("0x{}", hex::encode(signature)));
        let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, signature);
        for (pattern, fits) in [
            (SIGNATURE, [true, true, false]),
            (BTAUTH_SIGNATURE, [false, true, false]),
            (TAO_SIGNATURE, [true, true, true]),
        ] {
            for (text, fits) in [&plain, &prefixed, &base64].into_iter().zip(fits) {
                check(pattern, text, fits);
            }
            for text in ["", "0x", "zz", &format!("{plain}00"), plain.get(2..).unwrap()] {
                check(pattern, text, false);
            }
        }
        check(UUID, "6f1c3f0a-2f8e-4d57-9a55-0c3f7f2b9e11", true);
        check(UUID, "6F1C3F0A-2F8E-4D57-9A55-0C3F7F2B9E11", false);
        check(NUMBER, "1763712000000", true);
        check(NUMBER, "01", false);
    }
}
