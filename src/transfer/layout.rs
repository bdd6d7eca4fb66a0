//! Into which parts content is cut. Pure.
//!
//! The cut depends on the size alone, so that a later run cuts the same content in the same way and finds its
//! parts again. It is that of aws-cli and boto3 by default: parts of 8 MiB, doubled until they are few
//! enough; so what those have uploaded has the ETag that is expected here.

/// Content of this size and above is put in parts.
pub(crate) const PART_BYTES: u64 = 8 << 20;

/// S3's largest number of a part, which is kept for the [`marker`](super::marker).
pub(super) const MARKER_NUMBER: u32 = 10_000;

/// The numbers below it.
const PARTS_MAX: u64 = MARKER_NUMBER as u64 - 1;

/// Part sizes that other clients use; an object of theirs is the same where one of these gives its ETag.
const PART_BYTES_OF_OTHERS: &[u64] = {
    const MIB: u64 = 1 << 20;
    &[5 * MIB, 10 * MIB, 15 * MIB, 16 * MIB, 25 * MIB, 32 * MIB, 50 * MIB, 64 * MIB, 100 * MIB, 128 * MIB]
};

/// Content cut into parts of equal size; the last may be smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    size: u64,
    part_bytes: u64,
}

impl Layout {
    /// Our cut of content of that size.
    pub(crate) fn of(size: u64) -> Self {
        let mut part_bytes = PART_BYTES;
        while size.div_ceil(part_bytes) > PARTS_MAX {
            part_bytes = part_bytes.saturating_mul(2);
        }
        Self { size, part_bytes }
    }

    /// A cut by another client that gives so many parts, where one is known.
    pub(super) fn of_others(size: u64, parts: u64) -> Option<Self> {
        let own = Self::of(size);
        let others = PART_BYTES_OF_OTHERS.iter().map(|part_bytes| Self { size, part_bytes: *part_bytes });
        std::iter::once(own).chain(others).find(|layout| u64::from(layout.parts()) == parts)
    }

    /// The size of every part but the last.
    pub(crate) fn part_bytes(&self) -> u64 {
        self.part_bytes
    }

    /// How many parts there are; at least one.
    pub(crate) fn parts(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.part_bytes).max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_those_of_the_stock_clients() {
        for (size, part_bytes, parts) in [
            (0, PART_BYTES, 1),
            (PART_BYTES, PART_BYTES, 1),
            (PART_BYTES + 1, PART_BYTES, 2),
            (5 << 30, PART_BYTES, 640),
            (100 << 30, 2 * PART_BYTES, 6400),
            (5 << 40, 1 << 30, 5120),
        ] {
            let layout = Layout::of(size);
            assert_eq!((layout.part_bytes(), layout.parts()), (part_bytes, parts), "{size}");
        }
    }

    #[test]
    fn the_cut_of_others_is_found_by_the_number_of_parts() {
        let size = 100 << 20;
        assert_eq!(Layout::of_others(size, 13), Some(Layout::of(size)));
        assert_eq!(Layout::of_others(size, 20).unwrap().part_bytes(), 5 << 20);
        assert_eq!(Layout::of_others(size, 99), None);
    }

    proptest! {
        #[test]
        fn parts_are_as_many_as_the_size_needs_and_leave_room_for_the_marker(size in 0_u64..(5 << 40)) {
            let layout = Layout::of(size);
            let parts = u64::from(layout.parts());
            prop_assert!(layout.parts() < MARKER_NUMBER);
            prop_assert!(parts * layout.part_bytes() >= size);
            prop_assert!((parts - 1) * layout.part_bytes() < size.max(1));
        }
    }
}
