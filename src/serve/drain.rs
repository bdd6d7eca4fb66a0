//! The orderly end: what connections are told, and how long they are waited for. \[IO\]
//!
//! Invariants: nothing that was accepted is let go before its request is answered, up to the bound; what is
//! cut at the bound has its access line, which says that this server did it.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// A connection that has asked nothing yet may have a request on its way: it is given so long since it was
/// accepted.
pub(super) const FIRST_REQUEST_MAX: Duration = Duration::from_secs(2);

/// How often a connection that may not go yet looks whether it may.
pub(super) const LEAVE_INTERVAL: Duration = Duration::from_millis(250);

/// What was cut gets so long to write its access lines.
const CUT_TIME_MAX: Duration = Duration::from_secs(2);

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody thinks of it.
    Serving,
    /// Clients are asked to come by another connection next time: each answer of HTTP/1 says so, and so does
    /// HTTP/2. Idle connections stay, for a request may be on its way.
    Announced,
    /// Idle connections are closed; what is under way ends.
    Leaving,
    /// What is under way is cut off.
    Cut,
}

/// What connections know of the end; a clone for each of them, dropped when it has ended.
pub(super) type StageReceiver = watch::Receiver<Stage>;

/// Leads all connections to their end.
#[derive(Debug)]
pub(super) struct Drain {
    stage: watch::Sender<Stage>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// All that was under way has ended.
    Whole,
    /// The bound came first.
    TooLate,
    /// It was ordered to end at once.
    Interrupted,
}

impl Drain {
    /// Nobody thinks of the end.
    pub(super) fn new() -> Self {
        Self { stage: watch::Sender::new(Stage::Serving) }
    }

    /// For one more connection.
    pub(super) fn receiver(&self) -> StageReceiver {
        self.stage.subscribe()
    }

    /// Asks clients to come by another connection next time.
    pub(super) fn announce(&self) {
        self.stage.send_replace(Stage::Announced);
    }

    /// Waits until nobody is left, at most for that long.
    pub(super) async fn wait(&self, time_max: Duration) {
        // Too late is what the caller goes on with.
        let _ = timeout(time_max, self.stage.closed()).await;
    }

    /// Closes idle connections and waits for what is under way: at most for `time_max`, and not beyond
    /// `interrupted`; then cuts it off.
    pub(super) async fn finish(&self, time_max: Duration, interrupted: impl Future<Output = ()>) -> Drained {
        self.stage.send_replace(Stage::Leaving);
        let late_at = Instant::now() + time_max;
        let drained = tokio::select! {
            () = self.stage.closed() => Drained::Whole,
            () = sleep_until(late_at) => Drained::TooLate,
            () = interrupted => Drained::Interrupted,
        };
        if drained != Drained::Whole {
            self.stage.send_replace(Stage::Cut);
            self.wait(CUT_TIME_MAX).await;
        }
        drained
    }
}

/// Resolves once a connection that was accepted then, and on which nothing was asked, is not waited for any
/// more.
pub(super) async fn first_request_is_late(stage: &mut StageReceiver, accepted_at: Instant) {
    // Where nobody leads to the end any more, it is here.
    let is_cut = match stage.wait_for(|at| matches!(at, Stage::Leaving | Stage::Cut)).await {
        Ok(at) => *at == Stage::Cut,
        Err(_) => return,
    };
    if !is_cut {
        tokio::select! {
            _ = stage.wait_for(|at| *at == Stage::Cut) => {}
            () = sleep_until(accepted_at + FIRST_REQUEST_MAX) => {}
        }
    }
}

/// Runs the streams of HTTP/2, each of which counts as a connection: one that is cut has its own task to end.
#[derive(Clone)]
pub(super) struct CountedTasks(pub(super) StageReceiver);

impl<F> hyper::rt::Executor<F> for CountedTasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let counted = self.0.clone();
        tokio::spawn(async move {
            let _ended = task.await;
            drop(counted);
        });
    }
}
