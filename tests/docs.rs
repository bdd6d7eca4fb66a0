//! The documents are held true: their links lead somewhere, and what they name exists.
//!
//! Read are `README.md`, `CONTRIBUTING.md`, `CHANGELOG.md`, `SECURITY.md`, the pages of `docs/`, and the
//! README files of `certs/`, `tests/interop/` and `tests/attack/`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails where it stands"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// The README is for the first five minutes; what is longer belongs to a page of `docs/`.
const README_LINES_MAX: usize = 120;

/// What a reader sees before scrolling.
const FIRST_SCREEN_LINES: usize = 24;

/// Prose ends here; tables, code and links that stand alone may be longer.
const LINE_CHARS_MAX: usize = 110;

/// Beginnings of paths that the documents name from the root of the repository.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "benches/", "certs/", "deploy/", ".ci/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One document, divided into its fenced blocks and the prose between them.
struct Document {
    path: PathBuf,
    text: String,
    /// The lines outside fenced blocks, with their numbers.
    prose: Vec<(usize, String)>,
    /// The language and the content of each fenced block.
    blocks: Vec<(String, String)>,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut prose, mut blocks, mut open) = (Vec::new(), Vec::new(), None::<(String, String)>);
        for (index, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), open.take()) {
                (Some(language), None) => open = Some((language.to_owned(), String::new())),
                (Some(_), Some(block)) => blocks.push(block),
                (None, Some((language, content))) => open = Some((language, content + line + "\n")),
                (None, None) => prose.push((index + 1, line.to_owned())),
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", path.display());
        Self { path, text, prose, blocks }
    }

    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }

    /// The prose as one text, in which a link or a code span may run over the end of a line.
    fn running_prose(&self) -> String {
        self.prose.iter().map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// What stands between backticks.
    fn code_spans(&self) -> Vec<String> {
        self.running_prose().split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The targets of the links.
    fn links(&self) -> Vec<String> {
        let prose = self.running_prose();
        let rest = prose.split("](").skip(1);
        rest.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
    }

    /// The anchors of the headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.iter().filter(|(_, line)| line.starts_with('#'));
        headings
            .map(|(_, line)| {
                let heading = line.trim_start_matches('#').trim().to_lowercase();
                let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect()
    }

    /// The lines of shell blocks and the code spans, each a command with `\` continuations joined.
    fn commands(&self) -> Vec<String> {
        let shell = self.blocks.iter().filter(|(language, _)| language == "sh");
        let lines = shell.flat_map(|(_, content)| {
            let joined = content.replace("\\\n", " ");
            joined.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        lines.chain(self.code_spans()).collect()
    }
}

fn documents() -> Vec<Document> {
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = pages.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.sort();
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "certs/README.md"] {
        paths.push(root().join(name));
    }
    for folder in ["interop", "attack"] {
        paths.push(root().join("tests").join(folder).join("README.md"));
    }
    paths.into_iter().map(Document::read).collect()
}

/// Fails with everything that is wrong, so that one run is enough.
#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_first_screen_says_what_it_is_and_how_to_start() {
    let readme = Document::read(root().join("README.md"));
    let screen: Vec<&str> = readme.text.lines().take(FIRST_SCREEN_LINES).collect();
    for command in ["cargo run --release -- dev", "cargo test"] {
        assert!(screen.iter().any(|line| line.starts_with(command)), "{command} is not on the first screen");
    }
    assert!(screen.contains(&"```text"), "the first screen has no picture of the road");
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines");
}

/// The page at `/docs` is held to it by `endpoints::page`.
#[test]
fn the_readme_and_the_help_begin_with_the_same_story() {
    let readme = Document::read(root().join("README.md"));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraph = readme.text.split("\n\n").nth(1).unwrap().replace('`', "");
    let (first, story) = paragraph.split_once(". ").unwrap();
    let help = Command::new(env!("CARGO_BIN_EXE_subgate")).arg("--help").output().unwrap();
    let help = words(&String::from_utf8(help.stdout).unwrap());
    let first = words(first).replace("Subgate is an", "An");
    assert!(help.starts_with(&format!("{first} {}", words(story))), "{help}");
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let folder = document.path.parent().unwrap();
        for link in document.links().iter().filter(|link| !link.starts_with("https://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.path.clone() } else { folder.join(file) };
            if !target.exists() {
                wrong.push(format!("{}: {link} is not there", document.name()));
            } else if !anchor.is_empty() && !Document::read(target).anchors().contains(anchor) {
                wrong.push(format!("{}: {link} has no such heading", document.name()));
            }
        }
    }
    none(&wrong);
}

#[test]
fn files_that_are_named_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        for span in document.code_spans() {
            let word = span.split_whitespace().next().unwrap_or_default();
            let is_path = FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains('*');
            // Keys are the operator's own; only their folder is here.
            if is_path && !word.ends_with(".key") && !root().join(word).exists() {
                wrong.push(format!("{}: {word} is not there", document.name()));
            }
        }
    }
    none(&wrong);
}

/// The names of the settings in a table, such as `server.edge.networks`; a table is a name itself.
fn settings_of(table: &toml::Table, path: &str, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let tables: Vec<&toml::Table> = match value {
            toml::Value::Table(table) => vec![table],
            toml::Value::Array(values) => values.iter().filter_map(toml::Value::as_table).collect(),
            _ => Vec::new(),
        };
        for table in tables {
            settings_of(table, &name, found);
        }
        found.insert(name);
    }
}

/// Every setting of `proxy.toml`, those that are shown as comments included.
fn reference() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("proxy.toml")).unwrap();
    let lines = text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line));
    let whole: toml::Table = lines.collect::<Vec<_>>().join("\n").parse().unwrap();
    let mut found = BTreeSet::new();
    settings_of(&whole, "", &mut found);
    found
}

/// Other forms of a setting, which the reference shows in its comments.
const OTHER_FORMS: &[&str] = &[
    "limits.shared.password_env",
    "limits.shared.password_file",
    "limits.shared.username",
    "session.keys.env",
    "store.credentials.file",
];

/// Whether a setting is in the reference. The variables of templates have names of the user's own.
fn is_setting(name: &str, reference: &BTreeSet<String>) -> bool {
    name.starts_with("policy.variables.") || OTHER_FORMS.contains(&name) || reference.contains(name)
}

#[test]
fn settings_that_are_named_are_in_the_reference() {
    let reference = reference();
    let sections: BTreeSet<&str> = reference.iter().filter_map(|name| name.split('.').next()).collect();
    // A recipe may show how to add one that is not there.
    let examples = ["server.greeting"];
    let mut wrong = Vec::new();
    for document in documents() {
        for span in document.code_spans() {
            let name = span.split([' ', '=']).next().unwrap_or_default();
            let is_name = name.contains('.')
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c))
                && name.split_once('.').is_some_and(|(section, rest)| {
                    sections.contains(section) && !["toml", "rs", "md", "json"].contains(&rest)
                });
            if is_name && !is_setting(name, &reference) && !examples.contains(&name) {
                wrong.push(format!("{}: {name} is not in proxy.toml", document.name()));
            }
        }
    }
    none(&wrong);
}

/// The words that begin with `SUBGATE_` and have two underscores in them are settings in the environment.
#[test]
fn variables_that_are_named_are_settings() {
    let reference = reference();
    let (mut wrong, mut found) = (Vec::new(), 0);
    for document in documents() {
        let words = document.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.contains("__")) {
            let Some(name) = word.strip_prefix("SUBGATE_") else { continue };
            found += 1;
            let setting = name.replace("__", ".").to_ascii_lowercase();
            if !is_setting(&setting, &reference) {
                wrong.push(format!("{}: {word} is not in proxy.toml", document.name()));
            }
        }
    }
    assert!(found >= 5, "the documents name {found} variables");
    none(&wrong);
}

#[test]
fn configurations_that_are_shown_hold_known_settings() {
    let reference = reference();
    let mut wrong = Vec::new();
    for document in documents() {
        for (_, content) in document.blocks.iter().filter(|(language, _)| language == "toml") {
            match content.parse::<toml::Table>() {
                Err(error) => wrong.push(format!("{}: not TOML: {error}\n{content}", document.name())),
                Ok(table) => {
                    let mut found = BTreeSet::new();
                    settings_of(&table, "", &mut found);
                    let unknown = found.iter().filter(|name| !is_setting(name, &reference));
                    wrong.extend(
                        unknown.map(|name| format!("{}: {name} is not in proxy.toml", document.name())),
                    );
                }
            }
        }
    }
    none(&wrong);
}

/// The words of a call of `subgate` within a command line, without the program's name, if
/// there is one.
fn call(command: &str) -> Option<Vec<&str>> {
    let ends = ["|", "&&", "#", ">", ";", "2>&1"];
    let mut words = command.split_whitespace();
    if command.contains("--example") {
        // Another program.
        return None;
    } else if command.contains("cargo run") {
        words.by_ref().find(|word| *word == "--")?;
    } else {
        let mut before = "";
        words.by_ref().find(|word| {
            // The value of an option may be called so too.
            let is_value = std::mem::replace(&mut before, word).starts_with("--");
            !is_value && matches!(*word, "subgate" | "\"$(subgate" | "$(subgate")
        })?;
    }
    Some(words.take_while(|word| !ends.contains(word)).collect())
}

/// The help of a subcommand; `None` where the program does not know it.
fn help(subcommand: &[&str]) -> Option<String> {
    let done = Command::new(env!("CARGO_BIN_EXE_subgate")).args(subcommand).arg("--help").output().unwrap();
    done.status.success().then(|| String::from_utf8(done.stdout).unwrap())
}

#[test]
fn calls_of_subgate_are_read_as_they_are_written() {
    assert_eq!(call("cargo run --release -- dev    # a store"), Some(vec!["dev"]));
    assert_eq!(call("SUBGATE_LOG=warn subgate serve --config a | jq"), Some(vec!["serve", "--config", "a"]));
    assert_eq!(call("eval \"$(subgate credentials --no-cache | jq"), Some(vec!["credentials", "--no-cache"]));
    assert_eq!(call("cargo run --release"), None);
    assert_eq!(call("cargo test"), None);
    assert_eq!(call("aws --profile subgate s3 ls"), None);
    assert_eq!(call("cargo run --example attack -- --list"), None);
}

#[test]
fn commands_and_options_that_are_named_exist() {
    let mut known: BTreeMap<Vec<String>, Option<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for document in documents() {
        for command in document.commands() {
            let Some(words) = call(&command) else { continue };
            // These have commands of their own.
            let depth = if matches!(words.first(), Some(&"chain" | &"migrate" | &"store")) { 2 } else { 1 };
            let named: Vec<&str> =
                words.iter().take(depth).take_while(|w| !w.starts_with('-')).copied().collect();
            if named == ["dev"] && cfg!(not(feature = "dev-store")) {
                continue;
            }
            let key = named.iter().map(|word| (*word).to_owned()).collect();
            let help = known.entry(key).or_insert_with(|| help(&named));
            let Some(help) = help else {
                wrong.push(format!("{}: no such command: subgate {}", document.name(), named.join(" ")));
                continue;
            };
            let options = words.iter().filter(|word| word.starts_with("--"));
            for option in options.map(|word| word.split('=').next().unwrap_or(word)) {
                let listed = help.split(|c: char| c != '-' && !c.is_ascii_alphanumeric());
                if !listed.into_iter().any(|word| word == option) {
                    wrong.push(format!("{}: no such option: {option} in {command}", document.name()));
                }
            }
        }
    }
    assert!(known.len() >= 6, "the documents name few commands: {:?}", known.keys());
    none(&wrong);
}

#[test]
fn lines_of_prose_end_in_time() {
    let mut wrong = Vec::new();
    for document in documents() {
        for (number, line) in document.prose.iter().filter(|(_, line)| !line.starts_with('|')) {
            let chars = line.chars().count();
            if chars > LINE_CHARS_MAX {
                wrong.push(format!("{}:{number}: {chars} characters", document.name()));
            }
        }
    }
    none(&wrong);
}
