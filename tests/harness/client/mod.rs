//! Test clients: signed calls of every kind, sent byte by byte over TCP, and the answers as they came.

use std::time::Duration;

mod call;
mod connection;

pub use call::{Call, Key, Payload, Signed, Tamper};
pub use connection::{Answer, Connection};

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
