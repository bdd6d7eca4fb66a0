//! S3's own words: requests, operations, keys and XML.

mod checksum_headers;
mod copy_conditions;
pub mod copy_source;
pub mod headers;
pub mod key;
pub mod listing;
mod operation;
mod request;
pub mod uri;
pub mod xml;

pub use copy_source::CopySource;
pub use headers::ForwardedHeaders;
pub use operation::Operation;
pub(crate) use operation::SDK_QUERY_NAME;
pub use request::{Addressing, Request};
