//! What becomes of answers that nobody takes: the requests of one connection to a client, watched from
//! outside (P55, P56).
//!
//! A body cannot time the client that does not take it, for nobody polls it then: on HTTP/1 hyper waits for
//! the socket, on HTTP/2 for the stream's window. So each side notes what it sees in a
//! [`ConnectionProgress`], and the connection's own task looks at it now and then with an [`Overseer`].
//!
//! - On both protocols, a socket that takes no bytes is the client's time, and bytes that it takes are
//!   progress.
//! - On HTTP/2, from the moment in which a stream was handed a piece until it asks for the next one is the
//!   client's time, and the piece is progress then.
//! - While nothing is handed on, time belongs to the store and to this server, and costs the client nothing.
//!
//! The same notes bound what an answer gathers for a socket that takes nothing
//! ([`RequestProgress::poll_room`]).
//!
//! Invariants: the notes are atomic numbers, so that no request waits for another; one reading of the clock
//! for a piece of HTTP/2, none on HTTP/1. Nothing here ends a connection: [`Overseer::look`] says what is to
//! be done.

#![deny(clippy::arithmetic_side_effects)]

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::body::pace::{Credit, Pace, later};

/// Streams of one HTTP/2 connection that are watched at one time. More answers than the connection has
/// streams may be there for a moment, while those of closed streams are let go.
const STREAMS_WATCHED_MAX: usize = 128;

/// How often a connection is looked at, at least and at most.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(4);

/// How long a connection that was asked to close may take for it.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// What the kernels between us and a client hold at most before a socket takes bytes again: a third of the
/// largest send buffer of Linux, and a part of the receiver's window. A client that is just quick enough
/// empties that much between two writes, so a socket has the time that it is worth, beside the grace.
const KERNEL_BYTES: u64 = 2 << 20;

/// The smallest pieces in which an answer is read for its client: a read is still worth its system call.
pub(crate) const PIECE_BYTES_MIN: usize = 16 * 1024;

/// What is known of one connection to a client.
#[derive(Debug)]
pub(crate) struct ConnectionProgress {
    pace: Pace,
    /// The connection's share of what all of them may hold.
    piece_bytes_max: usize,
    begun_at: Instant,
    /// By which its requests come, once there was one.
    protocol: OnceLock<Protocol>,
    requests: AtomicU64,
    requests_ended: AtomicU64,
    written_bytes: AtomicU64,
    /// The socket took no more when it was last offered something.
    is_blocked: AtomicBool,
    /// Of an answer that waits until the socket takes something.
    unblocked: AtomicWaker,
    /// When each stream must have taken its piece, in nanoseconds since the beginning; 0 for none.
    late_at: OnceLock<Box<[AtomicU64]>>,
    /// The connection is ended because its client takes too little.
    is_too_slow: AtomicBool,
    /// The connection is ended by this server, which stops.
    is_cut: AtomicBool,
    /// No request is to follow the ones under way.
    is_last: AtomicBool,
}

impl ConnectionProgress {
    /// A connection that has just been accepted; its client's answers are held to `pace` and read in pieces
    /// of `piece_bytes_max` at most.
    pub(crate) fn begin(pace: Pace, piece_bytes_max: usize, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            pace,
            piece_bytes_max,
            begun_at: now,
            protocol: OnceLock::new(),
            requests: AtomicU64::new(0),
            requests_ended: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
            unblocked: AtomicWaker::new(),
            late_at: OnceLock::new(),
            is_too_slow: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            is_last: AtomicBool::new(false),
        })
    }

    /// A request has come.
    pub(crate) fn request(self: &Arc<Self>, protocol: Protocol) -> RequestProgress {
        self.protocol.get_or_init(|| protocol);
        self.requests.fetch_add(1, Ordering::Relaxed);
        let stream = match protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => {
                Some(Box::new(Stream { credit: Credit::new(self.pace), handed: None, slot: 0 }))
            }
        };
        RequestProgress { connection: Arc::clone(self), stream }
    }

    /// The socket took so many bytes. Called by one task.
    pub(crate) fn wrote(&self, bytes: usize) {
        let written_bytes = self.written_bytes.load(Ordering::Relaxed);
        self.written_bytes.store(written_bytes.saturating_add(bytes as u64), Ordering::Relaxed);
        if self.is_blocked.load(Ordering::Relaxed) {
            self.is_blocked.store(false, Ordering::Relaxed);
            self.unblocked.wake();
        }
    }

    /// The socket takes no more for now.
    pub(crate) fn blocked(&self) {
        self.is_blocked.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is being ended because its client takes too little.
    pub(crate) fn is_too_slow(&self) -> bool {
        self.is_too_slow.load(Ordering::Relaxed)
    }

    /// Notes that this server, which stops, ends the connection whatever is under way; called before it is
    /// dropped, so that what is dropped with it knows whose doing that is.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    /// The protocol of the requests that have come; none where there was none.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.protocol.get().copied()
    }

    /// Whether this server ends the connection because it stops.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Notes that no request is to follow the ones under way, for this server is about to stop.
    pub(crate) fn answers_are_last(&self) {
        self.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether no request is to follow the ones under way.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last.load(Ordering::Relaxed)
    }

    fn slots(&self) -> &[AtomicU64] {
        self.late_at.get_or_init(|| (0..STREAMS_WATCHED_MAX).map(|_| AtomicU64::new(0)).collect())
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun_at).as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// Whether a stream is overdue with what it was handed.
    fn has_late_stream(&self, now: Instant) -> bool {
        let now = self.nanoseconds(now);
        let is_late = |slot: &AtomicU64| (1..now).contains(&slot.load(Ordering::Relaxed));
        self.late_at.get().is_some_and(|slots| slots.iter().any(is_late))
    }
}

/// By which protocol a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One request at a time; what waits for the client shows at the socket.
    Http1,
    /// Streams, each with a window of its own.
    Http2,
}

/// One request under way, until it is dropped at the end of its answer.
#[derive(Debug)]
pub(crate) struct RequestProgress {
    connection: Arc<ConnectionProgress>,
    stream: Option<Box<Stream>>,
}

/// What one stream of HTTP/2 has been handed.
#[derive(Debug)]
struct Stream {
    credit: Credit,
    /// Since when the client has a piece to take, and its size.
    handed: Option<(Instant, u64)>,
    slot: usize,
}

impl RequestProgress {
    /// The connection it came by: what is held for longer than this may ask it who has ended it.
    pub(crate) fn connection(&self) -> &Arc<ConnectionProgress> {
        &self.connection
    }

    /// How large the pieces of its answer may be. The last one waits for its client when nothing else of the
    /// request is left, so it has to fit into the share of its connection, which has one of HTTP/1 and as
    /// many as streams of HTTP/2.
    pub(crate) fn piece_bytes_max(&self) -> usize {
        match self.stream {
            None => self.connection.piece_bytes_max,
            Some(_) => PIECE_BYTES_MIN,
        }
    }

    /// Ready where another piece of the answer is worth its memory: on HTTP/1 not while the socket takes
    /// nothing, for hyper would gather pieces that the store can keep as well. Whoever is told to wait is
    /// woken once the socket takes bytes again; hyper offers it some whenever it becomes free, in the task
    /// that asks here, so no word is missed. What streams of HTTP/2 may gather is bounded by their windows.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.stream.is_some() || !self.connection.is_blocked.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.connection.unblocked.register(context.waker());
        Poll::Pending
    }

    /// Now, where what follows needs to know it.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.stream.as_ref().map(|_| Instant::now())
    }

    /// The connection asks for more, so the client has taken what was handed before.
    pub(crate) fn taken(&mut self, now: Option<Instant>) {
        if let (Some(stream), Some(now)) = (&mut self.stream, now)
            && let Some((since, bytes)) = stream.handed.take()
        {
            stream.credit.earn(bytes);
            stream.credit.spend(now.saturating_duration_since(since));
            if let Some(slot) = self.connection.slots().get(stream.slot) {
                slot.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The connection has been handed a piece for the client.
    pub(crate) fn handed(&mut self, bytes: usize, now: Option<Instant>) {
        if let (Some(stream), Some(now)) = (&mut self.stream, now) {
            let bytes = bytes as u64;
            let late_at = self.connection.nanoseconds(later(now, stream.credit.wait_max_for(bytes)));
            let slots = self.connection.slots();
            let is_claimed = |at: &usize| {
                let claim = |slot: &AtomicU64| {
                    slot.compare_exchange(0, late_at, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                };
                slots.get(*at).is_some_and(claim)
            };
            // The place of the last time first.
            if let Some(slot) = std::iter::once(stream.slot).chain(0..slots.len()).find(is_claimed) {
                stream.slot = slot;
                stream.handed = Some((now, bytes));
            }
        }
    }

    /// Whether the connection is being ended because of what this client does not take.
    pub(crate) fn is_too_slow(&self) -> bool {
        let has_piece = self.stream.as_ref().is_none_or(|stream| stream.handed.is_some());
        has_piece && self.connection.is_too_slow.load(Ordering::Relaxed)
    }
}

impl Drop for RequestProgress {
    fn drop(&mut self) {
        let now = self.now().filter(|_| self.stream.as_ref().is_some_and(|stream| stream.handed.is_some()));
        self.taken(now);
        self.connection.requests_ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Stay,
    /// Nobody asks anything on it: it is to be closed in order.
    Close,
    /// Nobody has asked anything in time, or it does not close: it is dropped.
    Drop,
    /// Its client takes too little of its answers: it is dropped.
    TooSlow,
}

/// How long a connection may be there without a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Before the first one.
    pub first: Duration,
    /// Between two.
    pub next: Duration,
}

/// Looks at one connection now and then.
#[derive(Debug)]
pub(crate) struct Overseer {
    progress: Arc<ConnectionProgress>,
    patience: Patience,
    looked_at: Instant,
    requests: u64,
    /// Without a request under way.
    quiet: Duration,
    /// One was under way at the last look, and may have ended at any time since.
    was_busy: bool,
    is_closing: bool,
    credit: Credit,
    /// The longest time with a socket that takes nothing.
    stalled_max: Duration,
    written_bytes: u64,
    /// With a socket that takes nothing.
    stalled: Duration,
}

impl Overseer {
    /// Watches over the connection that has begun with `progress`, from `now` on: what came before its first
    /// request could come, such as a handshake, was bounded by others.
    pub(crate) fn new(progress: Arc<ConnectionProgress>, patience: Patience, now: Instant) -> Self {
        Self::behind(KERNEL_BYTES, progress, patience, now)
    }

    fn behind(
        kernel_bytes: u64,
        progress: Arc<ConnectionProgress>,
        patience: Patience,
        now: Instant,
    ) -> Self {
        let pace = progress.pace.behind(kernel_bytes);
        Self {
            patience,
            looked_at: now,
            requests: 0,
            quiet: Duration::ZERO,
            was_busy: false,
            is_closing: false,
            credit: Credit::new(pace),
            stalled_max: pace.idle,
            written_bytes: 0,
            stalled: Duration::ZERO,
            progress,
        }
    }

    /// How long to wait before the next look.
    pub(crate) fn interval(&self) -> Duration {
        let pace = self.progress.pace;
        let shortest = pace.idle.min(pace.grace).min(self.patience.first).min(self.patience.next);
        shortest.checked_div(8).unwrap_or(LOOK_MIN).clamp(LOOK_MIN, LOOK_MAX)
    }

    /// What is to be done. The time since the last look counts whole for what is seen now: on average that is
    /// the share of it in which it was so.
    pub(crate) fn look(&mut self, now: Instant) -> Verdict {
        let time = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        let is_blocked = self.progress.is_blocked.load(Ordering::Relaxed);
        if self.is_too_slow(is_blocked, time) || self.progress.has_late_stream(now) {
            self.progress.is_too_slow.store(true, Ordering::Relaxed);
            return Verdict::TooSlow;
        }
        self.quiet_since_last(is_blocked, time)
    }

    fn is_too_slow(&mut self, is_blocked: bool, time: Duration) -> bool {
        let written_bytes = self.progress.written_bytes.load(Ordering::Relaxed);
        let new_bytes = written_bytes.saturating_sub(self.written_bytes);
        self.written_bytes = written_bytes;
        self.credit.earn(new_bytes);
        if is_blocked {
            self.credit.spend(time);
            self.stalled = self.stalled.saturating_add(time);
        }
        if !is_blocked || new_bytes > 0 {
            self.stalled = Duration::ZERO;
        }
        is_blocked && (self.credit.is_spent() || self.stalled > self.stalled_max)
    }

    fn quiet_since_last(&mut self, is_blocked: bool, time: Duration) -> Verdict {
        let requests = self.progress.requests.load(Ordering::Relaxed);
        let is_new = std::mem::replace(&mut self.requests, requests) != requests;
        // One that has ended by now was counted as begun before.
        let is_busy = is_blocked || self.progress.requests_ended.load(Ordering::Relaxed) < requests;
        // A wait begins at the first look that sees it, rather late than early: the client has all its time.
        let was_busy = std::mem::replace(&mut self.was_busy, is_busy);
        if is_new || is_busy || was_busy {
            self.quiet = Duration::ZERO;
            return Verdict::Stay;
        }
        self.quiet = self.quiet.saturating_add(time);
        let patience = match self.progress.protocol() {
            None => self.patience.first,
            // Nobody sees here how much of a next head has come, so the whole wait for it is as long as a
            // head may take.
            Some(Protocol::Http1) => self.patience.next.min(self.patience.first),
            Some(Protocol::Http2) => self.patience.next,
        };
        if self.quiet < patience {
            Verdict::Stay
        } else if requests == 0 || self.quiet >= patience.saturating_add(LEAVE_MAX) {
            Verdict::Drop
        } else if std::mem::replace(&mut self.is_closing, true) {
            Verdict::Stay
        } else {
            Verdict::Close
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests")]

    use std::task::{Wake, Waker};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: u64 = 1000;

    struct Watched {
        progress: Arc<ConnectionProgress>,
        overseer: Overseer,
        now: Instant,
    }

    /// A rate of 1,000 bytes/s after 10 s, idle for 5 s; first request within 3 s, the next within 20 s.
    fn watched() -> Watched {
        let pace = Pace { idle: SECOND * 5, rate_min_bytes_per_second: RATE, grace: SECOND * 10 };
        let now = Instant::now();
        let progress = ConnectionProgress::begin(pace, PIECE_BYTES_MIN, now);
        let patience = Patience { first: SECOND * 3, next: SECOND * 20 };
        Watched { overseer: Overseer::behind(0, Arc::clone(&progress), patience, now), progress, now }
    }

    impl Watched {
        /// One second later.
        fn second(&mut self) -> Verdict {
            self.now += SECOND;
            self.overseer.look(self.now)
        }

        /// Seconds that it stays, with what happens in each; and what ends it.
        fn stays(&mut self, mut each: impl FnMut(&Self)) -> (u32, Verdict) {
            for second in 1..1000 {
                each(self);
                let verdict = self.second();
                if verdict != Verdict::Stay {
                    return (second, verdict);
                }
            }
            (1000, Verdict::Stay)
        }
    }

    #[test]
    fn p47_p55_a_connection_that_asks_nothing_is_closed_whatever_it_writes() {
        assert_eq!(watched().stays(|it| it.progress.wrote(17)), (3, Verdict::Drop));
        let mut it = watched();
        drop(it.progress.request(Protocol::Http2));
        assert_eq!(it.stays(|it| it.progress.wrote(17)), (21, Verdict::Close));
        assert_eq!(it.stays(|_| {}), (5, Verdict::Drop));
    }

    #[test]
    fn p47_the_head_of_a_next_request_has_no_longer_than_that_of_the_first() {
        let mut it = watched();
        drop(it.progress.request(Protocol::Http1));
        // The look that sees the first one counts for nothing.
        assert_eq!(it.stays(|_| {}), (4, Verdict::Close));
        assert_eq!(it.stays(|_| {}), (5, Verdict::Drop));
        let reading = it.progress.request(Protocol::Http1);
        assert_eq!(it.stays(|_| {}), (1000, Verdict::Stay));
        drop(reading);
    }

    #[test]
    fn p47_a_wait_begins_no_earlier_than_the_end_of_the_request_before_it() {
        let mut it = watched();
        let request = it.progress.request(Protocol::Http1);
        assert_eq!(it.second(), Verdict::Stay);
        // A moment before the look that sees its end: three whole seconds are left.
        drop(request);
        assert_eq!(it.stays(|_| {}), (4, Verdict::Close));
    }

    #[test]
    fn p54_a_stream_has_the_smallest_pieces_and_a_connection_its_share() {
        let pace = Pace::idle(SECOND);
        let progress = ConnectionProgress::begin(pace, 1 << 20, Instant::now());
        assert_eq!(progress.request(Protocol::Http1).piece_bytes_max(), 1 << 20);
        assert_eq!(progress.request(Protocol::Http2).piece_bytes_max(), PIECE_BYTES_MIN);
    }

    /// Whether somebody was told to go on.
    #[derive(Default)]
    struct Told(AtomicBool);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn p54_a_socket_that_takes_nothing_holds_an_answer_of_http1_back_until_it_takes_some() {
        let it = watched();
        let request = it.progress.request(Protocol::Http1);
        for _ in 0..2 {
            let told = Arc::<Told>::default();
            let waker = Waker::from(Arc::clone(&told));
            let has_room = || request.poll_room(&mut Context::from_waker(&waker)).is_ready();
            assert!(has_room());
            it.progress.blocked();
            assert!(!has_room() && !told.0.load(Ordering::Relaxed));
            it.progress.wrote(1);
            assert!(told.0.load(Ordering::Relaxed) && has_room());
        }
    }

    /// Their windows bound them, and one stream that waited would be woken in another's place.
    #[test]
    fn p54_streams_of_http2_go_on_though_the_socket_takes_nothing() {
        let it = watched();
        let streams = [Protocol::Http2; 2].map(|protocol| it.progress.request(protocol));
        it.progress.blocked();
        for stream in &streams {
            assert!(stream.poll_room(&mut Context::from_waker(Waker::noop())).is_ready());
        }
    }

    #[test]
    fn p55_the_time_of_a_handshake_is_none_of_the_first_requests() {
        let mut it = watched();
        let shaken_at = it.now + SECOND * 60;
        it.overseer = Overseer::new(Arc::clone(&it.progress), it.overseer.patience, shaken_at);
        it.now = shaken_at;
        assert_eq!(it.stays(|_| {}), (3, Verdict::Drop));
    }

    #[test]
    fn p55_a_request_under_way_or_one_now_and_then_keeps_it() {
        let mut it = watched();
        let request = it.progress.request(Protocol::Http1);
        assert_eq!(it.stays(|_| {}), (1000, Verdict::Stay));
        drop(request);
        assert_eq!(it.stays(|it| drop(it.progress.request(Protocol::Http1))), (1000, Verdict::Stay));
    }

    #[test]
    fn p56_a_socket_that_takes_nothing_ends_and_one_that_takes_enough_stays() {
        for (bytes, stays) in [
            (0, (6, Verdict::TooSlow)),
            (60, (11, Verdict::TooSlow)),
            (500, (19, Verdict::TooSlow)),
            (1000, (1000, Verdict::Stay)),
        ] {
            let mut it = watched();
            let request = it.progress.request(Protocol::Http1);
            let took = it.stays(|it| {
                it.progress.wrote(bytes);
                it.progress.blocked();
            });
            assert_eq!(took, stays, "{bytes}");
            assert_eq!(request.is_too_slow(), stays.1 == Verdict::TooSlow);
        }
    }

    #[test]
    fn p56_the_rest_of_an_answer_is_watched_after_its_end() {
        let mut it = watched();
        drop(it.progress.request(Protocol::Http1));
        assert_eq!(it.stays(|it| it.progress.blocked()), (6, Verdict::TooSlow));
    }

    #[test]
    fn p56_time_of_the_store_costs_the_client_nothing() {
        let mut it = watched();
        let _request = it.progress.request(Protocol::Http1);
        assert_eq!(it.stays(|it| it.progress.wrote(1)), (1000, Verdict::Stay));
    }

    #[test]
    fn p56_a_stream_that_takes_nothing_ends_its_connection_though_others_go_on() {
        let mut it = watched();
        let mut stuck = it.progress.request(Protocol::Http2);
        let mut other = it.progress.request(Protocol::Http2);
        // 2,000 bytes are worth 2 seconds, and nothing at all is taken for longer than 5.
        stuck.handed(2000, Some(it.now));
        let (mut at, mut seconds) = (it.now, 0);
        let verdict = loop {
            other.handed(5000, Some(at));
            at += SECOND;
            other.taken(Some(at));
            seconds += 1;
            match it.second() {
                Verdict::Stay => {}
                verdict => break verdict,
            }
        };
        assert_eq!((seconds, verdict), (8, Verdict::TooSlow));
        assert!(stuck.is_too_slow() && !other.is_too_slow());
    }

    #[test]
    fn p56_a_stream_is_held_to_the_same_rate_as_a_socket() {
        for (piece_seconds, stays) in [(2, 1000), (3, 40)] {
            let mut it = watched();
            let mut stream = it.progress.request(Protocol::Http2);
            let mut at = it.now;
            let mut seconds = 0;
            while seconds < stays {
                if seconds % piece_seconds == 0 {
                    stream.taken(Some(at));
                    stream.handed(2000, Some(at));
                }
                at += SECOND;
                seconds += 1;
                if it.second() != Verdict::Stay {
                    break;
                }
            }
            let is_ended = stream.is_too_slow();
            assert_eq!(is_ended, stays < 1000, "{piece_seconds} after {seconds}");
        }
    }

    #[test]
    fn p56_a_stream_gives_its_place_back() {
        let it = watched();
        for _ in 0..10 * STREAMS_WATCHED_MAX {
            it.progress.request(Protocol::Http2).handed(10, Some(it.now));
        }
        assert!(!it.progress.has_late_stream(it.now + SECOND * 1000));
    }
}
