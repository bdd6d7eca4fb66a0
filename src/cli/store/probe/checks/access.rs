//! Whether the store lets this server in, by which name and in which region; and whether it lets others in.

use http::{Method, StatusCode};

use super::{Found, Trials, failure};
use crate::{
    cli::exit::Exit,
    config::StoreAddressing,
    store::{Cause, Condition, NoAnswer, Signature, Trial, TrialAnswer},
    time::UnixTime,
};

/// From here on a clock is worth a remark; stores refuse at 15 minutes.
const SKEW_SECONDS_TOLD: u64 = 60;

impl Trials<'_> {
    /// Whether there is any sense in going on.
    pub(super) async fn access(&mut self) -> bool {
        self.begin("list");
        let mut answer = self.list(Signature::Own).await;
        if let Ok(refusal) = &answer
            && let Some(region) = named_region(refusal).filter(|region| *region != self.store.region)
            && Condition::of_answer(refusal.status, refusal.code()) != Condition::Well
        {
            self.client.region(&region);
            let again = self.list(Signature::Own).await;
            if again.as_ref().is_ok_and(TrialAnswer::is_success) {
                let says = format!("the store says {region}, and store.region is {}", self.store.region);
                self.note("region", Found::Failed, says);
                self.findings.region = Some(region);
                answer = again;
            }
        }
        if !answer.as_ref().is_ok_and(TrialAnswer::is_success) && self.other_addressing().await {
            answer = self.list(Signature::Own).await;
        }
        match &answer {
            Ok(answer) if answer.is_success() => {
                self.note("list", Found::Yes, "the store answers, and takes the signature");
                let skew = skew_seconds(answer, std::time::SystemTime::now());
                if let Some(seconds) = skew.filter(|skew| skew.unsigned_abs() >= SKEW_SECONDS_TOLD) {
                    self.note("clock", Found::No, off(seconds));
                }
            }
            Ok(refusal) => self.refused(refusal),
            Err(error) => self.unanswered(error),
        }
        if self.findings.unusable.is_some() {
            return false;
        }
        self.false_signature().await;
        true
    }

    async fn list(&self, signature: Signature) -> Result<TrialAnswer, NoAnswer> {
        let list = Trial::bucket(Method::GET).query("list-type", "2").query("max-keys", "1");
        self.client.send(list.query("prefix", self.client.prefix()).signed(signature)).await
    }

    /// Whether the bucket answers where the other way of naming it puts it.
    async fn other_addressing(&mut self) -> bool {
        let other = match self.store.addressing {
            StoreAddressing::Path => StoreAddressing::VirtualHost,
            StoreAddressing::VirtualHost => StoreAddressing::Path,
        };
        if self.client.address(self.store, other).is_err() {
            return false;
        }
        if self.list(Signature::Own).await.is_ok_and(|answer| answer.is_success()) {
            self.findings.addressing = Some(other);
            self.note("addressing", Found::Failed, "the bucket answers by the other addressing alone");
            return true;
        }
        // It made an address of the same settings before.
        let _ = self.client.address(self.store, self.store.addressing);
        false
    }

    fn refused(&mut self, refusal: &TrialAnswer) {
        let shown = refusal.shown();
        let condition = Condition::of_answer(refusal.status, refusal.code());
        let skew = skew_seconds(refusal, std::time::SystemTime::now());
        let mut says = format!("{} (it answered {shown})", condition.for_the_operator());
        match condition {
            Condition::Refuses(Cause::Clock) => {
                if let Some(seconds) = skew {
                    says = format!("{}; {says}", off(seconds));
                }
            }
            Condition::Refuses(Cause::Region) => {
                if let Some(region) = named_region(refusal) {
                    says =
                        format!("the store says {region}, and store.region is {}; {says}", self.store.region);
                }
            }
            Condition::Refuses(Cause::AccessKey | Cause::Secret | Cause::Session | Cause::Bucket)
            | Condition::Refuses(Cause::Rights)
            | Condition::Well
            | Condition::Away
            | Condition::NoCredentials
            | Condition::Failing(_) => {}
        }
        self.note("list", Found::Failed, says.clone());
        let exit = if refusal.status.is_server_error() { Exit::Unavailable } else { Exit::Refused };
        self.findings.unusable = Some((exit, says));
    }

    fn unanswered(&mut self, error: &NoAnswer) {
        let says = match error {
            NoAnswer::Credentials(error) => format!("store.credentials: {error}"),
            NoAnswer::Unreached(_)
            | NoAnswer::Broken(_)
            | NoAnswer::BrokenOff
            | NoAnswer::Silent
            | NoAnswer::Request(_) => {
                format!("store.endpoint: {error}")
            }
        };
        self.note("list", Found::Failed, says.clone());
        self.findings.unusable = Some((Exit::Unavailable, says));
    }

    async fn false_signature(&mut self) {
        self.begin("a false signature");
        let answer = self.list(Signature::False).await;
        match answer {
            Ok(answer) if answer.is_success() => {
                let says = "the store takes it: anybody who reaches it reads this bucket, past Subgate";
                self.note("refuses false signatures", Found::Failed, says);
            }
            Ok(answer) if answer.status == StatusCode::FORBIDDEN => {
                self.note("refuses false signatures", Found::Yes, answer.shown());
            }
            answer => {
                let says = failure(&answer).unwrap_or_default();
                self.note("refuses false signatures", Found::Yes, says);
            }
        }
    }
}

/// The region that a refusal names as the right one.
fn named_region(answer: &TrialAnswer) -> Option<String> {
    let named = answer.text_of("Region").filter(|_| answer.code().is_some());
    let named = named.or_else(|| answer.header("x-amz-bucket-region"));
    named.filter(|region| !region.is_empty()).map(str::to_owned)
}

/// By how many seconds the store's clock is ahead of this one.
fn skew_seconds(answer: &TrialAnswer, now: std::time::SystemTime) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(answer.header("date")?).ok()?;
    let now = i64::try_from(UnixTime::from(now).seconds()).ok()?;
    Some(date.timestamp().as_second().saturating_sub(now))
}

fn off(seconds: i64) -> String {
    let (minutes, way) =
        (seconds.unsigned_abs().div_ceil(60), if seconds > 0 { "behind" } else { "ahead of" });
    format!("this server's clock is {minutes} min {way} the store's")
}
