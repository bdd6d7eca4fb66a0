//! The store behind the proxy.

#[cfg(feature = "dev-store")]
pub mod embedded;
