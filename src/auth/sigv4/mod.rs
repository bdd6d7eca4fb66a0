//! AWS Signature Version 4 as S3 has it: the claim of a request, its canonical form, what it says of the
//! body, presigned queries, POST policies, and the client's side of all that.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>.

pub(crate) mod canonical;
pub(in crate::auth) mod claim;
pub(in crate::auth) mod payload;
pub mod post_policy;
pub(in crate::auth) mod presigned;
pub(in crate::auth) mod request_claim;
pub(in crate::auth) mod scope;
pub(crate) mod signed_headers;
pub mod signer;

pub use canonical::sha256;
pub(crate) use claim::PRESIGNED_SECONDS_MAX;
pub(crate) use scope::{PreparedKey, SERVICE, TERMINATOR, signing_key};
