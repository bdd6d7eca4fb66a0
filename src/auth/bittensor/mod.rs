//! What a Bittensor hotkey signs: requests of btauth/1, the strings and the X-Tao headers of the vending
//! server's clients, and sr25519 beneath them all.

pub mod btauth;
pub(in crate::auth) mod evidence;
mod nonce;
mod nonce_bounds;
mod nonces;
pub mod sr25519;
pub mod tao;
pub(crate) mod vending;

pub(crate) use nonce::Nonce;
pub(crate) use nonce_bounds::{Bounds, NonceBounds};
pub(crate) use nonces::{SpentNonces, SpentNoncesList};
