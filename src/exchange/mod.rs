//! What belongs to one request.

mod access_record;

pub use access_record::AccessRecord;
