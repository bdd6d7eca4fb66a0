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
