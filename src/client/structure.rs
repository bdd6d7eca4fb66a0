//! What a server says of itself before anybody signs: how folders are laid out, and which sizes it takes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ::http::{Request, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    error::{ClientError, Refusal},
    http::{self, HttpClient, NoAnswer, SILENCE_MAX, SentBody},
    retry::{self, Attempted, Failure, RetryPolicy},
};

/// An answer has some hundred bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// From the first packet to the last byte.
const TOTAL_TIME_MAX: Duration = Duration::from_secs(60);

/// The answer of `GET /structure-info`. What it does not say is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Structure {
    /// The templates of all folders.
    #[serde(default)]
    pub(crate) folder_structures: Vec<String>,
    /// What each variable of theirs may hold.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, VariableValues>,
    /// The smallest object.
    #[serde(default)]
    pub(crate) object_bytes_min: Option<u64>,
    /// The largest object.
    #[serde(default)]
    pub(crate) object_bytes_max: Option<u64>,
    /// Names of files that may be smaller.
    #[serde(default)]
    pub(crate) small_files: Option<SmallFiles>,
}

/// What a variable of a folder may hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VariableValues {
    /// One of these.
    Values(Vec<String>),
    /// What this expression matches as a whole.
    Pattern(String),
}

/// Files that are small by their nature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SmallFiles {
    /// Their names: `_SUCCESS`, or a folder's name and `/*`.
    pub(crate) names: Vec<String>,
    /// The smallest of them.
    pub(crate) object_bytes_min: u64,
}

/// Asks the server at `base_url`, and again while it fails or cannot be reached. One that does not have this
/// is no Subgate, or an older one: then nothing is known.
///
/// # Errors
/// `Unavailable` when patience ends, `Refused`, and `Broken` for an answer that cannot be read.
pub(crate) async fn fetch(
    client: &HttpClient,
    base_url: &str,
    retry: RetryPolicy,
) -> Result<Structure, ClientError> {
    let mut failing_since: Option<Instant> = None;
    let mut attempts = 0_u32;
    loop {
        let asked = tokio::time::timeout(TOTAL_TIME_MAX, ask(client, base_url)).await;
        let failure = match asked.unwrap_or_else(|_| Err(NoAnswer::Unfinished(TOTAL_TIME_MAX).into())) {
            Ok(structure) => return Ok(structure),
            Err(Attempted::Impossible(error)) => return Err(error),
            Err(Attempted::Failed(failure)) => failure,
        };
        attempts = attempts.saturating_add(1);
        let failing_for = failing_since.get_or_insert_with(Instant::now).elapsed();
        match retry.pause(attempts, failing_for, &failure, fastrand::f64()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(with_question(retry::given_up(failure, attempts))),
        }
    }
}

/// Says what the server was asked, which an error of the line does not.
fn with_question(error: ClientError) -> ClientError {
    match error {
        ClientError::Unavailable(why) => {
            ClientError::Unavailable(format!("asked how folders are laid out: {why}"))
        }
        stays => stays,
    }
}

/// One attempt.
async fn ask(client: &HttpClient, base_url: &str) -> Result<Structure, Attempted> {
    let request = Request::get(format!("{base_url}/structure-info"))
        .header(header::USER_AGENT, concat!("subgate/", env!("CARGO_PKG_VERSION")))
        .body(SentBody::from(Bytes::new()))
        .map_err(|error| Attempted::Impossible(ClientError::Call(error.to_string())))?;
    let answer = http::send(client, request, SILENCE_MAX).await?;
    let (head, body) = answer.into_parts();
    let document = http::collect(body, ANSWER_BYTES_MAX).await?;
    match head.status {
        StatusCode::OK => serde_json::from_slice(&document).map_err(|_| {
            let why = "/structure-info is not what it should be".to_owned();
            Attempted::Impossible(ClientError::Broken(why))
        }),
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(Structure::default()),
        status => {
            let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let refusal = Refusal::new(status, "", "", &[]);
            Err(Attempted::Failed(Failure::Answer { refusal, retry_after: retry::retry_after(retry_after) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Asks a server that gives these answers, one on each connection, for so many seconds at most; and how
    /// many of them it gave.
    async fn asked(answers: &[&str], patience: u64) -> (Result<Structure, ClientError>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let retry = RetryPolicy { patience: Duration::from_secs(patience) };
        let client = http::new(None).unwrap();
        let mut given = 0;
        let serve = async {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                given += 1;
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        let result = tokio::select! {
            result = fetch(&client, &base_url, retry) => result,
            never = serve => match never {},
        };
        (result, given)
    }

    fn answer(head: &str, document: &str) -> String {
        format!(
            "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{document}",
            document.len()
        )
    }

    #[tokio::test]
    async fn what_passes_is_asked_again_and_what_stays_is_not() {
        let (less, cut) = (answer("503 S\r\nRetry-After: 0", ""), "HTTP/1.1 200 OK\r\nContent-Le");
        let whole = answer("200 OK", r#"{"object_bytes_min": 7}"#);
        let (structure, given) = asked(&[&less, cut, &whole], 60).await;
        assert_eq!((structure.unwrap().object_bytes_min, given), (Some(7), 3));
        let (older, given) = asked(&[&answer("404 N", "")], 60).await;
        assert_eq!((older.unwrap(), given), (Structure::default(), 1));
        let (refused, given) = asked(&[&answer("400 B", "")], 60).await;
        assert!(matches!(refused, Err(ClientError::Refused(_))) && given == 1, "{refused:?}");
        let (strange, given) = asked(&[&answer("200 OK", "<html>")], 60).await;
        assert!(matches!(strange, Err(ClientError::Broken(_))) && given == 1, "{strange:?}");
        let (gone, given) = asked(&[&less], 0).await;
        let Err(ClientError::Unavailable(why)) = gone else { panic!("{gone:?}") };
        assert!(why.starts_with("asked how folders are laid out: ") && given == 1, "{why}");
    }

    #[test]
    fn an_answer_is_read_whatever_of_it_is_there() {
        let whole = r#"{"folder_structures": ["data/{source}/{coldkey}/"], "roots": ["data/"],
            "variables": {"source": {"values": ["x"]}, "job_id": {"pattern": "[a-z]+"}},
            "object_bytes_min": 1024, "object_bytes_max": 5368709120,
            "small_files": {"names": ["_SUCCESS"], "object_bytes_min": 0}}"#;
        let structure: Structure = serde_json::from_str(whole).unwrap();
        assert_eq!(structure.object_bytes_min, Some(1024));
        assert_eq!(structure.variables["source"], VariableValues::Values(vec!["x".to_owned()]));
        assert_eq!(structure.variables["job_id"], VariableValues::Pattern("[a-z]+".to_owned()));
        assert_eq!(serde_json::from_str::<Structure>("{}").unwrap(), Structure::default());
    }
}
