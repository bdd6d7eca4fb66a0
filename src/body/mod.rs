//! Bodies that stream: decoded, bounded, and held back at the end until they are proven.
//!
//! A request's body goes `hyper::body::Incoming` → [`arrival::Arriving`] (decodes, digests, holds the last bytes) →
//! [`upload::Upload`] (framed for the store). The answer comes back through [`late_error::LateError`], where a 200 may
//! still turn out to be an error, and [`relay::Relay`], which ends the request's ticket and access record.
//!
//! Invariants:
//! - No byte that completes an object leaves before every proof that the request promised has been seen to hold.
//! - No memory is taken by a size that a peer declares; what is buffered has a named bound.
//! - Every decoder gives the same result however its input is split.
//! - Bytes of a large body are never copied here.

pub mod arrival;
pub mod bounded;
pub mod chunked;
pub mod digest;
pub mod failure;
pub mod form;
pub mod frame;
pub mod late_error;
pub mod outcome;
pub mod pace;
pub mod plan;
pub mod proof;
pub mod relay;
pub mod upload;

#[cfg(test)]
mod testing;
