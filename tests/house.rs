//! The house rules that no compiler holds: who may use whom, how long a file may be, what is never left lying
//! about.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Lines of one file without its tests.
const FILE_LINES_MAX: usize = 600;

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_string_lossy();
    stem == "tests" || stem.ends_with("_tests") || stem == "testing"
}

/// The text before the tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// The rooms that a text uses by `crate::`.
fn used(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let name = |rest: &str| {
        rest.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect()
    };
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("crate::") {
        let standing_alone =
            !rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$');
        rest = &rest[at + "crate::".len()..];
        if !standing_alone {
            continue;
        }
        if !rest.starts_with('{') {
            rooms.push(name(rest));
            continue;
        }
        // The first names of a list, at its own depth.
        let (mut depth, mut first) = (0, true);
        for (index, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                ',' if depth == 1 => first = true,
                c if depth == 1 && first && !c.is_whitespace() => {
                    rooms.push(name(&rest[index..]));
                    first = false;
                }
                _ => {}
            }
            if c == '{' && depth == 1 {
                first = true;
            }
        }
    }
    rooms.retain(|room: &String| !room.is_empty());
    rooms
}

#[test]
fn uses_are_read_as_they_are_written() {
    let text = "use crate::{\n    auth::{self, x},\n    error::{Code, Error},\n    s3,\n};\nuse crate::secret::Secret;\nlet x = crate::chain::y();\n// crate::cli::no\nsubcrate::no";
    assert_eq!(used(text), ["auth", "error", "s3", "secret", "chain"]);
}

/// What each room may use: those of lower floors, and itself. Rooms of one floor are apart unless named
/// together.
const FLOORS: &[&[&str]] = &[
    &["error", "secret", "time"],
    &["chain", "s3"],
    &["auth", "policy"],
    &["body", "config"],
    &["store"],
    // The road asks the endpoints and the endpoints ask the gate: they are one floor. The record of a request
    // is theirs.
    &["exchange", "proxy", "endpoints"],
    &["serve"],
    &["cli"],
];

/// Neighbours on one floor that know each other.
const NEIGHBOURS: &[(&str, &str)] =
    &[("proxy", "endpoints"), ("endpoints", "proxy"), ("proxy", "exchange"), ("endpoints", "exchange")];

#[test]
fn lower_rooms_never_use_upper_ones() {
    let floor_of = |room: &str| FLOORS.iter().position(|floor| floor.contains(&room));
    let mut wrong = BTreeMap::new();
    for path in sources(&src()) {
        let relative = path.strip_prefix(src()).unwrap().to_owned();
        let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs");
        if ["lib", "main"].contains(&room) || is_test_file(&path) {
            continue;
        }
        let own = floor_of(room).unwrap_or_else(|| panic!("{room} has no floor; give it one in FLOORS"));
        for other in used(without_tests(&std::fs::read_to_string(&path).unwrap())) {
            let Some(floor) = floor_of(&other) else {
                panic!("{}: crate::{other} has no floor", path.display())
            };
            let allowed = floor < own || other == room || NEIGHBOURS.contains(&(room, other.as_str()));
            if !allowed {
                wrong.insert(format!("{} uses crate::{other}", relative.display()), ());
            }
        }
    }
    assert!(wrong.is_empty(), "{:#?}", wrong.into_keys().collect::<Vec<_>>());
}

#[test]
fn files_are_short_enough_to_read() {
    for path in sources(&src()).iter().filter(|path| !is_test_file(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = without_tests(&text).lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("road");
    // Put together, so that this file does not hold them.
    let words =
        ["#[ign", "todo", "unimplemented", "FIX", "XX"].into_iter().zip(["ore", "!(", "!(", "ME", "X:"]);
    let words: Vec<String> = words.map(|(left, right)| format!("{left}{right}")).collect();
    for path in sources(&src()).into_iter().chain(sources(&tests)) {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} holds {word}", path.display());
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for path in sources(&src()).iter().filter(|path| !is_test_file(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("//!"), "{} opens without a sentence", path.display());
    }
}

/// Rules of the list P1 to P51 that are held over the wire here; the others are held beside the code or are
/// not built yet.
#[test]
fn every_rule_has_a_test_under_its_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all: String = sources(&src())
        .into_iter()
        .chain(sources(&root.join("tests").join("road")))
        .chain(sources(&root.join("tests").join("endpoints")))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    // Metrics come with the listener that they belong to.
    let later = [50];
    let rules = (1..=18).chain(20..=28).chain(30..=38).chain(40..=51).filter(|rule| !later.contains(rule));
    let missing: Vec<u32> = rules
        .filter(|rule| {
            let number = format!("p{rule}_");
            !all.lines().any(|line| {
                line.split_once("fn ").is_some_and(|(_, name)| {
                    name.starts_with(&number) || name.contains(&format!("_{number}"))
                })
            })
        })
        .collect();
    assert_eq!(missing, Vec::<u32>::new());
}
