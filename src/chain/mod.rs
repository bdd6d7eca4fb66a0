//! Who is who: the snapshot that decides, and where it comes from.

mod account;

pub use account::{AccountError, AccountId};
