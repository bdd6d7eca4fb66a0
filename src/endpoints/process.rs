//! What the endpoints know of the process they are in, whatever configuration it has just read.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::nonces::Nonces;

/// What the endpoints know of this process.
pub(crate) struct Process {
    /// What was signed counts once, whatever was reloaded meanwhile (P9).
    pub(crate) nonces: Arc<Nonces>,
    /// Load balancers are to send nobody here any more.
    is_leaving: AtomicBool,
}

impl Process {
    /// A process that serves, with these nonces.
    pub(crate) fn new(nonces: Nonces) -> Self {
        Self { nonces: Arc::new(nonces), is_leaving: AtomicBool::new(false) }
    }

    /// From now on it is not ready.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether it is about to stop.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }
}
