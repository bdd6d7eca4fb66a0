//! `[limits.shared]`: what several replicas count together, in Redis or Valkey.

use std::{num::NonZeroU16, path::PathBuf};

use http::Uri;

use super::{secrets::read_private_file, section::Section};
use crate::{file_access::SecretReaders, secret::SecretText};

/// Where replicas count together, and what holds while nothing answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLimits {
    /// Where Redis listens.
    pub address: SharedAddress,
    /// The number of its database.
    pub database: u16,
    /// The user to log in as; none for its default user.
    pub username: Option<String>,
    /// The password to log in with, where it wants one.
    pub password: Option<SecretText>,
    /// What every key begins with.
    pub prefix: String,
    /// What holds while it does not answer.
    pub on_outage: OnOutage,
    /// Milliseconds that a request waits for its answer, at most.
    pub wait_milliseconds_max: u64,
}

/// Where Redis listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedAddress {
    /// `redis://host:port`.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `rediss://host:port`: over TLS, by the authorities that the system trusts.
    Tls {
        /// Name or address, as its certificate has it.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:///path`.
    Socket(PathBuf),
}

/// What holds while Redis does not answer. Endpoints that spend nonces answer 503 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOutage {
    /// Each replica by itself grants this share of the limits.
    Local(Share),
    /// Requests are refused, to be tried again.
    Refuse,
}

/// A part of something, in thousandths: from 0.001 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(NonZeroU16);

impl Share {
    const HALF: Self = match NonZeroU16::new(500) {
        Some(thousandths) => Self(thousandths),
        None => Self(NonZeroU16::MIN),
    };

    /// A share by its thousandths, from 1 to 1000.
    fn new(thousandths: u16) -> Option<Self> {
        NonZeroU16::new(thousandths).filter(|share| share.get() <= 1000).map(Self)
    }

    /// The share of a number; 1 at least, for 0 would be another limit altogether.
    pub(crate) fn of(self, number: u64) -> u64 {
        let thousandths = u128::from(number).saturating_mul(self.0.get().into());
        u64::try_from(thousandths / 1000).unwrap_or(u64::MAX).max(1)
    }
}

const URL_EXPECTED: &str =
    "a URL such as \"redis://10.0.0.5:6379\", \"rediss://host:6380/1\" or \"unix:///run/redis.sock\"";

impl SharedLimits {
    /// Reads the section; none where there was none, or where it has faults.
    pub(super) fn read(mut section: Section, readers: SecretReaders) -> Option<Self> {
        if !section.rest_has("url") {
            section.error("url", format_args!("is missing; it must be {URL_EXPECTED}"));
        }
        // What is wrong is told without the text itself: somebody may have put a password into it.
        let url = section.optional::<String>("url", URL_EXPECTED);
        let address = url.and_then(|url| parse(&url).map_err(|what| section.error("url", what)).ok());
        let username: Option<String> = section.optional("username", "the name of a user of Redis");
        let password = read_password(&mut section, readers);
        if username.is_some() && password == Ok(None) {
            section.error("username", "stands without limits.shared.password_file or password_env");
        }
        let prefix = section.or("prefix", "subgate:".to_owned(), "the beginning of all keys");
        let is_prefix_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'-' | b'_' | b'/');
        if prefix.len() > 64 || !prefix.bytes().all(is_prefix_byte) {
            section.error(
                "prefix",
                format_args!("{prefix:?} is not at most 64 letters, digits and the characters : . - _ /"),
            );
        }
        let share = read_share(&mut section);
        let words = [("local", OnOutage::Local(share.unwrap_or(Share::HALF))), ("refuse", OnOutage::Refuse)];
        let on_outage = section.word("on_outage", &words, OnOutage::Local(share.unwrap_or(Share::HALF)));
        if on_outage == OnOutage::Refuse && share.is_some() {
            section.error("local_share", "counts only where limits.shared.on_outage is \"local\"");
        }
        let wait_milliseconds_max = section.number("wait_milliseconds_max", 250, 1..=5000);
        section.finish();
        let (address, database) = address?;
        let password = password.ok()?;
        Some(Self { address, database, username, password, prefix, on_outage, wait_milliseconds_max })
    }
}

fn parse(url: &str) -> Result<(SharedAddress, u16), String> {
    let not_one = || format!("is not {URL_EXPECTED}");
    if let Some(path) = url.strip_prefix("unix://") {
        let path = PathBuf::from(path);
        return if path.is_absolute() { Ok((SharedAddress::Socket(path), 0)) } else { Err(not_one()) };
    }
    let uri: Uri = url.parse().map_err(|_| not_one())?;
    let authority = uri.authority().ok_or_else(not_one)?;
    if authority.as_str().contains('@') {
        return Err("must hold no user and no password: write limits.shared.username, and \
                    limits.shared.password_file or limits.shared.password_env"
            .to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = match authority.port() {
        None => 6379,
        Some(port) => port.as_str().parse().ok().filter(|port| *port > 0).ok_or_else(not_one)?,
    };
    let address = match uri.scheme_str() {
        Some("redis" | "valkey") => SharedAddress::Tcp { host, port },
        Some("rediss" | "valkeys") => SharedAddress::Tls { host, port },
        _ => return Err(not_one()),
    };
    let database = match uri.path().strip_prefix('/').unwrap_or_default() {
        "" => 0,
        number => number.parse().map_err(|_| not_one())?,
    };
    if uri.query().is_some() {
        return Err(not_one());
    }
    Ok((address, database))
}

/// The password, if there is to be one; an error was noted otherwise.
fn read_password(section: &mut Section, readers: SecretReaders) -> Result<Option<SecretText>, ()> {
    let file = section.path("password_file", "the path of a file with the password");
    let variable: Option<String> = section.optional("password_env", "the name of an environment variable");
    let (setting, text) = match (file, variable) {
        (None, None) => return Ok(None),
        (Some(path), None) => ("password_file", read_private_file(&path, readers)),
        (None, Some(name)) => (
            "password_env",
            std::env::var(&name).map_err(|_| format!("the environment variable {name} is not set")),
        ),
        (Some(_), Some(_)) => {
            ("password_file", Err("stands beside password_env; one of them is enough".to_owned()))
        }
    };
    match text.map(|text| SecretText::new(text.trim_end_matches(['\r', '\n']))) {
        Ok(password) if !password.expose().is_empty() => Ok(Some(password)),
        Ok(_) => {
            section.error(setting, "names an empty password");
            Err(())
        }
        Err(what) => {
            section.error(setting, what);
            Err(())
        }
    }
}

fn read_share(section: &mut Section) -> Option<Share> {
    let expected = "a number from 0.001 to 1, such as 0.5";
    let given: f64 = section.optional("local_share", expected)?;
    // By its text: what has no more than three digits behind the point is exact.
    let thousandths = (0.001..=1.0).contains(&given).then(|| format!("{:.0}", given * 1000.0));
    let share = thousandths.and_then(|text| text.parse().ok()).and_then(Share::new);
    if share.is_none() {
        section.error("local_share", format_args!("{given} is not {expected}"));
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_a_share_is_of_each_number_and_never_nothing() {
        assert_eq!(Share::HALF.of(101), 50);
        assert_eq!(Share::HALF.of(1), 1);
        assert_eq!(Share::new(1000).unwrap().of(u64::MAX), u64::MAX);
        assert_eq!((Share::new(0), Share::new(1001)), (None, None));
    }

    #[test]
    fn urls_of_redis_are_read_strictly() {
        let tcp = |host: &str, port| SharedAddress::Tcp { host: host.to_owned(), port };
        assert_eq!(parse("redis://10.0.0.5"), Ok((tcp("10.0.0.5", 6379), 0)));
        assert_eq!(parse("valkey://[::1]:7000/3"), Ok((tcp("::1", 7000), 3)));
        let tls = SharedAddress::Tls { host: "cache.example.com".to_owned(), port: 6380 };
        assert_eq!(parse("rediss://cache.example.com:6380/"), Ok((tls, 0)));
        assert_eq!(parse("unix:///run/redis.sock"), Ok((SharedAddress::Socket("/run/redis.sock".into()), 0)));
        for wrong in [
            "",
            "10.0.0.5:6379",
            "http://10.0.0.5",
            "redis://10.0.0.5/x",
            "redis://10.0.0.5?protocol=3",
            "redis://10.0.0.5:0",
            "unix://run/redis.sock",
            "redis:///1",
        ] {
            parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn p51_a_password_in_the_url_is_refused_and_not_shown() {
        for url in ["redis://:hunter2@10.0.0.5", "redis://user:hunter2@10.0.0.5:6379/0"] {
            let what = parse(url).unwrap_err();
            assert!(what.contains("password_file") && !what.contains("hunter2"), "{what}");
        }
    }
}
