//! The strings that clients of the vending server sign with their hotkey, and what they prove.
//!
//! Such a string names no receiver, so a server that was sent one could pass it on to another. It counts here
//! only where [`Audience::allow_none`](super::btauth::Audience) is set, exactly like a session request that
//! is addressed to nobody. Within its window (300 s past, 60 s ahead) a string may be sent again: it gives
//! the same URLs for the same hotkey, and what they are worth is judged when they are used. Clients that
//! retry rely on it, so nothing is remembered of it. Who has a young string with its signature can therefore
//! ask in its signer's name. Neither leaves this server again: the tokens in URLs and forms hold them sealed
//! (see [`crate::auth::session`]).
//!
//! In a token the evidence is the hotkey's SS58, a line end, and the string: some strings do not say who
//! signed them.

use super::{
    evidence::{Evidence, signed_wrapped},
    sr25519::SIGNATURE_BYTES,
};
use crate::{chain::AccountId, endpoint::Endpoint, time::UnixTime};

/// How old a string may be, in seconds.
pub(crate) const PAST_SECONDS_MAX: u64 = 300;

/// How far ahead a client's clock may be, in seconds.
pub(crate) const FUTURE_SECONDS_MAX: u64 = 60;

/// Longest name of a source, in characters.
const SOURCE_CHARS_MAX: usize = 64;

/// Whether a text begins as the strings do.
pub(in crate::auth) fn is_begun_by(text: &str) -> bool {
    text.starts_with("s3:")
}

/// What a signed string asks the vending server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VendingRequest<'a> {
    /// A miner's folder of one source.
    Source {
        /// The owner of the hotkey, as the client says.
        coldkey: AccountId,
        /// The source.
        source: &'a str,
    },
    /// A miner's folder, in the form without a source.
    Folder {
        /// The owner of the hotkey, as the client says.
        coldkey: AccountId,
        /// The hotkey.
        hotkey: AccountId,
    },
    /// Everything, for a validator.
    Everything,
    /// One miner, for a validator.
    Miner(AccountId),
    /// All job folders, for that validator.
    Folders(AccountId),
    /// Files of a miner, for a validator.
    Files {
        /// The miner.
        miner: AccountId,
        /// The validator.
        hotkey: AccountId,
    },
}

impl<'a> VendingRequest<'a> {
    /// Endpoint and string of each kind, as `/commitment-formats` lists them.
    pub(crate) const FORMATS: [(&'static str, &'static str); 7] = [
        ("/get-folder-access (with source)", "s3:access:{coldkey}:{source}:{timestamp}"),
        ("/get-folder-access", "s3:data:access:{coldkey}:{hotkey}:{timestamp}"),
        ("/get-validator-access", "s3:validator:access:{timestamp}"),
        ("/get-miner-specific-access", "s3:validator:miner:{miner_hotkey}:{timestamp}"),
        ("/get-folder-presigned-urls", "s3:validator:folders:{hotkey}:{timestamp}"),
        ("/get-file-presigned-urls", "s3:validator:files:{miner_hotkey}:{hotkey}:{timestamp}"),
        ("/get-miner-list", "s3:validator:miner:{miner_hotkey}:{timestamp}"),
    ];

    /// The string of an endpoint of that list.
    pub(crate) fn format_of(endpoint: &str) -> Option<&'static str> {
        Self::FORMATS.iter().find(|(name, _)| *name == endpoint).map(|(_, format)| *format)
    }

    /// The string that a client signs at `timestamp`, unix seconds.
    pub(crate) fn signed_string(&self, timestamp: u64) -> String {
        match self {
            Self::Source { coldkey, source } => format!("s3:access:{coldkey}:{source}:{timestamp}"),
            Self::Folder { coldkey, hotkey } => format!("s3:data:access:{coldkey}:{hotkey}:{timestamp}"),
            Self::Everything => format!("s3:validator:access:{timestamp}"),
            Self::Miner(miner) => format!("s3:validator:miner:{miner}:{timestamp}"),
            Self::Folders(hotkey) => format!("s3:validator:folders:{hotkey}:{timestamp}"),
            Self::Files { miner, hotkey } => format!("s3:validator:files:{miner}:{hotkey}:{timestamp}"),
        }
    }

    /// The endpoint that takes it.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Source { .. } | Self::Folder { .. } => Endpoint::FolderAccess,
            Self::Everything => Endpoint::ValidatorAccess,
            Self::Miner(_) => Endpoint::MinerAccess,
            Self::Folders(_) => Endpoint::FolderUrls,
            Self::Files { .. } => Endpoint::FileUrls,
        }
    }

    /// Whether a text can stand for a source in a string: nothing that could be read as another part of it.
    pub(crate) fn is_source(text: &str) -> bool {
        (1..=SOURCE_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    }

    /// Reads exactly what [`VendingRequest::signed_string`] writes.
    fn parse(text: &'a str) -> Option<(Self, u64)> {
        let (rest, digits) = text.rsplit_once(':')?;
        let timestamp: u64 = digits.parse().ok()?;
        let account = |text: &str| text.parse::<AccountId>().ok();
        let request = match rest.split(':').collect::<Vec<_>>().as_slice() {
            ["s3", "access", coldkey, source] if Self::is_source(source) => {
                Self::Source { coldkey: account(coldkey)?, source }
            }
            ["s3", "data", "access", coldkey, hotkey] => {
                Self::Folder { coldkey: account(coldkey)?, hotkey: account(hotkey)? }
            }
            ["s3", "validator", "access"] => Self::Everything,
            ["s3", "validator", "miner", miner] => Self::Miner(account(miner)?),
            ["s3", "validator", "folders", hotkey] => Self::Folders(account(hotkey)?),
            ["s3", "validator", "files", miner, hotkey] => {
                Self::Files { miner: account(miner)?, hotkey: account(hotkey)? }
            }
            _ => return None,
        };
        (request.signed_string(timestamp) == text).then_some((request, timestamp))
    }

    /// The signer that the string names, where it names one.
    fn signer(&self) -> Option<AccountId> {
        match self {
            Self::Folder { hotkey, .. } | Self::Folders(hotkey) | Self::Files { hotkey, .. } => Some(*hotkey),
            Self::Source { .. } | Self::Everything | Self::Miner(_) => None,
        }
    }
}

/// Evidence of this kind, understood. Nothing in it is proven.
pub(in crate::auth) struct SignedString<'a> {
    pub(in crate::auth) hotkey: AccountId,
    pub(in crate::auth) signed_at: UnixTime,
    /// What the hotkey signed.
    pub(in crate::auth) string: &'a str,
}

impl<'a> SignedString<'a> {
    pub(in crate::auth) fn parse(evidence: &'a str) -> Option<Self> {
        let (hotkey, string) = evidence.split_once('\n')?;
        let hotkey: AccountId = hotkey.parse().ok()?;
        let (request, timestamp) = VendingRequest::parse(string)?;
        if request.signer().is_some_and(|named| named != hotkey) {
            return None;
        }
        Some(Self { hotkey, signed_at: UnixTime::from_seconds(timestamp), string })
    }
}

/// Why a string is not taken; the texts are what the vending server's clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VendingError {
    /// Too old, too far ahead, or past its own end.
    #[error("Invalid timestamp")]
    Timestamp,
    /// The hotkey did not sign that string.
    #[error("Invalid signature")]
    Signature,
}

/// Verifies that `hotkey` signed the string of `request`. Costs at most two sr25519 verifications, and none
/// out of the window. `timestamp` and `expiry` are unix seconds.
///
/// # Errors
/// [`VendingError`].
pub(crate) fn verify(
    request: &VendingRequest<'_>,
    hotkey: AccountId,
    signature: &str,
    timestamp: u64,
    expiry: Option<u64>,
    now: UnixTime,
) -> Result<Evidence, VendingError> {
    let now = now.seconds();
    let is_late = expiry.is_some_and(|expiry| now > expiry)
        || now.saturating_sub(timestamp) > PAST_SECONDS_MAX
        || timestamp > now.saturating_add(FUTURE_SECONDS_MAX);
    if is_late {
        return Err(VendingError::Timestamp);
    }
    let digits = signature.strip_prefix("0x").unwrap_or(signature);
    let mut signature = [0; SIGNATURE_BYTES];
    hex::decode_to_slice(digits, &mut signature).map_err(|_| VendingError::Signature)?;
    let string = request.signed_string(timestamp);
    let wrapped = signed_wrapped(&hotkey, &string, &signature).ok_or(VendingError::Signature)?;
    let nonce_nanos = timestamp.checked_mul(1_000_000_000).ok_or(VendingError::Timestamp)?;
    Ok(Evidence { hotkey, nonce_nanos, text: format!("{hotkey}\n{string}"), wrapped, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::bittensor::sr25519::Keypair;

    fn account(seed: u8) -> AccountId {
        Keypair::from_mini_secret(&[seed; 32]).unwrap().account()
    }

    fn requests() -> [VendingRequest<'static>; 6] {
        let (coldkey, hotkey) = (account(1), account(2));
        [
            VendingRequest::Source { coldkey, source: "x" },
            VendingRequest::Folder { coldkey, hotkey },
            VendingRequest::Everything,
            VendingRequest::Miner(coldkey),
            VendingRequest::Folders(hotkey),
            VendingRequest::Files { miner: coldkey, hotkey },
        ]
    }

    #[test]
    fn each_string_is_read_back_and_nothing_else_is() {
        let hotkey = account(2);
        for request in requests() {
            let string = request.signed_string(1_795_243_710);
            assert_eq!(VendingRequest::parse(&string), Some((request, 1_795_243_710)));
            let evidence = format!("{hotkey}\n{string}");
            assert_eq!(SignedString::parse(&evidence).unwrap().hotkey, hotkey);
            assert!(SignedString::parse(&string).is_none());
            assert!(VendingRequest::parse(&format!("{string} ")).is_none());
            assert!(VendingRequest::parse(&string.replace(":17", ":017")).is_none());
        }
        assert!(
            SignedString::parse(&format!(
                "{}\n{}",
                account(3),
                VendingRequest::Folders(hotkey).signed_string(1)
            ))
            .is_none()
        );
        assert!(
            !VendingRequest::is_source("x:y")
                && !VendingRequest::is_source("")
                && !VendingRequest::is_source("a/b")
                && !VendingRequest::is_source("x\ny")
        );
    }

    #[test]
    fn the_window_and_the_signature_hold() {
        let keypair = Keypair::from_mini_secret(&[2; 32]).unwrap();
        let now = UnixTime::from_seconds(1_795_243_710);
        let at = |timestamp: u64, expiry: Option<u64>| {
            let request = VendingRequest::Everything;
            let signature = hex::encode(keypair.sign(request.signed_string(timestamp).as_bytes()));
            verify(&request, keypair.account(), &signature, timestamp, expiry, now).map(|_| ())
        };
        let seconds = now.seconds();
        for timestamp in [seconds, seconds - 300, seconds + 60] {
            assert_eq!(at(timestamp, Some(seconds)), Ok(()));
        }
        for (timestamp, expiry) in [
            (seconds - 301, None),
            (seconds + 61, None),
            (seconds, Some(seconds - 1)),
            (u64::MAX, None),
            (0, None),
        ] {
            assert_eq!(at(timestamp, expiry), Err(VendingError::Timestamp));
        }
        let request = VendingRequest::Everything;
        let string = request.signed_string(seconds);
        let signed = |text: &str| hex::encode(keypair.sign(text.as_bytes()));
        let run =
            |signature: &str| verify(&request, keypair.account(), signature, seconds, None, now).map(|_| ());
        assert_eq!(run(&format!("0x{}", signed(&string))), Ok(()));
        assert_eq!(run(&signed(&format!("<Bytes>{string}</Bytes>"))), Ok(()));
        for signature in [String::new(), "0x".into(), "zz".repeat(64), signed("else"), signed(&string) + "00"]
        {
            assert_eq!(run(&signature), Err(VendingError::Signature));
        }
    }
}
