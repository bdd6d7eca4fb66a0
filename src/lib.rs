//! Subgate: an S3 reverse proxy that makes a Bittensor hotkey an S3 identity.

pub mod auth;
pub mod body;
pub mod chain;
pub mod cli;
pub mod config;
pub mod control;
pub mod error;
pub mod observe;
pub mod policy;
pub mod proxy;
pub mod s3;
pub mod secret;
pub mod serve;
pub mod store;
