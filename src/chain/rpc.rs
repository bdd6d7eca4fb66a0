//! JSON-RPC to one node of the chain, over HTTP POST or over a WebSocket. \[IO\]
//!
//! One call at a time; each has an answer within [`CALL_TIME_MAX`] and of at most [`ANSWER_BYTES_MAX`], or an
//! error. What a node says is untrusted text: it is shortened before it is logged.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};

/// 4096 neurons by the storage fallback are 1 MB in pieces, by the main read 900 KB; twice that, as hex in
/// JSON.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// TCP, TLS and the upgrade to a WebSocket.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// From a call's first byte to its answer's last.
const CALL_TIME_MAX: Duration = Duration::from_secs(20);

/// Messages that are not the answer (notices that a node sends by itself) before the answer is given up.
const STRAY_MESSAGES_MAX: usize = 32;

/// What a log shows of a node's own words.
const WORDS_CHARS_MAX: usize = 200;

/// JSON-RPC codes with which public endpoints limit the rate.
const THROTTLE_CODES: [i64; 2] = [-32004, -32005];

/// A node of the chain. Shown without path and query, for these may hold the operator's key at a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct ChainEndpoint(Uri);

impl ChainEndpoint {
    /// Whether two endpoints are two machines, as far as a URL tells.
    pub(crate) fn is_independent_of(&self, other: &Self) -> bool {
        let place = |uri: &Uri| (uri.host().map(str::to_ascii_lowercase), uri.port_u16());
        place(&self.0) != place(&other.0)
    }

    fn is_socket(&self) -> bool {
        matches!(self.0.scheme_str(), Some("ws" | "wss"))
    }

    fn is_tls(&self) -> bool {
        matches!(self.0.scheme_str(), Some("https" | "wss"))
    }
}

impl FromStr for ChainEndpoint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let uri: Uri = text.parse().map_err(|_| ())?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https" | "ws" | "wss"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let names_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if is_known && has_host && !names_user { Ok(Self(uri)) } else { Err(()) }
    }
}

impl fmt::Display for ChainEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}", self.0.scheme_str().unwrap_or_default())
    }
}

impl fmt::Debug for ChainEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RpcError {
    /// No connection, or one that broke.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("no answer within {} s", CALL_TIME_MAX.as_secs())]
    Silent,
    /// The node limits the rate of calls.
    #[error("the node limits our rate")]
    Throttled {
        /// How long to stay away, where it says so.
        retry_after: Option<Duration>,
    },
    /// The node answered with an error.
    #[error("the node answers error {code}: {words}")]
    Refused {
        /// The JSON-RPC code.
        code: i64,
        /// The node's words.
        words: String,
    },
    /// The answer is not one of JSON-RPC.
    #[error("not an answer of JSON-RPC: {0}")]
    Garbage(String),
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

type Socket = WebSocketStream<Box<dyn Stream>>;

/// A client of one node.
pub(crate) struct Client {
    endpoint: ChainEndpoint,
    tls: Arc<ClientConfig>,
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    socket: Option<Box<Socket>>,
    next_id: u64,
}

impl Client {
    /// A client that has not connected yet.
    pub(crate) fn new(endpoint: ChainEndpoint, tls: Arc<ClientConfig>) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIME_MAX));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(&tls))
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = Http::builder(TokioExecutor::new()).build(connector);
        Self { endpoint, tls, http, socket: None, next_id: 1 }
    }

    /// The node.
    pub(crate) fn endpoint(&self) -> &ChainEndpoint {
        &self.endpoint
    }

    /// Whether the next call goes to the very node that the last one went to: over HTTP nobody can tell.
    pub(crate) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Calls, and gives `result` of the answer. After an error the next call connects anew.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, RpcError> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let text = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        // Taken out for the time of the call: a call that is dropped in the middle leaves no socket with half
        // an answer.
        let socket = self.socket.take();
        let exchange = async {
            match self.endpoint.is_socket() {
                false => result(&self.post(text).await?, id)
                    .unwrap_or_else(|| Err(RpcError::Garbage("it answers another call".to_owned()))),
                true => {
                    let mut socket = match socket {
                        Some(socket) => socket,
                        None => Box::new(self.connect().await?),
                    };
                    let answer = ask(&mut socket, text, id).await;
                    if matches!(answer, Ok(_) | Err(RpcError::Refused { .. } | RpcError::Throttled { .. })) {
                        self.socket = Some(socket);
                    }
                    answer
                }
            }
        };
        tokio::time::timeout(CALL_TIME_MAX, exchange).await.unwrap_or(Err(RpcError::Silent))
    }

    async fn post(&self, text: String) -> Result<Bytes, RpcError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.0.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .map_err(broken)?;
        let answer = self.http.request(request).await.map_err(|error| broken_with_causes(&error))?;
        let status = answer.status();
        if is_throttle(status) {
            return Err(RpcError::Throttled { retry_after: retry_after(answer.headers()) });
        }
        // Some nodes put a status of failure on an answer whose body says why.
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| RpcError::Broken(words(&error.to_string())))?.to_bytes();
        if !status.is_success() && serde_json::from_slice::<Value>(&body).is_err() {
            return Err(RpcError::Broken(format!("HTTP status {status}")));
        }
        Ok(body)
    }

    async fn connect(&self) -> Result<Socket, RpcError> {
        let connecting = async {
            let uri = &self.endpoint.0;
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or(if self.endpoint.is_tls() { 443 } else { 80 });
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let tcp = TcpStream::connect((bare, port)).await.map_err(broken)?;
            let _ = tcp.set_nodelay(true);
            let stream: Box<dyn Stream> = match self.endpoint.is_tls() {
                false => Box::new(tcp),
                true => {
                    let name = ServerName::try_from(bare.to_owned()).map_err(broken)?;
                    let tls = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
                    Box::new(tls.connect(name, tcp).await.map_err(broken)?)
                }
            };
            let limits = WebSocketConfig::default()
                .read_buffer_size(16 << 10)
                .write_buffer_size(0)
                .max_message_size(Some(ANSWER_BYTES_MAX))
                .max_frame_size(Some(ANSWER_BYTES_MAX));
            let (socket, _) =
                client_async_with_config(uri.clone(), stream, Some(limits)).await.map_err(socket_error)?;
            Ok(socket)
        };
        tokio::time::timeout(CONNECT_TIME_MAX, connecting)
            .await
            .unwrap_or_else(|_| Err(RpcError::Broken("it takes too long to connect".to_owned())))
    }
}

async fn ask(socket: &mut Socket, text: String, id: u64) -> Result<Value, RpcError> {
    socket.send(Message::text(text)).await.map_err(socket_error)?;
    for _ in 0..STRAY_MESSAGES_MAX {
        let message = match socket.next().await {
            Some(message) => message.map_err(socket_error)?,
            None => return Err(RpcError::Broken("the node closed it".to_owned())),
        };
        match message {
            Message::Text(text) => {
                if let Some(result) = result(text.as_bytes(), id) {
                    return result;
                }
            }
            Message::Binary(bytes) => {
                if let Some(result) = result(&bytes, id) {
                    return result;
                }
            }
            Message::Close(frame) => return Err(closed(frame)),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Err(RpcError::Garbage("many messages, and none of them the answer".to_owned()))
}

/// Reads one answer; none where it is of another call.
fn result(body: &[u8], id: u64) -> Option<Result<Value, RpcError>> {
    let mut answer: Value = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(error) => return Some(Err(RpcError::Garbage(words(&error.to_string())))),
    };
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        // A refusal before the call was understood has no id.
        let own = answer.get("id").is_none_or(|own| own.is_null() || own.as_u64() == Some(id));
        return own.then(|| Err(refusal(error)));
    }
    if answer.get("id").and_then(Value::as_u64) != Some(id) {
        return None;
    }
    let result = answer.get_mut("result").map(Value::take);
    Some(result.ok_or_else(|| RpcError::Garbage("it has no result".to_owned())))
}

fn refusal(error: &Value) -> RpcError {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    if THROTTLE_CODES.contains(&code) || code == 429 {
        return RpcError::Throttled { retry_after: None };
    }
    RpcError::Refused { code, words: words(error.get("message").and_then(Value::as_str).unwrap_or_default()) }
}

fn is_throttle(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN)
}

/// Seconds only: the form with a date is not what rate limits send.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn closed(frame: Option<tungstenite::protocol::CloseFrame>) -> RpcError {
    use tungstenite::protocol::frame::coding::CloseCode;
    match frame {
        Some(frame) if matches!(frame.code, CloseCode::Policy | CloseCode::Again) => {
            RpcError::Throttled { retry_after: None }
        }
        _ => RpcError::Broken("the node closed it".to_owned()),
    }
}

fn socket_error(error: tungstenite::Error) -> RpcError {
    match error {
        tungstenite::Error::Http(answer) if is_throttle(answer.status()) => {
            RpcError::Throttled { retry_after: retry_after(answer.headers()) }
        }
        error => RpcError::Broken(words(&error.to_string())),
    }
}

fn broken(error: impl fmt::Display) -> RpcError {
    RpcError::Broken(words(&error.to_string()))
}

fn broken_with_causes(error: &hyper_util::client::legacy::Error) -> RpcError {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |cause| cause.source());
    RpcError::Broken(words(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")))
}

/// Text from elsewhere, short and on one line.
fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_of_four_schemes_and_hide_their_path() {
        for text in ["http://h", "https://h:1/", "ws://127.0.0.1:9944", "wss://h:443/key?x=secret"] {
            let endpoint: ChainEndpoint = text.parse().unwrap();
            assert!(!endpoint.to_string().contains("key") && !format!("{endpoint:?}").contains("secret"));
        }
        for text in ["", "h", "ftp://h", "wss://", "http://user:word@h/", "wss:h"] {
            assert!(text.parse::<ChainEndpoint>().is_err(), "{text}");
        }
        let endpoint = |text: &str| text.parse::<ChainEndpoint>().unwrap();
        assert!(!endpoint("wss://a/1").is_independent_of(&endpoint("wss://A/2")));
        assert!(endpoint("ws://a:1").is_independent_of(&endpoint("ws://a:2")));
    }

    #[test]
    fn answers_of_other_calls_are_none_and_refusals_keep_their_kind() {
        assert_eq!(result(br#"{"id":7,"result":1}"#, 7), Some(Ok(json!(1))));
        assert_eq!(result(br#"{"id":8,"result":1}"#, 7), None);
        assert_eq!(result(br#"{"method":"x","params":{}}"#, 7), None);
        assert_eq!(result(br#"{"id":7,"result":null}"#, 7), Some(Ok(Value::Null)));
        assert!(matches!(result(br#"{"id":7}"#, 7), Some(Err(RpcError::Garbage(_)))));
        assert!(matches!(result(b"<html>", 7), Some(Err(RpcError::Garbage(_)))));
        for code in ["-32004", "-32005", "429"] {
            let body = format!(r#"{{"id":null,"error":{{"code":{code},"message":"m"}}}}"#);
            assert_eq!(result(body.as_bytes(), 7), Some(Err(RpcError::Throttled { retry_after: None })));
        }
        let body = br#"{"id":7,"error":{"code":-32603,"message":"a\nb"}}"#;
        let refused = RpcError::Refused { code: -32603, words: "a b".to_owned() };
        assert_eq!(result(body, 7), Some(Err(refused)));
    }
}
