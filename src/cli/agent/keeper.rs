//! The session that the agent holds: handed out while it lasts, and renewed before its end. \[IO\]
//!
//! An old session is handed out to its last second, also where the server refuses to issue another: the
//! server judges every request anew anyway, and its refusal tells a client more than ours could.
//!
//! Invariant: one task makes all attempts, one after the other, with a pause between two.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::Instant,
};

use super::{
    answer::{self, NoSession},
    schedule::{ATTEMPT_PAUSE_MIN, pause_after, pause_with_a_client, renewal_of_new, renewal_of_old},
};
use crate::{
    cli::{exit::CommandError, session_client::IssuedSession},
    secret::Secret,
};

/// How long a client that finds no session waits for one: aws-sdk-js gives up after a second, and asks again.
const ANSWER_WAIT: Duration = Duration::from_millis(800);

/// How often the wall clock is read: it may jump, and goes on while the machine sleeps.
const CLOCK_INTERVAL: Duration = Duration::from_secs(10);

/// The held session, and the clients that wait for one.
pub(super) struct Keeper {
    state: watch::Sender<State>,
    /// A client has found no session, or one that should be renewed by now.
    wanted: Notify,
}

#[derive(Debug, Clone, Default)]
struct State {
    held: Option<Held>,
    attempted: Option<Attempt>,
}

/// A session in the form in which it is handed out.
#[derive(Debug, Clone)]
struct Held {
    credentials: Arc<Secret>,
    expiration: Timestamp,
    renewal: Timestamp,
}

/// The last attempt.
#[derive(Debug, Clone)]
struct Attempt {
    /// Before this there is no other, even if a client waits.
    rests_until: Instant,
    /// Before this there is no other that no client waits for.
    pauses_until: Instant,
    failure: Option<CommandError>,
}

impl Held {
    fn new(session: &IssuedSession, renewal: Timestamp) -> Result<Self, CommandError> {
        let credentials = Arc::new(answer::credentials(session)?);
        Ok(Self { credentials, expiration: session.expiration, renewal })
    }
}

impl State {
    fn usable(&self, now: Timestamp) -> Option<&Held> {
        self.held.as_ref().filter(|held| now < held.expiration)
    }

    /// What a client is told that finds no session.
    fn reason(&self) -> NoSession {
        let failure = self.attempted.as_ref().and_then(|attempt| attempt.failure.clone());
        failure.map_or(NoSession::Pending, NoSession::Failed)
    }

    /// Whether the next attempt is due, where a client waits for it or none does.
    fn is_due(&self, now: Timestamp, clock: Instant, client_waits: bool) -> bool {
        let is_wanted = client_waits && self.usable(now).is_none();
        let may = self.attempted.as_ref().is_none_or(|attempt| {
            clock >= if is_wanted { attempt.rests_until } else { attempt.pauses_until }
        });
        may && self.held.as_ref().is_none_or(|held| now >= held.renewal)
    }

    /// How long to wait before [`Self::is_due`] is asked again, if no client comes.
    fn wait(&self, now: Timestamp, clock: Instant) -> Duration {
        let pause = self
            .attempted
            .as_ref()
            .map_or(Duration::ZERO, |attempt| attempt.pauses_until.saturating_duration_since(clock));
        let renewal = self.held.as_ref().map_or(Duration::ZERO, |held| {
            Duration::try_from(held.renewal.duration_since(now)).unwrap_or_default()
        });
        pause.max(renewal).min(CLOCK_INTERVAL)
    }
}

impl Keeper {
    /// With a session that was kept from an earlier time.
    pub(super) fn new(kept: Option<IssuedSession>) -> Self {
        let held = kept.and_then(|kept| Held::new(&kept, renewal_of_old(kept.expiration)).ok());
        let state = watch::Sender::new(State { held, attempted: None });
        Self { state, wanted: Notify::new() }
    }

    /// The session as it is handed out. Where there is none, a short wait for one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn credentials(&self) -> Result<Arc<Secret>, NoSession> {
        let mut changes = self.state.subscribe();
        {
            let state = changes.borrow_and_update();
            let (now, clock) = (Timestamp::now(), Instant::now());
            if let Some(held) = state.usable(now) {
                if now >= held.renewal {
                    // After a sleep of the machine, the keeper learns of it here.
                    self.wanted.notify_one();
                }
                return Ok(Arc::clone(&held.credentials));
            }
            let rests = state.attempted.as_ref().filter(|attempt| clock < attempt.rests_until);
            if rests.is_some_and(|attempt| attempt.failure.is_some()) {
                return Err(state.reason());
            }
        }
        self.wanted.notify_one();
        let _ = tokio::time::timeout(ANSWER_WAIT, changes.changed()).await;
        let state = self.state.borrow();
        state.usable(Timestamp::now()).map(|held| Arc::clone(&held.credentials)).ok_or_else(|| state.reason())
    }

    /// Renews the session by `obtain`, which blocks, for as long as this runs.
    pub(super) async fn run(
        self: Arc<Self>,
        obtain: impl Fn() -> Result<IssuedSession, CommandError> + Clone + Send + 'static,
    ) {
        let mut failures = 0_u32;
        loop {
            self.until_due().await;
            let attempt = spawn_blocking(obtain.clone()).await;
            let session = attempt.unwrap_or_else(|error| Err(CommandError::software(error)));
            match session.and_then(|session| held(&session)) {
                Ok(held) => {
                    failures = 0;
                    tracing::info!(until = %held.expiration, "a session is held");
                    self.succeeded(held);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.failed(error, pause_after(failures, fastrand::f64()));
                }
            }
        }
    }

    async fn until_due(&self) {
        let mut client_waits = false;
        loop {
            let wait = {
                let (state, now, clock) = (self.state.borrow(), Timestamp::now(), Instant::now());
                if state.is_due(now, clock, client_waits) {
                    return;
                }
                state.wait(now, clock)
            };
            client_waits = tokio::select! {
                () = tokio::time::sleep(wait) => false,
                () = self.wanted.notified() => true,
            };
        }
    }

    fn succeeded(&self, held: Held) {
        let pause = Instant::now() + ATTEMPT_PAUSE_MIN;
        let attempted = Attempt { rests_until: pause, pauses_until: pause, failure: None };
        self.state.send_replace(State { held: Some(held), attempted: Some(attempted) });
    }

    fn failed(&self, error: CommandError, pause: Duration) {
        let clock = Instant::now();
        let rest = pause_with_a_client(error.exit);
        self.state.send_modify(|state| {
            let until = state.usable(Timestamp::now()).map(|held| tracing::field::display(held.expiration));
            tracing::warn!(%error, held_until = until, "no new session");
            state.attempted = Some(Attempt {
                rests_until: clock + rest,
                pauses_until: clock + pause.max(rest),
                failure: Some(error),
            });
        });
    }
}

/// A session that was obtained just now, if it lasts.
fn held(session: &IssuedSession) -> Result<Held, CommandError> {
    let now = Timestamp::now();
    if session.expiration <= now {
        let expiration = session.expiration;
        return Err(CommandError::unavailable(format!(
            "the session has ended already, at {expiration:.0}: check that this machine's clock is right"
        )));
    }
    Held::new(session, renewal_of_new(now, session.expiration))
}
