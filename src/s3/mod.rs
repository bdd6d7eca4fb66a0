//! S3's own words: requests, operations, keys and XML.

pub mod key;
pub mod uri;
