//! The configuration: TOML in, checked values out, all errors reported at once. `proxy.toml` is its
//! commented reference; the environment may say the same ([`Environment`]).

mod acme;
mod admin;
mod chain;
mod difference;
mod effect;
mod endpoints;
mod environment;
mod fault;
mod limits;
mod log;
mod secrets;
mod section;
mod server;
mod shared_limits;
mod small_files;
mod source;
mod store;
mod tls;
mod written;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

pub use crate::file_access::SecretReaders;
pub use acme::Acme;
pub use admin::{AdminEntry, AdminTransport};
pub use chain::{Chain, ChainSource, UploadsAfterLoss};
pub(crate) use difference::Changes;
pub use endpoints::Endpoints;
pub use environment::Environment;
pub(crate) use fault::Lines;
pub use fault::{ConfigErrors, Fault, Severity};
pub use limits::{AddressLimits, BodyBounds, Limits, Override, PartyLimits, PrincipalKey, RateLimit};
pub use log::Log;
pub use secrets::SessionKey;
use section::Section;
pub use server::{Edge, ProxyProtocol, Server};
pub use shared_limits::{OnOutage, Share, SharedAddress, SharedLimits};
pub use small_files::{FileName, SmallFiles};
use source::Reading;
pub use source::Source;
pub use store::{
    BrokenUploads, CredentialFile, CredentialSource, Store, StoreAddressing, StoreChecks, Trailers,
};
pub(crate) use tls::FileFault;
pub use tls::{ClientAuthorities, ClientCertificates, FileStamps, ServedCertificate, Tls};
use written::Written;

use crate::{
    chain::AccountId,
    endpoint::Endpoint,
    policy::{FolderMarkers, Policy, RoleRights, Template, Values},
    secret::Secret,
    time::UnixTime,
};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners and connections.
    pub server: Server,
    /// The bucket as clients see it.
    pub bucket: Bucket,
    /// The S3-compatible store.
    pub store: Store,
    /// Sessions: their keys and bounds.
    pub session: SessionSettings,
    /// Where the registry of hotkeys comes from, and who is a validator.
    pub chain: Chain,
    /// Folders and rights.
    pub policy: Policy,
    /// Sizes and paces of bodies, and what one party may take of the server.
    pub limits: Limits,
    /// The endpoints beside S3.
    pub endpoints: Endpoints,
    /// The log's own bounds.
    pub log: Log,
    /// Where the settings stand in their file.
    pub(crate) lines: Lines,
    written: Written,
}

/// The bucket as clients see it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name; the store's may differ.
    pub name: String,
    /// The region that clients sign for.
    pub region: String,
}

/// Sessions: their keys and bounds.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The key that signs new sessions.
    pub issue_with: String,
    /// Every key whose sessions are accepted.
    pub keys: Vec<SessionKey>,
    /// This server's identity, to which session requests are addressed.
    pub receiver: Option<AccountId>,
    /// Whether session requests that name no receiver are accepted.
    pub allow_no_receiver: bool,
    /// Longest life of a session, in seconds.
    pub ttl_seconds_max: u64,
}

impl Config {
    /// Reads and checks a configuration, the key files it names included.
    pub fn load(source: &Source) -> Result<Self, ConfigErrors> {
        Self::of_source(source, source.read()?)
    }

    /// Reads and checks a configuration once more, for a process that serves already: a pipe or a directory
    /// in the place of its file is a fault.
    pub(crate) fn load_again(source: &Source) -> Result<Self, ConfigErrors> {
        Self::of_source(source, source.read_again()?)
    }

    /// Checks a configuration text; relative paths start at `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigErrors> {
        let lines = Lines::of(text, None);
        Self::of_table(Self::table(text, &lines)?, lines, base)
    }

    /// This configuration with the settings that need a restart as `running` has them.
    ///
    /// # Errors
    /// Where it is none with those.
    pub(crate) fn keeping_what_needs_a_restart(&self, running: &Self) -> Result<Self, ConfigErrors> {
        match self.written.keeping(&running.written) {
            None => Ok(self.clone()),
            Some(table) => Self::of_table(table, self.lines.clone(), self.written.base()),
        }
    }

    /// The files that are named in it now, whatever its faults; none where it is not TOML.
    pub(crate) fn files_named_in(source: &Source) -> Vec<PathBuf> {
        source.named_files()
    }

    /// The files that it names and whose change asks for a reload.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.written.files()
    }

    fn of_source(source: &Source, Reading { text, mut lines }: Reading) -> Result<Self, ConfigErrors> {
        let mut table = Self::table(&text, &lines)?;
        let faults = source.environment().lay_over(&mut table, &mut lines);
        let read = Self::of_table(table, lines, source.base());
        match (read, faults.is_empty()) {
            (read, true) => read,
            (Ok(_), false) => Err(ConfigErrors(faults)),
            (Err(ConfigErrors(more)), false) => Err(ConfigErrors(faults.into_iter().chain(more).collect())),
        }
    }

    fn table(text: &str, lines: &Lines) -> Result<toml::Table, ConfigErrors> {
        text.parse().map_err(|error| ConfigErrors(vec![lines.syntax_error(text, &error)]))
    }

    fn of_table(table: toml::Table, lines: Lines, base: &Path) -> Result<Self, ConfigErrors> {
        // Before anything is read: what changes from here on shows as a change.
        let written = Written::new(table.clone(), base);
        let mut root = Section::root(table, lines.clone(), base);
        let server = Server::read(root.section("server"));
        let readers = server.as_ref().map_or(SecretReaders::Owner, |server| server.secret_readers);
        let bucket = Bucket::read(root.section("bucket"));
        let store = Store::read(root.section("store"), &bucket, readers);
        let session = SessionSettings::read(root.section("session"), readers);
        let chain = Chain::read(root.section("chain"));
        let policy = read_policy(root.section("policy"));
        let limits = Limits::read(root.section("limits"), readers);
        let endpoints = Endpoints::read(root.section("endpoints"));
        let log = Log::read(root.section("log"));
        let errors = root.errors();
        match (server, store, chain, policy) {
            (Some(server), Some(store), Some(chain), Some(policy)) if errors.0.is_empty() => Ok(Self {
                server,
                bucket,
                store,
                session,
                chain,
                policy,
                limits,
                endpoints,
                log,
                lines,
                written,
            }),
            _ => Err(errors),
        }
    }

    /// What is no fault and should be changed all the same: each names its setting, and says what to do.
    pub fn warnings(&self) -> Vec<Fault> {
        let open = |template: &Template| {
            let variable = template.open_variable_above()?;
            let message = format_args!(
                "{:?} has the open variable {{{variable}}} above the identity, so one miner can make so many \
                 of these directories that validators' lists of miners stay incomplete; put {{{variable}}} \
                 below {{hotkey}} or {{coldkey}}, or give it a list of values",
                template.as_str()
            );
            Some(self.lines.warning("policy.folders", message))
        };
        let bucket = (!is_bucket_name(&self.store.bucket)).then(|| {
            let message = format_args!(
                "{:?} is no bucket name by today's rules ({BUCKET_NAME_EXPECTED}); only old stores have such \
                 buckets",
                self.store.bucket
            );
            self.lines.warning("store.bucket", message)
        });
        let now_seconds = UnixTime::from(SystemTime::now()).seconds();
        let certificates = self.server.tls.iter().flat_map(|tls| tls.warnings_at(now_seconds));
        let certificates = certificates.map(|it| self.lines.warning(&it.setting, it.message));
        self.policy.templates().iter().filter_map(open).chain(bucket).chain(certificates).collect()
    }
}

/// What S3 takes for the name of a new bucket.
const BUCKET_NAME_EXPECTED: &str = "3 to 63 lower-case letters, digits, dots and hyphens, with a letter or a \
                                    digit at each end";

impl Bucket {
    fn read(mut section: Section) -> Self {
        let expected = format!("a bucket name of {BUCKET_NAME_EXPECTED}");
        let name: String = section.required("name", &expected);
        if Endpoint::reserves(&name) {
            section.error(
                "name",
                format_args!("{name:?} is the name of an endpoint of this server; choose another"),
            );
        } else if !name.is_empty() && !is_bucket_name(&name) {
            section.error("name", format_args!("{name:?} is not {expected}"));
        }
        let region = section.or("region", "us-east-1".to_owned(), "a region such as \"us-east-1\"");
        if !is_label(&region) {
            section.error("region", format_args!("{region:?} is not a region such as \"us-east-1\""));
        }
        section.finish();
        Self { name, region }
    }
}

/// Whether S3 takes it for a new bucket, and clients for a bucket's own name: some endings mean something
/// else to them (access points, directory buckets).
fn is_bucket_name(name: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_old_bucket_name(name)
        && name.len() <= 63
        && name.bytes().all(|byte| !byte.is_ascii_uppercase() && byte != b'_')
        && is_edge(name.bytes().next())
        && is_edge(name.bytes().last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|start| name.starts_with(start))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|end| name.ends_with(end))
}

/// Whether a store may have such a bucket from the days of looser rules.
fn is_old_bucket_name(name: &str) -> bool {
    (3..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && !name.bytes().all(|byte| byte == b'.')
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl SessionSettings {
    fn read(mut section: Section, readers: SecretReaders) -> Self {
        let issue_with: String = section.required("issue_with", "the id of one of the session.keys");
        let sections = section.sections("keys");
        let given = sections.len();
        let keys: Vec<_> =
            sections.into_iter().filter_map(|section| SessionKey::read(section, readers)).collect();
        if given == 0 {
            section.error(
                "keys",
                "is missing; write [[session.keys]] with an id and a file of 64 hex characters (openssl \
                rand -hex 32)",
            );
        } else if keys.len() == given
            && !issue_with.is_empty()
            && !keys.iter().any(|key| key.id == issue_with)
        {
            section
                .error("issue_with", format_args!("{issue_with:?} is not the id of one of the session.keys"));
        }
        if keys.iter().any(|key| key.id == issue_with && key.accept_until.is_some()) {
            section.error(
                "issue_with",
                format_args!(
                    "{issue_with:?} has an accept_until, so it signs nothing new; name a key that stays in \
                service"
                ),
            );
        }
        for (index, key) in keys.iter().enumerate() {
            if keys.iter().take(index).any(|earlier| earlier.id == key.id) {
                section.error("keys", format_args!("the id {:?} is there twice", key.id));
            }
        }
        let receiver = section.parsed("receiver", "an SS58 address with prefix 42", |text| text.parse().ok());
        let allow_no_receiver = section.or("allow_no_receiver", false, "true or false");
        if receiver.is_none() && !allow_no_receiver {
            section.error(
                "receiver",
                "is missing; set it to this server's own SS58 address, or set session.allow_no_receiver = \
                true to take requests that are addressed to nobody",
            );
        }
        let ttl_seconds_max = section.number("ttl_seconds_max", 86_400, 1200..=86_400);
        section.finish();
        Self { issue_with, keys, receiver, allow_no_receiver, ttl_seconds_max }
    }
}

fn read_policy(mut section: Section) -> Option<Policy> {
    let expected = "a list of templates such as [\"data/{source}/{coldkey}/\"]";
    let folders: Vec<String> = section.or("folders", vec!["data/{source}/{coldkey}/".to_owned()], expected);
    let variables = read_variables(section.section("variables"));
    let rights: RoleRights = section
        .optional(
            "roles",
            "a table of roles, [policy.roles.miner] with own and all = [\"list\", \"read\", \"write\", \
        \"delete\"]",
        )
        .unwrap_or_default();
    let mut templates: Vec<Template> = Vec::new();
    for text in &folders {
        match Template::parse(text, &variables) {
            Ok(template) => {
                if let Some(other) = templates.iter().find(|other| other.collides(&template)) {
                    section.error(
                        "folders",
                        format_args!(
                            "{text:?} and {:?} can give one path two owners; make their literal parts differ",
                            other.as_str()
                        ),
                    );
                }
                templates.push(template);
            }
            Err(what) => section.error("folders", what),
        }
    }
    if folders.is_empty() {
        section.error("folders", format_args!("[] is not {expected}"));
    }
    let words = [("answer", FolderMarkers::Answer), ("store", FolderMarkers::Store)];
    let folder_markers = section.word("folder_markers", &words, FolderMarkers::default());
    section.finish();
    Some(Policy::new(templates, rights).with_folder_markers(folder_markers))
}

/// Names with a list of values, or with `{ pattern = "…" }`.
fn read_variables(mut section: Section) -> BTreeMap<String, Values> {
    let mut variables = BTreeMap::new();
    let table = section.rest();
    if table.is_empty() {
        let sources = ["x", "reddit"].map(str::to_owned).to_vec();
        variables.insert("source".to_owned(), Values::List(sources));
    }
    for (name, value) in table {
        match variable(&value) {
            Ok(values) if name != "hotkey" && name != "coldkey" => {
                variables.insert(name, values);
            }
            Ok(_) => section.error(&name, "is bound to the caller by the chain and cannot be set"),
            Err(what) => section.error(&name, what),
        }
    }
    variables
}

fn variable(value: &toml::Value) -> Result<Values, String> {
    let expected = "a list of texts without \"/\", or { pattern = \"[a-z0-9]+\" }";
    if let Some(list) = value.as_array() {
        let texts: Option<Vec<String>> = list
            .iter()
            .map(|text| {
                text.as_str()
                    .filter(|text| !matches!(*text, "" | "." | "..") && !text.contains('/'))
                    .map(str::to_owned)
            })
            .collect();
        return match texts {
            Some(texts) if !texts.is_empty() => Ok(Values::List(texts)),
            _ => Err(format!("{value} is not {expected}")),
        };
    }
    match value.as_table().map(|table| (table.len(), table.get("pattern").and_then(toml::Value::as_str))) {
        Some((1, Some(pattern))) => Values::pattern(pattern),
        _ => Err(format!("{value} is not {expected}")),
    }
}

/// A secret of `length` bytes or more from hex text.
fn hex_secret(text: &str, length: usize) -> Option<Secret> {
    hex::decode(text.trim()).ok().filter(|bytes| bytes.len() >= length).map(Secret::new)
}

#[cfg(test)]
mod tests;
