//! What is known of the store, without a question of its own for whoever asks.
//!
//! Traffic tells most: a success within the last seconds is knowledge enough. Otherwise the store is asked
//! once for all who want to know, in a task of its own, and not more often than [`ASK_INTERVAL_MIN`]; who
//! asks meanwhile gets what was known, unless that is too old or a request has since told of something wrong.
//! Then they wait for the answer, for a short time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

use crate::{
    policy::Outbound,
    store::{Condition, Store},
};

/// For so long what is known serves everybody, and nobody is asked.
const FRESH: Duration = Duration::from_secs(5);

/// For so long what is known serves everybody, while the store is asked anew.
const KNOWN: Duration = Duration::from_secs(30);

/// The store is asked no more often than this, whatever comes.
const ASK_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Who has to wait for the store's answer does so for this time.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A store that takes longer to answer is not well.
pub(super) const ASK_SECONDS_MAX: u64 = 5;

/// What is known of the store, and the question by which more is found out.
pub(super) struct StoreHealth {
    store: Arc<Store>,
    question: Outbound,
    known: Mutex<Known>,
    /// Told when the store has been asked.
    asked: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    last: Option<(Instant, Look)>,
    /// When the store was last begun to be asked.
    begun: Option<Instant>,
    is_asking: bool,
}

/// How the store did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) condition: Condition,
    /// How long its answer took.
    pub(super) milliseconds: u64,
}

impl StoreHealth {
    pub(super) fn new(store: Arc<Store>, question: Outbound) -> Arc<Self> {
        Arc::new(Self { store, question, known: Mutex::default(), asked: Notify::new() })
    }

    /// How the store does, by traffic where that tells it.
    pub(super) async fn condition(self: &Arc<Self>) -> Condition {
        let doubt = self.store.last_doubt();
        let succeeded = self.store.last_success();
        let tells = succeeded.is_some_and(|at| at.elapsed() < FRESH && doubt.is_none_or(|doubt| doubt < at));
        if tells { Condition::Well } else { self.look().await.condition }
    }

    /// How the store did when it was last asked.
    pub(super) async fn look(self: &Arc<Self>) -> Look {
        let asked = self.asked.notified();
        let mut asked = std::pin::pin!(asked);
        asked.as_mut().enable();
        let doubt = self.store.last_doubt();
        {
            let mut known = self.known();
            let known_since_doubt =
                known.last.filter(|(at, _)| doubt.is_none_or(|doubt| doubt <= *at) && at.elapsed() < KNOWN);
            let is_too_soon = known.begun.is_some_and(|begun| begun.elapsed() < ASK_INTERVAL_MIN);
            match (known_since_doubt, known.last) {
                (Some((at, look)), _) if at.elapsed() < FRESH => return look,
                (_, Some((_, look))) if is_too_soon && !known.is_asking => return look,
                (Some(_) | None, Some(_) | None) => {}
            }
            if !known.is_asking {
                (known.is_asking, known.begun) = (true, Some(Instant::now()));
                tokio::spawn(Arc::clone(self).ask());
            }
            if let Some((_, look)) = known_since_doubt {
                return look;
            }
        }
        let milliseconds = u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX);
        let silent = Look { condition: Condition::Away, milliseconds };
        match tokio::time::timeout(WAIT_MAX, asked).await {
            Ok(()) => self.known().last.map_or(silent, |(_, look)| look),
            Err(_) => silent,
        }
    }

    /// Asks the store; its answer serves all who wait and who come.
    async fn ask(self: Arc<Self>) {
        let began = Instant::now();
        let question = self.store.condition(&self.question, SystemTime::now().into());
        let answer = tokio::time::timeout(Duration::from_secs(ASK_SECONDS_MAX), question).await;
        let look = Look {
            condition: answer.unwrap_or(Condition::Away),
            milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        {
            let mut known = self.known();
            known.is_asking = false;
            known.last = Some((Instant::now(), look));
        }
        self.asked.notify_waiters();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
