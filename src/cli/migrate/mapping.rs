//! Which files of a repository are meant, and under which keys they go. Pure.
//!
//! Invariant: two files never go under one key.

use std::collections::BTreeMap;

use crate::hub::Repository;

/// What a layout of jobs takes as a job's id, as the servers of the time do.
const JOB_ID_CHARS_MAX: usize = 64;

/// Files that say something to Git and to nobody else.
const GITS_OWN: &[&str] = &[".gitattributes", ".gitignore"];

/// How a file's path becomes the end of its key: text with `{path}`, `{file}`, `{repo}` and `{user}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The whole path.
    Path,
    /// The path below `data/`, where miners had their files and `upload --also` puts them.
    BelowData,
    /// The path's last segment.
    File,
    /// The repository's name.
    Repository,
    /// The repository's owner.
    User,
}

impl NameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the option's name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or("a { has no }")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "path" => Part::Path,
                "file" => Part::File,
                "repo" => Part::Repository,
                "user" => Part::User,
                _ => return Err(format!("{{{name}}} is none of {{path}}, {{file}}, {{repo}} and {{user}}")),
            });
            rest = behind;
        }
        if rest.contains('}') {
            return Err("a } has no {".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if !parts.iter().any(|part| matches!(part, Part::Path | Part::File)) {
            return Err("it needs {path} or {file}: without them all files would have one name".to_owned());
        }
        Ok(Self { parts })
    }

    /// The template where none was given: miners' files have their paths below `data/`, others their paths.
    pub(crate) fn default_of(repository: &Repository) -> Self {
        let part = if repository.of_miner().is_some() { Part::BelowData } else { Part::Path };
        Self { parts: vec![part] }
    }

    /// The end of the key of the file at `path`.
    pub(crate) fn name(&self, repository: &Repository, path: &str) -> String {
        let file = path.rsplit('/').next().unwrap_or(path);
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Path => path.to_owned(),
            Part::BelowData => path.strip_prefix("data/").unwrap_or(path).to_owned(),
            Part::File => file.to_owned(),
            Part::Repository => repository.name().to_owned(),
            Part::User => repository.user().to_owned(),
        };
        self.parts.iter().map(text).collect()
    }
}

/// Whether a file is meant where nothing is included by name: of a miner's repository its data, of others all
/// that is not Git's own.
pub(crate) fn is_meant(repository: &Repository, path: &str) -> bool {
    match repository.of_miner() {
        Some(_) => path.starts_with("data/") && path.ends_with(".parquet"),
        None => !GITS_OWN.contains(&path.rsplit('/').next().unwrap_or(path)),
    }
}

/// The keys of files. Where several go under one key, none of them does: nobody has said which.
pub(crate) fn keys<'a>(
    to: &str,
    template: &NameTemplate,
    repository: &Repository,
    paths: impl Iterator<Item = &'a str>,
) -> Vec<(&'a str, Result<String, String>)> {
    let named: Vec<(&str, String)> =
        paths.map(|path| (path, format!("{to}{}", template.name(repository, path)))).collect();
    let mut of_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, key) in &named {
        of_key.entry(key).or_default().push(path);
    }
    let judged = |(path, key): &(&'a str, String)| {
        let other = of_key.get(key.as_str()).and_then(|paths| paths.iter().find(|other| *other != path));
        let key = match other {
            None => Ok(key.clone()),
            Some(other) => Err(format!(
                "{other} goes under the same key: use {{path}} in --as, or --exclude one of them"
            )),
        };
        (*path, key)
    };
    named.iter().map(judged).collect()
}

/// Where a repository goes if nobody says: into the folder of its source, or into the only one, and there
/// below its name.
///
/// # Errors
/// That nobody knows which of the folders, to be put behind `--to`.
pub(crate) fn default_prefix(repository: &Repository, folders: &[String]) -> Result<String, String> {
    let name = repository.name();
    let below: Vec<(String, String)> =
        folders.iter().filter_map(|folder| Some((folder.clone(), below_folder(folder, name)?))).collect();
    let of_source: Vec<&(String, String)> = below
        .iter()
        .filter(|(folder, _)| {
            repository.of_miner().is_some_and(|miner| {
                let is_source = |segment: &str| segment.rsplit('=').next() == Some(miner.source);
                folder.split('/').any(is_source)
            })
        })
        .collect();
    match (of_source.as_slice(), below.as_slice()) {
        ([(_, prefix)], _) | ([], [(_, prefix)]) => Ok(prefix.clone()),
        _ => Err(format!(
            "which of your folders {repository} belongs to is not clear; give a prefix below one of them: {}",
            folders.join(" ")
        )),
    }
}

/// A place of this repository's own below a folder; an open variable, such as a job's id, becomes its name.
fn below_folder(folder: &str, name: &str) -> Option<String> {
    let Some((before, rest)) = folder.split_once('{') else { return Some(format!("{folder}{name}/")) };
    let (_, after) = rest.split_once('}')?;
    let is_id = name.len() <= JOB_ID_CHARS_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (is_id && !after.contains('{')).then(|| format!("{before}{name}{after}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINE: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";

    fn repository(name: &str) -> Repository {
        Repository::parse(&format!("me/{name}")).unwrap()
    }

    fn sources() -> Vec<String> {
        ["x", "reddit"].map(|source| format!("data/{source}/{MINE}/")).to_vec()
    }

    #[test]
    fn miners_repositories_go_where_they_belong_without_an_option() {
        for (name, prefix) in [
            ("x_dataset_42", format!("data/x/{MINE}/x_dataset_42/")),
            ("reddit_dataset_0", format!("data/reddit/{MINE}/reddit_dataset_0/")),
        ] {
            assert_eq!(default_prefix(&repository(name), &sources()), Ok(prefix));
        }
        let jobs = [format!("data/hotkey={MINE}/job_id={{job_id}}/")];
        let repository = repository("x_dataset_42");
        assert_eq!(
            default_prefix(&repository, &jobs).unwrap(),
            format!("data/hotkey={MINE}/job_id=x_dataset_42/")
        );
        let template = NameTemplate::default_of(&repository);
        let name = template.name(&repository, "data/train-DataEntity_chunk_7.parquet");
        assert_eq!(name, "train-DataEntity_chunk_7.parquet");
        assert_eq!(template.name(&repository, "data/2026/a.parquet"), "2026/a.parquet");
        for (path, meant) in [
            ("data/train-DataEntity_chunk_7.parquet", true),
            ("README.md", false),
            ("stats.json", false),
            (".gitattributes", false),
            ("other.parquet", false),
        ] {
            assert_eq!(is_meant(&repository, path), meant, "{path}");
        }
    }

    #[test]
    fn where_another_repository_goes_is_said_or_clear() {
        let other = repository("my.data");
        let error = default_prefix(&other, &sources()).unwrap_err();
        assert!(error.contains(&format!("data/reddit/{MINE}/")), "{error}");
        assert_eq!(default_prefix(&other, &sources()[..1]).unwrap(), format!("data/x/{MINE}/my.data/"));
        // A name with a dot is no job's id.
        let jobs = [format!("data/hotkey={MINE}/job_id={{job_id}}/")];
        assert!(default_prefix(&other, &jobs).is_err() && default_prefix(&other, &[]).is_err());
        assert!(is_meant(&other, "README.md") && !is_meant(&other, "a/.gitattributes"));
        assert_eq!(NameTemplate::default_of(&other).name(&other, "a/b.csv"), "a/b.csv");
    }

    #[test]
    fn a_template_makes_names() {
        let repository = repository("r");
        for (template, name) in [
            ("job_id=hf/{path}", "job_id=hf/data/a.parquet"),
            ("{user}-{repo}-{file}", "me-r-a.parquet"),
            ("{file}", "a.parquet"),
        ] {
            assert_eq!(NameTemplate::parse(template).unwrap().name(&repository, "data/a.parquet"), name);
        }
        for (template, says) in [
            ("", "needs {path}"),
            ("x", "needs {path}"),
            ("{repo}", "needs {path}"),
            ("{path", "has no }"),
            ("path}", "has no {"),
            ("{paht}", "{paht} is none of"),
        ] {
            let error = NameTemplate::parse(template).unwrap_err();
            assert!(error.contains(says), "{template}: {error}");
        }
    }

    #[test]
    fn two_files_do_not_go_under_one_key() {
        let repository = repository("r");
        let template = NameTemplate::parse("{file}").unwrap();
        let keys = keys("p/", &template, &repository, ["a/1", "b/1", "b/2"].into_iter());
        assert_eq!(keys[2], ("b/2", Ok("p/2".to_owned())));
        for (at, other) in [(0, "b/1"), (1, "a/1")] {
            assert!(keys[at].1.as_ref().unwrap_err().starts_with(other), "{keys:?}");
        }
    }

    proptest! {
        #[test]
        fn any_template_is_read_or_refused(text: String, path in "[a-z/]{1,20}") {
            let repository = repository("r");
            if let Ok(template) = NameTemplate::parse(&text) {
                let file = path.rsplit('/').next().unwrap();
                prop_assert!(template.name(&repository, &path).contains(file));
            }
        }

        #[test]
        fn keys_are_different(paths in prop::collection::btree_set("[ab]{1,2}/[ab]{1,2}", 1..12)) {
            let template = NameTemplate::parse("{file}").unwrap();
            let repository = repository("r");
            let keys = keys("", &template, &repository, paths.iter().map(String::as_str));
            let fine: Vec<_> = keys.iter().filter_map(|(_, key)| key.as_ref().ok()).collect();
            let distinct: std::collections::BTreeSet<_> = fine.iter().collect();
            prop_assert_eq!(fine.len(), distinct.len());
        }
    }
}
