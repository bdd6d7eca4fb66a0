//! Where an attack takes place: the server, the two identities, and what stands in the store as they see it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use subgate::{auth::bittensor::sr25519::Keypair, chain::AccountId};

use super::{
    call::{Call, Signed},
    finding::{Stop, Trial},
    wire::{Answer, Connection},
};

/// The server.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// As it stands in `Host`.
    pub(crate) host: String,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) bucket: String,
    pub(crate) region: String,
    /// Words that no answer may hold: the store's address, its bucket, its account.
    pub(crate) store_words: Vec<String>,
    /// The server's process, on this machine.
    pub(crate) pid: Option<u32>,
    /// Within this time a connection that does nothing useful should be closed.
    pub(crate) patience: Duration,
    /// Of the connections of a resource attack one in so many is made; 1 makes them all.
    pub(crate) crowd_divisor: usize,
    /// From where the attacker connects in resource attacks; where none is given, 127.0.0.2 to a server on
    /// 127.0.0.1.
    pub(crate) attacker_address: Option<IpAddr>,
}

/// With what an identity signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signs {
    /// `AWS4-HMAC-SHA256`
    Secret,
    /// `AWS4-SR25519-SHA256`, of Subgate's.
    Hotkey,
}

/// Somebody whom the server knows.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    /// Its own part of the bucket, with a `/` at its end.
    pub(crate) prefix: String,
    pub(crate) hotkey: Option<Arc<Keypair>>,
    pub(crate) signs: Signs,
}

impl Identity {
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.signs {
            Signs::Secret => "AWS4-HMAC-SHA256",
            Signs::Hotkey => "AWS4-SR25519-SHA256",
        }
    }

    /// The same person, signing by hotkey.
    pub(crate) fn by_hotkey(&self) -> Result<Self, Stop> {
        let hotkey = self.hotkey()?;
        let access_key = hotkey.account().to_ss58();
        Ok(Self { signs: Signs::Hotkey, access_key, ..self.clone() })
    }

    /// The wallet, which other servers than Subgate know nothing of.
    pub(crate) fn hotkey(&self) -> Result<Arc<Keypair>, Stop> {
        self.hotkey.clone().ok_or_else(|| Stop::not_applicable("the identities have no hotkeys"))
    }

    /// The account in the prefix.
    pub(crate) fn coldkey(&self) -> Result<String, Stop> {
        let found = self.prefix.split('/').rev().find(|part| part.parse::<AccountId>().is_ok());
        found.map(str::to_owned).ok_or_else(|| Stop::not_applicable("no coldkey stands in the prefix"))
    }
}

/// Attacker and victim before a server.
pub(crate) struct Arena {
    pub(crate) target: Target,
    pub(crate) attacker: Identity,
    pub(crate) victim: Identity,
    run: String,
    next: AtomicU64,
    made: Mutex<Vec<(bool, String)>>,
}

impl Arena {
    pub(crate) fn new(target: Target, attacker: Identity, victim: Identity) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let run = format!("attack-{:x}", since.as_micros());
        Self { target, attacker, victim, run, next: AtomicU64::new(0), made: Mutex::default() }
    }

    pub(crate) fn trial(&self) -> Trial<'_> {
        Trial::new(self)
    }

    /// A key that nobody has used, in that identity's prefix.
    pub(crate) fn key(&self, who: &Identity) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = format!("{}{}/{number}.bin", who.prefix, self.run);
        let is_victim = who.prefix == self.victim.prefix;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push((is_victim, key.clone()));
        key
    }

    /// The prefix that all keys of this run have in that identity's.
    pub(crate) fn below(&self, who: &Identity) -> String {
        format!("{}{}/", who.prefix, self.run)
    }

    /// A body that no other looks like, larger than any smallest size.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.content_of(2000)
    }

    pub(crate) fn content_of(&self, bytes: usize) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mark = format!("content {number} of {} ", self.run);
        mark.bytes().cycle().take(bytes).collect()
    }

    /// A call about an object, or about the bucket where `key` is empty.
    pub(crate) fn call(&self, method: &str, key: &str) -> Call {
        let bucket = &self.target.bucket;
        if key.is_empty() {
            Call::new(method, &format!("/{bucket}"))
        } else {
            Call::new(method, &format!("/{bucket}/{key}"))
        }
    }

    /// Sends on a connection of its own; the answer says where there was none.
    pub(crate) fn send(&self, request: &Signed) -> Answer {
        self.send_bytes(&request.method, &[request.head(), request.body.clone()].concat())
    }

    pub(crate) fn send_bytes(&self, method: &str, bytes: &[u8]) -> Answer {
        self.try_send(method, bytes).unwrap_or_default()
    }

    fn try_send(&self, method: &str, bytes: &[u8]) -> io::Result<Answer> {
        let mut connection = Connection::open(&self.target)?;
        // An answer may have come before all was sent.
        let _ = connection.send(bytes);
        connection.answer(method)
    }

    /// Signs by that identity, and sends.
    pub(crate) fn ask(&self, who: &Identity, call: &Call) -> Answer {
        self.send(&call.sign(&self.target, who))
    }

    /// What stands at `key`, as `who` reads it.
    pub(crate) fn stands(&self, who: &Identity, key: &str) -> Result<Option<Vec<u8>>, Stop> {
        let answer = self.ask(who, &self.call("GET", key));
        match answer.status {
            200 => Ok(Some(answer.body)),
            403 | 404 | 400 => Ok(None),
            _ => Err(Stop::trouble(format!("reading back {key}: {}", answer.brief()))),
        }
    }

    /// An object that `who` has put and reads back.
    pub(crate) fn object(&self, who: &Identity) -> Result<(String, Vec<u8>), Stop> {
        let (key, content) = (self.key(who), self.content());
        let answer = self.ask(who, &self.call("PUT", &key).body(&content));
        if !answer.is_success() {
            return Err(Stop::not_applicable(format!("an honest PUT is answered {}", answer.brief())));
        }
        match self.stands(who, &key)? {
            Some(back) if back == content => Ok((key, content)),
            _ => Err(Stop::trouble(format!("{key} cannot be read back"))),
        }
    }

    /// What the attacker wants.
    pub(crate) fn secret(&self) -> Result<(String, Vec<u8>), Stop> {
        if self.attacker.access_key == self.victim.access_key {
            return Err(Stop::not_applicable("both identities are one"));
        }
        self.object(&self.victim)
    }

    /// Deletes what the attacks have left.
    pub(crate) fn clean(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        for (is_victim, key) in made {
            let who = if is_victim { &self.victim } else { &self.attacker };
            self.ask(who, &self.call("DELETE", &key));
        }
    }
}
