//! What a Bittensor hotkey signs: requests of btauth/1, the strings of the vending server, and sr25519
//! beneath both.

pub mod btauth;
pub(in crate::auth) mod evidence;
mod nonces;
pub mod sr25519;
pub(crate) mod vending;

pub(crate) use nonces::{SpentNonces, nonce_life};
