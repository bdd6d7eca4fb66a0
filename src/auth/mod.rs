//! From a request to a verified principal; nothing else can make one.

mod payload;
pub mod sr25519;

pub use payload::{ChunkSeed, Payload};
