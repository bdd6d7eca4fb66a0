//! Reading the configuration anew while the server runs: all of it or nothing.
//!
//! Invariants: what has a fault changes nothing, and every fault is named; requests under way end by the
//! terms they began with; one reading follows the other, never two at a time; no secret is told.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::Mutex;

use super::{
    capacity::{Capacity, open_files_max},
    faults::faults,
    lasting::Lasting,
    terms::{CurrentTerms, Terms},
};
use crate::config::{Changes, Config, ConfigErrors};

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
        let faults = faults(&new, SystemTime::now());
        if !faults.is_empty() {
            return Err(ConfigErrors(faults));
        }
        let mut changes = Changes::between(&running, &new);
        if self.lasting.tls.is_some() != new.server.tls.is_some() {
            // Whether a listener speaks TLS is decided when it begins.
            changes.defer("server.tls.");
        }
        let reloaded = Reloaded { changed: changes.at_once(), needs_restart: changes.at_the_next_start() };
        if reloaded.changed.is_empty() {
            return Ok(reloaded);
        }
        let mut new = new.keeping_what_needs_a_restart(&running).map_err(|ConfigErrors(mut faults)| {
            for fault in &mut faults {
                fault.message.push_str(" (beside the settings that need a restart, as they run)");
            }
            ConfigErrors(faults)
        })?;
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
