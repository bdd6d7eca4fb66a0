//! A request whose signature was verified, with everything in it that the signature covers.

use std::borrow::Cow;

use http::{HeaderMap, Method};

use super::{
    Payload,
    sigv4::presigned::{move_headers, narrowed},
};
use crate::{chain::AccountId, error::Result, s3::uri::Query};

/// A request whose signature was verified. Who may do what is not decided yet.
#[derive(Debug)]
pub struct Verified {
    pub(super) hotkey: AccountId,
    pub(super) payload: Payload,
    pub(super) path: String,
    pub(super) query: VerifiedQuery,
    pub(super) host: String,
}

/// The decoded query of a verified request, without the parameters of the signature.
#[derive(Debug)]
pub(super) enum VerifiedQuery {
    /// Of a request signed in its `Authorization` header.
    Plain(Query),
    /// Of a presigned URL.
    Presigned {
        /// What is signed. What an SDK has put there in place of a header is still there, under the name it
        /// has there.
        signed: Query,
        /// What was added behind the signature of a list, which may be paged and narrowed.
        added: Option<Box<Query>>,
    },
}

impl Verified {
    /// Who signed.
    pub fn hotkey(&self) -> AccountId {
        self.hotkey
    }

    /// How the body is to be proven.
    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The decoded path, with its leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host that was signed.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Query and headers to authorise and to forward, of the headers that `arrived`. What an SDK has put into
    /// a presigned query in place of a header is that header; what was added behind the signature of a
    /// presigned list has narrowed the query.
    ///
    /// # Errors
    /// `InvalidArgument` and `AccessDenied`, see `sigv4::presigned`.
    pub fn query_and_headers<'a>(
        &self,
        method: &Method,
        arrived: &'a HeaderMap,
    ) -> Result<(Query, Cow<'a, HeaderMap>)> {
        match &self.query {
            VerifiedQuery::Plain(query) => Ok((query.clone(), Cow::Borrowed(arrived))),
            VerifiedQuery::Presigned { signed, added } => {
                let mut headers = arrived.clone();
                let query = move_headers(method, signed.clone(), &mut headers)?;
                let query = match added {
                    Some(added) => narrowed(query, added)?,
                    None => query,
                };
                Ok((query, Cow::Owned(headers)))
            }
        }
    }
}
