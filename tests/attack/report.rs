//! What came of all attacks: a line for each as it ends, a table or JSON at the end, and an exit code.

use std::{fmt, process::ExitCode};

use serde_json::{Value, json};

use crate::program::{Check, Finding};

/// What came of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Held,
    Open,
    NotApplicable,
    /// It could not be run.
    Failed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Open => "open",
            Self::NotApplicable => "not applicable",
            Self::Failed => "could not run",
        }
    }
}

/// One attack with its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    name: &'static str,
    rule: &'static str,
    outcome: Outcome,
    evidence: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rule, outcome, evidence } = self;
        write!(f, "{:<14} {name:<34} {rule}: {evidence}", outcome.name())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    pub(crate) fn add(&mut self, check: &Check, finding: Result<Finding, String>) -> Row {
        let (outcome, evidence) = match finding {
            Ok(Finding::Held(evidence)) => (Outcome::Held, evidence),
            Ok(Finding::Open(evidence)) => (Outcome::Open, evidence),
            Ok(Finding::NotApplicable(why)) => (Outcome::NotApplicable, why),
            Err(why) => (Outcome::Failed, why),
        };
        // An answer's text is the server's: nothing of it moves the terminal.
        let evidence = evidence.chars().map(|c| if c.is_control() { '?' } else { c }).take(300).collect();
        let row = Row { name: check.name, rule: check.rule, outcome, evidence };
        self.0.push(row.clone());
        row
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.0.iter().filter(|row| row.outcome == outcome).count()
    }

    /// The rules with what came of them, and the sums.
    pub(crate) fn table(&self) -> String {
        let rule = |row: &Row| row.name.split('-').next().unwrap_or_default().to_uppercase();
        let mut rules: Vec<String> = self.0.iter().map(rule).collect();
        rules.sort_by_key(|rule| rule.trim_start_matches('P').parse::<u32>().unwrap_or(0));
        rules.dedup();
        let all = [Outcome::Held, Outcome::Open, Outcome::NotApplicable, Outcome::Failed];
        let mut table = format!("{:<6}", "rule");
        all.iter().for_each(|outcome| table.push_str(&format!("{:>16}", outcome.name())));
        for name in &rules {
            table.push_str(&format!("\n{name:<6}"));
            for outcome in all {
                let count = self.0.iter().filter(|row| row.outcome == outcome && rule(row) == *name).count();
                table.push_str(&format!(
                    "{:>16}",
                    if count == 0 { "-".to_owned() } else { count.to_string() }
                ));
            }
        }
        table.push_str(&format!("\n{:<6}", "all"));
        all.iter().for_each(|outcome| table.push_str(&format!("{:>16}", self.count(*outcome))));
        table
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.0.iter().map(|row| {
            json!({
                "name": row.name, "rule": row.rule, "outcome": row.outcome.name(), "evidence": row.evidence,
            })
        });
        json!({"attacks": rows.collect::<Vec<_>>()})
    }

    /// 0 if every attack that applies came out `right`, 1 if one did not, 2 if one could not be run, or none
    /// applied.
    pub(crate) fn exit_code(&self, right: Outcome) -> ExitCode {
        let applied = self.count(Outcome::Held) + self.count(Outcome::Open);
        if applied > self.count(right) {
            return ExitCode::from(1);
        }
        if self.count(Outcome::Failed) > 0 || applied == 0 { ExitCode::from(2) } else { ExitCode::SUCCESS }
    }
}
