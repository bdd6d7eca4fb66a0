//! The whole road by its behaviour: Subgate in front of a scripted store, spoken to over TCP.
//!
//! The store recomputes the signature of every request that reaches it, and each test ends by asking whether
//! one was false.

mod answers;
mod authentication;
mod changes;
mod cors;
mod folder_markers;
mod keys;
mod listing;
mod logs;
mod multipart;
mod payloads;
mod sessions;
mod small_files;
mod store_connections;
mod streaming;
