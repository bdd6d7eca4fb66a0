//! The report: one row for each check, printed as a table or as JSON.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::{
    super::{
        exit::{CommandError, Exit},
        terminal::{self, Paint, Progress},
    },
    finding::{Finding, Verdict},
};

impl Verdict {
    /// The verdict in the table, in capitals where it demands attention.
    fn label(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Failed => "FAILED",
            Self::Open => "OPEN",
        }
    }

    fn paint(self, paint: Paint) -> String {
        let label = format!("{:<7}", self.label());
        match self {
            Self::Skipped => paint.dim(&label),
            Self::Passed | Self::Refused => paint.green(&label),
            Self::Failed => paint.yellow(&label),
            Self::Open => paint.red(&label),
        }
    }
}

/// The part of the report that a check belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Group {
    /// Everything a client does in its own folder.
    OwnFolder,
    /// Reading other folders as a validator.
    ReadAll,
    /// Another folder, by its name.
    OtherFolder,
    /// Signatures and forms that were changed after they were made.
    Tampered,
    /// Another folder, by a path that begins in the own one.
    Traversal,
    /// Removing what the trial wrote.
    CleanUp,
}

impl Group {
    fn title(self) -> &'static str {
        match self {
            Self::OwnFolder => "Your own folder: must work",
            Self::ReadAll => "All folders, read by a validator: must work",
            Self::OtherFolder => "Another folder, by its name: must be refused",
            Self::Tampered => "Signatures and forms that were changed: must be refused",
            Self::Traversal => "Another folder, by a path out of your own: must be refused",
            Self::CleanUp => "Cleaning up",
        }
    }

    /// The group in an error message.
    fn name(self) -> &'static str {
        match self {
            Self::OwnFolder => "own folder",
            Self::ReadAll => "reading everything",
            Self::OtherFolder => "other folder",
            Self::Tampered => "tampered",
            Self::Traversal => "traversal",
            Self::CleanUp => "cleaning up",
        }
    }
}

#[derive(Debug, Serialize)]
struct Check {
    group: Group,
    name: String,
    verdict: Verdict,
    detail: String,
    milliseconds: u64,
}

/// What was tested: a server, as one of its hotkeys.
#[derive(Debug, Serialize)]
pub(super) struct Subject {
    /// URL of the server.
    pub(super) endpoint: String,
    /// The hotkey.
    pub(super) hotkey: String,
    /// The role that the server gives it.
    pub(super) role: String,
    /// Its folder that was used; none if it has none.
    pub(super) folder: Option<String>,
    /// The other folder, which must be out of its reach.
    pub(super) other_folder: Option<String>,
}

/// The checks so far.
pub(super) struct Report {
    checks: Vec<Check>,
    progress: Progress,
    started: Instant,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { checks: Vec::new(), progress: Progress::new(), started: Instant::now() }
    }

    /// Shows the name of a check, waits for its finding and adds it.
    pub(super) async fn check(
        &mut self,
        group: Group,
        name: &str,
        finding: impl Future<Output = Finding>,
    ) -> Verdict {
        self.progress.show(format_args!("{}. {name} …", self.checks.len().saturating_add(1)));
        let started = Instant::now();
        let finding = finding.await;
        let verdict = finding.verdict;
        self.push(group, name, started, finding);
        verdict
    }

    /// Adds a finding that took no time.
    pub(super) fn add(&mut self, group: Group, name: &str, finding: Finding) {
        self.push(group, name, Instant::now(), finding);
    }

    fn push(&mut self, group: Group, name: &str, started: Instant, finding: Finding) {
        let Finding { verdict, detail } = finding;
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.checks.push(Check { group, name: name.to_owned(), verdict, detail, milliseconds });
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// Prints the table, or JSON on one line.
    pub(super) fn print(&mut self, subject: &Subject, as_json: bool) {
        self.progress.show("");
        // The reads of a validator are tried between the writes that must be refused.
        self.checks.sort_by_key(|check| check.group);
        if as_json { terminal::print_line(self.json(subject)) } else { self.table(subject) }
    }

    fn json(&self, subject: &Subject) -> serde_json::Value {
        let summary: BTreeMap<&str, usize> = [
            ("passed", Verdict::Passed),
            ("refused", Verdict::Refused),
            ("open", Verdict::Open),
            ("failed", Verdict::Failed),
            ("skipped", Verdict::Skipped),
        ]
        .map(|(name, verdict)| (name, self.count(verdict)))
        .into();
        serde_json::json!({
            "subject": subject,
            "sound": self.error().is_none(),
            "summary": summary,
            "checks": self.checks,
        })
    }

    fn table(&self, subject: &Subject) {
        let paint = Paint::for_stdout();
        let fact =
            |name: &str, value: &str| terminal::print_line(format_args!("  {} {value}", paint.dim(name)));
        terminal::print_line(paint.bold(&format!("Subgate doctor: {}", subject.endpoint)));
        fact("hotkey      ", &format!("{}, a {}", subject.hotkey, subject.role));
        fact("own folder  ", subject.folder.as_deref().unwrap_or("none"));
        fact("other folder", subject.other_folder.as_deref().unwrap_or("none"));
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
        let mut group = None;
        for check in &self.checks {
            if group != Some(check.group) {
                group = Some(check.group);
                terminal::print_line("");
                terminal::print_line(paint.bold(check.group.title()));
            }
            terminal::print_line(format_args!(
                "  {} {:<width$}  {}",
                check.verdict.paint(paint),
                check.name,
                check.detail
            ));
        }
        terminal::print_line("");
        terminal::print_line(format_args!(
            "{} passed, {} refused as they should be, {} open, {} failed, {} skipped, in {:.1} s",
            self.count(Verdict::Passed),
            self.count(Verdict::Refused),
            self.count(Verdict::Open),
            self.count(Verdict::Failed),
            self.count(Verdict::Skipped),
            self.started.elapsed().as_secs_f64(),
        ));
    }

    /// The error of the worst findings; none if all is as it should be.
    pub(super) fn error(&self) -> Option<CommandError> {
        let error_of = |verdict: Verdict, exit: Exit, what: &str| {
            let checks = self.checks.iter().filter(|check| check.verdict == verdict);
            let names: Vec<_> =
                checks.map(|check| format!("{}: {}", check.group.name(), check.name)).collect();
            (!names.is_empty()).then(|| CommandError::new(exit, format!("{what}: {}", names.join("; "))))
        };
        error_of(Verdict::Open, Exit::Open, "OPEN, but must be refused")
            .or_else(|| error_of(Verdict::Failed, Exit::Failed, "failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let mut report = Report::new();
        for verdict in verdicts {
            report.add(
                Group::OtherFolder,
                verdict.label(),
                Finding { verdict: *verdict, detail: String::new() },
            );
        }
        report
    }

    #[test]
    fn the_worst_finding_decides() {
        use Verdict::{Failed, Open, Passed, Refused, Skipped};
        assert_eq!(report(&[Passed, Refused, Skipped]).error(), None);
        assert_eq!(report(&[Failed, Passed]).error().map(|error| error.exit), Some(Exit::Failed));
        let error = report(&[Failed, Open, Open]).error().unwrap();
        assert_eq!((error.exit, error.to_string().matches("OPEN").count()), (Exit::Open, 3));
    }
}
