//! What a configuration is filled with: where the server is, what is there for the caller, and the command
//! that gets credentials.
//!
//! Bucket, region and folder may come from a server, so they are checked before they count.

use crate::cli::{exit::CommandError, server_url::ServerUrl};

/// Where `subgate agent` listens.
pub(super) const DEFAULT_AGENT_URL: &str = "http://127.0.0.1:8077/credentials";

/// The one path that `subgate agent` answers.
const AGENT_PATH: &str = "/credentials";

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

impl AgentAddress {
    /// The agent at that URL, which is on this machine.
    pub(super) fn new(url: &str, token_file: String) -> Result<Self, CommandError> {
        let error = || {
            CommandError::usage(format!(
                "--agent {url:?}: the URL that `subgate agent` prints is expected, \
                 such as {DEFAULT_AGENT_URL}"
            ))
        };
        let uri: http::Uri = url.parse().map_err(|_| error())?;
        let server =
            format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().ok_or_else(error)?);
        let server = ServerUrl::parse(&server, false).map_err(|_| error())?;
        if server.is_https() || uri.path() != AGENT_PATH || uri.query().is_some() {
            return Err(error());
        }
        Ok(Self { url: format!("{}{AGENT_PATH}", server.canonical()), token_file })
    }
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

/// Values for tests and for the documents.
#[cfg(test)]
pub(super) mod examples {
    use super::*;

    /// The values of a miner at that server, with a CA and an agent or without.
    pub(in crate::cli::setup) fn values(
        endpoint: &str,
        ca_file: Option<&str>,
        agent_token_file: Option<&str>,
    ) -> Values {
        let place = Place {
            bucket: "data-universe".to_owned(),
            region: "us-east-1".to_owned(),
            folder: "data/x/5F/".to_owned(),
        };
        let agent =
            agent_token_file.map(|file| AgentAddress::new(DEFAULT_AGENT_URL, file.to_owned()).unwrap());
        Values::new(
            &ServerUrl::parse(endpoint, false).unwrap(),
            place,
            "subgate",
            format!("subgate credentials --wallet-name miner --endpoint {endpoint}"),
            ca_file.map(str::to_owned),
            agent,
        )
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bucket: &str, region: &str, folder: &str) -> Place {
        Place { bucket: bucket.to_owned(), region: region.to_owned(), folder: folder.to_owned() }
    }

    fn fault(endpoint: &str, place: Place, profile: &str) -> String {
        let server = ServerUrl::parse(endpoint, false).unwrap();
        match Values::new(&server, place, profile, "subgate".to_owned(), None, None) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_server_says_is_a_name_or_it_is_refused() {
        let good = place("data-universe", "us-east-1", "data/x/5F/");
        assert_eq!(fault("https://h", good.clone(), "p"), "");
        assert_eq!(fault("https://[::1]:8443", place("b.c_D", "auto", ""), "a-b"), "");
        assert_eq!(fault("https://h", place("b", "r", "data/a b'c é/"), "p"), "");
        for bad in ["b c", "b\"", "b\n", "", "$(b)", "-b", "b/c"] {
            assert!(fault("https://h", place(bad, "r", ""), "p").starts_with("--bucket"), "{bad:?}");
            assert!(fault("https://h", place("b", bad, ""), "p").starts_with("--region"), "{bad:?}");
            assert!(fault("https://h", good.clone(), bad).starts_with("--profile"), "{bad:?}");
        }
        for bad in ["/data/", "data", "data//x/", "data/\n/", "data/\0/", "/"] {
            assert!(fault("https://h", place("b", "r", bad), "p").starts_with("--folder"), "{bad:?}");
        }
        for bad in ["https://h'x", "https://h$x", "https://h(x)"] {
            assert!(fault(bad, good.clone(), "p").starts_with("--endpoint"), "{bad}");
        }
    }

    #[test]
    fn an_agent_is_on_this_machine() {
        let agent = |url: &str| AgentAddress::new(url, "/t".to_owned()).map(|agent| agent.url);
        assert_eq!(agent(DEFAULT_AGENT_URL).as_deref(), Ok(DEFAULT_AGENT_URL));
        assert_eq!(agent("http://[::1]:1/credentials").as_deref(), Ok("http://[::1]:1/credentials"));
        for bad in ["http://h/credentials", "https://127.0.0.1/credentials", "http://127.0.0.1:1", "x", ""] {
            assert!(agent(bad).unwrap_err().to_string().starts_with("--agent"), "{bad}");
        }
    }

    #[test]
    fn a_folder_is_encoded_in_a_url() {
        assert_eq!(in_url("data/hotkey=5F/a b/"), "data/hotkey%3D5F/a%20b/");
    }
}
