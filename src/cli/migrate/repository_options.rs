//! What every command of `migrate` is told: the repository, which of its files, and where they go. \[IO\]

use clap::Args;

use super::mapping::{NameTemplate, default_prefix, is_meant, keys};
use crate::{
    cli::{
        exit::CommandError,
        hub_source::{HubOptions, parse_repository},
        terminal::Progress,
    },
    hub::{Hub, HubFile, Repository, is_revision},
    s3::key::check_prefix,
    transfer::{filter::Filter, names::Rules},
};

/// The options as they were given.
#[derive(Debug, Args)]
pub(crate) struct RepositoryOptions {
    /// Dataset repository: USER/NAME, or hf:USER/NAME
    #[arg(value_name = "REPO")]
    repository: String,

    /// Prefix of the keys [default: your folder of the repository's source, and the repository's name]
    #[arg(long, value_name = "PREFIX")]
    to: Option<String>,

    /// Branch, tag or commit; a branch counts as it stands when the command begins
    #[arg(long, value_name = "REVISION", default_value = "main")]
    revision: String,

    /// Take these files alone, such as '*.parquet' or 'data/**' [default: of x_dataset_N and
    /// reddit_dataset_N the parquet files in data/, of others all but .gitattributes and .gitignore]
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave these files out
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// How a file's path becomes the end of its key, with {path}, {file}, {repo} and {user} [default:
    /// {path}; of x_dataset_N and reddit_dataset_N what is behind data/ of it]
    #[arg(long = "as", value_name = "TEMPLATE")]
    name: Option<String>,

    #[command(flatten)]
    hub: HubOptions,
}

/// The options, checked.
pub(crate) struct Wanted<'a> {
    pub(crate) repository: Repository,
    options: &'a RepositoryOptions,
    filter: Filter,
    template: NameTemplate,
}

/// A file, and its key or why it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MappedFile {
    pub(crate) file: HubFile,
    pub(crate) key: Result<String, String>,
}

/// The files of one commit.
pub(crate) struct MappedRepository {
    /// The commit.
    pub(crate) commit: String,
    /// What all keys begin with.
    pub(crate) prefix: String,
    /// The files that are meant.
    pub(crate) files: Vec<MappedFile>,
    /// How many others the repository has.
    pub(crate) left_out: usize,
}

impl RepositoryOptions {
    /// Checks the options without asking anybody.
    pub(crate) fn checked(&self) -> Result<Wanted<'_>, CommandError> {
        let repository = parse_repository("REPO", &self.repository)?;
        if !is_revision(&self.revision) {
            let revision = &self.revision;
            return Err(CommandError::usage(format!(
                "--revision {revision:?}: a branch, tag or commit is expected"
            )));
        }
        let filter = Filter::new(&self.include, &self.exclude)
            .map_err(|why| CommandError::usage(format!("--include or --exclude {why}")))?;
        let template = match &self.name {
            Some(text) => NameTemplate::parse(text)
                .map_err(|why| CommandError::usage(format!("--as {text:?}: {why}")))?,
            None => NameTemplate::default_of(&repository),
        };
        Ok(Wanted { repository, options: self, filter, template })
    }

    /// The Hub's options.
    pub(crate) fn hub(&self) -> &HubOptions {
        &self.hub
    }
}

impl Wanted<'_> {
    /// What the keys begin with, for one who only reads, and may read everything.
    pub(crate) fn prefix_to_read(&self, folders: &[String]) -> Result<String, CommandError> {
        let to = self.to(folders)?;
        check_prefix(&to).map_err(|error| CommandError::usage(format!("--to {to:?}: {}", error.message)))?;
        Ok(if to.is_empty() || to.ends_with('/') { to } else { format!("{to}/") })
    }

    /// What the keys begin with, for one who has these folders.
    pub(crate) fn prefix(&self, rules: &Rules, folders: &[String]) -> Result<String, CommandError> {
        rules.prefix(Some(&self.to(folders)?)).map_err(CommandError::usage)
    }

    fn to(&self, folders: &[String]) -> Result<String, CommandError> {
        match &self.options.to {
            Some(to) => Ok(to.clone()),
            None => default_prefix(&self.repository, folders)
                .map_err(|why| CommandError::usage(format!("--to is missing: {why}"))),
        }
    }

    /// Lists the repository as it stands now, and maps its files.
    pub(crate) async fn list(&self, hub: &Hub, prefix: String) -> Result<MappedRepository, CommandError> {
        let progress = Progress::new();
        let commit = hub.commit_of(&self.options.revision).await?;
        let tree = hub
            .tree(&commit, |files| {
                progress.show(format_args!("{}: {files} files …", hub.repository()));
            })
            .await?;
        drop(progress);
        let all = tree.files.len().saturating_add(tree.strange.len());
        let is_by_default = self.options.include.is_empty();
        let meant: Vec<HubFile> = tree
            .files
            .into_iter()
            .filter(|file| self.filter.takes(&file.path))
            .filter(|file| !is_by_default || is_meant(&self.repository, &file.path))
            .collect();
        let left_out = all.saturating_sub(meant.len());
        let paths = meant.iter().map(|file| file.path.as_str());
        let keys: Vec<Result<String, String>> =
            keys(&prefix, &self.template, &self.repository, paths).into_iter().map(|(_, key)| key).collect();
        let files = meant.into_iter().zip(keys).map(|(file, key)| MappedFile { file, key }).collect();
        Ok(MappedRepository { commit, prefix, files, left_out })
    }
}
