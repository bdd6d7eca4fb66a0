//! Attempts by address: each costs a signature check before anyone is known (P17).

use std::{net::IpAddr, num::NonZeroU32};

use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::DashMapStateStore};

/// Attempts of one address. A host with hundreds of wallets
/// behind one address still gets all its sessions within a minute.
const ATTEMPTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
const ATTEMPTS_AT_ONCE: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// Addresses that are remembered before idle ones are forgotten.
const ADDRESSES_MAX: usize = 65_536;

/// Counts the attempts of each address.
#[derive(Debug)]
pub(super) struct Attempts(RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DefaultClock>);

impl Attempts {
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(ATTEMPTS_PER_SECOND).allow_burst(ATTEMPTS_AT_ONCE);
        Self(RateLimiter::keyed(quota))
    }

    /// Counts one; whether an address may make it.
    pub(super) fn admit(&self, address: IpAddr) -> bool {
        if self.0.len() > ADDRESSES_MAX {
            self.0.retain_recent();
        }
        self.0.check_key(&network(address)).is_ok()
    }
}

/// Whom an address stands for: in IPv6 a host has a whole /64 to call from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p17_attempts_are_counted_by_address() {
        let attempts = Attempts::new();
        let one = [10, 0, 0, 1].into();
        let allowed = (0..1000).filter(|_| attempts.admit(one)).count();
        assert!((200..400).contains(&allowed), "{allowed}");
        assert!(attempts.admit([10, 0, 0, 2].into()));
        let same =
            |left: &str, right: &str| network(left.parse().unwrap()) == network(right.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1") && !same("10.0.0.1", "10.0.0.2"));
    }
}
