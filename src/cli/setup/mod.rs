//! `subgate setup`: prints the configuration of an S3 client for a wallet and a server. \[IO\]
//!
//! Invariants: no secret is printed, for every configuration calls `subgate credentials` or `subgate agent`;
//! what comes from the server is checked, and written so that it stays a value in the language of the text.

mod client;
mod language;
#[cfg(test)]
mod page_tests;
mod template;
mod values;

use std::path::{Path, PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use serde::Deserialize;

use self::{
    language::Fault,
    values::{AgentAddress, DEFAULT_AGENT_URL, Place, Values},
};
use super::{
    client_options::{ClientSettings, absolute},
    exit::CommandError,
    session_cache,
    session_client::IssuedSession,
    session_source::{SessionOptions, SessionSource},
    shell::shell_quote,
    terminal::{self, Paint},
};

/// The role of a validator in the answer of `/v1/session`.
const VALIDATOR: &str = "validator";

/// What stands for the variable of a folder that the caller chooses.
const VARIABLE: &str = "default";

/// The file in the cache directory that holds the token of `subgate agent`.
const AGENT_TOKEN_FILE: &str = "agent-token";

/// Options of `subgate setup`.
#[derive(Debug, Args)]
#[command(
    mut_arg("endpoint", |argument| argument.required(false)),
    after_help = "\
Examples:
  # Which clients there are:
  subgate setup

  # The AWS CLI, and all that reads its profiles:
  subgate setup aws2 --wallet-name miner --endpoint https://s3.example.com >> ~/.aws/config
  aws --profile subgate s3 ls s3://data-universe/

  # Code, with comments that say what to mind:
  subgate setup duckdb --wallet-name validator --endpoint https://s3.example.com > folder.sql

  # For clients that ask `subgate agent` for credentials, and so never end with a session:
  subgate setup polars --wallet-name miner --endpoint https://s3.example.com --agent

It asks the server for a session to learn bucket, region and folder, and prints no secret. With
--bucket, --region and --folder it asks nobody."
)]
pub(crate) struct SetupOptions {
    /// Client to set up; without one, all of them are listed
    #[arg(value_parser = PossibleValuesParser::new(client::names()), hide_possible_values = true)]
    client: Option<String>,

    #[command(flatten)]
    session: SessionOptions,

    /// Bucket [default: the server's]
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,

    /// Region [default: the server's]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    /// Folder, or any other beginning of keys [default: your first folder; all folders for a validator]
    #[arg(long, value_name = "PREFIX")]
    folder: Option<String>,

    /// Name of the AWS profile
    #[arg(long, value_name = "NAME", default_value = "subgate")]
    profile: String,

    /// Let the client get its credentials from `subgate agent`, if it can; URL is where that listens
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_AGENT_URL
    )]
    agent: Option<String>,

    /// File with the token of that agent [default: agent-token in the directory of the sessions]
    #[arg(long, env = "SUBGATE_AGENT_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    agent_token_file: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(options: &SetupOptions) -> Result<(), CommandError> {
    let Some(name) = &options.client else { return list() };
    let client = client::named(name).map_err(internal)?;
    let values = options.values()?;
    let text = client.configuration(&values).map_err(internal)?;
    if options.agent.is_some() && !client.knows_agents() {
        terminal::print_remark(format_args!(
            "{name} is set up without an agent: there is no text for it with one"
        ));
    }
    terminal::print_line(text.trim_end());
    Ok(())
}

/// The clients, one on each line.
fn list() -> Result<(), CommandError> {
    let clients = client::all().map_err(internal)?;
    let width = clients.iter().map(|client| client.name.len()).max().unwrap_or_default();
    let paint = Paint::for_stdout();
    for client in clients {
        let name = paint.bold(&format!("{:<width$}", client.name));
        terminal::print_line(format_args!("{name}  {}, tested with {}", client.title, client.tested));
    }
    Ok(())
}

/// A value that cannot be written is the caller's to change; a wrong text of the table is ours.
fn internal(fault: Fault) -> CommandError {
    match fault {
        Fault::Template(reason) => CommandError::software(format!("the table of clients: {reason}")),
        Fault::Value { value, language, reason } => {
            CommandError::usage(format!("{value:?} cannot be written into {language}: {reason}"))
        }
    }
}

impl SetupOptions {
    fn values(&self) -> Result<Values, CommandError> {
        let source = self.session.checked()?;
        let place = self.place(&source)?;
        let credentials = self.credentials(&source)?;
        let ClientSettings { server, ca_file, .. } = source.client();
        let ca_file = ca_file.as_deref().filter(|_| server.is_https());
        let ca_file = ca_file.map(|file| absolute("--ca-file", file)).transpose()?;
        let agent = self.agent.as_deref().map(|url| self.agent_address(url, &source)).transpose()?;
        Values::new(server, place, &self.profile, credentials, ca_file, agent)
    }

    /// What is at the server for the caller: as the options say, and as the server says where they do not.
    fn place(&self, source: &SessionSource) -> Result<Place, CommandError> {
        if let (Some(bucket), Some(region), Some(folder)) = (&self.bucket, &self.region, &self.folder) {
            return Ok(Place { bucket: bucket.clone(), region: region.clone(), folder: folder.clone() });
        }
        let answer = SessionFacts::read(&source.session()?)?;
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => answer.folder()?,
        };
        Ok(Place {
            bucket: self.bucket.clone().unwrap_or(answer.bucket),
            region: self.region.clone().unwrap_or(answer.region),
            folder,
        })
    }

    /// The command that prints credentials, for a shell.
    fn credentials(&self, source: &SessionSource) -> Result<String, CommandError> {
        let mut words = vec![program()?, "credentials".to_owned()];
        words.extend(self.session.words(source)?);
        let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
        Ok(words.join(" "))
    }

    /// Where `subgate agent` is, if it was started with the same options.
    fn agent_address(&self, url: &str, source: &SessionSource) -> Result<AgentAddress, CommandError> {
        let token_file = match &self.agent_token_file {
            Some(file) => absolute("--agent-token-file", file)?,
            None => {
                let dir = source.cache_dir().map(Path::to_owned).or_else(session_cache::default_dir);
                let dir = dir.ok_or_else(|| {
                    CommandError::usage("--agent-token-file is needed: there is no home directory")
                })?;
                absolute("--cache-dir", &dir.join(AGENT_TOKEN_FILE))?
            }
        };
        AgentAddress::new(url, token_file)
    }
}

/// What the server says of itself and of the caller.
#[derive(Deserialize)]
struct SessionFacts {
    bucket: String,
    region: String,
    role: String,
    folders: Vec<String>,
    /// What begins all folders. Absent in a session of an older server.
    #[serde(default)]
    roots: Vec<String>,
}

impl SessionFacts {
    fn read(session: &IssuedSession) -> Result<Self, CommandError> {
        serde_json::from_slice(session.json.expose()).map_err(|_| {
            CommandError::unavailable(
                "the server does not say its bucket, its region or your folders: \
                 give --bucket, --region and --folder",
            )
        })
    }

    /// The first folder of a miner, or what a validator reads.
    fn folder(&self) -> Result<String, CommandError> {
        if self.role == VALIDATOR {
            let root = self.roots.first().cloned();
            return root.ok_or_else(|| {
                CommandError::unavailable("the server does not say where all folders are: give --folder")
            });
        }
        let whole = self.folders.iter().find(|folder| !folder.contains('{'));
        if let Some(folder) = whole {
            return Ok(folder.clone());
        }
        let folder = self
            .folders
            .first()
            .ok_or_else(|| CommandError::unavailable("the server names no folder of yours: give --folder"))?;
        terminal::print_remark(format_args!(
            "a part of your folder {folder:?} is yours to choose: {VARIABLE} stands for it here \
             (see --folder)"
        ));
        Ok(fill_variables(folder))
    }
}

/// A folder with a value for each variable that is left in it.
fn fill_variables(folder: &str) -> String {
    let mut text = String::new();
    let mut rest = folder;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        text.push_str(VARIABLE);
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    text + rest
}

/// How this program is called: by its name where that finds it, else by its path.
fn program() -> Result<String, CommandError> {
    let path = std::env::current_exe()
        .map_err(|error| CommandError::software(format!("the path of this program: {error}")))?;
    let found = std::env::var_os("PATH").and_then(|dirs| {
        std::env::split_paths(&dirs).map(|dir| dir.join("subgate")).find(|file| file.is_file())
    });
    let is_same = |file: &Path| file.canonicalize().ok() == path.canonicalize().ok();
    if found.is_some_and(|file| is_same(&file)) {
        return Ok("subgate".to_owned());
    }
    path.into_os_string()
        .into_string()
        .map_err(|_| CommandError::usage("the path of this program is not UTF-8: put it on the PATH"))
}
