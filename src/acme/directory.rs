//! What is kept on disk: the account at each authority, and the certificate of each set of domains with its
//! key. \[IO\]
//!
//! ```text
//! CACHE_DIR/account-AUTHORITY.json        the account's key and its URL
//! CACHE_DIR/FIRST_DOMAIN-SET.pem          a key, and the chain that was issued for it
//! CACHE_DIR/lock                          held by the process that orders
//! ```
//!
//! `AUTHORITY` and `SET` are digests: of the directory's URL, and of it with all domains. So a certificate is
//! used for exactly the domains that it was ordered for.
//!
//! Invariants: the directory is 0700 and its files 0600; a reader sees an old file or a new one, never a
//! part; what others could have read or written is not believed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use instant_acme::AccountCredentials;

use super::AcmeError;
use crate::{
    config,
    file_access::{SecretReaders, check_secret},
    secret::SecretText,
    tls::Certificate,
};

/// A chain of a few certificates has a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files of one authority and one set of domains.
pub(super) struct Directory {
    dir: PathBuf,
    account: PathBuf,
    certificate: PathBuf,
}

impl Directory {
    /// Makes the directory where it is not there.
    pub(super) fn open(settings: &config::Acme) -> Result<Self, AcmeError> {
        let dir = &settings.cache_dir;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| fault(dir, error))?;
        Self::at(settings)
    }

    /// The same without making anything: one that is not there has nothing in it.
    pub(super) fn at(settings: &config::Acme) -> Result<Self, AcmeError> {
        let dir = settings.cache_dir.clone();
        match fs::metadata(&dir) {
            Ok(metadata) => check_secret(&metadata, SecretReaders::Owner).map_err(|_| {
                fault(&dir, "others than its owner may look into it, or it is another user's; chmod 700 it")
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault(&dir, error)),
        }
        let authority = digest(&[settings.directory.as_str()]);
        let parts = [settings.directory.as_str()].into_iter();
        let set = digest(&parts.chain(settings.domains.iter().map(String::as_str)).collect::<Vec<_>>());
        let first = settings.domains.first().map_or("", String::as_str);
        Ok(Self {
            account: dir.join(format!("account-{authority}.json")),
            certificate: dir.join(format!("{first}-{set}.pem")),
            dir,
        })
    }

    /// The account, if there is one.
    pub(super) fn account(&self) -> Result<Option<AccountCredentials>, AcmeError> {
        let Some(text) = read(&self.account)? else { return Ok(None) };
        // The words of the fault could quote the file.
        let unreadable = |_| fault(&self.account, "cannot be read; remove it, and an account is made anew");
        serde_json::from_str(text.expose()).map(Some).map_err(unreadable)
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, account: &AccountCredentials) -> Result<(), AcmeError> {
        let text = serde_json::to_string(account).map(SecretText::new);
        let text = text.map_err(|error| fault(&self.account, error))?;
        self.write(&self.account, &text)
    }

    /// Forgets the account, which its authority knows no more.
    pub(super) fn forget_account(&self) -> Result<(), AcmeError> {
        fs::remove_file(&self.account).map_err(|error| fault(&self.account, error))
    }

    /// The certificate with its key, if there is one.
    pub(super) fn certificate(&self) -> Result<Option<Certificate>, AcmeError> {
        let Some(pem) = read(&self.certificate)? else { return Ok(None) };
        let pem = pem.expose().as_bytes();
        let unusable = |error| fault(&self.certificate, format_args!("{error}; remove it to order another"));
        Certificate::from_pem(pem, pem).map(Some).map_err(unusable)
    }

    /// Keeps a certificate with its key, PEM.
    pub(super) fn keep_certificate(&self, pem: &SecretText) -> Result<(), AcmeError> {
        let text = pem.expose().as_bytes();
        let unusable = |error| AcmeError::Order(format!("the certificate that was issued: {error}"));
        Certificate::from_pem(text, text).map_err(unusable)?;
        self.write(&self.certificate, pem)
    }

    /// The right to order, for as long as the file is open; none while another process has it.
    pub(super) fn lock(&self) -> Result<Option<File>, AcmeError> {
        let path = self.dir.join("lock");
        let failed = |error: io::Error| fault(&path, error);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn write(&self, path: &Path, text: &SecretText) -> Result<(), AcmeError> {
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.dir)?;
            file.as_file().set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.expose().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            // The rename itself is on disk only when the directory is.
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| fault(path, error))
    }
}

fn read(path: &Path) -> Result<Option<SecretText>, AcmeError> {
    let failed = |error: io::Error| fault(path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    check_secret(&metadata, SecretReaders::Owner).map_err(|what| fault(path, what))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(fault(path, format_args!("has more than {FILE_BYTES_MAX} bytes")));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(SecretText::new(text)))
}

fn fault(path: &Path, what: impl std::fmt::Display) -> AcmeError {
    AcmeError::Directory { path: path.to_owned(), what: what.to_string() }
}

/// A short name for a list of texts.
fn digest(parts: &[&str]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parts.join("\n").as_bytes());
    hex::encode(digest.as_ref().get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &Path, domains: &[&str], directory: &str) -> config::Acme {
        config::Acme {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            contacts: Vec::new(),
            directory: directory.to_owned(),
            ca_file: None,
            cache_dir: dir.to_owned(),
        }
    }

    fn pem(domain: &str) -> SecretText {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([domain.to_owned()]).unwrap();
        SecretText::new(key.serialize_pem() + &params.self_signed(&key).unwrap().pem())
    }

    #[test]
    fn a_certificate_comes_back_for_the_domains_and_the_authority_it_was_ordered_for() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("certs/acme");
        let own = Directory::at(&settings(&dir, &["a.example"], "https://one/")).unwrap();
        assert!(own.certificate().unwrap().is_none() && !dir.exists());
        let own = Directory::open(&settings(&dir, &["a.example"], "https://one/")).unwrap();
        assert!(own.certificate().unwrap().is_none());
        own.keep_certificate(&pem("a.example")).unwrap();
        assert_eq!(own.certificate().unwrap().unwrap().names(), ["a.example"]);
        for (domains, directory) in
            [(&["a.example", "b.example"][..], "https://one/"), (&["a.example"], "https://two/")]
        {
            let other = Directory::open(&settings(&dir, domains, directory)).unwrap();
            assert!(other.certificate().unwrap().is_none());
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&own.certificate)), (0o700, 0o600));
        // Nothing is left of the file that was written beside it.
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn what_others_could_read_or_what_is_no_certificate_is_not_taken() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("acme");
        let settings = settings(&dir, &["a.example"], "https://one/");
        let own = Directory::open(&settings).unwrap();
        assert!(own.keep_certificate(&SecretText::new("nothing")).is_err());
        assert!(!own.certificate.exists());
        own.keep_certificate(&pem("a.example")).unwrap();
        fs::set_permissions(&own.certificate, Permissions::from_mode(0o644)).unwrap();
        assert!(own.certificate().unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&own.certificate, Permissions::from_mode(0o600)).unwrap();
        fs::write(&own.certificate, "nothing").unwrap();
        assert!(own.certificate().unwrap_err().to_string().contains("remove it to order another"));
        fs::write(&own.account, "{\"key\": \"hunter2\"}").unwrap();
        fs::set_permissions(&own.account, Permissions::from_mode(0o600)).unwrap();
        let Err(error) = own.account() else { panic!("an account was read") };
        assert!(!error.to_string().contains("hunter2"), "{error}");
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        assert!(Directory::open(&settings).is_err());
    }

    #[test]
    fn one_process_orders_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let settings = settings(&place.path().join("acme"), &["a.example"], "https://one/");
        let (one, other) = (Directory::open(&settings).unwrap(), Directory::open(&settings).unwrap());
        let lock = one.lock().unwrap();
        assert!(lock.is_some() && other.lock().unwrap().is_none());
        drop(lock);
        assert!(other.lock().unwrap().is_some());
    }
}
