//! The endpoints beside S3, forms, and presigned lists that page: Subgate in front of the scripted store of `tests/road`.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::large_futures,
    reason = "a test may fail where it stands; the harness has more than these tests need"
)]

#[path = "../road/client.rs"]
mod client;
#[path = "../road/gate.rs"]
mod gate;
#[path = "../road/sigv4.rs"]
mod sigv4;
#[path = "../road/store.rs"]
mod store;

/// The harness asks for the logs of `tests/road`; none are looked at here.
mod logs {
    pub fn set_up() {}
}

mod ask;
mod forms;
mod lists;
mod miners;
mod server;
mod validators;
