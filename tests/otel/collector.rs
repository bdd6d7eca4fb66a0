//! A collector of traces that does as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use crate::harness::client::PATIENCE;

/// One export.
#[derive(Clone)]
pub struct Export {
    pub path: String,
    pub headers: http::HeaderMap,
    pub text: String,
}

pub struct Collector {
    pub address: SocketAddr,
    exports: Arc<Mutex<Vec<Export>>>,
    silent: watch::Sender<bool>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let exports = Arc::<Mutex<Vec<Export>>>::default();
        let (silent, is_silent) = watch::channel(false);
        let seen = Arc::clone(&exports);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, is_silent) = (Arc::clone(&seen), is_silent.clone());
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&seen), is_silent.clone()));
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, exports, silent }
    }

    /// Whether it takes exports and answers nothing.
    pub fn be_silent(&self, is_silent: bool) {
        self.silent.send_replace(is_silent);
    }

    pub fn exports(&self) -> Vec<Export> {
        self.exports.lock().unwrap().clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Value> {
        let mut spans = Vec::new();
        for export in self.exports() {
            let value: Value = serde_json::from_str(&export.text).unwrap();
            for resource in value["resourceSpans"].as_array().unwrap() {
                for scope in resource["scopeSpans"].as_array().unwrap() {
                    spans.extend(scope["spans"].as_array().unwrap().iter().cloned());
                }
            }
        }
        spans
    }

    /// Waits for so many spans.
    pub async fn wait(&self, spans: usize) -> Vec<Value> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.spans();
            if found.len() >= spans {
                return found;
            }
            assert!(tokio::time::Instant::now() < end, "{found:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Export>>>,
    mut is_silent: watch::Receiver<bool>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    is_silent.wait_for(|is_silent| !is_silent).await.map_err(std::io::Error::other)?;
    let text = String::from_utf8(body.to_vec()).unwrap();
    seen.lock().unwrap().push(Export { path: head.uri.to_string(), headers: head.headers, text });
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}
