//! The house rules that no compiler holds: who may use whom, how files look, which rules have tests.

mod mutants;
mod rooms;
mod rules;
mod sources;

use sources::{is_test_file, read, root, rust_files, shown, without_tests};

/// Lines of one file without its tests.
const FILE_LINES_MAX: usize = 600;
/// Characters of one line, of comments and string literals too, which the formatter leaves alone.
const LINE_COLUMNS_MAX: usize = 110;

#[test]
fn files_are_short_enough_to_read() {
    let harness = rust_files("tests/harness").into_iter();
    for path in rust_files("src").into_iter().filter(|path| !is_test_file(path)).chain(harness) {
        let lines = without_tests(&read(&path)).lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", shown(&path));
    }
}

#[test]
fn lines_are_short_enough_to_read() {
    let mut long = Vec::new();
    for path in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        for (index, line) in read(&path).lines().enumerate() {
            if line.chars().count() > LINE_COLUMNS_MAX {
                long.push(format!("{}:{}", shown(&path), index + 1));
            }
        }
    }
    assert!(long.is_empty(), "{} lines over {LINE_COLUMNS_MAX} columns: {long:#?}", long.len());
}

/// Words are put together, so that this file does not hold them.
fn check_absent(files: &[std::path::PathBuf], words: &[(&str, &str)]) {
    let mut found = Vec::new();
    for path in files {
        let text = read(path);
        for (left, right) in words {
            let word = format!("{left}{right}");
            if text.contains(&word) {
                found.push(format!("{} holds {word}", shown(path)));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    let files: Vec<_> = ["src", "tests", "benches"].into_iter().flat_map(rust_files).collect();
    check_absent(&files, &[("#[ign", "ore"), ("todo", "!("), ("unimplemented", "!("), ("FIX", "ME")]);
    check_absent(&files, &[("XX", "X:"), ("TO", "DO:")]);
}

#[test]
fn modules_stand_where_they_are_looked_for() {
    let files: Vec<_> = ["src", "tests", "benches"].into_iter().flat_map(rust_files).collect();
    check_absent(&files, &[("#[pa", "th"), ("#![pa", "th")]);
}

#[test]
fn every_module_says_what_it_is_for() {
    for path in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let inner = is_test_file(&path) && !path.starts_with(root().join("tests"));
        assert!(inner || read(&path).starts_with("//! "), "{} opens without a sentence", shown(&path));
    }
}
