//! AWS Signature Version 4 as S3 has it: the claim of a request, its canonical form, what it says of the body,
//! presigned lists, POST policies, and the client's side of all that.

pub mod canonical;
mod claim;
pub(in crate::auth) mod payload;
pub mod post_policy;
pub(in crate::auth) mod presigned_list;
pub mod signer;

pub use claim::*;
