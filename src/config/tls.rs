//! `[server.tls]`: the certificates of the listener, and those that clients may have.
//!
//! The files are read with the configuration, so that `subgate check` finds whatever is wrong with them, and
//! again with [`Tls::read_again`] when they have changed.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use rustls::RootCertStore;

use super::{acme::Acme, secrets::read_private_file, section::Section};
use crate::{
    file_access::{SecretReaders, check_writers, read_regular_file},
    tls::{Certificate, CertificateError, Validity, authorities},
};

/// A chain of certificates has a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// TLS of the listener for clients.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What it presents; the first is for clients that name no host, or an unknown one. Empty only where
    /// certificates come by ACME.
    pub certificates: Vec<ServedCertificate>,
    /// Certificates that are ordered from an authority.
    pub acme: Option<Acme>,
    /// What is asked of clients.
    pub client_certificates: ClientCertificates,
    /// Seconds within which a handshake must have ended.
    pub handshake_seconds_max: u64,
    readers: SecretReaders,
}

/// What is wrong with a file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub(crate) struct FileFault {
    /// The full name of the setting.
    pub(crate) setting: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// What files looked like before they were read: whoever sees them look otherwise reads them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamps(Vec<Option<FileStamp>>);

/// Device, inode, bytes, and when it was last written, in seconds and nanoseconds.
type FileStamp = (u64, u64, u64, i64, i64);

impl FileStamps {
    fn of(files: &[&PathBuf]) -> Self {
        let stamp = |path: &&PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        };
        Self(files.iter().map(stamp).collect())
    }
}

/// A certificate and the files it came from.
#[derive(Debug, Clone)]
pub struct ServedCertificate {
    /// `server.tls.certificates[0]`.
    setting: String,
    /// The chain, in PEM.
    pub certificate_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// What they hold.
    pub certificate: Certificate,
    stamps: FileStamps,
}

/// Whether clients have to show certificates of their own.
#[derive(Debug, Clone)]
pub enum ClientCertificates {
    /// They are not asked for any.
    None,
    /// Those that have one show it, and it must be one of these authorities'.
    Optional(ClientAuthorities),
    /// Who has none of these authorities' is not served.
    Required(ClientAuthorities),
}

/// The authorities of clients' certificates.
#[derive(Debug, Clone)]
pub struct ClientAuthorities {
    /// A PEM file.
    pub file: PathBuf,
    /// What it holds.
    pub roots: Arc<RootCertStore>,
    stamps: FileStamps,
}

/// The word for each of [`ClientCertificates`].
#[derive(Debug, Clone, Copy)]
enum Asked {
    None,
    Optional,
    Required,
}

impl Tls {
    /// None where the table is empty, and where it has faults.
    pub(super) fn read(mut section: Section, readers: SecretReaders) -> Option<Self> {
        if section.is_empty() {
            return None;
        }
        let acme = section.section("acme");
        let by_acme = !acme.is_empty();
        let acme = by_acme.then(|| Acme::read(acme));
        let sections = section.sections("certificates");
        let given = sections.len();
        if given == 0 && !by_acme {
            section.error(
                "certificates",
                "is missing; write [{ certificate = \"certs/a.pem\", key = \"certs/a.key\" }], or have a \
                 section [server.tls.acme]",
            );
        }
        let certificates: Vec<_> =
            sections.into_iter().filter_map(|section| ServedCertificate::read(section, readers)).collect();
        let words = [("none", Asked::None), ("optional", Asked::Optional), ("required", Asked::Required)];
        let asked = section.word("client_certificates", &words, Asked::None);
        let ca_file = section.path("client_ca_file", "the path of a PEM file");
        let client_certificates = match (asked, ca_file) {
            (Asked::None, None) => Some(ClientCertificates::None),
            (Asked::None, Some(_)) => {
                section.error(
                    "client_ca_file",
                    "is for client_certificates = \"optional\" or \"required\"; set one of these, or take it \
                     away",
                );
                None
            }
            (Asked::Optional | Asked::Required, None) => {
                section.error(
                    "client_ca_file",
                    "is missing; it must be a PEM file with the authorities of clients' certificates",
                );
                None
            }
            (Asked::Optional | Asked::Required, Some(file)) => match ClientAuthorities::load(file) {
                Ok(authorities) if matches!(asked, Asked::Required) => {
                    Some(ClientCertificates::Required(authorities))
                }
                Ok(authorities) => Some(ClientCertificates::Optional(authorities)),
                Err(what) => {
                    section.error("client_ca_file", what);
                    None
                }
            },
        };
        let handshake_seconds_max = section.number("handshake_seconds_max", 10, 1..=120);
        section.finish();
        let is_whole = certificates.len() == given && (given > 0 || by_acme);
        let client_certificates = client_certificates.filter(|_| is_whole)?;
        let acme = match acme {
            Some(read) => Some(read?),
            None => None,
        };
        Some(Self { certificates, acme, client_certificates, handshake_seconds_max, readers })
    }

    /// The same settings with what the files hold now.
    ///
    /// # Errors
    /// Every file that cannot be used, with its setting, as at the start; and a certificate that has come
    /// anew and does not count now.
    pub(crate) fn read_again(&self, now_seconds: u64) -> Result<Self, Vec<FileFault>> {
        let mut errors = Vec::new();
        let mut certificates = Vec::new();
        for served in &self.certificates {
            let ServedCertificate { setting, certificate_file, key_file, certificate: before, .. } = served;
            let (certificate_file, key_file) = (certificate_file.clone(), key_file.clone());
            match ServedCertificate::load(setting, certificate_file, key_file, self.readers) {
                // What is served anyway may go on, and what takes its place must be better.
                Ok(served) if !before.is_same_chain(&served.certificate) => {
                    match served.fault_at(now_seconds) {
                        Some(fault) => errors.push(fault),
                        None => certificates.push(served),
                    }
                }
                Ok(served) => certificates.push(served),
                Err((at, message)) => errors.push(FileFault { setting: format!("{setting}.{at}"), message }),
            }
        }
        let again = |authorities: &ClientAuthorities| {
            ClientAuthorities::load(authorities.file.clone())
                .map_err(|message| FileFault { setting: "server.tls.client_ca_file".to_owned(), message })
        };
        let client_certificates = match &self.client_certificates {
            ClientCertificates::None => Ok(ClientCertificates::None),
            ClientCertificates::Optional(before) => again(before).map(ClientCertificates::Optional),
            ClientCertificates::Required(before) => again(before).map(ClientCertificates::Required),
        };
        match client_certificates {
            Ok(client_certificates) if errors.is_empty() => {
                Ok(Self { certificates, client_certificates, ..self.clone() })
            }
            Ok(_) => Err(errors),
            Err(error) => {
                errors.push(error);
                Err(errors)
            }
        }
    }

    /// What its files looked like before they were read.
    pub(crate) fn stamps(&self) -> FileStamps {
        let authorities = self.client_certificates.authorities();
        let stamps = self.certificates.iter().map(|served| &served.stamps);
        FileStamps(stamps.chain(authorities.map(|it| &it.stamps)).flat_map(|it| it.0.clone()).collect())
    }

    /// What they look like now.
    pub(crate) fn stamps_now(&self) -> FileStamps {
        let pairs = self.certificates.iter().flat_map(|served| [&served.certificate_file, &served.key_file]);
        let authorities = self.client_certificates.authorities();
        let files: Vec<&PathBuf> = pairs.chain(authorities.map(|authorities| &authorities.file)).collect();
        FileStamps::of(&files)
    }

    /// Whether clients are asked for the same certificates by `other`.
    pub(crate) fn asks_clients_as(&self, other: &Self) -> bool {
        let subjects = |it: &Self| {
            let authorities = it.client_certificates.authorities()?;
            Some(authorities.roots.roots.clone())
        };
        let word = |it: &Self| std::mem::discriminant(&it.client_certificates);
        word(self) == word(other) && subjects(self) == subjects(other)
    }

    /// How long a handshake may take.
    pub(crate) fn handshake_max(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds_max)
    }

    /// Certificates that do not count at that time, in Unix seconds: they are served all the same, for a
    /// client that looks at no date is served by them, and nobody is by none.
    pub(super) fn warnings_at(&self, now_seconds: u64) -> Vec<FileFault> {
        self.certificates.iter().filter_map(|served| served.fault_at(now_seconds)).collect()
    }
}

impl ClientCertificates {
    fn authorities(&self) -> Option<&ClientAuthorities> {
        match self {
            Self::None => None,
            Self::Optional(authorities) | Self::Required(authorities) => Some(authorities),
        }
    }
}

impl ServedCertificate {
    fn read(mut section: Section, readers: SecretReaders) -> Option<Self> {
        let expected = "the path of a PEM file";
        for setting in ["certificate", "key"] {
            if !section.rest_has(setting) {
                section.error(setting, format_args!("is missing; it must be {expected}"));
            }
        }
        let certificate = section.path("certificate", expected);
        let key = section.path("key", expected);
        let loaded = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let setting = section.own_name().to_owned();
                Self::load(&setting, certificate, key, readers)
                    .map_err(|(at, what)| section.error(at, what))
                    .ok()
            }
            (_, _) => None,
        };
        section.finish();
        loaded
    }

    /// What the files hold; else the setting that names the faulty one, and the fault.
    fn load(
        setting: &str,
        certificate_file: PathBuf,
        key_file: PathBuf,
        readers: SecretReaders,
    ) -> Result<Self, (&'static str, String)> {
        let stamps = FileStamps::of(&[&certificate_file, &key_file]);
        let chain = read_regular_file(&certificate_file, FILE_BYTES_MAX).map_err(|error| {
            ("certificate", format!("{} cannot be read: {error}", certificate_file.display()))
        })?;
        let key = read_private_file(&key_file, readers).map_err(|what| ("key", what))?;
        let certificate =
            Certificate::from_pem(&chain.bytes, key.as_bytes()).map_err(|error| match error {
                CertificateError::Chain(what) => {
                    ("certificate", format!("{} {what}", certificate_file.display()))
                }
                CertificateError::Key(what) => ("key", format!("{} {what}", key_file.display())),
            })?;
        Ok(Self { setting: setting.to_owned(), certificate_file, key_file, certificate, stamps })
    }

    fn fault_at(&self, now_seconds: u64) -> Option<FileFault> {
        let what = match self.certificate.validity_at(now_seconds) {
            Validity::Valid => return None,
            Validity::Expired => "has expired, so clients refuse it; renew it",
            Validity::NotYet => "is not valid yet, so clients refuse it; look at the clock, or wait",
        };
        Some(FileFault {
            setting: format!("{}.certificate", self.setting),
            message: format!("{} {what}", self.certificate_file.display()),
        })
    }
}

impl ClientAuthorities {
    fn load(file: PathBuf) -> Result<Self, String> {
        // It decides who is let in, so nobody else may write it.
        let (shown, stamps) = (file.display(), FileStamps::of(&[&file]));
        let metadata =
            std::fs::metadata(&file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        check_writers(&metadata).map_err(|what| format!("{shown} {what}"))?;
        let roots = Arc::new(authorities(&file).map_err(|error| error.to_string())?);
        Ok(Self { file, roots, stamps })
    }
}

#[cfg(test)]
mod tests;
