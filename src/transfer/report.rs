//! What became of each file: counted as it happens, told as a table or as JSON at the end. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::names::is_invisible;

/// With more rows than these, the table tells only what needs somebody.
const ROWS_SHOWN_MAX: usize = 40;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It was uploaded.
    Sent,
    /// It was downloaded.
    Received,
    /// It was downloaded, and there is nothing to prove it by but its size.
    ReceivedBySize,
    /// It was copied from one place to another.
    Copied,
    /// The same stands there already.
    Same,
    /// It came here before without a proof, and neither it nor the object has changed since.
    SameBySize,
    /// It was deleted.
    Deleted,
    /// It would be uploaded, if this were no dry run.
    WouldSend,
    /// It would be downloaded.
    WouldReceive,
    /// It would be copied.
    WouldCopy,
    /// It would be deleted.
    WouldDelete,
    /// It is not meant: its name, or a pattern, leaves it out.
    LeftOut,
    /// It was not begun, or cut off: the run was interrupted, or ended before.
    NotBegun,
    /// The rules of the server do not take it.
    Refused,
    /// It failed.
    Failed,
}

impl Outcome {
    /// The word in the table, in capitals where it needs somebody.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
            Self::ReceivedBySize => "received, by size",
            Self::Copied => "copied",
            Self::Same => "same",
            Self::SameBySize => "same, by size",
            Self::Deleted => "deleted",
            Self::WouldSend => "would send",
            Self::WouldReceive => "would receive",
            Self::WouldCopy => "would copy",
            Self::WouldDelete => "would delete",
            Self::LeftOut => "left out",
            Self::NotBegun => "NOT BEGUN",
            Self::Refused => "REFUSED",
            Self::Failed => "FAILED",
        }
    }

    /// Whether it is as it was meant to be.
    pub(crate) fn is_good(self) -> bool {
        !matches!(self, Self::NotBegun | Self::Refused | Self::Failed)
    }

    /// Whether it comes from the server.
    fn comes_here(self) -> bool {
        matches!(self, Self::Received | Self::ReceivedBySize | Self::SameBySize | Self::WouldReceive)
    }

    /// Whether each row of it is told, however many there are.
    fn is_always_told(self) -> bool {
        matches!(
            self,
            Self::ReceivedBySize
                | Self::SameBySize
                | Self::Deleted
                | Self::WouldDelete
                | Self::Refused
                | Self::Failed
        )
    }
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// The outcome.
    pub(crate) outcome: Outcome,
    /// The file here, or at the place it comes from; empty where there is none.
    pub(crate) path: String,
    /// The key at the server; empty where there is none.
    pub(crate) key: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// What is wrong and what to do, or a remark.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

/// Files and bytes of one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Total {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// All rows of a run, or the last that counts of each file where a run goes on for ever.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    totals: BTreeMap<Outcome, Total>,
}

impl Report {
    /// Adds a row and counts it.
    pub(crate) fn push(&mut self, row: Row) {
        self.count(&row);
        self.rows.push(row);
    }

    /// Counts a row without keeping it.
    pub(crate) fn count(&mut self, row: &Row) {
        self.count_all(row.outcome, Total { files: 1, bytes: row.bytes });
    }

    /// Counts files of which there are no rows.
    pub(crate) fn count_all(&mut self, outcome: Outcome, all: Total) {
        if all.files > 0 {
            let total = self.totals.entry(outcome).or_default();
            total.files = total.files.saturating_add(all.files);
            total.bytes = total.bytes.saturating_add(all.bytes);
        }
    }

    /// Files and bytes of one outcome.
    pub(crate) fn total(&self, outcome: Outcome) -> Total {
        self.totals.get(&outcome).copied().unwrap_or_default()
    }

    /// Whether nothing came of nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// How many files are not as they were meant to be.
    pub(crate) fn bad(&self) -> u64 {
        self.totals.iter().filter(|(outcome, _)| !outcome.is_good()).map(|(_, total)| total.files).sum()
    }

    /// The table: each row where there are few, or those that need somebody; then the totals.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let are_few = self.rows.len() <= ROWS_SHOWN_MAX;
        let mut shown: Vec<&Row> =
            self.rows.iter().filter(|row| are_few || row.outcome.is_always_told()).collect();
        shown.sort_by(|a, b| (a.outcome, &a.key, &a.path).cmp(&(b.outcome, &b.key, &b.path)));
        let width = shown.iter().map(|row| row.outcome.word().len()).max().unwrap_or(0);
        for row in &shown {
            let name = match (row.path.as_str(), row.key.as_str()) {
                (path, "") => one_line(path),
                ("", key) => one_line(key),
                (path, key) if row.outcome.comes_here() => {
                    format!("{} -> {}", one_line(key), one_line(path))
                }
                (path, key) => format!("{} -> {}", one_line(path), one_line(key)),
            };
            let detail =
                if row.detail.is_empty() { String::new() } else { format!(": {}", one_line(&row.detail)) };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:width$}  {name}{detail}", row.outcome.word());
        }
        if !shown.is_empty() {
            text.push('\n');
        }
        let width = self.totals.keys().map(|outcome| outcome.word().len()).max().unwrap_or(0);
        for (outcome, total) in &self.totals {
            let files = if total.files == 1 { "file" } else { "files" };
            let _ = writeln!(
                text,
                "{:width$}  {:>9} {files:5}  {:>10}",
                outcome.word(),
                total.files,
                size_text(total.bytes)
            );
        }
        if self.totals.is_empty() {
            text.push_str("no files\n");
        }
        text
    }

    /// Totals by outcome and all rows, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "totals": &self.totals, "files": &self.rows })
    }
}

/// A number of bytes for people: `1.5 GiB`.
pub(crate) fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut shown = None;
    let mut tenths = u128::from(bytes).saturating_mul(10);
    for unit in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        shown = Some(unit);
    }
    match shown {
        None => format!("{bytes} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// Names come from files and servers: they do not write into the terminal as they like, nor turn a line round
/// or begin another one.
pub(crate) fn one_line(text: &str) -> String {
    let is_hidden = |c| c == '\u{2028}' || c == '\u{2029}' || is_invisible(c);
    text.chars().map(|c| if c.is_control() || is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(outcome: Outcome, path: &str, bytes: u64, detail: &str) -> Row {
        let key = if path.is_empty() { String::new() } else { format!("k/{path}") };
        Row { outcome, path: path.to_owned(), key, bytes, detail: detail.to_owned() }
    }

    #[test]
    fn few_rows_are_all_told_and_of_many_those_that_need_somebody() {
        let mut report = Report::default();
        report.push(row(Outcome::Failed, "b\x1b[31m", 5, "why\nnot"));
        report.push(row(Outcome::Sent, "a", 2048, ""));
        assert_eq!(
            report.table(),
            "sent    a -> k/a\nFAILED  b\u{fffd}[31m -> k/b\u{fffd}[31m: why\u{fffd}not\n\n\
             sent            1 file      2.0 KiB\nFAILED          1 file          5 B\n"
        );
        for _ in 0..ROWS_SHOWN_MAX {
            report.push(row(Outcome::Same, "c", 1, ""));
        }
        let table = report.table();
        assert!(table.contains("FAILED  b") && !table.contains(" c ->"), "{table}");
        assert_eq!((report.bad(), report.total(Outcome::Same).files), (1, ROWS_SHOWN_MAX as u64));
        assert_eq!(Report::default().table(), "no files\n");
    }

    #[test]
    fn no_name_turns_a_line_round_or_draws_another() {
        assert_eq!(one_line("a\u{202e}b\u{2028}c\u{2029}d\re"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(one_line("ä b/語.bin"), "ä b/語.bin");
    }

    #[test]
    fn json_has_totals_and_files() {
        let mut report = Report::default();
        report.push(row(Outcome::WouldSend, "a", 3, ""));
        assert_eq!(
            report.json().to_string(),
            concat!(
                r#"{"files":[{"bytes":3,"key":"k/a","outcome":"would-send","path":"a"}],"#,
                r#""totals":{"would-send":{"bytes":3,"files":1}}}"#
            )
        );
    }

    #[test]
    fn sizes_are_told_in_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
