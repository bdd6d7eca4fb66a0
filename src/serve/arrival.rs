//! What happens on a connection before its first request, in the connection's own task: the header of a load
//! balancer, the door, the handshake of TLS. \[IO, log lines\]
//!
//! Invariants: each step ends within bounded time; a header counts from the networks of
//! `server.proxy_protocol` alone, and from these every connection begins with one; whose connection it is
//! counts from the header on.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    door::{Admitted, Door},
    proxy_protocol::{self, HEADER_BYTES_MAX, ProxyHeaderError, Source},
    seldom::Seldom,
    socket::{Reading, Socket},
    terms::Terms,
    tls::TlsListener,
    transport::Transport,
};
use crate::observe::Metrics;

/// A header comes with the first bytes of a connection; three seconds are for one lost packet.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

/// Refused headers are logged at most so often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What every connection comes through.
pub(super) struct Arrival {
    door: Door,
    tls: Option<Arc<TlsListener>>,
    refused_headers: Seldom,
    metrics: Arc<Metrics>,
}

/// A connection on which requests may come.
pub(super) struct Arrived {
    pub(super) transport: Transport,
    /// Whose it is.
    pub(super) peer: SocketAddr,
    /// Its place, until it ends.
    pub(super) admitted: Admitted,
}

impl Arrival {
    /// With TLS, where that is configured.
    pub(super) fn new(tls: Option<Arc<TlsListener>>, metrics: Arc<Metrics>) -> Self {
        Self { door: Door::new(), tls, refused_headers: Seldom::every(LOG_INTERVAL), metrics }
    }

    /// How sockets are to be read.
    pub(super) fn reading(&self) -> Reading {
        match self.tls {
            Some(_) => Reading::Ahead,
            None => Reading::Direct,
        }
    }

    /// Brings a connection from `peer` to its first request; none where it ends before that. So many bytes of
    /// answers wait encrypted for the socket at most.
    pub(super) async fn receive(
        &self,
        mut socket: Socket,
        peer: SocketAddr,
        terms: &Terms,
        encrypted_bytes_max: usize,
    ) -> Option<Arrived> {
        let peer = match terms.proxy_protocol.is_spoken_by(peer.ip()) {
            true => self.read_header(&mut socket, peer).await?,
            false => peer,
        };
        // Who has too many is told by the end of this one; the others are served as before.
        let Some(admitted) = self.door.admit(peer.ip(), &terms.door, Instant::now()) else {
            self.metrics.events.connections_refused.one();
            return None;
        };
        let transport = match &self.tls {
            None => Transport::Plain(socket),
            Some(tls) => {
                let shaken = tls.accept(socket, peer, encrypted_bytes_max).await;
                self.metrics.events.handshake(shaken.as_ref().map(|socket| socket.version()));
                Transport::Tls(shaken?)
            }
        };
        Some(Arrived { transport, peer, admitted })
    }

    /// Takes the header off the connection, and gives whose connection it is.
    async fn read_header(&self, socket: &mut Socket, peer: SocketAddr) -> Option<SocketAddr> {
        let reading = async {
            loop {
                if let Some(header) = proxy_protocol::parse(socket.ahead()).map_err(HeaderFault::Refused)? {
                    socket.consume(header.bytes);
                    return Ok(Some(header.source));
                }
                let missing = HEADER_BYTES_MAX.saturating_sub(socket.ahead().len());
                // Load balancers try with connections that say nothing whether somebody listens.
                if socket.read_ahead(missing).await.unwrap_or(0) == 0 {
                    return Ok(None);
                }
            }
        };
        let refused = match tokio::time::timeout(HEADER_TIME_MAX, reading).await {
            Ok(Ok(Some(Source::Peer))) => return Some(peer),
            Ok(Ok(Some(Source::Client(client)))) => return Some(client),
            Ok(Ok(None)) => return None,
            Ok(Err(fault)) => fault,
            Err(_) => HeaderFault::Late,
        };
        if let Some(refused_headers) = self.refused_headers.count(Instant::now()) {
            tracing::warn!(
                %peer, error = %refused, refused_headers,
                "a connection from a network of server.proxy_protocol is refused"
            );
        }
        None
    }
}

/// Why a connection from a load balancer is refused.
#[derive(Debug, thiserror::Error)]
enum HeaderFault {
    #[error("{0}")]
    Refused(ProxyHeaderError),
    #[error("its PROXY header does not come")]
    Late,
}
