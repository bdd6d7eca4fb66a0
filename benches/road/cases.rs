//! The cases of the table.

use crate::report::figures::Figure;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// How a body is declared and framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A GET.
    Get,
    /// `UNSIGNED-PAYLOAD`
    Unsigned,
    /// Its sha256, signed.
    Sha256,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER` with a crc32.
    UnsignedTrailer,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`, 64 KiB each.
    SignedChunks,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) bytes: u64,
    /// Enough to keep everyone busy; few where bodies are large, as with real clients.
    pub(crate) connections: usize,
    pub(crate) over: Over,
}

/// What is below HTTP on the client's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Tcp,
    Tls,
}

impl Case {
    pub(crate) const fn new(name: &'static str, form: Form, bytes: u64, connections: usize) -> Self {
        Self { name, form, bytes, connections, over: Over::Tcp }
    }

    pub(crate) const fn over_tls(self) -> Self {
        Self { over: Over::Tls, ..self }
    }

    /// Whether it means anything without Subgate: the others only differ in what is verified.
    pub(crate) fn is_for_all(&self) -> bool {
        matches!(self.form, Form::Get | Form::Unsigned)
    }

    /// Whether its cost is told by the GiB.
    pub(crate) fn is_large(&self) -> bool {
        Figure::that_counts(self.bytes) == Figure::PerGib
    }

    /// The same without anything to check, where there is something.
    pub(crate) fn unchecked(&self) -> Option<&'static Self> {
        let is_plain =
            |case: &&Self| case.form == Form::Unsigned && case.bytes == self.bytes && case.over == self.over;
        CASES.iter().find(is_plain).filter(|_| !self.is_for_all())
    }
}

pub(crate) const CASES: &[Case] = &[
    Case::new("get-1kib", Form::Get, KIB, 64),
    Case::new("put-1kib", Form::Unsigned, KIB, 64),
    Case::new("put-1kib-sha256", Form::Sha256, KIB, 64),
    Case::new("get-1mib", Form::Get, MIB, 16),
    Case::new("put-1mib", Form::Unsigned, MIB, 16),
    Case::new("get-64mib", Form::Get, 64 * MIB, 8),
    Case::new("put-64mib", Form::Unsigned, 64 * MIB, 8),
    Case::new("put-64mib-sha256", Form::Sha256, 64 * MIB, 8),
    Case::new("put-64mib-trailer", Form::UnsignedTrailer, 64 * MIB, 8),
    Case::new("put-64mib-signed-chunks", Form::SignedChunks, 64 * MIB, 8),
    Case::new("tls-get-1kib", Form::Get, KIB, 64).over_tls(),
    Case::new("tls-put-1kib", Form::Unsigned, KIB, 64).over_tls(),
    Case::new("tls-get-64mib", Form::Get, 64 * MIB, 8).over_tls(),
    Case::new("tls-put-64mib", Form::Unsigned, 64 * MIB, 8).over_tls(),
];
