//! The S3-compatible store behind this server: its address, its credentials, and what it can be trusted to
//! check.

use std::path::PathBuf;

use http::Uri;

use super::{Bucket, is_bucket_name, is_old_bucket_name, section::Section};
use crate::{file_access::SecretReaders, s3::headers::CHECKSUM_ALGORITHMS};

/// The S3-compatible store behind this server.
#[derive(Debug, Clone)]
pub struct Store {
    /// Scheme and authority.
    pub endpoint: Uri,
    /// The bucket's name there.
    pub bucket: String,
    /// The region to sign for.
    pub region: String,
    /// Whether the bucket's name goes into the path or into the host.
    pub addressing: StoreAddressing,
    /// Where the server's own credentials come from.
    pub credentials: CredentialSource,
    /// How checksums in trailers are handled.
    pub trailers: Trailers,
    /// What the store does with an upload that breaks off.
    pub broken_uploads: BrokenUploads,
    /// The checksum algorithms that the store knows, by their names in upper case.
    pub checksums: Vec<String>,
    /// What the store checks by itself.
    pub verifies: StoreChecks,
    /// The storage classes that clients may ask for.
    pub storage_classes: Vec<String>,
    /// Further certificate authorities for its TLS, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Seconds within which a connection must be established.
    pub connect_seconds_max: u64,
    /// Seconds from the end of the request to the beginning of its answer, at most.
    pub answer_seconds_max: u64,
    /// Seconds after which an answer that brings nothing, or an upload of which the store reads nothing, is
    /// cut off.
    pub idle_seconds_max: u64,
    /// Most requests under way at one time, each with a connection of its own; none where it follows from the
    /// open files.
    pub connections_max: Option<u64>,
    /// Most of them for one hotkey; none for an eighth of all.
    pub connections_per_hotkey_max: Option<u64>,
    /// Most idle connections that are kept for later requests.
    pub idle_connections_max: usize,
    /// Seconds for which a request that reads waits while the store is away; 0 where none waits.
    pub outage_wait_seconds_max: u64,
    /// Most requests that wait at one time.
    pub outage_waiters_max: usize,
    /// Failures in a row from which the store is left alone; 0 where it never is.
    pub outage_failures_max: u32,
}

/// Where the bucket's name goes on the way to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreAddressing {
    /// `endpoint/bucket/key`.
    Path,
    /// `bucket.endpoint/key`.
    VirtualHost,
}

/// Where the server's own credentials come from; all are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Environment,
    /// The AWS default chain: environment, profile, web identity, container, instance.
    Aws,
    /// A JSON file: `{"access_key", "secret_key", "session_token"}`.
    File(CredentialFile),
}

/// A file with the store's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFile {
    /// The file.
    pub path: PathBuf,
    /// Who may read it.
    pub readers: SecretReaders,
}

/// How checksums in trailers are handled (P6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailers {
    /// The store takes them: checked here and sent on as an unsigned trailer.
    Forward,
    /// The store does not: checked here, and the body is sent plain.
    Translate,
}

/// What the store does with an upload that breaks off before its declared length (P64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenUploads {
    /// It keeps nothing.
    Refused,
    /// It keeps what had arrived as an object.
    Kept,
}

/// What the store checks by itself, so that they need not be checked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreChecks {
    /// `x-amz-content-sha256`, which is sent on and signed in any case.
    pub sha256: bool,
    /// `content-md5`.
    pub content_md5: bool,
    /// `x-amz-checksum-*` headers.
    pub checksum: bool,
}

impl Store {
    pub(super) fn read(mut section: Section, bucket: &Bucket, readers: SecretReaders) -> Option<Self> {
        let expected = "a URL without a path such as \"https://s3.us-east-1.amazonaws.com\"";
        if !section.rest_has("endpoint") {
            section.error("endpoint", format_args!("is missing; it must be {expected}"));
        }
        let endpoint = section.parsed("endpoint", expected, |text| {
            let uri: Uri = text.strip_suffix('/').unwrap_or(text).parse().ok()?;
            let fine = matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.path() == "/"
                && uri.query().is_none();
            fine.then_some(uri)
        });
        let name = section.or("bucket", bucket.name.clone(), "the bucket's name at the store");
        let region = section.or("region", bucket.region.clone(), "the store's region");
        let addressing = section.word(
            "addressing",
            &[("path", StoreAddressing::Path), ("virtual-host", StoreAddressing::VirtualHost)],
            StoreAddressing::Path,
        );
        let is_known_to_be_wrong = name == bucket.name;
        if !is_known_to_be_wrong && !is_old_bucket_name(&name) {
            section.error("bucket", format_args!("{name:?} is not a bucket name"));
        } else if !is_known_to_be_wrong
            && addressing == StoreAddressing::VirtualHost
            && !is_bucket_name(&name)
        {
            section.error(
                "bucket",
                format_args!("{name:?} cannot be part of a host name; set store.addressing = \"path\""),
            );
        }
        let credentials = read_credentials(&mut section, readers);
        let trailers = section.word(
            "trailers",
            &[("forward", Trailers::Forward), ("translate", Trailers::Translate)],
            Trailers::Forward,
        );
        let broken_uploads = section.word(
            "broken_uploads",
            &[("refused", BrokenUploads::Refused), ("kept", BrokenUploads::Kept)],
            BrokenUploads::Refused,
        );
        let checksums = read_checksums(&mut section);
        let verifies = read_checks(&mut section);
        let storage_classes = read_storage_classes(&mut section);
        let ca_file = section.path("ca_file", "the path of a PEM file");
        let connect_seconds_max = section.number("connect_seconds_max", 5, 1..=600);
        let answer_seconds_max = section.number("answer_seconds_max", 300, 1..=7200);
        let idle_seconds_max = section.number("idle_seconds_max", 60, 1..=3600);
        let idle_connections_max = section.number("idle_connections_max", 256, 0..=65_536);
        let outage_wait_seconds_max = section.number("outage_wait_seconds_max", 5, 0..=5);
        let outage_waiters_max = section.number("outage_waiters_max", 64, 0..=4096);
        let outage_failures_max = section.number("outage_failures_max", 5, 0..=1000);
        let connections_max = section.number_given("connections_max", 1..=1_000_000);
        let connections_per_hotkey_max = section.number_given("connections_per_hotkey_max", 1..=1_000_000);
        section.finish();
        Some(Self {
            endpoint: endpoint?,
            bucket: name,
            region,
            addressing,
            credentials: credentials?,
            trailers,
            broken_uploads,
            checksums,
            verifies,
            storage_classes,
            ca_file,
            connect_seconds_max,
            answer_seconds_max,
            idle_seconds_max,
            connections_max,
            connections_per_hotkey_max,
            idle_connections_max: usize::try_from(idle_connections_max).ok()?,
            outage_wait_seconds_max,
            outage_waiters_max: usize::try_from(outage_waiters_max).ok()?,
            outage_failures_max: u32::try_from(outage_failures_max).ok()?,
        })
    }
}

fn read_credentials(section: &mut Section, readers: SecretReaders) -> Option<CredentialSource> {
    let expected = "\"environment\", \"aws\" or { file = \"store.json\" }";
    match section.optional::<toml::Value>("credentials", expected) {
        None => Some(CredentialSource::Aws),
        Some(toml::Value::String(word)) if word == "environment" => Some(CredentialSource::Environment),
        Some(toml::Value::String(word)) if word == "aws" => Some(CredentialSource::Aws),
        Some(toml::Value::Table(mut table)) if table.len() == 1 => match table.remove("file") {
            Some(toml::Value::String(path)) => {
                Some(CredentialSource::File(CredentialFile { path: section.resolve(&path), readers }))
            }
            _ => {
                section.error("credentials", format_args!("is not {expected}"));
                None
            }
        },
        Some(_) => {
            section.error("credentials", format_args!("is not {expected}"));
            None
        }
    }
}

fn read_checksums(section: &mut Section) -> Vec<String> {
    let expected = format!("a list of {}", CHECKSUM_ALGORITHMS.join(", "));
    // The five that all stores have which have any.
    let default = CHECKSUM_ALGORITHMS.iter().take(5).map(|name| (*name).to_owned()).collect();
    let names: Vec<String> = section.or("checksums", default, &expected);
    for name in names.iter().filter(|name| !CHECKSUM_ALGORITHMS.contains(&name.as_str())) {
        section.error("checksums", format_args!("{name:?} is not in {expected}"));
    }
    names
}

fn read_checks(section: &mut Section) -> StoreChecks {
    let expected = "a list of \"sha256\", \"content-md5\" and \"checksum\"";
    let Some(words) = section.optional::<Vec<String>>("verifies", expected) else {
        // Every store that people run checks an MD5; checksum headers some do not know, and a false sha256
        // some take for an error of their own.
        return StoreChecks { sha256: false, content_md5: true, checksum: false };
    };
    let mut checks = StoreChecks::default();
    for word in &words {
        match word.as_str() {
            "sha256" => checks.sha256 = true,
            "content-md5" => checks.content_md5 = true,
            "checksum" => checks.checksum = true,
            _ => section.error("verifies", format_args!("{word:?} is not in {expected}")),
        }
    }
    checks
}

fn read_storage_classes(section: &mut Section) -> Vec<String> {
    let expected = "a list of storage classes such as [\"STANDARD\"]";
    let classes: Vec<String> = section.or("storage_classes", vec!["STANDARD".to_owned()], expected);
    let is_class =
        |class: &str| class.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    for class in classes.iter().filter(|class| class.is_empty() || !is_class(class)) {
        section.error("storage_classes", format_args!("{class:?} is not a storage class"));
    }
    classes
}
