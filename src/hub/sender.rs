//! Uploads of LFS objects from files, to where the Hub says. \[IO\]
//!
//! Invariant: neither the storage that takes the bytes nor the request that completes its parts is told the
//! token: their URLs carry a signature of their own.

use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{
    body::HubBody,
    client::{Call, Hub},
    error::HubError,
    lfs::{self, Instruction, LfsObject, Transfer},
};

/// Parts of one object that are sent at once.
const PARTS_AT_ONCE: usize = 4;

/// A URL that the Hub has signed expires; so often it is asked for another one.
const INSTRUCTIONS_MAX: u32 = 3;

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The Hub had its content.
    WasThere,
    /// Its bytes were sent.
    Uploaded,
}

impl Hub {
    /// Uploads the content of `file`, which is `object`, as `instruction` says or a newer one.
    pub(crate) async fn upload_object(
        &self,
        revision: &str,
        file: &Path,
        object: &LfsObject,
        mut instruction: Instruction,
    ) -> Result<Sent, HubError> {
        let what = file.display().to_string();
        for asked in 1.. {
            let (transfer, verify) = match instruction {
                Instruction::Present => return Ok(Sent::WasThere),
                Instruction::Refused(message) => {
                    return Err(HubError::broken(&what, format!("the Hub does not take it: {message}")));
                }
                Instruction::Upload { transfer, verify } => (transfer, verify),
            };
            match self.transfer(&what, file, object, transfer).await {
                Ok(()) => {
                    self.verify(&what, object, verify.as_deref()).await?;
                    return Ok(Sent::Uploaded);
                }
                Err(HubError::Refused { status: 400 | 401 | 403, .. }) if asked < INSTRUCTIONS_MAX => {}
                Err(error) => return Err(error),
            }
            let mut answer = self.lfs_batch(revision, std::slice::from_ref(object)).await?;
            let newer = answer.objects.remove(&object.sha256);
            instruction = newer.ok_or_else(|| HubError::broken(&what, "the Hub does not say where to"))?.1;
        }
        Err(HubError::unavailable(&what, "its upload is refused again and again"))
    }

    async fn transfer(
        &self,
        what: &str,
        file: &Path,
        object: &LfsObject,
        transfer: Transfer,
    ) -> Result<(), HubError> {
        match transfer {
            Transfer::Basic { href, headers } => {
                self.put(what, &href, &headers, file, 0, object.size).await.map(|_| ())
            }
            Transfer::Multipart { complete, part_bytes, parts } => {
                let starts = (0_u64..).map(|part| part.saturating_mul(part_bytes));
                let sent = parts.iter().zip(starts).map(|(url, from)| async move {
                    let length = part_bytes.min(object.size.saturating_sub(from));
                    let headers = self.put(what, url, &[], file, from, length).await?;
                    let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
                    let etag = etag.filter(|etag| !etag.is_empty()).map(str::to_owned);
                    etag.ok_or_else(|| HubError::broken(what, "the storage gives a part no ETag"))
                });
                let etags: Vec<String> = stream::iter(sent).buffered(PARTS_AT_ONCE).try_collect().await?;
                let body = Bytes::from(lfs::completion(object, &etags));
                let target = self.named_url(what, &complete)?;
                self.post_to(what, target, lfs::MEDIA_TYPE, body, false).await.map(|_| ())
            }
        }
    }

    async fn put(
        &self,
        what: &str,
        url: &str,
        headers: &[(String, String)],
        file: &Path,
        from: u64,
        length: u64,
    ) -> Result<HeaderMap, HubError> {
        let target = self.named_url(what, url)?;
        let body = || HubBody::of_file(file.to_owned(), from, length);
        let headers = headers.iter().filter_map(|(name, value)| sent_header(name, value)).collect();
        let call = Call { method: Method::PUT, target, headers, body: &body, with_token: false };
        self.answer(what, &call).await.map(|answer| answer.headers)
    }

    /// Tells the Hub that an upload has arrived, where it wants to know.
    async fn verify(&self, what: &str, object: &LfsObject, url: Option<&str>) -> Result<(), HubError> {
        let Some(url) = url else { return Ok(()) };
        let body = Bytes::from(lfs::verification(object));
        let target = self.named_url(what, url)?;
        self.post_to(what, target, "application/json", body, true).await.map(|_| ())
    }
}

/// A header that the Hub wants an upload to have; those that frame the message stay ours.
fn sent_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name: HeaderName = name.parse().ok()?;
    let is_framing = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::EXPECT,
        header::USER_AGENT,
    ]
    .contains(&name);
    let mut value = HeaderValue::from_str(value).ok().filter(|_| !is_framing)?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_chooses_headers_but_not_the_framing() {
        assert!(sent_header("x-amz-meta-a", "b").is_some());
        assert!(sent_header("Authorization", "RemoteAuth x").is_some());
        for (name, value) in
            [("Host", "h"), ("content-length", "1"), ("a b", "c"), ("x-a", "b\r\nc: d"), ("", "")]
        {
            assert!(sent_header(name, value).is_none(), "{name}");
        }
    }
}
