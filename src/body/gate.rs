//! What a body asks before it passes a piece on.

use std::task::{Context, Poll};

/// Holds pieces of a body back. Time that it takes costs no peer anything.
pub(crate) trait Gate: Send + Sync {
    /// Ready once a piece of `bytes` may pass; to be asked again for the same piece until then.
    fn poll_pass(&mut self, bytes: u64, context: &mut Context<'_>) -> Poll<()>;
}
