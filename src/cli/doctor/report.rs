//! What was found: a row for each thing that was tried, as a table or as JSON.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::super::{
    exit::{CommandError, Exit},
    terminal::{self, Paint, Progress},
};

/// How one thing turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It could not be tried, and that is no fault.
    Skipped,
    /// It must work, and it does.
    Passed,
    /// It must be refused, and it is.
    Refused,
    /// It must work and does not, or the answer says nothing about access.
    Failed,
    /// It must be refused, and it is let through.
    Open,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Failed => "FAILED",
            Self::Open => "OPEN",
        }
    }

    fn paint(self, paint: Paint) -> String {
        let name = format!("{:<7}", self.name());
        match self {
            Self::Skipped => paint.dim(&name),
            Self::Passed | Self::Refused => paint.green(&name),
            Self::Failed => paint.yellow(&name),
            Self::Open => paint.red(&name),
        }
    }
}

/// A verdict with its reason.
pub(super) type Finding = (Verdict, String);

/// In which part of the table a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Group {
    /// The caller's own folder.
    OwnFolder,
    /// Reading what is not the caller's own, as a validator.
    ReadAll,
    /// Another identity's folder, called by its name.
    OtherFolder,
    /// Signatures and forms that were changed after they were made.
    Tampered,
    /// Another identity's folder, by way of a path that begins in the caller's own.
    Traversal,
    /// What the doctor leaves behind.
    CleanUp,
}

impl Group {
    fn title(self) -> &'static str {
        match self {
            Self::OwnFolder => "The own folder: must work",
            Self::ReadAll => "Everybody's folders, read by a validator: must work",
            Self::OtherFolder => "Another folder, by its name: must be refused",
            Self::Tampered => "Signatures and forms, changed afterwards: must be refused",
            Self::Traversal => "Another folder, by a path out of the own one: must be refused",
            Self::CleanUp => "Cleaning up",
        }
    }

    /// The group in a line of its own findings.
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
struct Row {
    group: Group,
    name: String,
    verdict: Verdict,
    detail: String,
    milliseconds: u64,
}

/// Who was tried where.
#[derive(Debug, Serialize)]
pub(super) struct Subject {
    /// The server.
    pub(super) endpoint: String,
    /// The caller.
    pub(super) hotkey: String,
    /// What the server takes the caller for.
    pub(super) role: String,
    /// The own folder that was used; none where the caller has none.
    pub(super) folder: Option<String>,
    /// The other folder.
    pub(super) other_folder: Option<String>,
}

/// All rows so far.
pub(super) struct Report {
    rows: Vec<Row>,
    progress: Progress,
    began: Instant,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), progress: Progress::new(), began: Instant::now() }
    }

    /// Waits for a finding and adds it.
    pub(super) async fn try_out(
        &mut self,
        group: Group,
        name: &str,
        finding: impl Future<Output = Finding>,
    ) -> Verdict {
        self.progress.show(format_args!("{}. {name} …", self.rows.len().saturating_add(1)));
        let began = Instant::now();
        let finding = finding.await;
        let verdict = finding.0;
        self.add(group, name, began, finding);
        verdict
    }

    /// Adds what took no time.
    pub(super) fn note(&mut self, group: Group, name: &str, finding: Finding) {
        self.add(group, name, Instant::now(), finding);
    }

    fn add(&mut self, group: Group, name: &str, began: Instant, (verdict, detail): Finding) {
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.rows.push(Row { group, name: name.to_owned(), verdict, detail, milliseconds });
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// Prints the table, or JSON on one line.
    pub(super) fn print(&mut self, subject: &Subject, as_json: bool) {
        self.progress.show("");
        // A validator's reads are tried between the writes that it must not do.
        self.rows.sort_by_key(|row| row.group);
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
            "sound": self.fault().is_none(),
            "summary": summary,
            "checks": self.rows,
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
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        let mut group = None;
        for row in &self.rows {
            if group != Some(row.group) {
                group = Some(row.group);
                terminal::print_line("");
                terminal::print_line(paint.bold(row.group.title()));
            }
            terminal::print_line(format_args!(
                "  {} {:<width$}  {}",
                row.verdict.paint(paint),
                row.name,
                row.detail
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
            self.began.elapsed().as_secs_f64(),
        ));
    }

    /// The worst of it as the command's end; none where all is as it should be.
    pub(super) fn fault(&self) -> Option<CommandError> {
        let of = |verdict: Verdict, exit: Exit, what: &str| {
            let rows = self.rows.iter().filter(|row| row.verdict == verdict);
            let names: Vec<_> = rows.map(|row| format!("{}: {}", row.group.name(), row.name)).collect();
            (!names.is_empty()).then(|| CommandError::new(exit, format!("{what}: {}", names.join("; "))))
        };
        of(Verdict::Open, Exit::Open, "OPEN, which must be refused")
            .or_else(|| of(Verdict::Failed, Exit::Failed, "failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let mut report = Report::new();
        for verdict in verdicts {
            report.note(Group::OtherFolder, verdict.name(), (*verdict, String::new()));
        }
        report
    }

    #[test]
    fn the_worst_finding_decides() {
        use Verdict::{Failed, Open, Passed, Refused, Skipped};
        assert_eq!(report(&[Passed, Refused, Skipped]).fault(), None);
        assert_eq!(report(&[Failed, Passed]).fault().map(|fault| fault.exit), Some(Exit::Failed));
        let fault = report(&[Failed, Open, Open]).fault().unwrap();
        assert_eq!((fault.exit, fault.to_string().matches("OPEN").count()), (Exit::Open, 3));
    }
}
