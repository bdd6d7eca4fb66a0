//! How many connections the process can have: each is an open file, and what is not set follows from how many
//! of those there may be (P57). Pure but for [`raise_open_files`].

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{self, Config};

/// Connections on either side where nothing else bounds them.
const CONNECTIONS_MAX: u64 = 4096;

/// However few files there are, it is worth starting with so many.
const CONNECTIONS_MIN: u64 = 16;

/// Open files beside connections: listeners, logs, the registry, the chain, and the connections to the store
/// that are kept for few requests at a time.
const OTHER_FILES: u64 = 256;

/// Of the connections to the store, the share that one hotkey may have.
const SHARE_OF_HOTKEY: u64 = 8;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Of clients, at one time.
    pub(super) clients_max: u64,
    /// To the store, at one time.
    pub(super) store_max: u64,
    /// To the store for one hotkey, at one time.
    pub(super) store_per_hotkey_max: u64,
    /// Open files that all of that may take.
    open_files: u64,
}

impl Capacity {
    /// What the configuration says and, where it does not, what `open_files_max` allows.
    pub(crate) fn of(config: &Config, open_files_max: u64) -> Self {
        Self::new(&config.server, &config.store, open_files_max)
    }

    fn new(server: &config::Server, store: &config::Store, open_files_max: u64) -> Self {
        let fixed = OTHER_FILES.saturating_add(store.idle_connections_max as u64);
        let left = open_files_max.saturating_sub(fixed);
        let within = |left: u64| left.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let (clients_max, store_max) = match (server.connections_max, store.connections_max) {
            (Some(clients), Some(store)) => (clients, store),
            (Some(clients), None) => (clients, within(left.saturating_sub(clients))),
            (None, Some(store)) => (within(left.saturating_sub(store)), store),
            (None, None) => (within(left / 2), within(left / 2)),
        };
        let share = store_max.checked_div(SHARE_OF_HOTKEY).unwrap_or(store_max).max(1);
        Self {
            clients_max,
            store_max,
            store_per_hotkey_max: store.connections_per_hotkey_max.unwrap_or(share),
            open_files: fixed.saturating_add(clients_max).saturating_add(store_max),
        }
    }

    /// What is wrong where the process may not open that many files.
    pub(crate) fn fault(&self, open_files_max: u64) -> Option<String> {
        (self.open_files > open_files_max).then(|| {
            format!(
                "server.connections_max: {} connections of clients and {} to the store \
                 (store.connections_max) may take {} open files with all that belongs to them, and the hard \
                 limit of the process is {open_files_max}; raise it (ulimit -n, LimitNOFILE), or set lower \
                 numbers",
                self.clients_max, self.store_max, self.open_files
            )
        })
    }
}

/// How many files the process may open: its hard limit.
pub(crate) fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the soft limit of open files to the hard one. Where that is forbidden, what was allowed stays.
pub(super) fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the soft limit of open files cannot be raised to the hard one");
            current.unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(server: Option<u64>, store: Option<u64>, open_files_max: u64) -> (Capacity, Option<String>) {
        let text = "bucket.name = \"b.1\"\nstore.endpoint = \"http://127.0.0.1:9000\"\n\
                    chain.file = \"r\"\nsession.issue_with = \"a\"\nsession.allow_no_receiver = true\n\
                    session.keys = [{ id = \"a\", file = \"a.key\" }]\n";
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("a.key");
        std::fs::write(&key, "11".repeat(32)).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, private).unwrap();
        let mut config = Config::parse(text, dir.path()).unwrap();
        config.server.connections_max = server;
        config.store.connections_max = store;
        let capacity = Capacity::of(&config, open_files_max);
        (capacity, capacity.fault(open_files_max))
    }

    #[test]
    fn p57_what_is_not_set_follows_from_the_open_files() {
        for (server, store, files, expected) in [
            (None, None, 1 << 20, (4096, 4096, 512)),
            (None, None, 4096, (1792, 1792, 224)),
            (Some(1000), None, 4096, (1000, 2584, 323)),
            (None, Some(1000), 4096, (2584, 1000, 125)),
            (Some(10_000), Some(3), u64::MAX, (10_000, 3, 1)),
        ] {
            let (Capacity { clients_max, store_max, store_per_hotkey_max, .. }, fault) =
                capacity(server, store, files);
            assert_eq!((clients_max, store_max, store_per_hotkey_max), expected);
            assert_eq!(fault, None);
        }
    }

    #[test]
    fn p57_more_than_the_open_files_is_a_fault() {
        for (server, store, files) in
            [(Some(4096), None, 4096), (None, None, 256), (Some(10), Some(4000), 4096)]
        {
            let fault = capacity(server, store, files).1.unwrap();
            assert!(fault.starts_with("server.connections_max: ") && fault.contains(&files.to_string()));
        }
    }

    #[test]
    fn p57_the_soft_limit_is_raised_to_the_hard_one() {
        assert_eq!(raise_open_files(), open_files_max());
        assert_eq!(getrlimit(Resource::Nofile).current, getrlimit(Resource::Nofile).maximum);
    }
}
