//! HTTP to the authority: over TLS alone, without redirects, each exchange and each answer bounded. \[IO\]

use std::{path::Path, pin::Pin, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::tls::{self, TlsError};

/// From the connection to the last byte of the answer.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(30);

/// A chain of certificates has a few KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What the crate of the protocol sends with.
#[derive(Clone)]
pub(super) struct AcmeHttp(Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl AcmeHttp {
    /// Trusts the system's authorities and those of `ca_file`, a PEM file.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let tls = tls::client_config(ca_file)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.0.request(request);
        Box::pin(async move {
            let exchange = async {
                let (parts, body) = asked.await.map_err(|error| Error::Other(error.into()))?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Other)?;
                Ok(BytesResponse { parts, body: Box::new(body.to_bytes()) })
            };
            let late = || Error::Other("the authority does not answer".into());
            tokio::time::timeout(EXCHANGE_TIME_MAX, exchange).await.map_err(|_| late())?
        })
    }
}
