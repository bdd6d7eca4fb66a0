//! HTTP for the AWS credential chain: web identity (STS), containers and instances answer over it. \[IO\]
//!
//! aws-config would bring an HTTP client of its own; this one has the hyper and the TLS that are here anyway.
//! A request takes a connection of its own, for credentials are asked for a few times a day. Every exchange
//! ends within [`EXCHANGE_TIME_MAX`], and an answer has at most [`ANSWER_BYTES_MAX`].

use std::{fmt, sync::Arc, time::Duration};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::{Headers, StatusCode},
};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector as TcpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Credentials are a few hundred bytes, an answer of STS a few thousand.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// From the connection to the last byte of the answer, where the chain names no time of its own.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(30);

/// The HTTP client of the credential chain. It goes through the proxy that `HTTPS_PROXY`, `ALL_PROXY` and
/// `NO_PROXY` name, for `https` alone: what answers over plain HTTP is on this machine or beside it.
#[derive(Clone)]
pub(super) struct AwsHttp {
    tls: ClientConfig,
    proxies: Arc<Matcher>,
    connect_time_max: Option<Duration>,
    answer_time_max: Option<Duration>,
}

impl AwsHttp {
    pub(super) fn new(tls: ClientConfig) -> Self {
        let proxies = Arc::new(Matcher::from_env());
        Self { tls, proxies, connect_time_max: None, answer_time_max: None }
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, BoxError> {
        let uri: Uri = request.uri().parse()?;
        let request = outgoing(&request, &uri)?;
        let (mut sender, connection) = http1::handshake(self.connect(uri).await?).await?;
        // The connection ends with its one answer.
        let connection = AbortOnDrop(tokio::spawn(connection).abort_handle());
        let sent = sender.send_request(request);
        let answer = match self.answer_time_max {
            Some(time_max) => tokio::time::timeout(time_max, sent).await??,
            None => sent.await?,
        };
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        drop(connection);
        let status = StatusCode::try_from(head.status.as_u16())?;
        let mut answer = HttpResponse::new(status, body.into());
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            headers.try_append(name.as_str().to_owned(), value.to_str()?.to_owned())?;
        }
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    async fn connect(&self, uri: Uri) -> Result<Stream, BoxError> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(self.connect_time_max);
        let proxy = self.proxies.intercept(&uri).filter(|_| uri.scheme_str() == Some("https"));
        match proxy {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                self.https(tunnel).call(uri).await
            }
            None => self.https(tcp).call(uri).await,
        }
    }

    fn https<C>(&self, tcp: C) -> HttpsConnector<C> {
        HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp)
    }
}

/// The request as HTTP/1.1 has it: a path, and the host in its header.
fn outgoing(request: &HttpRequest, uri: &Uri) -> Result<Request<Full<Bytes>>, BoxError> {
    let body = request.body().bytes().ok_or("the body of a request for credentials is a stream")?;
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let mut outgoing = Request::builder().method(request.method()).uri(Uri::from(path));
    for (name, value) in request.headers() {
        outgoing = outgoing.header(name, value);
    }
    let authority = uri.authority().ok_or("the address of a credential source has no host")?;
    let host = match (uri.scheme_str(), authority.port_u16()) {
        (Some("http"), Some(80)) | (Some("https"), Some(443)) => authority.host(),
        _ => authority.as_str(),
    };
    let host = HeaderValue::from_str(host)?;
    let mut outgoing = outgoing.body(Full::new(Bytes::copy_from_slice(body)))?;
    outgoing.headers_mut().entry(header::HOST).or_insert(host);
    Ok(outgoing)
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HttpConnector for AwsHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.clone();
        HttpConnectorFuture::new(async move {
            match tokio::time::timeout(EXCHANGE_TIME_MAX, client.exchange(request)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) if error.is::<tokio::time::error::Elapsed>() => {
                    Err(ConnectorError::timeout(error))
                }
                Ok(Err(error)) => Err(ConnectorError::io(error)),
                Err(elapsed) => Err(ConnectorError::timeout(elapsed.into())),
            }
        })
    }
}

impl HttpClient for AwsHttp {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connect_time_max = settings.connect_timeout();
        let answer_time_max = settings.read_timeout();
        SharedHttpConnector::new(Self { connect_time_max, answer_time_max, ..self.clone() })
    }
}

impl fmt::Debug for AwsHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsHttp")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with `answer`, and gives its head.
    async fn serve_once(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = peer.read(&mut head).await.unwrap();
            // A client that has read enough closes the connection.
            let _ = peer.write_all(&answer).await;
            let _ = peer.read(&mut [0; 1]).await;
            String::from_utf8(head.split_off(0).into_iter().take(read).collect()).unwrap()
        });
        (address, task)
    }

    fn answer(body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    fn client() -> AwsHttp {
        AwsHttp::new(crate::tls::client_config(None).unwrap())
    }

    fn get(uri: &str) -> HttpRequest {
        HttpRequest::get(uri).unwrap()
    }

    #[tokio::test]
    async fn a_request_goes_out_with_its_host_and_its_answer_comes_back() {
        let (address, seen) = serve_once(answer("{}")).await;
        let mut request = get(&format!("http://{address}/role?x=1"));
        request.headers_mut().insert("authorization", "token");
        let answer = client().call(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().bytes()), (200, Some(&b"{}"[..])));
        assert_eq!(answer.headers().get("content-type"), Some("application/json"));
        let seen = seen.await.unwrap();
        assert!(seen.starts_with("GET /role?x=1 HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains(&format!("host: {address}\r\n")) && seen.contains("authorization: token\r\n"));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_and_a_silent_source_are_given_up() {
        let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        let (address, _seen) = serve_once([head, vec![b'x'; ANSWER_BYTES_MAX + 1]].concat()).await;
        assert!(client().call(get(&format!("http://{address}/"))).await.unwrap_err().is_io());

        let (address, _seen) = serve_once(Vec::new()).await;
        let impatient = AwsHttp { answer_time_max: Some(Duration::from_millis(50)), ..client() };
        let start = Instant::now();
        let error = impatient.call(get(&format!("http://{address}/"))).await.unwrap_err();
        assert!(error.is_timeout() && start.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn nothing_but_http_is_spoken() {
        for uri in ["ftp://127.0.0.1/", "/role", "http:///role"] {
            let request = HttpRequest::get(uri);
            let Ok(request) = request else { continue };
            assert!(client().call(request).await.is_err(), "{uri}");
        }
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_and_http_does_not() {
        let (proxy, seen) =
            serve_once(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
        let proxies = Matcher::builder().all(format!("http://user:word@{proxy}")).build();
        let client = AwsHttp { proxies: Arc::new(proxies), ..client() };
        assert!(client.call(get("https://sts.us-east-1.amazonaws.com/")).await.is_err());
        let seen = seen.await.unwrap();
        assert!(seen.starts_with("CONNECT sts.us-east-1.amazonaws.com:443 "), "{seen}");
        assert!(seen.to_lowercase().contains("proxy-authorization: basic "), "{seen}");

        let (address, _seen) = serve_once(answer("{}")).await;
        assert!(client.call(get(&format!("http://{address}/"))).await.is_ok());
    }
}
