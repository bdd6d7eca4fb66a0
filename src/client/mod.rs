//! The client of a Subgate server: its S3 calls, signed with a session that is renewed, and tried again while
//! the server cannot answer. \[IO\]
//!
//! | file | what is in it |
//! | --- | --- |
//! | [`bucket`] | [`Bucket`]: list, head, get, put, multipart, delete |
//! | [`object`] | what is said of objects in calls and answers |
//! | `answers` | S3's documents, read |
//! | [`structure`] | how a server lays out folders, and which sizes it takes |
//! | [`sessions`] | where sessions come from: an interface, because wallets are known further up |
//! | [`retry`] | which failures are tried again, and after how long; pure |
//! | [`throttle`] | how many calls are open at once: fewer while the server asks for less |
//! | [`http`] | connections, TLS, one request and its answer, with an end to every wait |
//! | [`error`] | how a call fails |
//!
//! Invariants: every wait ends; nothing an answer says takes memory without a bound; a list is complete or an
//! error; no secret, token or signature stands in an error or a `Debug`.

mod answers;
pub(crate) mod bucket;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod object;
pub(crate) mod retry;
pub(crate) mod sessions;
pub(crate) mod structure;
pub(crate) mod throttle;

pub(crate) use bucket::Bucket;
pub(crate) use error::ClientError;
pub(crate) use object::Place;
pub(crate) use sessions::{SessionError, SessionFault, Sessions};
