//! Who is who: the snapshot that decides, and where it comes from.
//!
//! A [`Snapshot`] is plain data, taken once for each request. Nothing here asks the network: a source replaces the
//! snapshot as a whole, and only with one that is valid; a broken answer keeps the last one until it is too old.

mod account;
mod file;
mod snapshot;

pub use account::{AccountError, AccountId, SS58_PREFIX};
pub use file::{RegistryFault, RegistryFile};
pub use snapshot::{Neuron, Owner, Role, Snapshot, ValidatorRule};
