//! Every integration test, in one crate: one program to link, and no helper that nothing uses.
//!
//! `cargo test --test suite road::` runs one group; `cargo test p12_` runs what holds rule P12 of `RULES.md`,
//! here and beside the code.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::large_futures,
    reason = "a test fails where it stands, and its numbers are its own"
)]

mod harness;

mod agent;
mod agreement;
mod attack;
mod chain;
mod cli;
mod credentials;
mod docs;
mod doctor;
mod endpoints;
mod faults;
mod healthcheck;
mod house;
mod hub;
mod limits;
mod log;
mod metrics;
#[cfg(feature = "dev-store")]
mod migrate;
#[cfg(feature = "dev-store")]
mod model;
#[cfg(feature = "otel")]
mod otel;
mod packaging;
mod reload;
mod restart;
mod road;
mod setup;
mod store_probe;
mod tls;
mod transfer;
