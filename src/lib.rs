//! Subgate: an S3 reverse proxy that makes a Bittensor hotkey an S3 identity.

pub mod auth;
pub mod body;
pub mod chain;
pub mod cli;
pub mod config;
pub mod error;
pub mod s3;
pub mod policy;
pub mod secret;
pub mod store;
