//! `multipart/form-data` of S3's POST uploads: the fields into memory within bounds, the file as a stream.
//!
//! Source: RFC 7578, and <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html>.
//!
//! Invariants:
//! - All that stands before the file takes at most [`FORM_HEAD_BYTES_MAX`]; of the file only one frame is in
//!   memory.
//! - The file's length is known before its first byte leaves: the request's length less all that is around
//!   the file. The end of the form has to confirm that, and until it has, the last of the file is held
//!   ([`super::verifying`]).
//! - The file ends at the first delimiter and nowhere else: a further part after it, or a length that was
//!   false, is an error and never becomes part of the object.

pub use boundary::Boundary;
pub(crate) use file::FilePart;
pub(crate) use head::read_head;
pub use head::{FORM_FIELDS_MAX, FORM_HEAD_BYTES_MAX, FormHead, FormHeadParser};

mod boundary;
mod file;
mod head;

#[cfg(test)]
mod tests;
