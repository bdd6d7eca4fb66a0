//! The strings that clients of the vending server sign with their hotkey and what they prove.
//!
//! Such a string names no receiver, so a server that was sent one could pass it on to another. It counts here only
//! where [`Audience::allow_none`](super::Audience) is set, exactly like a session request that is addressed to nobody.
//! Within its window (300 s past, 60 s ahead) a string may be sent again: it gives the same URLs for the same hotkey,
//! and what they are worth is judged when they are used; clients that retry rely on it, so nothing is remembered of it.
//! Who has a young string with its signature can therefore ask in its signer's name. Neither leaves this server again:
//! the tokens in URLs and forms hold them sealed (see [`super::session`]).
//!
//! In a token the evidence is the hotkey's SS58, a line end, and the string: some strings do not say who signed them.

use super::{
    btauth::{Evidence, is_signed_by},
    sr25519::SIGNATURE_BYTES,
};
use crate::{chain::AccountId, time::UnixTime};

/// How old a string may be, in seconds.
pub const PAST_SECONDS_MAX: u64 = 300;

/// How far ahead a client's clock may be, in seconds.
pub const FUTURE_SECONDS_MAX: u64 = 60;

/// Longest name of a source.
const SOURCE_CHARS_MAX: usize = 64;

/// What a string asks for; the lists of `/commitment-formats` are made of [`Ask::FORMATS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
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

impl<'a> Ask<'a> {
    /// Endpoint and string of each kind.
    pub const FORMATS: [(&'static str, &'static str); 6] = [
        ("/get-folder-access (with source)", "s3:access:{coldkey}:{source}:{timestamp}"),
        ("/get-folder-access", "s3:data:access:{coldkey}:{hotkey}:{timestamp}"),
        ("/get-validator-access", "s3:validator:access:{timestamp}"),
        ("/get-miner-specific-access", "s3:validator:miner:{miner_hotkey}:{timestamp}"),
        ("/get-folder-presigned-urls", "s3:validator:folders:{hotkey}:{timestamp}"),
        ("/get-file-presigned-urls", "s3:validator:files:{miner_hotkey}:{hotkey}:{timestamp}"),
    ];

    /// The string that is signed.
    pub fn string(&self, timestamp: u64) -> String {
        match self {
            Self::Source { coldkey, source } => format!("s3:access:{coldkey}:{source}:{timestamp}"),
            Self::Folder { coldkey, hotkey } => format!("s3:data:access:{coldkey}:{hotkey}:{timestamp}"),
            Self::Everything => format!("s3:validator:access:{timestamp}"),
            Self::Miner(miner) => format!("s3:validator:miner:{miner}:{timestamp}"),
            Self::Folders(hotkey) => format!("s3:validator:folders:{hotkey}:{timestamp}"),
            Self::Files { miner, hotkey } => format!("s3:validator:files:{miner}:{hotkey}:{timestamp}"),
        }
    }

    /// Whether a text can stand for a source in a string: nothing that could be read as another part of it.
    pub fn is_source(text: &str) -> bool {
        (1..=SOURCE_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    }

    /// Reads exactly what [`Ask::string`] writes.
    fn parse(text: &'a str) -> Option<(Self, u64)> {
        let (rest, digits) = text.rsplit_once(':')?;
        let timestamp: u64 = digits.parse().ok()?;
        let account = |text: &str| text.parse::<AccountId>().ok();
        let ask = match rest.split(':').collect::<Vec<_>>().as_slice() {
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
        (ask.string(timestamp) == text).then_some((ask, timestamp))
    }

    /// The signer that the string names, where it names one.
    fn signer(&self) -> Option<AccountId> {
        match self {
            Self::Folder { hotkey, .. } | Self::Folders(hotkey) | Self::Files { hotkey, .. } => Some(*hotkey),
            Self::Source { .. } | Self::Everything | Self::Miner(_) => None,
        }
    }
}

/// Evidence of this kind, read. Nothing in it is proven.
pub(in crate::auth) struct Statement<'a> {
    pub(in crate::auth) hotkey: AccountId,
    pub(in crate::auth) signed_at: UnixTime,
    /// What the hotkey signed.
    pub(in crate::auth) string: &'a str,
}

impl<'a> Statement<'a> {
    pub(in crate::auth) fn parse(evidence: &'a str) -> Option<Self> {
        let (hotkey, string) = evidence.split_once('\n')?;
        let hotkey: AccountId = hotkey.parse().ok()?;
        let (ask, timestamp) = Ask::parse(string)?;
        if ask.signer().is_some_and(|named| named != hotkey) {
            return None;
        }
        Some(Self { hotkey, signed_at: UnixTime::from_seconds(timestamp), string })
    }
}

/// Why a string is not taken; the texts are the seeds'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// Too old, too far ahead, or past its own end.
    #[error("Invalid timestamp")]
    Timestamp,
    /// The hotkey did not sign that string.
    #[error("Invalid signature")]
    Signature,
}

/// Verifies that `hotkey` signed what it asks. Costs at most two sr25519 verifications, and none out of the window.
///
/// # Errors
/// [`SeedError`].
pub fn verify(
    ask: &Ask<'_>,
    hotkey: AccountId,
    signature: &str,
    timestamp: u64,
    expiry: Option<u64>,
    now: UnixTime,
) -> Result<Evidence, SeedError> {
    let now = now.seconds();
    let is_late = expiry.is_some_and(|expiry| now > expiry)
        || now.saturating_sub(timestamp) > PAST_SECONDS_MAX
        || timestamp > now.saturating_add(FUTURE_SECONDS_MAX);
    if is_late {
        return Err(SeedError::Timestamp);
    }
    let digits = signature.strip_prefix("0x").unwrap_or(signature);
    let mut signature = [0; SIGNATURE_BYTES];
    hex::decode_to_slice(digits, &mut signature).map_err(|_| SeedError::Signature)?;
    let string = ask.string(timestamp);
    let wrapped = [false, true]
        .into_iter()
        .find(|wrapped| is_signed_by(&hotkey, &string, *wrapped, &signature))
        .ok_or(SeedError::Signature)?;
    let nonce_nanos = timestamp.checked_mul(1_000_000_000).ok_or(SeedError::Timestamp)?;
    Ok(Evidence { hotkey, nonce_nanos, bytes: format!("{hotkey}\n{string}"), wrapped, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::bittensor::sr25519::Keypair;

    fn account(seed: u8) -> AccountId {
        Keypair::from_mini_secret(&[seed; 32]).unwrap().account()
    }

    fn asks() -> [Ask<'static>; 6] {
        let (coldkey, hotkey) = (account(1), account(2));
        [
            Ask::Source { coldkey, source: "x" },
            Ask::Folder { coldkey, hotkey },
            Ask::Everything,
            Ask::Miner(coldkey),
            Ask::Folders(hotkey),
            Ask::Files { miner: coldkey, hotkey },
        ]
    }

    #[test]
    fn each_string_is_read_back_and_nothing_else_is() {
        let hotkey = account(2);
        for ask in asks() {
            let string = ask.string(1_795_243_710);
            assert_eq!(Ask::parse(&string), Some((ask, 1_795_243_710)));
            let evidence = format!("{hotkey}\n{string}");
            assert_eq!(Statement::parse(&evidence).unwrap().hotkey, hotkey);
            assert!(Statement::parse(&string).is_none());
            assert!(Ask::parse(&format!("{string} ")).is_none());
            assert!(Ask::parse(&string.replace(":17", ":017")).is_none());
        }
        assert!(Statement::parse(&format!("{}\n{}", account(3), Ask::Folders(hotkey).string(1))).is_none());
        assert!(
            !Ask::is_source("x:y")
                && !Ask::is_source("")
                && !Ask::is_source("a/b")
                && !Ask::is_source("x\ny")
        );
    }

    #[test]
    fn the_window_and_the_signature_hold() {
        let keypair = Keypair::from_mini_secret(&[2; 32]).unwrap();
        let now = UnixTime::from_seconds(1_795_243_710);
        let at = |timestamp: u64, expiry: Option<u64>| {
            let ask = Ask::Everything;
            let signature = hex::encode(keypair.sign(ask.string(timestamp).as_bytes()));
            verify(&ask, keypair.account(), &signature, timestamp, expiry, now).map(|_| ())
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
            assert_eq!(at(timestamp, expiry), Err(SeedError::Timestamp));
        }
        let ask = Ask::Everything;
        let string = ask.string(seconds);
        let signed = |text: &str| hex::encode(keypair.sign(text.as_bytes()));
        let run =
            |signature: &str| verify(&ask, keypair.account(), signature, seconds, None, now).map(|_| ());
        assert_eq!(run(&format!("0x{}", signed(&string))), Ok(()));
        assert_eq!(run(&signed(&format!("<Bytes>{string}</Bytes>"))), Ok(()));
        for signature in [String::new(), "0x".into(), "zz".repeat(64), signed("else"), signed(&string) + "00"]
        {
            assert_eq!(run(&signature), Err(SeedError::Signature));
        }
    }
}
