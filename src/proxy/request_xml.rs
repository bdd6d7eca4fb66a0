//! Request bodies that are XML, of DeleteObjects and CompleteMultipartUpload: read as a whole, and proven.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use tokio::sync::Semaphore;

use crate::{
    auth::Payload,
    body::{
        content_check::{ChecksumHeaders, check_whole},
        failure::too_slow,
        pace::Pace,
    },
    error::{Code, Error, Result},
    exchange::RequestBody,
};

/// Large bodies that are read as a whole at one time: 4 MiB each at most.
const LARGE_BODIES_MAX: usize = 8;

/// 1000 keys of 1024 bytes, escaped; and 10,000 parts with their checksums.
const REQUEST_XML_BYTES_MAX: usize = 4 << 20;

/// Up to this size a body needs no turn: 400 parts, or as many keys as most clients send. What all
/// connections together can hold of such bodies is bounded by their number.
const SMALL_XML_BYTES_MAX: usize = 64 * 1024;

/// How long a large body waits for its turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a body may take, turn excluded: at the least rate of [`Pace`] alone 4 MiB would keep a turn for
/// an hour.
const REQUEST_XML_TIME_MAX: Duration = Duration::from_secs(60);

/// Reads request bodies that are XML; of the large ones few at a time, for each is held as a whole.
#[derive(Debug)]
pub(super) struct XmlBodies {
    pace: Pace,
    turns: Semaphore,
}

impl XmlBodies {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, turns: Semaphore::new(LARGE_BODIES_MAX) }
    }

    /// Reads and proves one; `checksums` says of what its checksum headers are.
    ///
    /// # Errors
    /// `SlowDown` where too many large ones are on their way; those of [`RequestBody::collect`]; those of the
    /// proofs that the request promised.
    pub(super) async fn read(
        &self,
        body: RequestBody,
        payload: &Payload,
        headers: &HeaderMap,
        checksums: ChecksumHeaders,
    ) -> Result<Bytes> {
        let declared_bytes = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|bytes| bytes.to_str().ok()?.parse::<usize>().ok())
            .unwrap_or(REQUEST_XML_BYTES_MAX);
        let (_turn, bytes_max) = if declared_bytes <= SMALL_XML_BYTES_MAX {
            (None, SMALL_XML_BYTES_MAX)
        } else {
            let turn = tokio::time::timeout(TURN_WAIT_MAX, self.turns.acquire());
            let turn = turn.await.map_err(|_| {
                Error::new(
                    Code::SlowDown,
                    "Too many large request bodies are on their way in; please reduce your request rate.",
                )
            })?;
            (Some(turn.map_err(Error::internal)?), REQUEST_XML_BYTES_MAX)
        };
        let body = body.collect(bytes_max, self.pace);
        let body = tokio::time::timeout(REQUEST_XML_TIME_MAX, body).await.map_err(|_| too_slow())??;
        // The store gets another body than this: what was promised of this one is checked here.
        check_whole(payload, headers, checksums, &body)?;
        Ok(body)
    }
}
