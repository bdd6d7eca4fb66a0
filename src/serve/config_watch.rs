//! When the configuration is read anew: at SIGHUP, and when its file or one that it names has changed. \[IO\]
//!
//! Files are told apart by what `stat` says of what their path leads to, so that a swapped symbolic link
//! shows (Kubernetes mounts files by way of them), and are read once they have stayed the same from one look
//! to the next: what is half-written is not read. Whether a setting has changed is then decided by content.
//!
//! Invariants: nothing here waits for a file that is none, and nobody waits for what happens here.

use std::{
    future::pending,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::signal::unix::Signal;

use super::reload::{Reloaded, Reloader, in_time};
use crate::config::{Config, ConfigErrors, Fault, Source};

/// Reads the configuration of a running server anew.
pub(crate) struct ConfigWatch {
    reloader: Arc<Reloader>,
    source: Source,
    /// The files that are looked at.
    files: Vec<PathBuf>,
    /// What they were when they were last read; none before the first look.
    read: Option<Vec<Stamp>>,
    /// What they were at the last look, where that is something else.
    seen: Option<Vec<Stamp>>,
}

/// Why the configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Hangup,
    Change,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    /// Nothing that can be read is there.
    Nothing,
    There {
        device: u64,
        inode: u64,
        mode: u32,
        size: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

impl Stamp {
    fn of(path: &Path) -> Self {
        std::fs::metadata(path).map_or(Self::Nothing, |metadata| Self::There {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl ConfigWatch {
    /// Watches the configuration of that source, of which `reloader` has a reading already.
    pub(crate) fn new(reloader: Arc<Reloader>, source: Source) -> Self {
        Self { reloader, source, files: Vec::new(), read: None, seen: None }
    }

    /// Reads the configuration whenever there is reason to, for ever.
    pub(crate) async fn run(mut self, mut hangup: Signal) {
        loop {
            let running = self.reloader.running().await;
            self.files = self.named_files(running.files()).await;
            let interval = running.server.watch_seconds.map(|seconds| Duration::from_secs(seconds.get()));
            drop(running);
            let cause = tokio::select! {
                // None never comes: the signal is listened to as long as the process lives.
                _ = hangup.recv() => Cause::Hangup,
                () = self.settled_change(interval) => Cause::Change,
            };
            // Boxed, for it makes everything anew and is seldom there.
            Box::pin(self.read(cause)).await;
        }
    }

    /// The configuration's file, those that the running configuration names, and those that are named in it
    /// now: a fault may be that one of these is not there yet.
    async fn named_files(&self, running: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut files = Vec::from_iter(self.source.path().map(Path::to_owned));
        let source = self.source.clone();
        let named = in_time(move || Config::files_named_in(&source)).await.unwrap_or_default();
        for file in running.into_iter().chain(named) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    }

    /// Resolves when the files are others than they were when they were read, and have stayed so for a while.
    async fn settled_change(&mut self, interval: Option<Duration>) {
        let Some(interval) = interval else { return pending().await };
        loop {
            tokio::time::sleep(interval).await;
            let stamps = Some(self.stamps().await);
            if stamps == self.read {
                self.seen = None;
            } else if stamps == self.seen {
                return;
            } else {
                self.seen = stamps;
            }
        }
    }

    async fn stamps(&self) -> Vec<Stamp> {
        let files = self.files.clone();
        let look = move || files.iter().map(|path| Stamp::of(path)).collect();
        in_time(look).await.unwrap_or_default()
    }

    async fn read(&mut self, cause: Cause) {
        // Looked at before they are read: what changes in between is a change once more.
        self.read = Some(self.stamps().await);
        self.seen = None;
        let source = self.source.clone();
        let new = in_time(move || Config::load_again(&source)).await.unwrap_or_else(|| {
            Err(ConfigErrors(vec![Fault::of_the_whole(self.source.path(), "could not be read in time")]))
        });
        let (warnings, reloaded) = match new {
            Err(faults) => (Vec::new(), Err(faults)),
            Ok(new) => (new.warnings(), self.reloader.reload(new).await),
        };
        self.reloader.count(reloaded.is_ok());
        match reloaded {
            Err(faults) => log_faults(&faults),
            Ok(reloaded) => log_changes(&reloaded, &warnings, cause),
        }
    }
}

fn log_faults(ConfigErrors(faults): &ConfigErrors) {
    for fault in faults {
        tracing::error!("configuration: {fault}");
    }
    tracing::error!(
        faults = faults.len(),
        "the configuration was not reloaded: nothing has changed, and what runs goes on"
    );
}

fn log_changes(Reloaded { changed, needs_restart }: &Reloaded, warnings: &[Fault], cause: Cause) {
    for change in needs_restart {
        tracing::warn!("configuration: {change}; this needs a restart");
    }
    if changed.is_empty() {
        match cause {
            Cause::Hangup => tracing::info!("SIGHUP: the configuration was read and nothing was reloaded"),
            Cause::Change => tracing::debug!("the configuration was read and nothing was reloaded"),
        }
        return;
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for change in changed {
        tracing::info!("configuration: {change}");
    }
    tracing::info!(
        changed = changed.len(),
        needs_restart = needs_restart.len(),
        "the configuration was reloaded"
    );
}
