//! Bodies that are read as a whole, or only drained: never more than a bound, in bytes and in time.

use std::{future::poll_fn, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body;

use crate::{
    body::{
        failure::BoxError,
        pace::{Pace, PacedReader, ReadError},
    },
    error::{Code, Error, Result},
};

/// Reads a body of at most `bytes_max`. Takes memory for what came, not for what was declared.
///
/// # Errors
/// `MaxMessageLengthExceeded`, `RequestTimeout`, `IncompleteBody`: as for a client's body, whoever the peer
/// is.
pub(crate) async fn collect_bounded<B>(body: B, bytes_max: usize, pace: Pace) -> Result<Bytes>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    collect_reserved(body, bytes_max, pace, |_| Ok(())).await
}

/// As [`collect_bounded`]; `reserve` is asked for the bytes of each piece before they are kept.
///
/// # Errors
/// Those of [`collect_bounded`], and of `reserve`.
pub(crate) async fn collect_reserved<B>(
    mut body: B,
    bytes_max: usize,
    pace: Pace,
    mut reserve: impl FnMut(usize) -> Result<()>,
) -> Result<Bytes>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut reader = PacedReader::new(pace);
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|context| reader.poll_frame(&mut body, context)).await {
        let frame = frame.map_err(ReadError::by_client)?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bytes_max.saturating_sub(whole.len()) {
            return Err(Error::new(
                Code::MaxMessageLengthExceeded,
                format!("Your request was too big: its body may have {bytes_max} bytes."),
            ));
        }
        reserve(data.len())?;
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads and drops the rest of a refused body, so that the client gets to see the answer (P40). True where
/// the end of the body was reached.
pub(crate) async fn drain<B>(mut body: B, bytes_max: u64, time_max: Duration) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut drained_bytes = 0_u64;
        loop {
            if body.is_end_stream() {
                return true;
            }
            match poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => {
                    let frame_bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                    drained_bytes = drained_bytes.saturating_add(frame_bytes);
                }
            }
            if drained_bytes > bytes_max {
                return false;
            }
        }
    };
    tokio::time::timeout(time_max, reading).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::testing::{Peer, block_on};

    const PACE: Pace = Pace {
        idle: Duration::from_millis(30),
        rate_min_bytes_per_second: 0,
        grace: Duration::from_millis(30),
    };

    #[test]
    fn p31_a_body_is_collected_up_to_its_bound_and_not_beyond() {
        let collect = |pieces: &[&str], max| block_on(collect_bounded(Peer::of(pieces), max, PACE));
        assert_eq!(collect(&[], 0).unwrap(), "");
        assert_eq!(collect(&["ab", "", "cd"], 4).unwrap(), "abcd");
        assert_eq!(collect(&["ab", "cd"], 3).unwrap_err().code, Code::MaxMessageLengthExceeded);
        assert_eq!(collect(&["abcd"], 3).unwrap_err().code, Code::MaxMessageLengthExceeded);
    }

    #[test]
    fn p54_a_piece_that_has_no_room_is_not_kept() {
        let mut room = 3_usize;
        let mut reserve = |bytes: usize| match room.checked_sub(bytes) {
            Some(left) => {
                room = left;
                Ok(())
            }
            None => Err(Error::new(Code::SlowDown, "full")),
        };
        let collected = block_on(collect_reserved(Peer::of(&["ab", "c"]), 9, PACE, &mut reserve));
        assert_eq!(collected.unwrap(), "abc");
        let error = block_on(collect_reserved(Peer::of(&["d"]), 9, PACE, reserve)).unwrap_err();
        assert_eq!(error.code, Code::SlowDown);
    }

    #[test]
    fn p47_a_silent_client_is_not_waited_for() {
        let error = block_on(collect_bounded(Peer::of(&["ab"]).then_silence(), 9, PACE)).unwrap_err();
        assert_eq!(error.code, Code::RequestTimeout);
        let error = block_on(collect_bounded(Peer::of(&["ab"]).then_failure(), 9, PACE)).unwrap_err();
        assert_eq!(error.code, Code::IncompleteBody);
    }

    #[test]
    fn p40_draining_is_bounded_in_bytes_and_time() {
        let time = Duration::from_millis(30);
        assert!(block_on(drain(Peer::of(&["ab", "cd"]), 4, time)));
        assert!(!block_on(drain(Peer::of(&["ab", "cd", "e"]), 4, time)));
        assert!(!block_on(drain(Peer::of(&["ab"]).then_silence(), 4, time)));
        assert!(!block_on(drain(Peer::of(&["ab"]).then_failure(), 4, time)));
    }
}
