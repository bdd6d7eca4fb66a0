//! The bodies of requests to endpoints: read as a whole before anybody is known, so in few bytes, out of a
//! budget, and in little time (P54).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::header;

use super::json::Refusal;
use crate::{
    body::pace::Pace,
    exchange::{Exchange, RequestBody},
    limits::{Buffered, Limits},
};

/// How long a body may take in all: of a few hundred kilobytes that is a modem's pace.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Reads bodies.
pub(super) struct RequestBodies {
    limits: Arc<Limits>,
    pace: Pace,
}

impl RequestBodies {
    pub(super) fn new(limits: Arc<Limits>, pace: Pace) -> Self {
        Self { limits, pace }
    }

    /// Reads a body of at most `bytes_max`, and the clock anew. What is made of the body is to be held no
    /// longer than the bytes that were counted for it.
    ///
    /// # Errors
    /// 400 for a body that is too large or too slow; 503 where too much is buffered.
    pub(super) async fn read(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
        bytes_max: usize,
    ) -> Result<(Bytes, Buffered), Refusal> {
        let declared = exchange.head.headers.get(header::CONTENT_LENGTH);
        let declared_bytes = declared.and_then(|bytes| bytes.to_str().ok()?.parse::<usize>().ok());
        if declared_bytes.is_some_and(|bytes| bytes > bytes_max) {
            return Err(Refusal::bad_request(format!(
                "Your request was too big: its body may have {bytes_max} bytes."
            )));
        }
        let mut buffered = self.limits.buffer_of_sender(exchange.sender)?;
        let body = body.collect(bytes_max, self.pace, TIME_MAX, &mut buffered).await?;
        exchange.body_arrived();
        Ok((body, buffered))
    }
}
