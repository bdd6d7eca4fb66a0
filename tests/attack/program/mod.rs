//! The attacks, by family: each proves first that the honest variant works, then tries the false ones, and
//! looks in the store, as the honest identity sees it, at what they brought about.

mod arena;
mod call;
mod finding;
mod naive;
pub(crate) mod wire;

mod answers;
mod batches;
mod bodies;
mod chunks;
mod copies;
mod forms;
mod framing;
mod http;
mod keys;
mod lists;
mod presigned;
mod resources;
mod signatures;
mod uploads;
mod vended;
mod wallets;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use subgate::auth::bittensor::sr25519::Keypair;

pub(crate) use self::{
    arena::{Arena, Identity, Signs, Target},
    finding::{Finding, Stop},
};

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    /// The number of its rule in `tests/RULES.md`, and what is tried.
    pub(crate) name: &'static str,
    /// What the server must do.
    pub(crate) rule: &'static str,
    run: fn(&Arena) -> Result<Finding, Stop>,
}

impl Check {
    const fn new(name: &'static str, rule: &'static str, run: fn(&Arena) -> Result<Finding, Stop>) -> Self {
        Self { name, rule, run }
    }

    /// Tries it. An error says why it could not be tried.
    pub(crate) fn run(&self, arena: &Arena) -> Result<Finding, String> {
        match (self.run)(arena) {
            Ok(finding) => Ok(finding),
            Err(Stop::NotApplicable(why)) => Ok(Finding::NotApplicable(why)),
            Err(Stop::Trouble(why)) => Err(why),
        }
    }
}

/// All attacks that take no longer than their answers.
pub(crate) fn checks() -> Vec<Check> {
    let families = [
        signatures::CHECKS,
        presigned::CHECKS,
        bodies::CHECKS,
        chunks::CHECKS,
        forms::CHECKS,
        keys::CHECKS,
        copies::CHECKS,
        uploads::CHECKS,
        batches::CHECKS,
        lists::CHECKS,
        http::CHECKS,
        framing::CHECKS,
        answers::CHECKS,
        wallets::CHECKS,
        vended::CHECKS,
    ];
    families.concat()
}

/// Those that use up what belongs to all, and take their time.
pub(crate) fn resource_checks() -> Vec<Check> {
    resources::CHECKS.to_vec()
}

/// A server that refuses nothing, and two of its identities: there every attack must succeed.
pub(crate) fn naive_arena(patience: Duration) -> std::io::Result<Arena> {
    let address: SocketAddr = naive::start()?;
    let target = Target {
        address,
        host: address.to_string(),
        tls: None,
        bucket: "bucket".to_owned(),
        region: "us-east-1".to_owned(),
        store_words: vec!["naive-store".to_owned()],
        pid: None,
        patience,
        crowd_divisor: 10,
        attacker_address: None,
    };
    let identity = |seed: u8| {
        let hotkey = Keypair::from_mini_secret(&[seed; 32]).map_err(std::io::Error::other)?;
        let coldkey = Keypair::from_mini_secret(&[seed + 100; 32]).map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(Identity {
            access_key: hotkey.account().to_ss58(),
            secret: format!("secret of {seed}, which nobody looks at"),
            token: Some(format!("token of {seed}, which nobody looks at")),
            prefix: format!("data/x/{}/", coldkey.account().to_ss58()),
            hotkey: Some(Arc::new(hotkey)),
            signs: Signs::Secret,
        })
    };
    Ok(Arena::new(target, identity(1)?, identity(2)?))
}
