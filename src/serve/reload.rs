//! Reading the configuration anew while the server runs: all of it or nothing.
//!
//! Invariants: what has a fault changes nothing, and every fault is named; requests under way end by the
//! terms they began with; one reading follows the other, never two at a time; no secret is told.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    capacity::{Capacity, open_files_max},
    faults::faults,
    lasting::Lasting,
    terms::{CurrentTerms, Terms},
};
use crate::config::{Changes, Config, ConfigErrors, Fault};

/// A file system that does not answer within this time has not got the configuration.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// Threads that read the configuration at a time: one that hangs for ever takes one of these, and no other.
const READERS_MAX: usize = 4;

/// Gives a running server new configurations.
pub struct Reloader {
    terms: Arc<CurrentTerms>,
    lasting: Lasting,
    running: Mutex<Config>,
}

/// What a new configuration has changed, setting by setting, as the log tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What counts from now on.
    pub changed: Vec<String>,
    /// What counts from the next start on.
    pub needs_restart: Vec<String>,
}

/// A configuration that could count, and what it changes.
struct Judged {
    new: Config,
    changes: Changes,
    reloaded: Reloaded,
}

/// Runs what reads files, where nobody waits for it but its caller; none where it takes too long.
pub(super) async fn in_time<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static READERS: Semaphore = Semaphore::const_new(READERS_MAX);
    let read = async {
        let reader = READERS.acquire().await.ok()?;
        let read = spawn_blocking(move || {
            let read = read();
            drop(reader);
            read
        });
        read.await.ok()
    };
    timeout(READ_TIME_MAX, read).await.ok().flatten()
}

/// What a reading of the configuration changes against `running`; reads the files that it names.
fn judge(new: Config, running: &Config, has_tls: bool) -> Result<Judged, ConfigErrors> {
    let check = |config: &Config| match faults(config, SystemTime::now()) {
        faults if faults.is_empty() => Ok(()),
        faults => Err(ConfigErrors(faults)),
    };
    let changes_of = |config: &Config| {
        let mut changes = Changes::between(running, config);
        if has_tls != config.server.tls.is_some() {
            // Whether a listener speaks TLS is decided when it begins.
            changes.defer("server.tls.");
        }
        changes
    };
    check(&new)?;
    let changes = changes_of(&new);
    let reloaded = Reloaded { changed: changes.at_once(), needs_restart: changes.at_the_next_start() };
    if reloaded.changed.is_empty() || reloaded.needs_restart.is_empty() {
        return Ok(Judged { new, changes, reloaded });
    }
    let new = new.keeping_what_needs_a_restart(running).map_err(|ConfigErrors(mut faults)| {
        for fault in &mut faults {
            fault.message.push_str(" (beside the settings that need a restart, as they run)");
        }
        ConfigErrors(faults)
    })?;
    // Its files were read once more, so they are what counts, whatever the first reading has found in them.
    check(&new)?;
    let changes = changes_of(&new);
    let reloaded = Reloaded { changed: changes.at_once(), ..reloaded };
    Ok(Judged { new, changes, reloaded })
}

impl Reloader {
    pub(super) fn new(terms: Arc<CurrentTerms>, lasting: Lasting, running: Config) -> Self {
        Self { terms, lasting, running: Mutex::new(running) }
    }

    /// Takes a new configuration: requests that begin from then on are served by it.
    ///
    /// # Errors
    /// Every fault, with its setting; then nothing has changed.
    pub async fn reload(&self, new: Config) -> Result<Reloaded, ConfigErrors> {
        let mut running = self.running.lock().await;
        let (before, has_tls) = (running.clone(), self.lasting.tls.is_some());
        let judged = in_time(move || judge(new, &before, has_tls)).await;
        let Judged { mut new, changes, reloaded } = judged.unwrap_or_else(|| {
            let message = "the files that it names could not be read in time";
            Err(ConfigErrors(vec![Fault::of_the_whole(None, message)]))
        })?;
        if reloaded.changed.is_empty() {
            return Ok(reloaded);
        }
        // Port 0 is the one that the system gave.
        new.server.listen = running.server.listen;
        let open_files_max = open_files_max();
        let capacity = Capacity::of(&new, open_files_max);
        if let Some(fault) = capacity.fault(open_files_max) {
            tracing::warn!("{fault}");
        }
        let next: Result<Terms, _> = self.terms.load().next(&new, &changes, &capacity, &self.lasting).await;
        let next = next.map_err(|error| ConfigErrors(vec![error.fault(&new)]))?;
        self.terms.store(Arc::new(next));
        *running = new;
        Ok(reloaded)
    }

    /// Counts whether what was read has been taken.
    pub(super) fn count(&self, is_taken: bool) {
        self.lasting.metrics.events.reload(is_taken);
    }

    /// The configuration that counts now.
    pub async fn running(&self) -> Config {
        self.running.lock().await.clone()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        os::unix::fs::PermissionsExt as _,
        sync::{Arc, Weak},
    };

    use crate::{config::Config, serve::Server};

    pub(in crate::serve) fn config(dir: &std::path::Path, more: &str) -> Config {
        let text = "server.listen = \"127.0.0.1:0\"\nbucket.name = \"data-universe\"\n\
            store.endpoint = \"http://127.0.0.1:9\"\nstore.credentials.file = \"store.json\"\n\
            chain.file = \"registry.json\"\nsession.issue_with = \"a\"\n\
            session.allow_no_receiver = true\nsession.keys = [{ id = \"a\", file = \"a.key\" }]\n";
        Config::parse(&format!("{text}{more}"), dir).unwrap()
    }

    pub(in crate::serve) fn place() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.key", "11".repeat(32).as_str()),
            ("store.json", "{\"access_key\": \"a\", \"secret_key\": \"b\"}"),
            ("registry.json", "{\"identities\": []}"),
            ("tls.key", ""),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        dir
    }

    #[tokio::test]
    async fn a_thousand_reloads_leave_one_set_of_terms() {
        let dir = place();
        let server = Server::bind(config(dir.path(), "")).await.unwrap();
        let (reloader, terms) = (server.reloader(), Arc::clone(&server.terms));
        let mut all = Vec::new();
        for at in 0..1000 {
            all.push(Arc::downgrade(&terms.load_full()));
            let more = format!("limits.miner.reads_burst = {}\nserver.hosts = [\"h{at}\"]", 1000 + at);
            reloader.reload(config(dir.path(), &more)).await.unwrap();
        }
        assert_eq!(all.iter().filter_map(Weak::upgrade).count(), 0);
    }

    #[tokio::test]
    async fn a_key_that_is_replaced_between_two_readings_of_it_counts() {
        let dir = place();
        let server = Server::bind(config(dir.path(), "")).await.unwrap();
        let reloader = server.reloader();
        // The pending restart asks for a second reading.
        let new = config(dir.path(), "server.hosts = [\"one\"]\nserver.connections_max = 9");
        std::fs::write(dir.path().join("a.key"), "22".repeat(32)).unwrap();
        let changed = reloader.reload(new).await.unwrap().changed;
        assert_eq!(changed.len(), 2, "{changed:?}");
        assert!(changed[1].starts_with("session.keys[a].file: the content of "), "{changed:?}");
    }

    #[tokio::test]
    async fn two_reloads_at_once_come_one_after_the_other() {
        let dir = place();
        let server = Server::bind(config(dir.path(), "")).await.unwrap();
        let reloader = server.reloader();
        let one = config(dir.path(), "server.hosts = [\"one\"]");
        let two = config(dir.path(), "server.hosts = [\"two\"]");
        let (first, second) = tokio::join!(reloader.reload(one), reloader.reload(two));
        assert_eq!(first.unwrap().changed, ["server.hosts: not set -> [\"one\"]"]);
        assert_eq!(second.unwrap().changed, ["server.hosts: + \"two\", - \"one\""]);
        assert_eq!(reloader.running().await.server.hosts, ["two"]);
    }
}
