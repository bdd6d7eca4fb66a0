//! When a changed setting takes effect: as soon as a running server reads its configuration anew, or at the
//! next start. Every setting is in one of these lists; a test compares them with `proxy.toml`.
//!
//! Invariant: a setting that is in no list counts as one that needs a restart.

/// When a changed setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// With the next request, or with the next connection where it is about connections.
    AtOnce,
    /// When the process is started again.
    Restart,
}

/// Settings whose value is the path of a file that is read when they take effect.
const FILES: &[&str] = &[
    "chain.ca_file",
    "limits.shared.password_file",
    "server.admin_token_file",
    "server.tls.acme.ca_file",
    "server.tls.certificates.certificate",
    "server.tls.certificates.key",
    "server.tls.client_ca_file",
    "session.keys.file",
    "store.ca_file",
    "store.credentials.file",
];

/// Settings that need a restart.
const RESTART: &[&str] = &[
    "chain.ca_file",
    "chain.collapse_share_max",
    "chain.endpoints",
    "chain.genesis",
    "chain.netuid",
    "chain.quorum",
    "chain.refresh_seconds",
    "chain.snapshot_file",
    "chain.source",
    "limits.shared.local_share",
    "limits.shared.on_outage",
    "limits.shared.password_env",
    "limits.shared.password_file",
    "limits.shared.prefix",
    "limits.shared.url",
    "limits.shared.username",
    "limits.shared.wait_milliseconds_max",
    "server.admin",
    "server.admin_tls",
    "server.connections_max",
    "server.listen",
];

/// Settings that take effect at once; `*` stands for the names that an operator chooses.
const AT_ONCE: &[&str] = &[
    "bucket.name",
    "bucket.region",
    "chain.file",
    "chain.stale_seconds_max",
    "chain.uploads_after_loss",
    "chain.validator_allow",
    "chain.validator_deny",
    "chain.validator_one_per_coldkey",
    "chain.validator_permit",
    "chain.validator_stake_min",
    "endpoints.discovery_cache_seconds",
    "endpoints.discovery_seconds_max",
    "endpoints.redirect_hosts",
    "limits.address.buffered_bytes_max",
    "limits.address.connections_max",
    "limits.address.requests_burst",
    "limits.address.requests_per_second",
    "limits.address.signature_failures_burst",
    "limits.address.signature_failures_per_second",
    "limits.miner.*",
    "limits.object_bytes_max",
    "limits.object_bytes_min",
    "limits.overrides.*",
    "limits.principal",
    "limits.progress_bytes_per_second_min",
    "limits.progress_grace_seconds",
    "limits.progress_idle_seconds",
    "limits.server.*",
    "limits.small_files.names",
    "limits.small_files.object_bytes_min",
    "limits.validator.*",
    "log.refusals_per_second_max",
    "policy.folder_markers",
    "policy.folders",
    "policy.roles.*",
    "policy.variables.*",
    "server.admin_token_file",
    "server.cors_origins",
    "server.drain_announce_seconds",
    "server.drain_seconds_max",
    "server.edge.accept_encodings",
    "server.edge.networks",
    "server.edge.rewrites_host",
    "server.group_reads_secrets",
    "server.hand_over_seconds_max",
    "server.head_seconds_max",
    "server.hosts",
    "server.idle_seconds_max",
    "server.plaintext_beyond_loopback",
    "server.proxy_protocol.networks",
    "server.tls.acme.*",
    "server.tls.certificates.*",
    "server.tls.certificates",
    "server.tls.client_ca_file",
    "server.tls.client_certificates",
    "server.tls.handshake_seconds_max",
    "server.watch_seconds",
    "session.allow_no_receiver",
    "session.issue_with",
    "session.keys.accept_until",
    "session.keys.env",
    "session.keys.file",
    "session.keys.id",
    "session.receiver",
    "session.ttl_seconds_max",
    "store.addressing",
    "store.answer_seconds_max",
    "store.broken_uploads",
    "store.bucket",
    "store.ca_file",
    "store.checksums",
    "store.connect_seconds_max",
    "store.connections_max",
    "store.connections_per_hotkey_max",
    "store.credentials",
    "store.credentials.file",
    "store.endpoint",
    "store.idle_connections_max",
    "store.idle_seconds_max",
    "store.outage_failures_max",
    "store.outage_wait_seconds_max",
    "store.outage_waiters_max",
    "store.region",
    "store.storage_classes",
    "store.trailers",
    "store.verifies",
];

/// The names of all settings; those that end in `*` are beginnings.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    RESTART.iter().chain(AT_ONCE).copied()
}

/// When a setting takes effect; none where the lists do not have it.
pub(super) fn listed(setting: &str) -> Option<Effect> {
    let is_in = |list: &[&str]| list.iter().any(|listed| covers(listed, setting));
    match (is_in(RESTART), is_in(AT_ONCE)) {
        (true, _) => Some(Effect::Restart),
        (false, true) => Some(Effect::AtOnce),
        (false, false) => None,
    }
}

/// When a setting takes effect.
pub(super) fn of(setting: &str) -> Effect {
    listed(setting).unwrap_or(Effect::Restart)
}

/// Whether a setting names a file that is read when it takes effect.
pub(super) fn is_file(setting: &str) -> bool {
    FILES.contains(&setting)
}

/// Whether a file is looked at by others while the server runs, so that its change asks for no reload:
/// certificates are replaced by their listener, by themselves.
pub(super) fn is_watched_elsewhere(setting: &str) -> bool {
    setting.starts_with("server.tls.")
}

fn covers(listed: &str, setting: &str) -> bool {
    match listed.strip_suffix('*') {
        Some(beginning) => setting.starts_with(beginning),
        None => listed == setting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every setting that `proxy.toml` shows, those in comments included.
    fn reference() -> std::collections::BTreeSet<String> {
        let text = include_str!("../../proxy.toml");
        let shown = |line: &str| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n";
        let whole: String = text.lines().map(shown).collect();
        let table = whole.parse().unwrap();
        super::super::written::Written::new(table, std::path::Path::new("/nowhere")).settings()
    }

    #[test]
    fn every_setting_of_the_reference_is_in_a_list() {
        let unlisted: Vec<_> = reference().into_iter().filter(|name| listed(name).is_none()).collect();
        assert!(unlisted.is_empty(), "say in src/config/effect.rs when these take effect: {unlisted:?}");
    }

    #[test]
    fn every_setting_of_a_list_is_in_the_reference() {
        let reference = reference();
        let text = include_str!("../../proxy.toml");
        let is_known = |listed: &&&str| {
            let last = listed.rsplit('.').next().unwrap();
            // Alternatives of another setting stand in its comment.
            reference.iter().any(|setting| covers(listed, setting)) || text.contains(&format!("{last} = "))
        };
        let unknown: Vec<_> = RESTART.iter().chain(AT_ONCE).filter(|listed| !is_known(listed)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    /// A setting whose value is a path says so here, or its file would not be watched.
    #[test]
    fn every_setting_with_a_file_is_known_as_one() {
        let names_file = |name: &String| name.ends_with("_file") || name.ends_with(".file");
        // The registry is looked at before each request, and the snapshot is written by this server itself.
        let others = ["chain.file", "chain.snapshot_file"];
        let forgotten: Vec<_> = reference()
            .into_iter()
            .filter(names_file)
            .filter(|name| !is_file(name) && !others.contains(&name.as_str()))
            .collect();
        assert!(forgotten.is_empty(), "{forgotten:?}");
    }

    #[test]
    fn a_setting_is_in_one_list() {
        let doubles: Vec<_> =
            RESTART.iter().filter(|setting| AT_ONCE.iter().any(|other| covers(other, setting))).collect();
        assert!(doubles.is_empty(), "{doubles:?}");
        assert!(FILES.iter().all(|file| listed(file).is_some()));
        assert_eq!((of("server.listen"), of("server.new")), (Effect::Restart, Effect::Restart));
        assert_eq!(of("policy.variables.source"), Effect::AtOnce);
    }
}
