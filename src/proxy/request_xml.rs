//! Request bodies that are XML, of DeleteObjects and CompleteMultipartUpload: read as a whole, and proven.
//!
//! While one comes it counts against its principal's share of the bytes that may be buffered; a large one is
//! checked and parsed in a turn of its principal's, which begins when all of it is there (P58).

use std::{sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{
    auth::Payload,
    body::{
        content_check::{ChecksumHeaders, check_whole},
        pace::Pace,
    },
    error::{Error, Result},
    exchange::{Exchange, RequestBody},
    limits::{Buffered, Limits},
};

/// 1000 keys of 1024 bytes, escaped; and 10,000 parts with their checksums.
const REQUEST_XML_BYTES_MAX: usize = 4 << 20;

/// Up to this size a body needs no turn: 400 parts, or as many keys as most clients send. To parse it takes
/// less than a millisecond.
const SMALL_XML_BYTES_MAX: usize = 64 * 1024;

/// How long a body may take: at the least rate of [`Pace`] alone 4 MiB would be held for an hour.
const REQUEST_XML_TIME_MAX: Duration = Duration::from_secs(60);

/// Reads request bodies that are XML.
#[derive(Debug)]
pub(super) struct XmlBodies {
    pace: Pace,
    limits: Arc<Limits>,
}

/// A document that was read, with the bytes it stands for: what it holds is about as large.
#[derive(Debug)]
pub(super) struct XmlBody<T> {
    pub(super) document: T,
    pub(super) _buffered: Buffered,
}

impl XmlBodies {
    pub(super) fn new(pace: Pace, limits: Arc<Limits>) -> Self {
        Self { pace, limits }
    }

    /// Reads, proves and parses the body of an admitted request; `checksums` says of what its checksum
    /// headers are.
    ///
    /// # Errors
    /// Those of [`RequestBody::collect`]; those of the proofs that the request promised; those of `parse`;
    /// `SlowDown` where its turn does not come.
    pub(super) async fn read<T>(
        &self,
        exchange: &Exchange,
        body: RequestBody,
        payload: &Payload,
        headers: &HeaderMap,
        checksums: ChecksumHeaders,
        parse: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<XmlBody<T>> {
        let ticket = exchange.ticket().ok_or_else(|| Error::internal("a body of no admitted request"))?;
        let mut buffered = self.limits.buffer(ticket)?;
        let body =
            body.collect(REQUEST_XML_BYTES_MAX, self.pace, REQUEST_XML_TIME_MAX, &mut buffered).await?;
        let _turn = match body.len() > SMALL_XML_BYTES_MAX {
            true => Some(self.limits.turn(ticket).await?),
            false => None,
        };
        // The store gets another body than this: what was promised of this one is checked here.
        check_whole(payload, headers, checksums, &body)?;
        Ok(XmlBody { document: parse(&body)?, _buffered: buffered })
    }
}
