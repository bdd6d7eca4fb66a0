//! Certificates by the ACME protocol (RFC 8555), proved by TLS-ALPN-01 (RFC 8737): ordered, kept on disk,
//! renewed in time. \[IO\]
//!
//! Invariants: a certificate is presented until a newer one is there, whatever the authority answers; an
//! order is made only while nobody else who shares the directory makes one; every exchange with the authority
//! ends.

mod challenges;
mod directory;
mod http;
mod order;
mod schedule;

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use rustls::sign::CertifiedKey;

use self::{
    challenges::Challenges,
    directory::Directory,
    http::AcmeHttp,
    schedule::{Pauses, Schedule},
};
use crate::{
    config,
    time::UnixTime,
    tls::{Certificate, TlsError},
};

/// The protocol that a validating authority names in its handshake, and it alone.
pub(crate) const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// What is on disk is looked at so often: another process that shares the directory may have renewed.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// How long an order may take, with all its validations.
const ORDER_TIME_MAX: Duration = Duration::from_secs(300);

/// Why certificates cannot be had by ACME.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The directory or a file in it cannot be used.
    #[error("cache_dir: {path}: {what}")]
    Directory {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// TLS towards the authority cannot be set up.
    #[error("ca_file: {0}")]
    Authorities(#[from] TlsError),
    /// The authority refused, could not validate, or could not be asked.
    #[error("{0}")]
    Order(String),
}

/// The certificate of the configured domains, kept for as long as this is held.
pub(crate) struct Acme {
    settings: config::Acme,
    state: Arc<State>,
    keeper: tokio::task::AbortHandle,
}

/// What is presented now.
struct State {
    certificate: ArcSwapOption<Certificate>,
    challenges: Challenges,
}

impl Drop for Acme {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acme({})", self.settings.domains.join(", "))
    }
}

impl Acme {
    /// What [`Acme::start`] would fail with: nothing is made, and nobody is asked.
    pub(crate) fn check(settings: &config::Acme) -> Result<(), AcmeError> {
        Directory::at(settings)?.certificate()?;
        AcmeHttp::new(settings.ca_file.as_deref())?;
        Ok(())
    }

    /// Reads what is kept on disk and begins to keep it new. Must be called within a runtime.
    pub(crate) fn start(settings: &config::Acme) -> Result<Self, AcmeError> {
        let directory = Directory::open(settings)?;
        let http = AcmeHttp::new(settings.ca_file.as_deref())?;
        let state = Arc::new(State {
            certificate: ArcSwapOption::from_pointee(directory.certificate()?),
            challenges: Challenges::default(),
        });
        let domains = settings.domains.join(" ");
        match state.certificate.load_full() {
            Some(certificate) => tracing::info!(
                %domains,
                until = %UnixTime::from_seconds(certificate.valid_until_seconds()),
                "the certificate of server.tls.acme is at hand"
            ),
            None => tracing::warn!(
                %domains,
                directory = %settings.directory,
                "there is no certificate of server.tls.acme yet: TLS handshakes with these names fail until \
                 the authority has validated them and has issued one"
            ),
        }
        let keeper = Keeper { state: Arc::clone(&state), settings: settings.clone(), directory, http };
        let keeper = tokio::spawn(keeper.run()).abort_handle();
        Ok(Self { settings: settings.clone(), state, keeper })
    }

    /// Orders nothing any more; what is at hand is presented still.
    pub(crate) fn stop_ordering(&self) {
        self.keeper.abort();
    }

    /// What it was started with.
    pub(crate) fn settings(&self) -> &config::Acme {
        &self.settings
    }

    /// Whether `name`, in lower case, is one of the configured domains.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.settings.domains.iter().any(|own| own == name)
    }

    /// What clients are presented; nothing before the first certificate is there.
    pub(crate) fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        self.state.certificate.load().as_ref().map(|certificate| Arc::clone(certificate.certified_key()))
    }

    /// When it ends, in Unix seconds.
    pub(crate) fn ends_seconds(&self) -> Option<u64> {
        self.state.certificate.load().as_ref().map(|certificate| certificate.valid_until_seconds())
    }

    /// What an authority that validates `name`, in lower case, is presented: only while it is asked to.
    pub(crate) fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.state.challenges.get(name)
    }
}

/// The task behind [`Acme`].
struct Keeper {
    state: Arc<State>,
    settings: config::Acme,
    directory: Directory,
    http: AcmeHttp,
}

impl Keeper {
    async fn run(self) {
        let (mut schedule, mut pauses) = (self.schedule(), Pauses::default());
        loop {
            let due = schedule.wait(SystemTime::now().into()).unwrap_or_default();
            let wait = due.max(pauses.wait(Instant::now()));
            match wait.is_zero() {
                true => self.order(&mut pauses).await,
                false => tokio::time::sleep(wait.min(LOOK_INTERVAL)).await,
            }
            if self.look() {
                schedule = self.schedule();
                pauses.succeeded(Instant::now(), schedule.wait(SystemTime::now().into()));
            }
        }
    }

    /// Orders, and leaves a pause in any case.
    async fn order(&self, pauses: &mut Pauses) {
        match self.renew().await {
            Ok(Renewal::Done) => pauses.succeeded(Instant::now(), None),
            Ok(Renewal::ByAnother) => pauses.rest(Instant::now(), LOOK_INTERVAL / 4),
            Err(error) => {
                let (failures, pause) = pauses.failed(Instant::now(), fastrand::f64());
                tracing::error!(
                    %error,
                    domains = %self.settings.domains.join(" "),
                    failures,
                    next_try_seconds = pause.as_secs(),
                    "no certificate by server.tls.acme: what was there before is presented still"
                );
            }
        }
    }

    fn schedule(&self) -> Schedule {
        let certificate = self.state.certificate.load();
        Schedule::of(certificate.as_deref(), fastrand::f64())
    }

    /// Takes over what is on disk where it is another certificate; whether it is.
    fn look(&self) -> bool {
        let found = match self.directory.certificate() {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(error) => {
                tracing::warn!(%error, "the certificate on disk is not taken");
                return false;
            }
        };
        if self.state.certificate.load().as_ref().is_some_and(|own| own.is_same_chain(&found)) {
            return false;
        }
        tracing::info!(
            domains = %self.settings.domains.join(" "),
            until = %UnixTime::from_seconds(found.valid_until_seconds()),
            "a new certificate of server.tls.acme is presented"
        );
        self.state.certificate.store(Some(Arc::new(found)));
        true
    }

    /// Orders a certificate and puts it on disk, unless another process that shares the directory does so.
    async fn renew(&self) -> Result<Renewal, AcmeError> {
        let Some(_lock) = self.directory.lock()? else { return Ok(Renewal::ByAnother) };
        // The other process may have been the one that had the lock before.
        if let Some(found) = self.directory.certificate()?
            && self.state.certificate.load().as_ref().is_none_or(|own| !own.is_same_chain(&found))
        {
            return Ok(Renewal::Done);
        }
        tracing::info!(
            domains = %self.settings.domains.join(" "),
            directory = %self.settings.directory,
            "ordering a certificate"
        );
        let order = order::certificate(&self.settings, &self.directory, &self.http, &self.state.challenges);
        let ordered = tokio::time::timeout(ORDER_TIME_MAX, order).await;
        self.state.challenges.clear();
        let late = format!("the authority has not issued it within {} s", ORDER_TIME_MAX.as_secs());
        let pem = ordered.map_err(|_| AcmeError::Order(late))??;
        self.directory.keep_certificate(&pem)?;
        Ok(Renewal::Done)
    }
}

enum Renewal {
    /// There is another certificate on disk.
    Done,
    /// Another process is at it.
    ByAnother,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(place: &std::path::Path) -> config::Acme {
        config::Acme {
            domains: vec!["a.example".to_owned()],
            contacts: Vec::new(),
            directory: "https://127.0.0.1:1/directory".to_owned(),
            ca_file: None,
            cache_dir: place.join("acme"),
        }
    }

    #[tokio::test]
    async fn what_is_stopped_has_no_keeper_any_more() {
        let place = tempfile::tempdir().unwrap();
        let acme = Acme::start(&settings(place.path())).unwrap();
        assert!(!acme.keeper.is_finished());
        acme.stop_ordering();
        tokio::task::yield_now().await;
        assert!(acme.keeper.is_finished());
    }

    #[test]
    fn a_check_makes_nothing_and_begins_nothing() {
        let place = tempfile::tempdir().unwrap();
        let settings = settings(place.path());
        // There is no runtime here that a task could be begun in.
        Acme::check(&settings).unwrap();
        assert!(!settings.cache_dir.exists());
        std::fs::write(&settings.cache_dir, "").unwrap();
        assert!(Acme::check(&settings).is_err());
    }
}
