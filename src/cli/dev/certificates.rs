//! The authority and the certificate of `subgate dev --tls`: made at the first start, kept while they count.
//! \[IO\]
//!
//! Invariant: the authority's own key is never stored, so nobody can sign with it later what a client that
//! trusts it would believe.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::data_file::{create_dir, write};
use crate::{
    cli::exit::CommandError,
    time::UnixTime,
    tls::{Certificate, Validity},
};

/// Whom the certificate names.
const NAMES: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

const DAY_SECONDS: u64 = 86_400;

/// A year and a bit, which is what browsers allow.
const VALID_DAYS: u64 = 397;

/// What counts for less than this is made anew, so that it does not end while the server runs.
const LEFT_DAYS_MIN: u64 = 30;

/// The files.
#[derive(Debug)]
pub(super) struct DevCertificates {
    /// The authority, for clients to trust.
    pub(super) ca_file: PathBuf,
    /// The server's certificate.
    pub(super) certificate_file: PathBuf,
    /// Its key.
    pub(super) key_file: PathBuf,
}

impl DevCertificates {
    /// Those in `dir`, made anew where they are missing, cannot be used or end soon.
    pub(super) fn open(dir: &Path, now: SystemTime) -> Result<Self, CommandError> {
        let files = Self {
            ca_file: dir.join("ca.pem"),
            certificate_file: dir.join("localhost.pem"),
            key_file: dir.join("localhost.key"),
        };
        let now_seconds = UnixTime::from(now).seconds();
        if !files.count_at(now_seconds.saturating_add(LEFT_DAYS_MIN.saturating_mul(DAY_SECONDS))) {
            create_dir(dir)?;
            files.make(now_seconds)?;
        }
        Ok(files)
    }

    fn count_at(&self, seconds: u64) -> bool {
        let read = |path: &Path| std::fs::read(path).ok();
        let (Some(chain), Some(key)) = (read(&self.certificate_file), read(&self.key_file)) else {
            return false;
        };
        let certificate = Certificate::from_pem(&chain, &key);
        self.ca_file.is_file() && certificate.is_ok_and(|it| it.validity_at(seconds) == Validity::Valid)
    }

    fn make(&self, now_seconds: u64) -> Result<(), CommandError> {
        let (ca, certificate, key) = made(now_seconds)
            .map_err(|error| CommandError::software(format!("a certificate for --tls: {error}")))?;
        // The authority last: whoever finds it finds the others.
        write(&self.key_file, key.as_bytes())?;
        write(&self.certificate_file, certificate.as_bytes())?;
        write(&self.ca_file, ca.as_bytes())
    }
}

/// The authority, the certificate and its key, in PEM.
fn made(now_seconds: u64) -> Result<(String, String, String), rcgen::Error> {
    let params = |names: &[&str], common_name: &str| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        // For a client whose clock is behind.
        let from = now_seconds.saturating_sub(DAY_SECONDS);
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from);
        params.not_after = params.not_before + Duration::from_secs(VALID_DAYS.saturating_mul(DAY_SECONDS));
        params.distinguished_name.push(DnType::CommonName, common_name);
        Ok::<_, rcgen::Error>(params)
    };
    let mut authority = params(&[], "Subgate dev authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut server = params(&NAMES, "localhost")?;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let server = server.signed_by(&key, &authority)?;
    Ok((authority.pem(), server.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn certificates_are_kept_while_they_count_and_only_their_owner_reads_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("certs");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let days = |days: u64| now + Duration::from_secs(days * DAY_SECONDS);
        let read = |at| {
            let files = DevCertificates::open(&dir, at).unwrap();
            [files.ca_file, files.certificate_file, files.key_file].map(|path| fs::read(path).unwrap())
        };
        let first = read(now);
        let certificate = Certificate::from_pem(&first[1], &first[2]).unwrap();
        assert_eq!(certificate.names(), NAMES);
        assert_eq!(fs::metadata(dir.join("localhost.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
        assert_eq!(read(days(300)), first);
        let renewed = read(days(370));
        assert_ne!(renewed, first);
        fs::write(dir.join("localhost.key"), "").unwrap();
        assert_ne!(read(days(370)), renewed);
        fs::remove_file(dir.join("ca.pem")).unwrap();
        assert_eq!(read(days(370)).len(), 3);
    }
}
