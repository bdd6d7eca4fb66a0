//! S3's own words: requests, operations, keys and XML.

pub(crate) mod answer_headers;
mod checksum_headers;
mod copy_conditions;
pub mod copy_source;
pub mod headers;
pub mod key;
pub mod listing;
mod operation;
mod request;
pub(crate) mod store_error;
pub mod uri;
pub mod xml;
pub mod xml_text;

pub use copy_source::CopySource;
pub use headers::ForwardedHeaders;
pub use operation::Operation;
pub(crate) use operation::{Level, SDK_QUERY_NAME};
pub use request::{Addressing, Request};
