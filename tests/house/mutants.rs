//! `tests/mutants.md`, the list of changes that no test notices, speaks of code that is there.

use std::collections::BTreeSet;

use super::sources::{read, root};

/// One row: file, function, change, reason.
type Row = [String; 4];

fn rows(text: &str) -> Vec<Row> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("{cells:?} are not four cells"))
    })
    .collect()
}

/// What is wrong with a row, given the text of a file; none for a file that is not there.
fn fault(row: &Row, text_of: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let [file, function, change, reason] = row.each_ref().map(|cell| cell.trim_matches('`'));
    let Some(text) = text_of(file) else { return Some("there is no such file") };
    let name = function.rsplit("::").next().unwrap_or(function);
    let declared = [format!("fn {name}("), format!("fn {name}<"), format!("const {name}:")];
    if !declared.iter().any(|declared| text.contains(declared)) {
        return Some("there is no such function");
    }
    let is_empty = change.is_empty() || reason.split_whitespace().count() < 4;
    is_empty.then_some("it does not say what changes and why nothing notices")
}

#[test]
fn changes_that_nothing_notices_are_of_code_that_is_there() {
    let text = read(&root().join("tests/mutants.md"));
    let rows = rows(&text);
    assert!(!rows.is_empty(), "no row was read");
    let text_of = |file: &str| std::fs::read_to_string(root().join(file)).ok();
    for row in &rows {
        assert_eq!(fault(row, text_of), None, "{row:?}");
    }
    let changes: BTreeSet<_> = rows.iter().map(|row| &row[..3]).collect();
    assert_eq!(changes.len(), rows.len(), "a change is there twice");
}

#[test]
fn a_row_that_is_out_of_date_is_found() {
    let text = "# Title\n\n| file | function | change | why |\n| --- | --- | --- | --- |\n\
                | `a.rs` | `A::f` | `<` to `<=` | both sides are never equal |\n";
    let [row] = &rows(text)[..] else { panic!("one row") };
    let of = |text: &'static str| move |file: &str| (file == "a.rs").then(|| text.to_owned());
    assert_eq!(fault(row, of("impl A { fn f(&self) {} }")), None);
    assert_eq!(fault(row, of("fn f<T>() {}")), None);
    assert!(fault(row, of("fn g() {}")).is_some());
    assert!(fault(row, |_| None).is_some());
    let mut without_reason = row.clone();
    without_reason[3] = "equivalent".to_owned();
    assert!(fault(&without_reason, of("fn f() {}")).is_some());
}

#[test]
fn what_is_mutated_is_there() {
    let text = read(&root().join(".cargo/mutants.toml"));
    let settings: toml::Table = toml::from_str(&text).unwrap();
    let globs = settings["examine_globs"].as_array().unwrap();
    assert!(!globs.is_empty());
    for glob in globs.iter().map(|glob| glob.as_str().unwrap()) {
        let path = root().join(glob.trim_end_matches("/**/*.rs"));
        assert!(path.exists(), "{glob}");
        assert_eq!(path.is_dir(), glob.ends_with("/**/*.rs"), "{glob}");
    }
}
