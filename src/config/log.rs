//! The log's own bounds.

use super::section::{Bound, Section};

/// Lines of one kind of refusal in a second, unless it is set.
const REFUSALS_PER_SECOND: u64 = 50;

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Access records of refusals for one reason by one principal or address in a second; none for all of
    /// them.
    pub refusals_per_second_max: Option<u64>,
}

impl Log {
    pub(super) fn read(mut section: Section) -> Self {
        let refusals_per_second_max = match section.bound("refusals_per_second_max", 1..=1_000_000) {
            None => Some(REFUSALS_PER_SECOND),
            Some(Bound::Off) => None,
            Some(Bound::Max(max)) => Some(max),
        };
        section.finish();
        Self { refusals_per_second_max }
    }
}
