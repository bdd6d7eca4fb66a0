//! The chain of signatures in a body of signed chunks: each signs its chunk and the signature before it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>. The chain starts from the
//! signature of the request itself, so that chunks can neither change places nor move to another request.

use aws_lc_rs::digest::{Context, SHA256};

use crate::{
    auth::{
        ChunkSeed,
        sigv4::{PreparedKey, canonical::HexHash, sha256},
    },
    error::{Code, Error, Reason, Result},
    secret::constant_time_eq,
};

const SIGNATURE_BYTES: usize = 64;

/// The sha256 of nothing: it stands for the headers that a chunk does not have.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A signature as a client writes it: hexadecimal digits.
pub(super) type Signature = [u8; SIGNATURE_BYTES];

/// Reads a signature; none where it is not 64 hexadecimal digits.
pub(super) fn parse_signature(text: &[u8]) -> Option<Signature> {
    Signature::try_from(text).ok().filter(|text| text.iter().all(u8::is_ascii_hexdigit))
}

/// The chain of signatures of one body, as far as it has come.
pub(super) struct SignatureChain {
    key: PreparedKey,
    /// Date and scope, as they stand in each string to sign.
    time_and_scope: String,
    previous: String,
    /// The signature that the current chunk claims to have.
    claimed: Signature,
    /// The content of the current chunk so far.
    content: Context,
}

impl SignatureChain {
    pub(super) fn new(seed: ChunkSeed) -> Self {
        Self {
            time_and_scope: format!("{}\n{}", seed.date, seed.scope),
            key: PreparedKey::new(&seed.signing_key),
            previous: seed.signature,
            claimed: [0; SIGNATURE_BYTES],
            content: Context::new(&SHA256),
        }
    }

    /// A chunk begins that claims to have that signature.
    pub(super) fn open_chunk(&mut self, claimed: Signature) {
        self.claimed = claimed;
    }

    /// Takes in the next bytes of the chunk's content.
    pub(super) fn update(&mut self, content: &[u8]) {
        self.content.update(content);
    }

    /// The chunk is at its end: whether it has the signature that it claims.
    pub(super) fn verify_chunk(&mut self) -> Result<()> {
        let content = std::mem::replace(&mut self.content, Context::new(&SHA256)).finish();
        let mut hash = [0; 32];
        hash.copy_from_slice(content.as_ref());
        let claimed = self.claimed;
        self.verify("PAYLOAD", &[EMPTY_SHA256, "\n", HexHash::of(&hash).as_str()], &claimed)
    }

    /// Whether that trailer, as it is signed, has that signature.
    pub(super) fn verify_trailer(&mut self, canonical: &[u8], claimed: &Signature) -> Result<()> {
        self.verify("TRAILER", &[HexHash::of(&sha256(canonical)).as_str()], claimed)
    }

    fn verify(&mut self, what: &str, hashes: &[&str], claimed: &Signature) -> Result<()> {
        let before = ["AWS4-HMAC-SHA256-", what, "\n", &self.time_and_scope, "\n", &self.previous, "\n"];
        let string_to_sign = [before.as_slice(), hashes].concat().concat();
        let computed = self.key.signature(string_to_sign.as_bytes());
        if !constant_time_eq(computed.as_str().as_bytes(), claimed) {
            return Err(Error::new(
                Code::SignatureDoesNotMatch,
                "The signature of a chunk or trailer of the body does not match what was computed from its \
                 bytes and the signatures before it.",
            )
            .reason(Reason::ChunkSignatureFalse)
            .detail(what));
        }
        self.previous.clear();
        self.previous.push_str(computed.as_str());
        Ok(())
    }
}
