//! Uploads of LFS objects from files, to where the Hub says. \[IO\]
//!
//! Invariant: neither the storage that takes the bytes nor the request that completes its parts is told the
//! token: their URLs carry a signature of their own.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{
    body::HubBody,
    client::{Call, Hub, Posted, WORK_TIME_MAX},
    error::HubError,
    lfs::{self, Instruction, LfsObject, Transfer},
    source::Source,
};
use crate::client::http::SILENCE_MAX;

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
        file: &Arc<dyn Source>,
        object: &LfsObject,
        mut instruction: Instruction,
    ) -> Result<Sent, HubError> {
        let what = file.name();
        for asked in 1.. {
            let (transfer, verify) = match instruction {
                Instruction::Present => return Ok(Sent::WasThere),
                Instruction::Refused(message) => {
                    return Err(HubError::broken(&what, format!("the Hub does not take it: {message}"))
                        .without(self.token()));
                }
                Instruction::Upload { transfer, verify } => (transfer, verify),
            };
            match self.transfer(&what, revision, file, object, transfer).await {
                Ok(()) => {
                    self.verify(&what, revision, object, verify.as_deref()).await?;
                    return Ok(Sent::Uploaded);
                }
                // It has expired, or was done with by a request whose answer was lost.
                Err(HubError::Refused { status: 400 | 401 | 403 | 404 | 409 | 410, .. })
                    if asked < INSTRUCTIONS_MAX => {}
                Err(error) => return Err(error),
            }
            instruction = self.instruction(&what, revision, object).await?;
        }
        Err(HubError::unavailable(&what, "its upload is refused again and again"))
    }

    /// What the Hub says now of an object.
    async fn instruction(
        &self,
        what: &str,
        revision: &str,
        object: &LfsObject,
    ) -> Result<Instruction, HubError> {
        let mut answer = self.lfs_batch(revision, std::slice::from_ref(object)).await?;
        match answer.objects.remove(&object.sha256) {
            None => Err(HubError::broken(what, "the Hub does not say where to")),
            // Parts of another size would be cut at other places.
            Some((size, _)) if size != object.size => {
                Err(HubError::broken(what, "the Hub says another size of it"))
            }
            Some((_, instruction)) => Ok(instruction),
        }
    }

    /// Sends a POST that ends an upload. One whose answer was lost may have been heard: the Hub is asked
    /// whether it has the object before it is sent again.
    async fn post_end(
        &self,
        what: &str,
        revision: &str,
        object: &LfsObject,
        posted: &Posted,
    ) -> Result<(), HubError> {
        let mut tries = 0;
        loop {
            if self.post_once(what, posted, WORK_TIME_MAX, &mut tries).await?.is_some()
                || matches!(self.instruction(what, revision, object).await?, Instruction::Present)
            {
                return Ok(());
            }
        }
    }

    async fn transfer(
        &self,
        what: &str,
        revision: &str,
        file: &Arc<dyn Source>,
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
                let posted = Posted { target, content_type: lfs::MEDIA_TYPE, body, with_token: false };
                self.post_end(what, revision, object, &posted).await
            }
        }
    }

    async fn put(
        &self,
        what: &str,
        url: &str,
        headers: &[(String, String)],
        file: &Arc<dyn Source>,
        from: u64,
        length: u64,
    ) -> Result<HeaderMap, HubError> {
        let target = self.named_url(what, url)?;
        let body = || HubBody::of_file(Arc::clone(file), from, length);
        let headers = headers.iter().filter_map(|(name, value)| sent_header(name, value)).collect();
        let call = Call {
            method: Method::PUT,
            target,
            headers,
            body: &body,
            with_token: false,
            silence_max: SILENCE_MAX,
        };
        self.answer(what, &call).await.map(|answer| answer.headers)
    }

    /// Tells the Hub that an upload has arrived, where it wants to know.
    async fn verify(
        &self,
        what: &str,
        revision: &str,
        object: &LfsObject,
        url: Option<&str>,
    ) -> Result<(), HubError> {
        let Some(url) = url else { return Ok(()) };
        let body = Bytes::from(lfs::verification(object));
        let target = self.named_url(what, url)?;
        let posted = Posted { target, content_type: "application/json", body, with_token: true };
        self.post_end(what, revision, object, &posted).await
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
