//! What the tests are made of: a Subgate in this process between a client that can misbehave and a store and
//! a chain that do as they are told.

pub mod client;
pub mod closed_port;
pub mod hub;
pub mod logs;
pub mod machine;
pub mod metadata;
pub mod node;
pub mod program;
pub mod server;
pub mod sigv4;
pub mod store;
pub mod tls;
pub mod vending;
