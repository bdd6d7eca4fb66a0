//! Conditions of reads and writes. s3s-fs checks those of writes only, and not in one step with the change.

use http::{HeaderMap, header};
use s3s::{S3Result, dto::*, s3_error};

use super::{etag_of, time_of};
use crate::cli::dev::store::index::ObjectEntry;

/// What a write requires of the present object.
#[derive(Default)]
pub(super) struct WriteCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl WriteCondition {
    pub(super) fn check(&self, current: Option<&ObjectEntry>) -> S3Result<()> {
        let holds = match (&self.if_match, &self.if_none_match) {
            (Some(condition), _) => match current {
                Some(entry) => matches(condition, entry),
                None => return Err(s3_error!(NoSuchKey)),
            },
            (None, Some(condition)) => current.is_none_or(|entry| !matches(condition, entry)),
            (None, None) => true,
        };
        if holds { Ok(()) } else { Err(s3_error!(PreconditionFailed)) }
    }
}

/// What a read requires of the present object.
#[derive(Default)]
pub(super) struct ReadCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    /// The order of RFC 9110, section 13.2.2: of each pair, the condition on the ETag wins.
    pub(super) fn check(&self, entry: &ObjectEntry) -> S3Result<()> {
        let modified = time_of(entry.modified);
        let unmet = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => !matches(condition, entry),
            (None, Some(since)) => modified > *since,
            (None, None) => false,
        };
        if unmet {
            return Err(s3_error!(PreconditionFailed));
        }
        let not_modified = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => matches(condition, entry),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if not_modified {
            let mut error = s3_error!(NotModified);
            if let Ok(etag) = etag_of(entry).to_http_header() {
                error.set_headers(HeaderMap::from_iter([(header::ETAG, etag)]));
            }
            return Err(error);
        }
        Ok(())
    }
}

fn matches(condition: &ETagCondition, entry: &ObjectEntry) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == entry.etag,
    }
}
