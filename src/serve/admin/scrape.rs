//! One scrape: what was counted, and what the rooms of this server say of the moment.

use std::time::SystemTime;

use super::super::tls::TlsListener;
use crate::{
    front::Front,
    observe::{Exposition, Format},
    time::UnixTime,
};

/// All metrics as text.
pub(super) fn write(front: &Front, tls: Option<&TlsListener>, format: Format, now: SystemTime) -> String {
    let mut out = Exposition::new(format);
    front.metrics().write(&front.store().pool(), &mut out);
    write_chain(front, now, &mut out);
    let cached = front.access().verifier().cached_sessions();
    out.gauge("subgate_sessions_cached", "Verified sessions in the cache.").value(cached);
    let mut ends = out.gauge(
        "subgate_tls_certificate_ends_timestamp_seconds",
        "When the first of the certificates of server.tls ends, in seconds since 1970; 0 while the one by \
         ACME has not come yet.",
    );
    if let Some(seconds) = tls.and_then(TlsListener::certificate_ends_seconds) {
        ends.value(seconds);
    }
    out.finish()
}

fn write_chain(front: &Front, now: SystemTime, out: &mut Exposition) {
    let access = front.access();
    let registry = access.registry();
    let snapshot = registry.snapshot(now);
    let mut events = out.counter("subgate_chain_events", "Results of refreshes of the registry of hotkeys.");
    for (event, count) in registry.counters() {
        events.with(&[("event", event)], count);
    }
    let mut gauge = |name, help, value: u64| out.gauge(name, help).value(value);
    gauge(
        "subgate_chain_has_reading",
        "1 once the registry of hotkeys has been read, by this process or by one that stored it, 0 before.",
        u64::from(registry.has_reading(now)),
    );
    gauge(
        "subgate_chain_age_seconds",
        "Age of the snapshot that requests are decided by.",
        snapshot.age_seconds(UnixTime::from(now).seconds()),
    );
    gauge(
        "subgate_chain_stale_seconds",
        "Age from which on a snapshot decides nothing: chain.stale_seconds_max.",
        access.stale_seconds_max(),
    );
    gauge(
        "subgate_chain_block",
        "Block of the snapshot; 0 with a registry file.",
        snapshot.block().unwrap_or_default(),
    );
    gauge("subgate_chain_hotkeys", "Registered hotkeys.", snapshot.len() as u64);
    gauge("subgate_chain_coldkeys", "Coldkeys of registered hotkeys.", snapshot.coldkeys() as u64);
    gauge("subgate_chain_permits", "Hotkeys with a validator permit.", snapshot.permits() as u64);
    let validators = snapshot.validators(access.validator_rule()) as u64;
    gauge("subgate_chain_validators", "Hotkeys that are validators by the configured rule.", validators);
}
