//! What a Bittensor hotkey signs: btauth/1, the strings of the vending server, and sr25519 beneath both.

pub mod btauth;
pub mod sr25519;
pub mod vending;
