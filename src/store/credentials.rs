//! The server's own credentials: held as an AWS identity, read again when they change or run out.

use std::{
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_config::{default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig};
use aws_credential_types::{Credentials as AwsCredentials, provider::ProvideCredentials};
use aws_smithy_runtime_api::client::identity::Identity;

use super::aws_http::AwsHttp;
use crate::{
    auth::sigv4,
    config::{CredentialFile, CredentialSource},
    file_access::check_secret,
    secret::{Secret, SecretText},
    time::UnixTime,
    tls,
};

/// How often a credential file is looked at.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// Credentials that run out are renewed this long before, and every request tries until it works.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// A credential file holds three short texts.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why there are no credentials. Never holds one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(String);

/// Credentials that count now, with the signing key of the day.
pub(super) struct Current {
    identity: Identity,
    key: Mutex<Option<(String, Secret)>>,
}

impl Current {
    pub(super) fn new(identity: Identity) -> Option<Self> {
        identity.data::<AwsCredentials>()?;
        Some(Self { identity, key: Mutex::new(None) })
    }

    fn data(&self) -> Option<&AwsCredentials> {
        self.identity.data()
    }

    pub(super) fn access_key(&self) -> &str {
        self.data().map_or("", AwsCredentials::access_key_id)
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.data().and_then(AwsCredentials::session_token)
    }

    /// The signing key for `day` (`yyyymmdd`), derived once a day.
    pub(super) fn signing_key(&self, day: &str, region: &str, now: UnixTime) -> Secret {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = key.as_ref().filter(|(derived, _)| derived == day) {
            return key.clone();
        }
        let secret = SecretText::new(self.data().map_or("", AwsCredentials::secret_access_key));
        let derived = sigv4::signing_key(&secret, now, region);
        *key = Some((day.to_owned(), derived.clone()));
        derived
    }

    fn runs_out_by(&self, time: SystemTime) -> bool {
        self.identity.expiration().is_some_and(|expiration| expiration <= time)
    }
}

/// Where credentials come from, and the ones that count now.
pub(crate) struct Credentials {
    current: ArcSwap<Current>,
    source: Source,
}

enum Source {
    Fixed,
    File { file: CredentialFile, looked: Mutex<(SystemTime, Option<Stamp>)> },
    Chain { chain: Box<DefaultCredentialsChain>, renewing: tokio::sync::Mutex<()> },
}

type Stamp = (u64, i64, i64, u64);

impl Credentials {
    /// Reads them for the first time.
    pub(crate) async fn new(source: &CredentialSource) -> Result<Self, CredentialError> {
        let (identity, source) = match source {
            CredentialSource::Environment => (from_environment()?, Source::Fixed),
            CredentialSource::File(file) => {
                let (identity, stamp) = from_file(file)?;
                let looked = Mutex::new((SystemTime::now(), Some(stamp)));
                (identity, Source::File { file: file.clone(), looked })
            }
            CredentialSource::Aws => {
                let chain = Box::new(default_chain().await?);
                (from_chain(&chain).await?, Source::Chain { chain, renewing: tokio::sync::Mutex::new(()) })
            }
        };
        let current =
            Current::new(identity).ok_or_else(|| CredentialError("not AWS credentials".to_owned()))?;
        Ok(Self { current: ArcSwap::from_pointee(current), source })
    }

    /// Whether there are some, as far as the environment and a file tell; the AWS chain is not asked, for it
    /// may need the network.
    pub(super) fn check(source: &CredentialSource) -> Result<(), CredentialError> {
        match source {
            CredentialSource::Environment => from_environment().map(drop),
            CredentialSource::File(file) => from_file(file).map(drop),
            CredentialSource::Aws => Ok(()),
        }
    }

    /// The ones that count now. A source that fails leaves the last ones, as long as they have not run out.
    pub(super) async fn current(&self) -> Result<Arc<Current>, CredentialError> {
        let now = SystemTime::now();
        match &self.source {
            Source::Fixed => {}
            Source::File { file, looked } => self.look_at_file(file, looked, now),
            Source::Chain { chain, renewing } => {
                if self.current.load().runs_out_by(now + RENEW_BEFORE) {
                    let _one = renewing.lock().await;
                    if self.current.load().runs_out_by(now + RENEW_BEFORE) {
                        match from_chain(chain).await.map(Current::new) {
                            Ok(Some(fresh)) => self.current.store(Arc::new(fresh)),
                            Ok(None) => {}
                            Err(fault) => tracing::error!(%fault, "store credentials could not be renewed"),
                        }
                    }
                }
            }
        }
        let current = self.current.load_full();
        if current.runs_out_by(now) {
            Err(CredentialError("have run out and could not be renewed".to_owned()))
        } else {
            Ok(current)
        }
    }

    fn look_at_file(
        &self,
        file: &CredentialFile,
        looked: &Mutex<(SystemTime, Option<Stamp>)>,
        now: SystemTime,
    ) {
        let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(looked.0).unwrap_or(FILE_LOOK) < FILE_LOOK {
            return;
        }
        looked.0 = now;
        if std::fs::metadata(&file.path).map(|metadata| stamp(&metadata)).ok() == looked.1 {
            return;
        }
        match from_file(file) {
            Ok((identity, stamp)) => {
                looked.1 = Some(stamp);
                if let Some(fresh) = Current::new(identity) {
                    self.current.store(Arc::new(fresh));
                    tracing::info!("store credentials read anew");
                }
            }
            Err(fault) => {
                tracing::error!(%fault, "store credentials could not be read anew; the last ones count")
            }
        }
    }

    /// The access key that counts now.
    pub(super) fn access_key(&self) -> String {
        self.current.load().access_key().to_owned()
    }
}

fn identity(access_key: String, secret_key: String, token: Option<String>) -> Identity {
    AwsCredentials::new(access_key, secret_key, token.filter(|token| !token.is_empty()), None, "subgate")
        .into()
}

fn from_environment() -> Result<Identity, CredentialError> {
    let required = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or_else(|| CredentialError(format!("the environment variable {name} is not set")))
    };
    let token = std::env::var("AWS_SESSION_TOKEN").ok();
    Ok(identity(required("AWS_ACCESS_KEY_ID")?, required("AWS_SECRET_ACCESS_KEY")?, token))
}

/// The AWS default chain; STS, containers and instances are asked by this crate's own HTTP client.
async fn default_chain() -> Result<DefaultCredentialsChain, CredentialError> {
    let tls = tls::client_config(None).map_err(|error| CredentialError(error.to_string()))?;
    let config = ProviderConfig::default().with_http_client(AwsHttp::new(tls));
    Ok(DefaultCredentialsChain::builder().configure(config).build().await)
}

async fn from_chain(chain: &DefaultCredentialsChain) -> Result<Identity, CredentialError> {
    let credentials = chain.provide_credentials().await.map_err(|error| {
        CredentialError(format!(
            "the AWS credential chain gave none ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
             or store.credentials = {{ file = \"store.json\" }}"
        ))
    })?;
    Ok(credentials.into())
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.size())
}

#[derive(serde::Deserialize)]
struct CredentialContent {
    access_key: String,
    secret_key: String,
    #[serde(default)]
    session_token: Option<String>,
}

fn from_file(file: &CredentialFile) -> Result<(Identity, Stamp), CredentialError> {
    let CredentialFile { path, readers } = file;
    let shown = path.display();
    let fault = |what: &dyn std::fmt::Display| CredentialError(format!("{shown}: {what}"));
    let metadata = std::fs::metadata(path).map_err(|error| fault(&error))?;
    check_secret(&metadata, *readers).map_err(|what| fault(&what))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(fault(&"is too large for a credential file"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
    // The parser's own message may quote the file.
    let content: CredentialContent = serde_json::from_str(&text).map_err(|error| {
        fault(&format_args!("line {}: not {{\"access_key\": …, \"secret_key\": …}}", error.line()))
    })?;
    if content.access_key.is_empty() || content.secret_key.is_empty() {
        return Err(fault(&"access_key and secret_key must not be empty"));
    }
    Ok((identity(content.access_key, content.secret_key, content.session_token), stamp(&metadata)))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::file_access::SecretReaders;

    fn file(path: &Path) -> CredentialFile {
        CredentialFile { path: path.to_owned(), readers: SecretReaders::Owner }
    }

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn a_credential_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        write(&path, r#"{"access_key": "one", "secret_key": "s"}"#, 0o600);
        let credentials = Credentials::new(&CredentialSource::File(file(&path))).await.unwrap();
        assert_eq!(credentials.current().await.unwrap().access_key(), "one");
        write(&path, r#"{"access_key": "another", "secret_key": "s", "session_token": "t"}"#, 0o600);
        std::thread::sleep(FILE_LOOK);
        let current = credentials.current().await.unwrap();
        assert_eq!((current.access_key(), current.token()), ("another", Some("t")));
        // A broken file leaves the last ones.
        write(&path, "{", 0o600);
        std::thread::sleep(FILE_LOOK);
        assert_eq!(credentials.current().await.unwrap().access_key(), "another");
    }

    #[test]
    fn p51_faults_never_quote_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        for (text, mode, says) in [
            (r#"{"access_key": "one", "secret_key": "hunter2""#, 0o600, "line 1"),
            (r#"{"access_key": "one", "secret_key": "hunter2"}"#, 0o644, "chmod 600"),
            (r#"{"access_key": "", "secret_key": "hunter2"}"#, 0o600, "must not be empty"),
        ] {
            write(&path, text, mode);
            let fault = from_file(&file(&path)).map(|_| ()).unwrap_err().to_string();
            assert!(fault.contains(says) && !fault.contains("hunter2"), "{fault}");
        }
    }

    /// What containers and instances answer, by path.
    fn metadata(path: &str) -> Option<String> {
        let keys = |name: &str| {
            format!(
                r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{name}", "SecretAccessKey": "s",
                "Token": "t", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z"}}"#
            )
        };
        match path {
            "/container" => Some(keys("container")),
            "/latest/api/token" => Some("token".to_owned()),
            "/latest/meta-data/iam/security-credentials/" => Some("role".to_owned()),
            "/latest/meta-data/iam/security-credentials/role" => Some(keys("instance")),
            _ => None,
        }
    }

    /// Answers until it is dropped.
    async fn serve_metadata(listener: tokio::net::TcpListener) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let read = peer.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let body = metadata(head.split(' ').nth(1).unwrap_or_default());
            let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
            let body = body.unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 {status}\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = peer.write_all(answer.as_bytes()).await;
        }
    }

    /// Each source in a process of its own, for the chain reads the environment.
    #[tokio::test]
    async fn the_chain_reads_the_environment_containers_and_instances() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(serve_metadata(listener));
        let container = format!("{server}/container");
        let environment: &[(&str, &str)] =
            &[("AWS_ACCESS_KEY_ID", "environment"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let container: &[(&str, &str)] = &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)];
        let instance: &[(&str, &str)] = &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server)];
        for (variables, access_key) in
            [(environment, "environment"), (container, "container"), (instance, "instance")]
        {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "store::credentials::tests::chain_child", "--nocapture"]);
            child.env_clear().env(CHILD, "1").env("AWS_REGION", "us-east-1").envs(variables.iter().copied());
            let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.contains(&format!("access key: {access_key}\n")), "{access_key}: {output}");
        }
        serving.abort();
    }

    /// Set in the processes that the test above starts.
    const CHILD: &str = "SUBGATE_TEST_CREDENTIAL_CHAIN";

    /// What those processes run; nothing in any other.
    #[tokio::test]
    async fn chain_child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let credentials = Credentials::new(&CredentialSource::Aws).await.unwrap();
        println!("access key: {}", credentials.access_key());
    }
}
