//! Connections to the store: how many requests are under way there, in total and by hotkey (P57).
//!
//! A request to the store has a connection for itself until its answer has ended. What is beyond the bounds
//! is refused at once, and nobody waits: a hotkey that reads slowly uses up its own places.

use std::sync::Arc;

use super::counts::{Counts, Held, HeldOfTotal, Total};
use crate::{
    chain::AccountId,
    error::{Code, Error, Result},
};

/// Seconds after which it pays to try again: until some answer has ended.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The places at the store.
#[derive(Debug)]
pub(crate) struct StorePlaces {
    of_hotkeys: Arc<Counts<AccountId>>,
    of_all: Arc<Total>,
    max: u64,
    per_hotkey_max: u64,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct StorePlace {
    _of_hotkey: Option<Held<AccountId>>,
    _of_all: HeldOfTotal,
}

impl StorePlaces {
    /// So many in total, and for one hotkey.
    pub(crate) fn new(max: u64, per_hotkey_max: u64) -> Self {
        Self { of_hotkeys: Counts::new(), of_all: Arc::default(), max, per_hotkey_max }
    }

    /// The same places under other bounds: what is taken stays taken.
    pub(crate) fn renewed(&self, max: u64, per_hotkey_max: u64) -> Self {
        let (of_hotkeys, of_all) = (Arc::clone(&self.of_hotkeys), Arc::clone(&self.of_all));
        Self { of_hotkeys, of_all, max, per_hotkey_max }
    }

    /// Takes a place, for a hotkey or for this server itself.
    ///
    /// # Errors
    /// `SlowDown` with the name of the setting whose bound is reached.
    pub(crate) fn take(&self, hotkey: Option<AccountId>) -> Result<StorePlace> {
        let of_hotkey = match hotkey {
            None => None,
            Some(hotkey) => {
                let held = self.of_hotkeys.try_add(hotkey, 1, self.per_hotkey_max);
                Some(held.ok_or_else(|| refusal("store.connections_per_hotkey_max", self.per_hotkey_max))?)
            }
        };
        let of_all = self.of_all.try_add(1, self.max);
        let of_all = of_all.ok_or_else(|| refusal("store.connections_max", self.max))?;
        Ok(StorePlace { _of_hotkey: of_hotkey, _of_all: of_all })
    }

    /// How many there are.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> u64 {
        self.of_all.now()
    }
}

fn refusal(setting: &'static str, max: u64) -> Error {
    Error::new(
        Code::SlowDown,
        format!(
            "Please reduce your request rate: {setting} is reached. Try again in {RETRY_AFTER_SECONDS} s."
        ),
    )
    .element("Limit", setting.to_owned())
    .limit(setting)
    .detail(format_args!("{setting} of {max} is reached"))
    .retry_after(RETRY_AFTER_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hotkey(byte: u8) -> Option<AccountId> {
        AccountId::from_bytes([byte; 32]).ok()
    }

    #[test]
    fn p57_one_hotkey_takes_its_own_places_alone() {
        let places = StorePlaces::new(4, 2);
        let held = [places.take(hotkey(1)).unwrap(), places.take(hotkey(1)).unwrap()];
        let refused = places.take(hotkey(1)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after_seconds), (Code::SlowDown, Some(1)));
        assert_eq!(refused.elements, [("Limit", "store.connections_per_hotkey_max".to_owned())]);
        let _others = [places.take(hotkey(2)).unwrap(), places.take(None).unwrap()];
        assert_eq!((places.taken(), places.max()), (4, 4));
        let refused = places.take(hotkey(3)).unwrap_err();
        assert_eq!(refused.elements, [("Limit", "store.connections_max".to_owned())]);
        drop(held);
        // Who was refused in total holds nothing of its own.
        let _held = [places.take(hotkey(3)).unwrap(), places.take(hotkey(3)).unwrap()];
        assert_eq!(places.taken(), 4);
    }
}
