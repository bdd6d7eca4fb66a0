//! Encrypted keyfiles: `$NACL`, a nonce of 24 bytes, and the JSON encrypted by libsodium's
//! `crypto_secretbox`.
//!
//! The key is Argon2i 1.3 of the password, with libsodium's SENSITIVE costs and one salt for all wallets:
//! bittensor-wallet does the same through PyNaCl.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto_secretbox::{
    XSalsa20Poly1305,
    aead::{Aead, KeyInit},
};
use zeroize::Zeroize;

use crate::secret::{Secret, SecretText};

/// What an encrypted keyfile starts with.
pub(crate) const MAGIC: &[u8] = b"$NACL";

const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
const ARGON2_MEMORY_KIB: u32 = 512 * 1024;
const ARGON2_PASSES: u32 = 8;
const ARGON2_LANES: u32 = 1;
const SALT: [u8; 16] = *b"\x13q\x83\xdf\xf1Z\t\xbc\x9c\x90\xb5Q\x879\xe9\xb1";

/// Why a keyfile cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecryptError {
    /// The file ends within the nonce.
    #[error("the encrypted keyfile is truncated")]
    Truncated,
    /// A wrong password or damaged bytes: the cipher cannot tell which.
    #[error("wrong password (or a damaged keyfile)")]
    Password,
    /// Argon2 needs 512 MiB.
    #[error("decrypting a keyfile takes 512 MiB of memory, which this machine does not have")]
    Memory,
}

/// Decrypts the JSON of `keyfile`, which starts with [`MAGIC`]. Takes about a second and 512 MiB.
pub(crate) fn decrypt(keyfile: &[u8], password: &SecretText) -> Result<Secret, DecryptError> {
    let sealed = keyfile.strip_prefix(MAGIC).ok_or(DecryptError::Truncated)?;
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or(DecryptError::Truncated)?;
    let mut key = derive_key(password)?;
    let cipher = XSalsa20Poly1305::new_from_slice(&key).map_err(|_| DecryptError::Truncated);
    key.zeroize();
    let plain = cipher?.decrypt(nonce.into(), ciphertext).map_err(|_| DecryptError::Password)?;
    Ok(Secret::new(plain))
}

fn derive_key(password: &SecretText) -> Result<[u8; KEY_BYTES], DecryptError> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(KEY_BYTES))
        .map_err(|_| DecryptError::Memory)?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| DecryptError::Memory)?;
    memory.resize(params.block_count(), Block::default());
    let mut key = [0; KEY_BYTES];
    Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
        .hash_password_into_with_memory(password.expose().as_bytes(), &SALT, &mut key, &mut memory)
        .map_err(|_| DecryptError::Memory)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_costs_no_key_derivation() {
        for length in 0..NONCE_BYTES {
            let file = [MAGIC, &vec![7; length]].concat();
            assert_eq!(decrypt(&file, &SecretText::new("x")), Err(DecryptError::Truncated));
        }
    }
}
