//! Signatures of hotkeys: sr25519 with the context `substrate`, as the chain and every wallet makes them.

use schnorrkel::{ExpansionMode, Keypair as SchnorrkelKeypair, MiniSecretKey, SecretKey};
use sp_core::{Pair as _, sr25519};

use crate::chain::AccountId;

/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// Whether `signature` was made over `message` by `account`. [`AccountId`] is never the all-zero key, under
/// which a forged signature would pass.
pub(in crate::auth) fn verify(
    account: &AccountId,
    message: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    sr25519::Pair::verify(
        &sr25519::Signature::from_raw(*signature),
        message,
        &sr25519::Public::from_raw(*account.as_bytes()),
    )
}

/// A hotkey's secret side. Its `Debug` shows the address alone; the secret is wiped on drop.
pub struct Keypair {
    pair: SchnorrkelKeypair,
    account: AccountId,
}

/// Why bytes are not a secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not an sr25519 secret key")]
pub struct NotAKey;

impl Keypair {
    /// From a 32-byte mini secret ("secretSeed"), expanded the Ed25519 way as substrate does.
    pub fn from_mini_secret(seed: &[u8; 32]) -> Result<Self, NotAKey> {
        let mini = MiniSecretKey::from_bytes(seed).map_err(|_| NotAKey)?;
        Self::checked(mini.expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// From the 64 bytes of a wallet's `privateKey` (schnorrkel's own form: scalar, nonce).
    pub(crate) fn from_secret_bytes(bytes: &[u8; 64]) -> Result<Self, NotAKey> {
        let secret = SecretKey::from_bytes(bytes).map_err(|_| NotAKey)?;
        Self::checked(secret.to_keypair())
    }

    fn checked(pair: SchnorrkelKeypair) -> Result<Self, NotAKey> {
        let account = AccountId::from_bytes(pair.public.to_bytes()).map_err(|_| NotAKey)?;
        Ok(Self { pair, account })
    }

    /// The address.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The 64 bytes of a wallet's `privateKey`.
    #[cfg(any(test, feature = "dev-store"))]
    pub(crate) fn secret_bytes(&self) -> crate::secret::Secret {
        crate::secret::Secret::new(self.pair.secret.to_bytes().to_vec())
    }

    /// A signature over `message`; two of the same message differ.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.pair.sign_simple(b"substrate", message).to_bytes()
    }
}

impl std::fmt::Debug for Keypair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keypair({})", self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keypair() -> Keypair {
        Keypair::from_mini_secret(&std::array::from_fn(|index| u8::try_from(index).unwrap())).unwrap()
    }

    #[test]
    fn a_mini_secret_gives_the_address_that_wallets_derive() {
        // The address which botocore's signer in the interop vectors carries for the mini secret 00 01 … 1f.
        assert_eq!(keypair().account().to_ss58(), "5HB7kpn92RS7uF9uWn8bXSvPVKFPg8kPUFDd5sbveGjX6Dbi");
        let again =
            Keypair::from_secret_bytes(keypair().secret_bytes().expose().try_into().unwrap()).unwrap();
        assert_eq!(again.account(), keypair().account());
    }

    #[test]
    fn a_signature_binds_message_and_signer() {
        let signature = keypair().sign(b"message");
        let other = Keypair::from_mini_secret(&[9; 32]).unwrap();
        assert!(verify(&keypair().account(), b"message", &signature));
        assert!(!verify(&keypair().account(), b"massage", &signature));
        assert!(!verify(&other.account(), b"message", &signature));
    }

    #[test]
    fn p51_debug_shows_the_address_alone() {
        assert_eq!(format!("{:?}", keypair()), "Keypair(5HB7kpn92RS7uF9uWn8bXSvPVKFPg8kPUFDd5sbveGjX6Dbi)");
    }
}
