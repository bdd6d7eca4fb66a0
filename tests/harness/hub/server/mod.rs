//! A server of datasets with the Hub's API: repositories with commits, small files in Git's blobs and large
//! ones by LFS, which are kept by a second listener, the CDN, and reached by signed URLs that expire.
//!
//! What is asked and answered is as `huggingface_hub` asks and reads it, from 0.23 to 2.4. Left out are Xet,
//! models and spaces, pull requests, and Git's own protocol.

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};

pub mod accept;
mod access;
mod answer;
mod api;
mod cdn;
mod content;
mod control;
pub mod fault;
pub mod http;
mod listing;
pub mod repository;
mod route;
mod site;
mod upload;

use http::Side;
use site::Site;

/// How long a client may take for what it sends, and this thread for its start.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server; it has a thread of its own, so that a test may block, and ends with this.
pub struct Hub {
    site: Arc<Site>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// An empty one that listens there.
    pub fn listen(hub: SocketAddr, cdn: SocketAddr) -> std::io::Result<Self> {
        let (started, is_started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let bind = async { Ok((TcpListener::bind(hub).await?, TcpListener::bind(cdn).await?)) };
            let bound: std::io::Result<_> = runtime.block_on(bind);
            let (hub, cdn) = match bound {
                Ok(listeners) => listeners,
                Err(error) => return started.send(Err(error)).unwrap_or_default(),
            };
            let site = Arc::new(Site::new(hub.local_addr().unwrap(), cdn.local_addr().unwrap()));
            started.send(Ok(Arc::clone(&site))).unwrap_or_default();
            runtime.spawn(http::serve(hub, Side::Hub, Arc::clone(&site)));
            runtime.spawn(http::serve(cdn, Side::Cdn, site));
            // Whether it is told to end or its owner is gone.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        });
        let site = is_started.recv_timeout(PATIENCE).expect("the Hub starts")?;
        Ok(Self { site, stop: Some(stop), thread: Some(thread) })
    }
}

impl Deref for Hub {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
