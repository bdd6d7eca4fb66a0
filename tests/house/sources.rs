//! The sources as the house tests read them: files, modules, and the paths that one module names of another.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a directory of the repository.
pub fn rust_files(directory: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join(directory), &mut files);
    files.sort();
    files
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Its path from the root of the repository.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Whether a file of `src` is tests and nothing else.
pub fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_string_lossy();
    stem == "tests" || stem.ends_with("_tests") || stem == "testing"
}

/// The text before the tests.
pub fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// A module's path from the root of the crate; the root itself has none.
pub type ModulePath = Vec<String>;

/// A module in a file of its own.
pub struct Module {
    /// Without tests and comments.
    code: String,
    /// What other modules call by names of this one: the last name, and the path it stands for.
    imports: BTreeMap<String, Vec<String>>,
}

/// Each module with the modules that it uses.
pub type Uses = BTreeMap<ModulePath, BTreeSet<ModulePath>>;

/// All modules of the crate.
pub struct Modules(BTreeMap<ModulePath, Module>);

impl Modules {
    /// Those of `src`, without test files and `main.rs`.
    pub fn of_the_crate() -> Self {
        let mut modules = BTreeMap::new();
        for file in rust_files("src").into_iter().filter(|file| !is_test_file(file)) {
            let relative = file.strip_prefix(root().join("src")).unwrap().with_extension("");
            let mut path: ModulePath =
                relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            match path.last().unwrap().as_str() {
                "main" => continue,
                "lib" | "mod" => path.truncate(path.len() - 1),
                _ => {}
            }
            modules.insert(path, read(&file));
        }
        Self::new(modules)
    }

    pub fn new(texts: BTreeMap<ModulePath, String>) -> Self {
        let modules = texts.into_iter().map(|(path, text)| {
            let code: String = without_tests(&text)
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .map(|line| format!("{line}\n"))
                .collect();
            let imports = imports(&code);
            (path, Module { code, imports })
        });
        Self(modules.collect())
    }

    /// Each module with the modules that it uses, by whatever name it reaches them.
    pub fn uses(&self) -> Uses {
        let uses = |(path, module): (&ModulePath, &Module)| {
            let mut used: BTreeSet<ModulePath> =
                self.named_in(path, module).iter().map(|named| self.resolve(path, named, 0)).collect();
            used.remove(path);
            (path.clone(), used)
        };
        self.0.iter().map(uses).collect()
    }

    /// The paths that a module names. What it imports only to hand it on is not a use.
    fn named_in(&self, path: &ModulePath, module: &Module) -> Vec<Vec<String>> {
        let children: Vec<&str> = self
            .0
            .keys()
            .filter(|other| other.len() == path.len() + 1 && other.starts_with(path))
            .filter_map(|other| other.last().map(String::as_str))
            .collect();
        let (mut code, mut handed_on) = (String::new(), Vec::new());
        let mut rest = module.code.as_str();
        while let Some(at) = re_export_at(rest) {
            let end = rest[at..].find(';').map_or(rest.len(), |length| at + length);
            code.push_str(&rest[..at]);
            handed_on.extend(paths(&rest[at..end], &children));
            rest = &rest[end..];
        }
        code.push_str(rest);
        let mut named = paths(&code, &children);
        named.extend(handed_on.into_iter().filter(|path| words(&code).any(|word| Some(word) == last(path))));
        named
    }

    /// The module in which that item is, through the names under which others hand it on.
    fn resolve(&self, from: &[String], named: &[String], depth: usize) -> ModulePath {
        let (mut at, mut rest) = match named.first().map(String::as_str) {
            Some("crate") => (Vec::new(), &named[1..]),
            Some("self") => (from.to_vec(), &named[1..]),
            Some("super") => (from[..from.len().saturating_sub(1)].to_vec(), &named[1..]),
            _ => (from.to_vec(), named),
        };
        while let [name, further @ ..] = rest {
            match name.as_str() {
                "super" => at.truncate(at.len().saturating_sub(1)),
                "self" => {}
                _ => {
                    at.push(name.clone());
                    if !self.0.contains_key(&at) {
                        at.truncate(at.len() - 1);
                        let import = self.0.get(&at).and_then(|module| module.imports.get(name));
                        return match import {
                            // An import that leads to itself is one of another crate.
                            Some(import) if depth < 8 && is_own(import, self, &at) => {
                                self.resolve(&at, import, depth + 1)
                            }
                            _ => at,
                        };
                    }
                }
            }
            rest = further;
        }
        at
    }
}

/// Whether an import leads into this crate.
fn is_own(import: &[String], modules: &Modules, at: &[String]) -> bool {
    let first = import.first().map(String::as_str);
    let child: Vec<String> = at.iter().cloned().chain(import.first().cloned()).collect();
    matches!(first, Some("crate" | "self" | "super")) || modules.0.contains_key(&child)
}

/// Where the next `pub use` or `pub(…) use` begins.
fn re_export_at(code: &str) -> Option<usize> {
    ["pub use ", "pub(crate) use ", "pub(super) use "].iter().filter_map(|start| code.find(start)).min()
}

fn last(path: &[String]) -> Option<&str> {
    path.last().map(String::as_str)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_name(c)).filter(|word| !word.is_empty())
}

/// What the imports of a module call what.
fn imports(code: &str) -> BTreeMap<String, Vec<String>> {
    let mut imports = BTreeMap::new();
    for (at, _) in code.match_indices("use ") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let mut found = Vec::new();
        tree(&code[at + 4..], &[], &mut found);
        for (path, alias) in found {
            if let Some(name) = alias.or_else(|| path.last().cloned()) {
                imports.insert(name, path);
            }
        }
    }
    imports
}

/// All paths of a text that begin with `crate`, `super`, `self` or one of `children`.
pub fn paths(code: &str, children: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let Some(start) = code[at..].find(is_name).map(|start| at + start) else { break };
        let end = code[start..].find(|c| !is_name(c)).map_or(code.len(), |length| start + length);
        let word = &code[start..end];
        at = end;
        let begins = (["crate", "super", "self"].contains(&word) || children.contains(&word))
            && !code[..start].ends_with(['$', '.'])
            && !code[..start].ends_with("::");
        if begins && code[end..].starts_with("::") {
            at += tree(&code[start..], &[], &mut found).saturating_sub(word.len());
        }
    }
    found.into_iter().map(|(path, _)| path).collect()
}

/// Reads one path or tree of paths at the beginning of `text`; gives the bytes it takes.
fn tree(text: &str, prefix: &[String], found: &mut Vec<(Vec<String>, Option<String>)>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if text[at..].starts_with('{') {
            at += 1;
            loop {
                at += text[at..].len() - text[at..].trim_start_matches([',', ' ', '\n']).len();
                if at >= text.len() || text[at..].starts_with('}') {
                    return (at + 1).min(text.len());
                }
                // A tree that cannot be read is not read in circles.
                at += tree(&text[at..], &path, found).max(1);
            }
        }
        let length = text[at..].find(|c| !is_name(c)).unwrap_or(text.len() - at);
        if length > 0 {
            path.push(text[at..at + length].to_owned());
            at += length;
            if text[at..].starts_with("::") {
                at += 2;
                continue;
            }
        } else if text[at..].starts_with('*') {
            at += 1;
        }
        let alias = text[at..].strip_prefix(" as ").map(|alias| {
            let length = alias.find(|c| !is_name(c)).unwrap_or(alias.len());
            at += 4 + length;
            alias[..length].to_owned()
        });
        if path.len() > prefix.len() || at > 0 {
            found.push((path, alias));
        }
        return at;
    }
}

/// Sets of modules that use each other in a circle.
pub fn circles(uses: &Uses) -> BTreeSet<Vec<ModulePath>> {
    let reached = |from: &ModulePath| {
        let mut reached: BTreeSet<&ModulePath> = BTreeSet::new();
        let mut open: Vec<&ModulePath> = uses.get(from).into_iter().flatten().collect();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(uses.get(next).into_iter().flatten());
            }
        }
        reached
    };
    let all: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
        uses.keys().map(|path| (path, reached(path))).collect();
    let mut circles = BTreeSet::new();
    for (path, reached) in &all {
        if reached.contains(path) {
            let circle = reached.iter().filter(|other| all[**other].contains(path));
            circles.insert(circle.map(|other| (*other).clone()).collect());
        }
    }
    circles
}
