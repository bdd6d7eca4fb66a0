//! The whole road by its behaviour: Subgate in front of a scripted store, spoken to over TCP.
//!
//! Every request that reaches the store has its signature recomputed there, and each test ends by asking whether one
//! was false. Tests carry the number of the rule they hold (P1 … P51).
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::large_futures,
    reason = "a test may fail where it stands"
)]

mod client;
mod gate;
mod sigv4;
mod store;

mod answers;
mod authentication;
mod changes;
mod house;
mod keys;
mod listing;
mod logs;
mod payloads;
mod sessions;
mod streaming;
