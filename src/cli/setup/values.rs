//! What a configuration is filled with: where the server is, what is there for the caller, and the command
//! that gets credentials.
//!
//! Bucket, region and folder may come from a server, so they are checked before they count.

use crate::cli::{exit::CommandError, server_url::ServerUrl};

/// A placeholder of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Endpoint,
    Host,
    Scheme,
    Bucket,
    Region,
    Folder,
    FolderInUrl,
    Profile,
    Credentials,
    CaFile,
    AgentUrl,
    AgentTokenFile,
}

impl Variable {
    /// The placeholder of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "endpoint" => Self::Endpoint,
            "host" => Self::Host,
            "scheme" => Self::Scheme,
            "bucket" => Self::Bucket,
            "region" => Self::Region,
            "folder" => Self::Folder,
            "folder_in_url" => Self::FolderInUrl,
            "profile" => Self::Profile,
            "credentials" => Self::Credentials,
            "ca_file" => Self::CaFile,
            "agent_url" => Self::AgentUrl,
            "agent_token_file" => Self::AgentTokenFile,
            _ => return None,
        })
    }
}

/// What a section of a text depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Https,
    Http,
    Ca,
    Agent,
}

impl Condition {
    /// The condition of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "https" => Self::Https,
            "http" => Self::Http,
            "ca" => Self::Ca,
            "agent" => Self::Agent,
            _ => return None,
        })
    }
}

/// Where `subgate agent` hands out credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgentAddress {
    pub(super) url: String,
    pub(super) token_file: String,
}

/// All values; what is `None` stands in sections alone.
#[derive(Debug, Clone)]
pub(super) struct Values {
    endpoint: String,
    host: String,
    scheme: String,
    bucket: String,
    region: String,
    folder: String,
    folder_in_url: String,
    profile: String,
    credentials: String,
    ca_file: Option<String>,
    agent: Option<AgentAddress>,
}

/// What is at the server for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) folder: String,
}

impl Values {
    /// The values, checked. `credentials` is a whole command line of a shell.
    pub(super) fn new(
        server: &ServerUrl,
        place: Place,
        profile: &str,
        credentials: String,
        ca_file: Option<String>,
        agent: Option<AgentAddress>,
    ) -> Result<Self, CommandError> {
        let endpoint = server.canonical();
        let (scheme, host) = endpoint.split_once("://").unwrap_or(("", &endpoint));
        check("--endpoint", host, is_host, "a host name or address, and a port")?;
        check("--bucket", &place.bucket, is_name, "a bucket's name")?;
        check("--region", &place.region, is_name, "a region's name, such as us-east-1")?;
        check("--profile", profile, is_name, "a name of letters, digits, \".\", \"-\" and \"_\"")?;
        check("--folder", &place.folder, is_folder, "the beginning of keys, such as data/x/5F…/")?;
        let Place { bucket, region, folder } = place;
        Ok(Self {
            host: host.to_owned(),
            scheme: scheme.to_owned(),
            folder_in_url: in_url(&folder),
            endpoint,
            bucket,
            region,
            folder,
            profile: profile.to_owned(),
            credentials,
            ca_file,
            agent,
        })
    }

    /// The value of a placeholder.
    pub(super) fn get(&self, variable: Variable) -> Option<&str> {
        match variable {
            Variable::Endpoint => Some(&self.endpoint),
            Variable::Host => Some(&self.host),
            Variable::Scheme => Some(&self.scheme),
            Variable::Bucket => Some(&self.bucket),
            Variable::Region => Some(&self.region),
            Variable::Folder => Some(&self.folder),
            Variable::FolderInUrl => Some(&self.folder_in_url),
            Variable::Profile => Some(&self.profile),
            Variable::Credentials => Some(&self.credentials),
            Variable::CaFile => self.ca_file.as_deref(),
            Variable::AgentUrl => self.agent.as_ref().map(|agent| agent.url.as_str()),
            Variable::AgentTokenFile => self.agent.as_ref().map(|agent| agent.token_file.as_str()),
        }
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: Condition) -> bool {
        match condition {
            Condition::Https => self.scheme == "https",
            Condition::Http => self.scheme == "http",
            Condition::Ca => self.ca_file.is_some(),
            Condition::Agent => self.agent.is_some(),
        }
    }
}

fn check(option: &str, value: &str, is_good: fn(&str) -> bool, expected: &str) -> Result<(), CommandError> {
    if is_good(value) {
        return Ok(());
    }
    let value: String = value.chars().take(80).collect();
    Err(CommandError::usage(format!("{option} {value:?}: {expected} is expected")))
}

/// Names of hosts, addresses and ports; a URL may have more.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
}

fn is_name(text: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    !text.is_empty() && text.len() <= 255 && !text.starts_with('-') && text.chars().all(is_good)
}

/// Empty for the whole bucket; otherwise the beginning of keys with its `/`.
fn is_folder(text: &str) -> bool {
    let is_path = text.ends_with('/') && !text.starts_with('/') && !text.contains("//");
    text.is_empty() || is_path && text.len() <= 1024 && !text.chars().any(char::is_control)
}

/// A folder in the path of a URL.
fn in_url(folder: &str) -> String {
    let mut text = String::with_capacity(folder.len());
    for byte in folder.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
