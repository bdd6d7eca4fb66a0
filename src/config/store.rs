//! The store behind: where it is, how it is signed in to, and what it can be trusted to check.

use std::path::PathBuf;

use http::Uri;

use super::{Bucket, is_bucket_name, section::Section};

/// The store behind.
#[derive(Debug, Clone)]
pub struct Store {
    /// Scheme and authority.
    pub endpoint: Uri,
    /// The bucket's name there.
    pub bucket: String,
    /// The region to sign for.
    pub region: String,
    /// Where the bucket's name goes.
    pub addressing: StoreAddressing,
    /// Where the server's own credentials come from.
    pub credentials: CredentialSource,
    /// What becomes of checksums in trailers.
    pub trailers: Trailers,
    /// What the store checks by itself.
    pub verifies: Proofs,
    /// Further certificate authorities for its TLS, as PEM.
    pub ca_file: Option<PathBuf>,
    /// A connection must stand within so many seconds.
    pub connect_seconds_max: u64,
    /// An answer must begin so many seconds after the request is all there.
    pub answer_seconds_max: u64,
    /// An answer that brings nothing, or an upload of which the store takes nothing, for so long is cut off.
    pub idle_seconds_max: u64,
    /// Connections kept for the next request.
    pub idle_connections_max: usize,
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
    /// A JSON file of mode 0600: `{"access_key", "secret_key", "session_token"}`.
    File(PathBuf),
}

/// What becomes of checksums in trailers (P6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailers {
    /// The store takes them: checked here and sent on as an unsigned trailer.
    Forward,
    /// The store does not: checked here, and the body is sent plain.
    Translate,
}

/// Proofs that the store checks by itself, so that they need not be checked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proofs {
    /// `x-amz-content-sha256`: sent on and signed.
    pub sha256: bool,
    /// `content-md5`.
    pub content_md5: bool,
    /// `x-amz-checksum-*` headers.
    pub checksum: bool,
}

impl Store {
    pub(super) fn read(mut section: Section, bucket: &Bucket) -> Option<Self> {
        let right = "a URL without a path such as \"https://s3.us-east-1.amazonaws.com\"";
        if !section.rest_has("endpoint") {
            section.fault("endpoint", format_args!("is missing; it must be {right}"));
        }
        let endpoint = section.parsed("endpoint", right, |text| {
            let uri: Uri = text.strip_suffix('/').unwrap_or(text).parse().ok()?;
            let fine = matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.path() == "/"
                && uri.query().is_none();
            fine.then_some(uri)
        });
        let name = section.or("bucket", bucket.name.clone(), "the bucket's name at the store");
        if !name.is_empty() && !is_bucket_name(&name) {
            section.fault("bucket", format_args!("{name:?} is not a bucket name"));
        }
        let region = section.or("region", bucket.region.clone(), "the store's region");
        let addressing = section.word(
            "addressing",
            &[("path", StoreAddressing::Path), ("virtual-host", StoreAddressing::VirtualHost)],
            StoreAddressing::Path,
        );
        let credentials = read_credentials(&mut section);
        let trailers = section.word(
            "trailers",
            &[("forward", Trailers::Forward), ("translate", Trailers::Translate)],
            Trailers::Forward,
        );
        let verifies = read_proofs(&mut section);
        let ca_file = section.path("ca_file", "the path of a PEM file");
        let connect_seconds_max = section.number("connect_seconds_max", 5, 1..=600);
        let answer_seconds_max = section.number("answer_seconds_max", 300, 1..=7200);
        let idle_seconds_max = section.number("idle_seconds_max", 60, 1..=3600);
        let idle_connections_max = section.number("idle_connections_max", 256, 0..=65_536);
        section.finish();
        Some(Self {
            endpoint: endpoint?,
            bucket: name,
            region,
            addressing,
            credentials: credentials?,
            trailers,
            verifies,
            ca_file,
            connect_seconds_max,
            answer_seconds_max,
            idle_seconds_max,
            idle_connections_max: usize::try_from(idle_connections_max).ok()?,
        })
    }
}

fn read_credentials(section: &mut Section) -> Option<CredentialSource> {
    let right = "\"environment\", \"aws\" or { file = \"store.json\" }";
    match section.optional::<toml::Value>("credentials", right) {
        None => Some(CredentialSource::Aws),
        Some(toml::Value::String(word)) if word == "environment" => Some(CredentialSource::Environment),
        Some(toml::Value::String(word)) if word == "aws" => Some(CredentialSource::Aws),
        Some(toml::Value::Table(mut table)) if table.len() == 1 => match table.remove("file") {
            Some(toml::Value::String(path)) => Some(CredentialSource::File(section.resolve(&path))),
            _ => {
                section.fault("credentials", format_args!("is not {right}"));
                None
            }
        },
        Some(_) => {
            section.fault("credentials", format_args!("is not {right}"));
            None
        }
    }
}

fn read_proofs(section: &mut Section) -> Proofs {
    let right = "a list of \"sha256\", \"content-md5\" and \"checksum\"";
    let Some(words) = section.optional::<Vec<String>>("verifies", right) else {
        // Every store that people run checks an MD5; checksum headers some do not know, and a false sha256 some take for
        // a fault of their own.
        return Proofs { sha256: false, content_md5: true, checksum: false };
    };
    let mut proofs = Proofs::default();
    for word in &words {
        match word.as_str() {
            "sha256" => proofs.sha256 = true,
            "content-md5" => proofs.content_md5 = true,
            "checksum" => proofs.checksum = true,
            _ => section.fault("verifies", format_args!("{word:?} is not in {right}")),
        }
    }
    proofs
}
