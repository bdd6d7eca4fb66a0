//! Whether this server can do its work, part by part, with a voice for strangers and one for the operator.

use serde_json::{Map, Value, json};

use crate::{error::Reason, limits::SharedState, store::Condition};

/// Whether this server can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    parts: Vec<Part>,
}

/// A part of that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: &'static str,
    is_ready: bool,
    for_strangers: String,
    for_the_operator: String,
    /// For the log, where it is not ready and there is a name for that.
    reason: Option<Reason>,
}

/// What is known of who is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegistryAge {
    /// Nothing has been read yet.
    Never,
    /// So many seconds.
    Seconds(u64),
}

impl Readiness {
    /// By what is known of each part.
    pub(super) fn new(
        registry: RegistryAge,
        stale_seconds_max: u64,
        registry_fault: Option<String>,
        store: Condition,
        shared: SharedState,
    ) -> Self {
        let mut parts = vec![registry_part(registry, stale_seconds_max, registry_fault), store_part(store)];
        parts.extend(shared_part(shared));
        Self { parts }
    }

    /// Of a process that is about to stop: load balancers are to send nobody here any more, however its parts
    /// do.
    pub(super) fn leaving() -> Self {
        let says = "this server is about to stop; it still answers what is asked".to_owned();
        let part = Part {
            name: "process",
            is_ready: false,
            for_strangers: says.clone(),
            for_the_operator: says,
            reason: None,
        };
        Self { parts: vec![part] }
    }

    /// Whether all parts are.
    pub(crate) fn is_ready(&self) -> bool {
        self.parts.iter().all(|part| part.is_ready)
    }

    /// What is wrong, in one sentence that anybody may read.
    pub(crate) fn for_strangers(&self) -> String {
        let wrong: Vec<&str> = self.wrong().map(|part| part.for_strangers.as_str()).collect();
        format!("Not ready: {}", wrong.join("; "))
    }

    /// Each part, for the operator.
    pub(crate) fn for_the_operator(&self) -> Value {
        let parts: Map<String, Value> = self
            .parts
            .iter()
            .map(|part| {
                let says = json!({ "ready": part.is_ready, "says": part.for_the_operator });
                (part.name.to_owned(), says)
            })
            .collect();
        json!({ "status": if self.is_ready() { "ready" } else { "not ready" }, "parts": parts })
    }

    /// Why it is not, for the log: the first that has a name.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.wrong().find_map(|part| part.reason)
    }

    fn wrong(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !part.is_ready)
    }
}

fn registry_part(age: RegistryAge, stale_seconds_max: u64, fault: Option<String>) -> Part {
    let (is_ready, says) = match age {
        RegistryAge::Never => (false, "nothing has been read from the registry of hotkeys yet".to_owned()),
        RegistryAge::Seconds(seconds) => {
            (seconds <= stale_seconds_max, format!("the registry of hotkeys is {seconds} s old"))
        }
    };
    let for_the_operator = match fault.filter(|_| !is_ready) {
        None => says.clone(),
        Some(fault) => format!("{says}; the last attempt failed: {fault}"),
    };
    let reason = Some(Reason::RegistryTooOld);
    Part { name: "registry", is_ready, for_strangers: says, for_the_operator, reason }
}

fn store_part(condition: Condition) -> Part {
    Part {
        name: "store",
        is_ready: condition == Condition::Well,
        for_strangers: condition.for_strangers().to_owned(),
        for_the_operator: condition.for_the_operator(),
        reason: match condition {
            Condition::Well => None,
            Condition::Away => Some(Reason::StoreUnreachable),
            Condition::NoCredentials => Some(Reason::StoreCredentials),
            Condition::Refuses(_) => Some(Reason::StoreRefusedServer),
            Condition::Failing(_) => Some(Reason::StoreAnswerUnusable),
        },
    }
}

/// While Redis is away S3 requests are granted a share of the limits, or refused, by setting.
fn shared_part(shared: SharedState) -> Option<Part> {
    let (is_ready, strangers, operator) = match shared {
        SharedState::NotShared => return None,
        SharedState::Connected => {
            (true, "the shared limits are connected", "Redis of limits.shared is connected")
        }
        SharedState::Alone => (
            true,
            "the shared limits are not connected",
            "Redis of limits.shared does not answer: this replica grants its share of the limits by itself, \
             and /v1/session answers 503",
        ),
        SharedState::Refusing => (
            false,
            "the shared limits are not connected",
            "Redis of limits.shared does not answer, and limits.shared.on_outage refuses all requests",
        ),
    };
    Some(Part {
        name: "shared_limits",
        is_ready,
        for_strangers: strangers.to_owned(),
        for_the_operator: operator.to_owned(),
        reason: Some(Reason::LimitsUnreachable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cause;

    fn readiness(age: RegistryAge, store: Condition, shared: SharedState) -> Readiness {
        Readiness::new(age, 900, Some("no connection".to_owned()), store, shared)
    }

    #[test]
    fn a_server_is_ready_when_all_its_parts_are() {
        let well = RegistryAge::Seconds(900);
        for shared in [SharedState::NotShared, SharedState::Connected, SharedState::Alone] {
            assert!(readiness(well, Condition::Well, shared).is_ready());
        }
        for (age, store, shared, says) in [
            (RegistryAge::Never, Condition::Well, SharedState::NotShared, "nothing has been read"),
            (RegistryAge::Seconds(901), Condition::Well, SharedState::NotShared, "is 901 s old"),
            (well, Condition::Away, SharedState::NotShared, "does not answer"),
            (well, Condition::Refuses(Cause::Secret), SharedState::NotShared, "does not let this server in"),
            (well, Condition::Well, SharedState::Refusing, "the shared limits are not connected"),
        ] {
            let readiness = readiness(age, store, shared);
            assert!(!readiness.is_ready());
            assert!(readiness.for_strangers().contains(says), "{}", readiness.for_strangers());
            assert_eq!(readiness.for_the_operator()["status"], "not ready");
        }
    }

    #[test]
    fn the_operator_learns_which_setting_and_strangers_do_not() {
        let state =
            readiness(RegistryAge::Never, Condition::Refuses(Cause::AccessKey), SharedState::NotShared);
        let strangers = state.for_strangers();
        assert!(!strangers.contains("store.") && !strangers.contains("no connection"), "{strangers}");
        let parts = &state.for_the_operator()["parts"];
        assert!(parts["store"]["says"].as_str().unwrap().contains("store.credentials"), "{parts}");
        assert!(parts["registry"]["says"].as_str().unwrap().contains("no connection"), "{parts}");
        assert_eq!(parts.get("shared_limits"), None);
    }
}
