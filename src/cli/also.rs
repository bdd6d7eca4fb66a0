//! `--also hf:REPO` of `subgate upload`: the same files into a repository of a Hub, told by themselves.
//! \[IO\]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use clap::Args;
use serde_json::json;

use super::{
    client_options::ClientSettings,
    exit::{CommandError, Exit},
    hub_source::{HubOptions, parse_repository},
};
use crate::{
    hub::{Hub, HubError, LocalFile, OpenSource, Pushed, Pushing, Source},
    transfer::{
        pool::Interrupt,
        progress::Progress,
        report::{Outcome, Report, Row},
        upload::{LocalFile as FoundFile, OpenFile, ReadError},
    },
};

/// The branch that readers of a dataset take.
const BRANCH: &str = "main";

/// Options of the second place.
#[derive(Debug, Args)]
pub(crate) struct AlsoOptions {
    /// Commit the same files to this dataset repository as well, such as hf:me/x_dataset_42; it must exist
    #[arg(long, value_name = "hf:REPO", conflicts_with = "watch")]
    also: Option<String>,

    /// Folder of that repository; "" for its root
    #[arg(long, value_name = "FOLDER", default_value = "data", requires = "also")]
    also_path: String,

    #[command(flatten)]
    hub: HubOptions,
}

/// The second place.
pub(crate) struct Also {
    hub: Hub,
    folder: String,
    /// Why it cannot be used now, which is told at the end: the first place can.
    outage: Option<HubError>,
}

/// What became of the files there.
pub(crate) struct AlsoReport {
    name: String,
    endpoint: String,
    report: Report,
    fault: Option<HubError>,
}

/// A file for the second place.
pub(crate) struct AlsoFile {
    /// The very file that was planned for the first.
    pub(crate) file: Arc<FoundFile>,
    /// Its path below the prefix of the first place.
    pub(crate) name: String,
    /// What stands in the first place, where that is known.
    pub(crate) sha256: Option<[u8; 32]>,
}

/// A file that was found, for the Hub's client.
#[derive(Debug)]
struct Found(Arc<FoundFile>);

impl Source for Found {
    fn name(&self) -> String {
        self.0.shown()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn open(&self) -> io::Result<Arc<dyn OpenSource>> {
        Ok(Arc::new(self.0.open().map_err(unread)?))
    }
}

impl OpenSource for OpenFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        Self::read_at(self, bytes, at)
    }

    fn check(&self) -> io::Result<()> {
        Self::check(self).map_err(unread)
    }
}

fn unread(error: ReadError) -> io::Error {
    io::Error::other(error.to_string())
}

impl AlsoOptions {
    /// The second place, if there is one: seen to be there, with a token, before anything is sent anywhere.
    pub(crate) async fn open(&self, settings: &ClientSettings) -> Result<Option<Also>, CommandError> {
        let Some(text) = &self.also else { return Ok(None) };
        if !text.starts_with("hf:") {
            return Err(CommandError::usage(format!("--also {text:?}: hf:USER/NAME is expected")));
        }
        let repository = parse_repository("--also", text)?;
        let folder = self.also_path.trim_matches('/').to_owned();
        let is_path = folder.is_empty() || folder.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_path {
            return Err(CommandError::usage(format!(
                "--also-path {:?}: a folder in the repository is expected, such as data",
                self.also_path
            )));
        }
        let hub = self.hub.hub(repository, settings)?;
        if !hub.has_token() {
            return Err(CommandError::usage(format!(
                "--also {text}: a commit needs a token that may write; set HF_TOKEN or run `hf auth login`"
            )));
        }
        let outage = match hub.commit_of(BRANCH).await {
            Ok(_) => None,
            Err(error @ HubError::Unavailable { .. }) => Some(error),
            Err(error) => {
                return Err(CommandError::new(
                    CommandError::from(error.clone()).exit,
                    format!("--also: {error}"),
                ));
            }
        };
        Ok(Some(Also { hub, folder, outage }))
    }
}

impl Also {
    /// Commits `files`.
    pub(crate) async fn push(
        &self,
        files: &[AlsoFile],
        parallel: usize,
        is_dry_run: bool,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> AlsoReport {
        let mut report = Report::default();
        let path = |name: &str| match self.folder.as_str() {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let mut names = BTreeSet::new();
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let mut local = Vec::new();
        for AlsoFile { file, name, sha256 } in files {
            let path = path(name);
            let row = Row {
                outcome: Outcome::NotBegun,
                path: file.shown(),
                key: format!("hf:{}/{path}", self.hub.repository()),
                bytes: file.size(),
                detail: String::new(),
            };
            if names.insert(path.clone()) {
                rows.insert(path.clone(), row);
                let source = Arc::new(Found(Arc::clone(file)));
                local.push(LocalFile { source, path, sha256: *sha256 });
            }
        }
        let mut tell = |path: &str, pushed: Pushed| {
            let Some(mut row) = rows.remove(path) else { return };
            (row.outcome, row.detail) = match pushed {
                Pushed::Same => (Outcome::Same, String::new()),
                Pushed::Committed => (Outcome::Sent, String::new()),
                Pushed::WouldCommit => (Outcome::WouldSend, String::new()),
                Pushed::Failed(why) => (Outcome::Failed, why),
            };
            progress.file(&row);
            report.push(row);
        };
        let pushing = Pushing { revision: BRANCH, parallel, is_dry_run };
        let result = match &self.outage {
            Some(error) => Err(error.clone()),
            None => tokio::select! {
                biased;
                () = interrupt.wait() => Ok(()),
                result = Box::pin(self.hub.push(&pushing, &local, &mut tell)) => result,
            },
        };
        let fault = result.err();
        for (_, mut row) in rows {
            row.detail = match &fault {
                Some(error) => error.to_string(),
                None => "interrupted: run the same again to go on".to_owned(),
            };
            report.push(row);
        }
        let name = format!("hf:{}", self.hub.repository());
        AlsoReport { name, endpoint: self.hub.endpoint().to_string(), report, fault }
    }
}

impl AlsoReport {
    /// The table, under the name of the place.
    pub(crate) fn table(&self) -> String {
        format!("{} at {}\n\n{}", self.name, self.endpoint, self.report.table().trim_end())
    }

    /// What became of the files, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut json = self.report.json();
        if let Some(object) = json.as_object_mut() {
            object.insert("repository".to_owned(), json!(self.name));
            object.insert("endpoint".to_owned(), json!(self.endpoint));
            object.insert("fault".to_owned(), json!(self.fault.as_ref().map(ToString::to_string)));
        }
        json
    }

    /// How the command ends, by what both places say.
    pub(crate) fn verdict(&self, first: Result<(), CommandError>) -> Result<(), CommandError> {
        let bad = self.report.bad();
        match (first, &self.fault) {
            (first, None) if bad == 0 => first,
            (Ok(()), Some(error)) => Err(CommandError::new(
                CommandError::from(error.clone()).exit,
                format!("all is well at the server, but {bad} files are not in {}: {error}", self.name),
            )),
            (Ok(()), None) => Err(CommandError::new(
                Exit::Failed,
                format!(
                    "all is well at the server, but {bad} files are not in {}, as the table says; run the \
                     same again to go on",
                    self.name
                ),
            )),
            (Err(error), _) => Err(CommandError::new(
                error.exit,
                format!("{error}; and {bad} files are not in {}", self.name),
            )),
        }
    }
}
