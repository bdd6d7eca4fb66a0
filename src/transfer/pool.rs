//! Work of which so much is under way at once, until it is done or interrupted.

use tokio::{sync::watch, task::JoinSet};

/// Tells work to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

/// The other end of an [`Interrupt`].
#[derive(Debug)]
pub(crate) struct Interrupter(watch::Sender<bool>);

/// How the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All of it is done.
    Done,
    /// What was under way was dropped where it stood.
    Interrupted,
}

impl Interrupt {
    /// One that nobody has told to stop, and the end by which somebody may.
    pub(crate) fn new() -> (Interrupter, Self) {
        let (sender, receiver) = watch::channel(false);
        (Interrupter(sender), Self(receiver))
    }

    /// Whether the work is to stop.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the work is to stop; for ever, where nobody is left who could say so.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|is_set| *is_set).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Interrupter {
    /// Tells the work to stop.
    pub(crate) fn interrupt(&self) {
        self.0.send_replace(true);
    }
}

/// Runs `work` for each of `jobs`, at most `parallel` at once, and hands each result to `done` as it comes.
/// A job that panics is one that `done` does not hear of.
pub(crate) async fn run<J, T, F>(
    jobs: impl IntoIterator<Item = J>,
    parallel: usize,
    interrupt: &Interrupt,
    work: impl Fn(J) -> F,
    mut done: impl FnMut(T),
) -> Ended
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut jobs = jobs.into_iter();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < parallel.max(1) && !interrupt.is_set() {
            let Some(job) = jobs.next() else { break };
            under_way.spawn(work(job));
        }
        tokio::select! {
            biased;
            () = interrupt.wait() => {
                under_way.shutdown().await;
                return Ended::Interrupted;
            }
            result = under_way.join_next() => match result {
                Some(Ok(result)) => done(result),
                Some(Err(error)) => tracing::error!(%error, "a part of the work ended early"),
                None => return Ended::Done,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn no_more_than_so_many_are_under_way() {
        let (_interrupter, interrupt) = Interrupt::new();
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |job: usize| {
            let (open, most) = (Arc::clone(&open), Arc::clone(&most));
            async move {
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                open.fetch_sub(1, Ordering::SeqCst);
                job
            }
        };
        let mut results = Vec::new();
        assert_eq!(run(0..50, 3, &interrupt, work, |job| results.push(job)).await, Ended::Done);
        results.sort_unstable();
        assert_eq!(results, Vec::from_iter(0..50));
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn an_interrupt_drops_what_is_under_way() {
        let (interrupter, interrupt) = Interrupt::new();
        let mut results = Vec::new();
        let work = |job: u32| async move {
            match job {
                0 => job,
                _ => std::future::pending().await,
            }
        };
        let done = |job| {
            results.push(job);
            interrupter.interrupt();
        };
        assert_eq!(run(0..9, 2, &interrupt, work, done).await, Ended::Interrupted);
        assert_eq!((results, interrupt.is_set()), (vec![0], true));
    }
}
