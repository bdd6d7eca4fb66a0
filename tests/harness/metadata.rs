//! What gives AWS credentials to machines: the metadata of an instance (IMDSv2), the endpoint of a container,
//! and STS for web identities.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use subgate::time::UnixTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::hub::accept;

/// The token of IMDSv2 that is given and wanted.
const TOKEN: &str = "instance-token";

/// The secret of an access key that is given here.
pub fn secret_of(access_key: &str) -> String {
    format!("secret/of+{access_key}")
}

#[derive(Default)]
struct State {
    access_key: String,
    life: Duration,
    is_down: bool,
    /// Method and path of each request that was answered or refused.
    seen: Vec<String>,
    bodies: Vec<String>,
}

/// A server of metadata; one for each test.
#[derive(Clone)]
pub struct Metadata {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Metadata {
    /// Gives `access_key`, which counts for `life`.
    pub async fn start(access_key: &str, life: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { access_key: access_key.to_owned(), life, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let mut stream = accept(&listener).await;
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while !is_whole(&bytes) {
                        let mut piece = [0; 4096];
                        match stream.read(&mut piece).await {
                            Ok(read) if read > 0 => bytes.extend_from_slice(&piece[..read]),
                            _ => return,
                        }
                    }
                    let answer = state.lock().unwrap().answer(&String::from_utf8(bytes).unwrap());
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { address, state }
    }

    /// From now on gives another key.
    pub fn give(&self, access_key: &str) {
        self.state.lock().unwrap().access_key = access_key.to_owned();
    }

    /// From now on answers nothing but errors.
    pub fn fail(&self) {
        self.state.lock().unwrap().is_down = true;
    }

    pub fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The bodies of the requests to STS.
    pub fn bodies(&self) -> Vec<String> {
        self.state.lock().unwrap().bodies.clone()
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

impl State {
    fn answer(&mut self, request: &str) -> String {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
        };
        let instance_token = header("x-aws-ec2-metadata-token").map(|(_, token)| token.to_owned());
        let authorization = header("authorization").map(|(_, token)| token.to_owned());
        self.seen.push(line.clone());
        let (status, answer) = match line.as_str() {
            _ if self.is_down => (500, String::new()),
            "PUT /latest/api/token" => (200, TOKEN.to_owned()),
            line if line.starts_with("GET /latest/") && instance_token.as_deref() != Some(TOKEN) => {
                (401, String::new())
            }
            "GET /latest/meta-data/iam/security-credentials/" => (200, "role".to_owned()),
            "GET /latest/meta-data/iam/security-credentials/role" => (200, self.json()),
            // What the file says at the time is part of the key.
            "GET /container" => match authorization {
                Some(token) => (200, self.json().replace("{token}", token.trim())),
                None => (401, String::new()),
            },
            "POST /" => {
                self.bodies.push(body.to_owned());
                (200, self.xml())
            }
            _ => (404, String::new()),
        };
        format!(
            "HTTP/1.1 {status} S\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{answer}",
            answer.len()
        )
    }

    fn expiration(&self) -> String {
        UnixTime::from(SystemTime::now() + self.life).to_string()
    }

    fn json(&self) -> String {
        credentials_json(&self.access_key, &self.expiration())
    }

    fn xml(&self) -> String {
        let (key, secret, expiration) = (&self.access_key, secret_of(&self.access_key), self.expiration());
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId>\
             <SecretAccessKey>{secret}</SecretAccessKey><SessionToken>session</SessionToken>\
             <Expiration>{expiration}</Expiration></Credentials><AssumedRoleUser>\
             <AssumedRoleId>A:s</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
    }
}

/// Credentials as instances, containers and processes print them.
pub fn credentials_json(access_key: &str, expiration: &str) -> String {
    let secret = secret_of(access_key);
    format!(
        r#"{{"Version": 1, "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{access_key}",
        "SecretAccessKey": "{secret}", "Token": "session", "SessionToken": "session",
        "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "{expiration}"}}"#
    )
}
