//! What a server says of itself before anybody signs: how folders are laid out, and which sizes it takes.

use std::{collections::BTreeMap, time::Duration};

use ::http::{Request, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    error::{ClientError, Refusal},
    http::{self, HttpClient, SILENCE_MAX, SentBody},
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

/// Asks the server at `base_url`. One that does not have this is no Subgate, or an older one: then nothing is
/// known.
///
/// # Errors
/// `Unavailable`, and `Broken` for an answer that cannot be read.
pub(crate) async fn fetch(client: &HttpClient, base_url: &str) -> Result<Structure, ClientError> {
    let asking = async {
        let request = Request::get(format!("{base_url}/structure-info"))
            .header(header::USER_AGENT, concat!("subgate/", env!("CARGO_PKG_VERSION")))
            .body(SentBody::from(Bytes::new()))
            .map_err(|error| ClientError::Call(error.to_string()))?;
        let answer = http::send(client, request, SILENCE_MAX).await?;
        let status = answer.status();
        let document = http::collect(answer.into_body(), ANSWER_BYTES_MAX).await?;
        match status {
            StatusCode::OK => serde_json::from_slice(&document)
                .map_err(|_| ClientError::Broken("/structure-info is not what it should be".to_owned())),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(Structure::default()),
            status if status.is_server_error() => {
                Err(ClientError::Unavailable(Refusal::new(status, "", "", &[]).to_string()))
            }
            status => Err(ClientError::Refused(Refusal::new(status, "", "", &[]))),
        }
    };
    tokio::time::timeout(TOTAL_TIME_MAX, asking).await.unwrap_or_else(|_| {
        Err(ClientError::Unavailable(format!(
            "the server has not said within {} s how folders are laid out",
            TOTAL_TIME_MAX.as_secs()
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
