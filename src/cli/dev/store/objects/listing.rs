//! Listings of objects: their pages, continuation tokens and the encoding of names.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{S3Result, dto::*, s3_error};

use super::{Objects, etag_of, size_of, time_of};
use crate::cli::dev::store::index::{ObjectEntry, Page, PageStart};

/// S3's limit for a page.
pub(super) const PAGE_NAMES_MAX: i32 = 1000;

/// `encoding-type=url` leaves these characters as they are.
const URL_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl Objects {
    /// One page, for both versions of the operation.
    pub(super) fn list(&self, input: &ListObjectsV2Input, start: &PageStart) -> S3Result<Page> {
        self.check_bucket(&input.bucket)?;
        let names_max = input.max_keys.unwrap_or(PAGE_NAMES_MAX).min(PAGE_NAMES_MAX);
        let names_max = usize::try_from(names_max)
            .map_err(|_| s3_error!(InvalidArgument, "max-keys must not be negative"))?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().unwrap_or_default();
        Ok(self.index().page(&input.bucket, prefix, delimiter, start, names_max))
    }
}

/// A continuation token, in characters that need no escape in XML or a URL.
pub(super) fn token_of(last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

/// The name in a continuation token.
pub(super) fn name_of_token(token: &str) -> S3Result<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// The page after the one that ended with `last`, which may be a common prefix.
pub(super) fn start_after(last: String, delimiter: Option<&str>) -> PageStart {
    match delimiter {
        Some(delimiter) if !delimiter.is_empty() && last.ends_with(delimiter) => PageStart::AfterPrefix(last),
        Some(_) | None => PageStart::After(last),
    }
}

/// How names are written in a listing: S3's `encoding-type`.
#[derive(Clone, Copy)]
pub(super) enum NameEncoding {
    Plain,
    Url,
}

impl NameEncoding {
    pub(super) fn new(encoding: Option<&EncodingType>) -> Self {
        match encoding {
            Some(encoding) if encoding.as_str() == EncodingType::URL => Self::Url,
            Some(_) | None => Self::Plain,
        }
    }

    pub(super) fn name(self, name: String) -> String {
        match self {
            Self::Plain => name,
            Self::Url => utf8_percent_encode(&name, URL_ENCODED).to_string(),
        }
    }

    pub(super) fn contents(self, objects: Vec<(String, ObjectEntry)>) -> Vec<Object> {
        let object = |(key, entry): (String, ObjectEntry)| Object {
            e_tag: Some(etag_of(&entry)),
            key: Some(self.name(key)),
            last_modified: Some(time_of(entry.modified)),
            size: Some(size_of(entry.size)),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Object::default()
        };
        objects.into_iter().map(object).collect()
    }

    pub(super) fn prefixes(self, prefixes: Vec<String>) -> Vec<CommonPrefix> {
        prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(self.name(prefix)) }).collect()
    }
}
