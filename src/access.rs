//! Who sends a request, and at which block that was so: the verifier, the registry, the validator rule and
//! the policy.
//!
//! Invariants: a [`Caller`] comes from a signature that was verified and the one snapshot of its request; a
//! snapshot that is too old decides nothing (P38).

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    auth::{Head, Verified, VerifiedForm, Verifier, sigv4::post_policy::PostForm},
    chain::{AccountId, Registry, Snapshot, ValidatorRule},
    config::{Chain, UploadsAfterLoss},
    error::{Code, Error, Reason, Result},
    exchange::Exchange,
    limits::{Limits, Sender},
    observe::{Metrics, SignatureScheme},
    policy::{Caller, Policy},
    site::{self, Site},
    time::UnixTime,
};

/// How often an upload looks whether its caller is still registered, where such uploads are cut.
const REGISTRATION_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Decides who sends a request.
pub(crate) struct Access {
    verifier: Arc<Verifier>,
    registry: Arc<Registry>,
    validator_rule: ValidatorRule,
    stale_seconds_max: u64,
    uploads_after_loss: UploadsAfterLoss,
    policy: Policy,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
}

impl Access {
    /// Decides by these.
    pub(crate) fn new(
        verifier: Arc<Verifier>,
        registry: Arc<Registry>,
        chain: Chain,
        policy: Policy,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let Chain { validator: validator_rule, stale_seconds_max, uploads_after_loss, .. } = chain;
        Self {
            verifier,
            registry,
            validator_rule,
            stale_seconds_max,
            uploads_after_loss,
            policy,
            limits,
            metrics,
        }
    }

    /// Verifies signatures and issues sessions.
    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Who is registered.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Who of the registered is a validator.
    pub(crate) fn validator_rule(&self) -> &ValidatorRule {
        &self.validator_rule
    }

    /// The age in seconds from which on a snapshot decides nothing.
    pub(crate) fn stale_seconds_max(&self) -> u64 {
        self.stale_seconds_max
    }

    /// Which folders are whose.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Verifies the signature of a request over the wire's own bytes.
    ///
    /// # Errors
    /// Those of [`site::host`], [`Verifier::verify`] and [`Self::may_verify`].
    pub(crate) fn verify(&self, site: &Site, exchange: &mut Exchange) -> Result<Verified> {
        let gate = Gate::new(self, exchange);
        let Exchange { head, peer, now, .. } = &*exchange;
        let hosts = site.signable_hosts(site::host(head)?, *peer);
        let accept_encodings = site.signable_accept_encodings(*peer);
        let is_own_host = |host: &str| site.is_own_host(host);
        let head = Head {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
            hosts: &hosts,
            accept_encodings: &accept_encodings,
            is_own_host: &is_own_host,
            may_verify: &|claimed| gate.ask(*claimed),
        };
        let result = self.verifier.verify(&head, *now);
        gate.close(&result, exchange);
        gate.count(&result);
        result
    }

    /// Verifies the signature of a form.
    ///
    /// # Errors
    /// Those of [`Verifier::verify_form`] and [`Self::may_verify`].
    pub(crate) fn verify_form(&self, form: &PostForm<'_>, exchange: &mut Exchange) -> Result<VerifiedForm> {
        let gate = Gate::new(self, exchange);
        let result = self.verifier.verify_form(form, exchange.now, &|claimed| gate.ask(*claimed));
        gate.close(&result, exchange);
        gate.count(&result);
        result
    }

    /// Whether the signature of a hotkey that a request claims may be checked: the registry is asked first,
    /// for hotkeys are public, and an address that had too many false ones is refused (P59, P17).
    ///
    /// # Errors
    /// Those of [`Self::identify`]; `SlowDown`.
    pub(crate) fn may_verify(&self, claimed: AccountId, exchange: &mut Exchange) -> Result<()> {
        let gate = Gate::new(self, exchange);
        let result = gate.ask(claimed);
        gate.close(&result, exchange);
        result
    }

    /// Counts the check of a hotkey's signature that [`Self::may_verify`] allowed.
    pub(crate) fn hotkey_signature_checked(&self, is_valid: bool) {
        self.metrics.events.signature(SignatureScheme::Hotkey, is_valid);
    }

    /// Says who a hotkey is that has proven itself, by the one snapshot of this request, and writes it down
    /// with the block at which that was so.
    ///
    /// # Errors
    /// `ServiceUnavailable` where the snapshot is too old; `AccessDenied` starting `NotRegistered: `.
    pub(crate) fn identify(
        &self,
        hotkey: AccountId,
        exchange: &mut Exchange,
    ) -> Result<(Caller, Arc<Snapshot>)> {
        let record = &mut exchange.record;
        record.hotkey = Some(hotkey);
        let snapshot = self.registry.snapshot(exchange.arrived_at);
        record.block = snapshot.block();
        let caller = self.caller(hotkey, &snapshot, exchange.now)?;
        exchange.counts_until =
            UnixTime::from_seconds(snapshot.taken_at.saturating_add(self.stale_seconds_max));
        record.role = Some(caller.role);
        record.owner = Some(Arc::clone(&caller.owner));
        Ok((caller, snapshot))
    }

    /// Looks the hotkey up.
    fn caller(&self, hotkey: AccountId, snapshot: &Snapshot, now: UnixTime) -> Result<Caller> {
        let age_seconds = snapshot.age_seconds(now.seconds());
        if age_seconds > self.stale_seconds_max {
            return Err(Error::new(
                Code::ServiceUnavailable,
                "The registry of hotkeys could not be read for too long, so nothing can be decided. Please \
                 retry \
                 later.",
            )
            .reason(Reason::RegistryTooOld)
            .detail(format!(
                "the registry is {age_seconds} s old, chain.stale_seconds_max is {}",
                self.stale_seconds_max
            )));
        }
        let Some(neuron) = snapshot.neuron(&hotkey) else {
            return Err(Error::because(
                Code::AccessDenied,
                Reason::NotRegistered,
                format!(
                    "the hotkey {hotkey} is not registered on the subnet; register it, then \
                     try \
                     again."
                ),
            ));
        };
        Ok(Caller { hotkey, owner: Arc::clone(&neuron.owner), role: self.validator_rule.role(neuron) })
    }

    /// Resolves when an upload under way must end because its caller may not upload any more, which never
    /// happens where such uploads may finish.
    pub(crate) async fn registration_lost(&self, caller: &Caller) -> Error {
        match self.uploads_after_loss {
            UploadsAfterLoss::Finish => return std::future::pending().await,
            UploadsAfterLoss::Cut => {}
        }
        loop {
            tokio::time::sleep(REGISTRATION_CHECK_INTERVAL).await;
            let now = SystemTime::now();
            let snapshot = self.registry.snapshot(now);
            // One that is too old says nothing of a loss; the next request will hear of that.
            match self.caller(caller.hotkey, &snapshot, now.into()) {
                Err(error) if error.code == Code::AccessDenied => return error,
                Ok(current) if current.owner.coldkey() != caller.owner.coldkey() => {
                    return Error::because(
                        Code::AccessDenied,
                        Reason::FolderDenied,
                        "the hotkey has another coldkey now, so the folder is another; upload \
                         there.",
                    );
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Stands before the checks of hotkeys' own signatures of one request.
struct Gate<'a> {
    access: &'a Access,
    sender: Sender,
    arrived_at: SystemTime,
    now: UnixTime,
    /// The block at which was decided whether the hotkey is registered.
    block: Cell<Option<u64>>,
    /// How many checks were let through.
    checks: Cell<u32>,
}

impl<'a> Gate<'a> {
    fn new(access: &'a Access, exchange: &Exchange) -> Self {
        let Exchange { sender, arrived_at, now, .. } = *exchange;
        Self { access, sender, arrived_at, now, block: Cell::default(), checks: Cell::default() }
    }

    fn ask(&self, claimed: AccountId) -> Result<()> {
        let snapshot = self.access.registry.snapshot(self.arrived_at);
        self.block.set(snapshot.block());
        self.access.caller(claimed, &snapshot, self.now).map_err(|error| {
            let detail = error.detail.clone().map_or_else(String::new, |detail| format!("{detail}; "));
            error.detail(format_args!("{detail}the hotkey {claimed} is claimed, its signature unchecked"))
        })?;
        self.access.limits.check_signatures(self.sender)?;
        self.checks.set(self.checks.get().saturating_add(1));
        Ok(())
    }

    /// Counts the check of a signature; a claim that went no further is none.
    fn count<T>(&self, result: &Result<T>) {
        let scheme = match self.checks.get() {
            0 => SignatureScheme::Session,
            _ => SignatureScheme::Hotkey,
        };
        match result {
            Ok(_) => self.access.metrics.events.signature(scheme, true),
            Err(error) if error.code == Code::SignatureDoesNotMatch => {
                self.access.metrics.events.signature(scheme, false);
            }
            Err(_) => {}
        }
    }

    /// Charges the sender where the signature was checked and is false.
    fn close<T>(&self, result: &Result<T>, exchange: &mut Exchange) {
        exchange.record.block = self.block.get();
        if result.as_ref().is_err_and(|error| error.code == Code::SignatureDoesNotMatch) {
            (0..self.checks.get()).for_each(|_| self.access.limits.charge_signature(self.sender));
        }
    }
}
