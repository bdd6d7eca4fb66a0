//! Connecting to the store: within one time for name, TCP and TLS together, and more than once. \[IO\]
//!
//! Nothing of a request has been sent here, so that a second attempt is safe whatever the request is, and its
//! body is still untouched. hyper's own bound on connecting is of TCP alone: a name server that is silent, or
//! a store that accepts and never speaks TLS, would hold a request for ever.
//!
//! Invariant: every attempt at a connection ends within the time.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::Uri;
use tower_service::Service;

use super::outage::jittered;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The pauses before the second attempt and the third. A listener whose queue was full for a moment, or that
/// a restart took away for as long, is there again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Connects, and tries again.
#[derive(Debug, Clone)]
pub(super) struct PatientConnector<C> {
    pub(super) connector: C,
    /// For all attempts together.
    pub(super) time_max: Duration,
}

impl<C> Service<Uri> for PatientConnector<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Error: Into<BoxError>,
    C::Response: Send,
    C::Future: Send,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<C::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { connector, time_max } = self.clone();
        let connecting = tokio::time::timeout(time_max, connect(connector, uri));
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
        connecting.map(move |connected| connected.unwrap_or_else(|_| late())).boxed()
    }
}

async fn connect<C>(mut connector: C, uri: Uri) -> Result<C::Response, BoxError>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    for pause in PAUSES {
        if let Ok(connected) = once(&mut connector, uri.clone()).await {
            return Ok(connected);
        }
        tokio::time::sleep(jittered(pause)).await;
    }
    once(&mut connector, uri).await
}

async fn once<C>(connector: &mut C, uri: Uri) -> Result<C::Response, BoxError>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    poll_fn(|context| connector.poll_ready(context)).await.map_err(Into::into)?;
    connector.call(uri).await.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use super::*;

    /// Fails so many times, then connects; where it never does, it hangs.
    #[derive(Clone)]
    struct Shaky(Arc<AtomicU32>, Option<u32>);

    impl Service<Uri> for Shaky {
        type Response = ();
        type Error = io::Error;
        type Future = BoxFuture<'static, io::Result<()>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            let calls = self.0.fetch_add(1, Ordering::Relaxed);
            match self.1 {
                None => pending().boxed(),
                Some(failures) if calls < failures => {
                    ready(Err(io::ErrorKind::ConnectionRefused.into())).boxed()
                }
                Some(_) => ready(Ok(())).boxed(),
            }
        }
    }

    async fn connected(failures: Option<u32>, time_max: Duration) -> (Result<(), String>, u32) {
        let calls = Arc::<AtomicU32>::default();
        let mut connector = PatientConnector { connector: Shaky(Arc::clone(&calls), failures), time_max };
        let connected = connector.call(Uri::from_static("http://store")).await;
        (connected.map_err(|error| error.to_string()), calls.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn p69_connecting_is_tried_three_times_in_all() {
        let long = Duration::from_secs(60);
        assert_eq!(connected(Some(0), long).await, (Ok(()), 1));
        assert_eq!(connected(Some(2), long).await, (Ok(()), 3));
        let (refused, calls) = connected(Some(9), long).await;
        assert!(refused.unwrap_err().contains("refused"));
        assert_eq!(calls, 3);
    }

    #[tokio::test]
    async fn p47_connecting_ends_in_time_whatever_hangs() {
        let (late, calls) = connected(None, Duration::from_millis(50)).await;
        assert!(late.unwrap_err().contains("timed out"));
        assert_eq!(calls, 1);
    }
}
