//! What is tried, in its order, and what was found.

mod access;
mod bodies;
mod cleaning;
mod objects;

use serde::Serialize;

use self::cleaning::Made;
use crate::{
    cli::{exit::Exit, terminal::Progress},
    config::{self, StoreAddressing},
    store::{NoAnswer, Trial, TrialAnswer, TrialClient},
};

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Found {
    /// The store does so.
    Yes,
    /// It does not, and there is a setting for that, or it is no matter.
    No,
    /// It must, and does not.
    Failed,
}

/// One check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) found: Found,
    pub(super) says: String,
}

/// What the settings follow from; none where it could not be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Why nothing else could be tried.
    pub(super) unusable: Option<(Exit, String)>,
    /// The region that the store wants, where it is another.
    pub(super) region: Option<String>,
    /// The addressing that works, where it is another.
    pub(super) addressing: Option<StoreAddressing>,
    pub(super) takes_trailers: Option<bool>,
    pub(super) keeps_torn_uploads: Option<bool>,
    /// The checksum algorithms that it knows.
    pub(super) checksums: Option<Vec<&'static str>>,
    pub(super) verifies_sha256: Option<bool>,
    pub(super) verifies_content_md5: Option<bool>,
    pub(super) verifies_checksums: Option<bool>,
    /// Storage classes of the file that it refuses.
    pub(super) refused_storage_classes: Vec<String>,
}

/// The trials of one store.
pub(super) struct Trials<'a> {
    client: TrialClient,
    store: &'a config::Store,
    progress: &'a Progress,
    checks: Vec<Check>,
    findings: Findings,
    made: Made,
}

impl<'a> Trials<'a> {
    pub(super) fn new(client: TrialClient, store: &'a config::Store, progress: &'a Progress) -> Self {
        Self {
            client,
            store,
            progress,
            checks: Vec::new(),
            findings: Findings::default(),
            made: Made::default(),
        }
    }

    /// Tries everything; ends early where the store does not even answer a list.
    pub(super) async fn run(&mut self) {
        if !self.access().await {
            return;
        }
        self.objects().await;
        self.multipart().await;
        self.names().await;
        self.conditions().await;
        self.digests().await;
        self.trailers().await;
        self.torn_uploads().await;
        self.storage_classes().await;
    }

    /// What was found.
    pub(super) fn finish(self) -> (Vec<Check>, Findings) {
        (self.checks, self.findings)
    }

    fn begin(&self, check: &str) {
        self.progress.show(format_args!("trying {check} …"));
    }

    fn note(&mut self, check: &'static str, found: Found, says: impl Into<String>) {
        self.checks.push(Check { check, found, says: says.into() });
    }

    /// Notes that something must work: it does, or this is why not.
    fn note_must(&mut self, check: &'static str, failure: Option<String>) -> bool {
        match failure {
            None => self.note(check, Found::Yes, "works"),
            Some(failure) => self.note(check, Found::Failed, failure),
        }
        self.checks.last().is_some_and(|check| check.found == Found::Yes)
    }

    /// Sends a request, and remembers which version its answer speaks of.
    async fn send(&mut self, trial: Trial) -> Result<TrialAnswer, NoAnswer> {
        let key = trial.key().map(str::to_owned);
        let answer = self.client.send(trial).await;
        let version = answer.as_ref().ok().and_then(|answer| answer.header("x-amz-version-id"));
        if let (Some(key), Some(version)) = (key, version) {
            self.made.version(&key, version);
        }
        answer
    }

    /// Writes an object; its key is removed at the end, whatever the answer is.
    async fn put(&mut self, key: &str, trial: Trial) -> Result<TrialAnswer, NoAnswer> {
        self.made.keys.push(key.to_owned());
        self.made.unanswered.push(key.to_owned());
        let answer = self.send(trial).await;
        if answer.is_ok() {
            self.made.unanswered.pop();
        }
        answer
    }
}

/// What an answer says against something that must work; none where it works.
fn failure(answer: &Result<TrialAnswer, NoAnswer>) -> Option<String> {
    match answer {
        Ok(answer) if answer.is_success() => None,
        Ok(answer) => {
            let message = answer.text_of("Message").filter(|_| answer.code().is_some());
            let message = message.map_or(String::new(), |message| format!(": {message}"));
            Some(format!("the store answers {}{message}", answer.shown()))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Bytes of no meaning.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at.wrapping_mul(31) % 251).unwrap_or_default()).collect()
}
