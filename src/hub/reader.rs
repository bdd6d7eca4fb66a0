//! A file of the Hub as a stream of its bytes, which goes on where it broke. \[IO\]
//!
//! The resolve URL is asked anew each time, so that a redirect which has expired is replaced by one that has
//! not.
//!
//! Invariants: it ends with exactly as many bytes as the list of files names, or with an error; it is begun
//! anew a bounded number of times, and a bounded number of times without a byte more.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;

use super::{
    body::HubBody,
    client::{Call, Hub, NotOpened, Opened},
    error::HubError,
    hash::{ContentHash, Fingerprints, Hasher, parse_hex},
    retry,
    tree::HubFile,
};
use crate::client::http::{SILENCE_MAX, next_bytes};

/// A file of many gigabytes breaks more than once.
const OPENINGS_MAX: u32 = 200;

/// A storage that refuses what the Hub has just signed has another fault than its age.
const REFUSALS_MAX: u32 = 3;

/// A file that is being read.
pub(crate) struct FileReader<'a> {
    hub: &'a Hub,
    commit: &'a str,
    file: &'a HubFile,
    /// Bytes that were handed out.
    at: u64,
    body: Option<Incoming>,
    /// Bytes of the answer that were handed out before it broke: a storage may begin anew.
    skip: u64,
    /// Of a file of Git: that of a file in LFS is held against its sha256 by whoever writes it.
    hasher: Option<Hasher>,
    openings: u32,
    /// Failures since the last byte.
    failures: u32,
    refusals: u32,
    is_ended: bool,
}

/// Why a body is not there, and when to ask again.
enum NotNow {
    Later(String, Option<HeaderMap>),
    Never(HubError),
}

impl Hub {
    /// A file of a commit, to be read from its beginning to its end.
    pub(crate) fn read<'a>(&'a self, commit: &'a str, file: &'a HubFile) -> FileReader<'a> {
        FileReader::new(self, commit, file)
    }
}

impl<'a> FileReader<'a> {
    fn new(hub: &'a Hub, commit: &'a str, file: &'a HubFile) -> Self {
        let hasher = matches!(file.hash, ContentHash::GitBlob(_)).then(|| Hasher::new(file.size));
        Self {
            hub,
            commit,
            file,
            at: 0,
            body: None,
            skip: 0,
            hasher,
            openings: 0,
            failures: 0,
            refusals: 0,
            is_ended: false,
        }
    }

    /// The next bytes; none once all of them were handed out.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HubError> {
        loop {
            if self.is_ended {
                return Ok(None);
            }
            if self.at == self.file.size && (self.body.is_some() || self.file.size == 0) {
                self.is_ended = true;
                return self.end().await.map(|()| None);
            }
            if self.body.is_none() {
                self.open().await?;
                continue;
            }
            match self.next_of_body().await {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sees that nothing follows, which also leaves the connection as it can be used again.
    async fn end(&mut self) -> Result<(), HubError> {
        let Some(mut body) = self.body.take() else { return Ok(()) };
        match next_bytes(&mut body).await {
            Ok(Some(bytes)) if !bytes.is_empty() => {
                Err(self.broken("it is larger than the list of files says"))
            }
            // All bytes are there: how the connection ends is no fault of theirs.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Holds what was handed out against Git's hash in the list of files, and gives its hashes; none for a
    /// file in LFS, which is held against its sha256 by whoever takes the bytes.
    ///
    /// # Errors
    /// Which hash it has, and which it should have.
    pub(crate) fn check(self) -> Result<Option<Fingerprints>, String> {
        let Some(hasher) = self.hasher else { return Ok(None) };
        let fingerprints = hasher.finish();
        match fingerprints.are(&self.file.hash) {
            true => Ok(Some(fingerprints)),
            false => {
                let is = ContentHash::GitBlob(fingerprints.git_blob);
                Err(format!("{is} in the place of {}", self.file.hash))
            }
        }
    }

    /// The next bytes of the body that is open; none where it broke or there is nothing new in them.
    async fn next_of_body(&mut self) -> Result<Option<Bytes>, HubError> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let what = format!("{} is cut short", self.file.path);
        let mut bytes = match next_bytes(body).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.broke(what, None).await,
            Err(error) => return self.broke(format!("the storage {error}"), None).await,
        };
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        let _ = bytes.split_to(skipped);
        self.skip = self.skip.saturating_sub(skipped as u64);
        if bytes.is_empty() {
            return Ok(None);
        }
        let at = self.at.saturating_add(bytes.len() as u64);
        if at > self.file.size {
            return Err(self.broken("it is larger than the list of files says"));
        }
        self.at = at;
        self.failures = 0;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        Ok(Some(bytes))
    }

    /// Waits before the next opening, if there is to be one.
    async fn broke(&mut self, why: String, headers: Option<HeaderMap>) -> Result<Option<Bytes>, HubError> {
        self.body = None;
        self.failures = self.failures.saturating_add(1);
        let pause = retry::pause(self.failures, headers.as_ref(), fastrand::f64());
        match pause.filter(|_| self.openings < OPENINGS_MAX) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(None)
            }
            None => Err(HubError::unavailable(&self.what(), why)),
        }
    }

    async fn open(&mut self) -> Result<(), HubError> {
        self.openings = self.openings.saturating_add(1);
        match self.try_open().await {
            Ok(()) => Ok(()),
            Err(NotNow::Never(error)) => Err(error),
            Err(NotNow::Later(why, headers)) => self.broke(why, headers).await.map(|_| ()),
        }
    }

    async fn try_open(&mut self) -> Result<(), NotNow> {
        let target = self.hub.resolve_url(self.commit, &self.file.path);
        let target = target.ok_or_else(|| NotNow::Never(self.broken("its path makes no URL")))?;
        // Compressed bytes would be others than those that were hashed.
        let mut headers = vec![(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
        if self.at > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.at));
            headers.extend(range.ok().map(|range| (header::RANGE, range)));
        }
        let no_body = || HubBody::from(Bytes::new());
        let call = Call {
            method: Method::GET,
            target,
            headers,
            body: &no_body,
            with_token: true,
            silence_max: SILENCE_MAX,
        };
        let opened = self.hub.open(&call).await.map_err(|error| match error {
            NotOpened::NoAnswer(error) => NotNow::Later(format!("the Hub or its storage {error}"), None),
            NotOpened::Redirect(why) => NotNow::Never(self.broken(why)),
            NotOpened::Request => NotNow::Never(self.broken("the request cannot be written")),
        })?;
        self.take(opened)
    }

    /// Judges an answer before a byte of it counts.
    fn take(&mut self, opened: Opened) -> Result<(), NotNow> {
        let Opened { response, from_hub, is_redirected } = opened;
        let status = response.status();
        match status.as_u16() {
            200 | 206 => {}
            // What the Hub signed a moment ago has expired on the way, or the storage's clock differs.
            400 | 401 | 403 | 410 if is_redirected && self.refusals < REFUSALS_MAX => {
                self.refusals = self.refusals.saturating_add(1);
                let why = format!("the storage answers {} to what the Hub has signed", status.as_u16());
                return Err(NotNow::Later(why, None));
            }
            _ if retry::is_worth_another_try(status) => {
                let why = format!("the Hub or its storage answers {} again and again", status.as_u16());
                return Err(NotNow::Later(why, Some(response.headers().clone())));
            }
            _ => {
                let error = HubError::refused(&self.what(), status, response.headers(), b"")
                    .without(self.hub.token());
                return Err(NotNow::Never(error));
            }
        }
        self.check_named(&from_hub).map_err(NotNow::Never)?;
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(NotNow::Never(self.broken("it comes compressed, which was not asked for")));
        }
        let from = match status {
            StatusCode::PARTIAL_CONTENT => content_range_start(response.headers())
                .filter(|start| *start <= self.at)
                .ok_or_else(|| NotNow::Never(self.broken("another range of it comes than was asked for")))?,
            _ => 0,
        };
        self.skip = self.at.saturating_sub(from);
        self.body = Some(response.into_body());
        Ok(())
    }

    /// What the Hub says of the file beside its list: another commit or another content is not this file.
    fn check_named(&self, from_hub: &HeaderMap) -> Result<(), HubError> {
        let text = |name: &str| from_hub.get(name).and_then(|value| value.to_str().ok());
        if text("x-repo-commit").is_some_and(|commit| !commit.eq_ignore_ascii_case(self.commit)) {
            return Err(self.broken("it comes from another commit than was asked for"));
        }
        let size = text("x-linked-size").and_then(|size| size.parse::<u64>().ok());
        if size.is_some_and(|size| size != self.file.size) {
            return Err(self.broken("its size differs from that in the list of files"));
        }
        let etag = text("x-linked-etag").map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let named = etag.and_then(parse_hex::<32>).map(ContentHash::Sha256);
        match (named, self.file.hash) {
            (Some(named), ContentHash::Sha256(_)) if named != self.file.hash => {
                Err(self.broken("its hash differs from that in the list of files"))
            }
            _ => Ok(()),
        }
    }

    fn what(&self) -> String {
        self.file.path.clone()
    }

    fn broken(&self, why: impl Into<String>) -> HubError {
        HubError::broken(&self.what(), why)
    }
}

/// Where the bytes of a partial answer begin.
fn content_range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_where_it_begins() {
        for (text, start) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */10", None),
            ("items 1-2/3", None),
            ("bytes -1", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, text.parse().unwrap())]);
            assert_eq!(content_range_start(&headers), start, "{text}");
        }
    }
}
