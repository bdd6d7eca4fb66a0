//! The line between Subgate and the scripted store: it can be down, cut, dripping or dead, and be mended.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinSet,
};

use crate::harness::server::{Setup, TestServer};

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should be.
    Through,
    /// Nobody listens: connections are refused, and those that were there have ended.
    Away,
    /// Connections are taken and closed at once.
    Close,
    /// Connections are taken, and nothing is read or said.
    Silent,
    /// Each connection is reset when so many bytes have gone to the store.
    CutUp(usize),
    /// Each connection is reset when so many bytes have come from the store.
    CutDown(usize),
    /// A byte from the store comes after each such pause.
    Drip(Duration),
}

/// The line; its port stays the same while nobody listens.
pub struct Line {
    manner: watch::Sender<Manner>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    store: Mutex<Option<SocketAddr>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Line {
    /// A server whose store is at the end of a line.
    pub async fn to_a_store(manner: Manner, mut setup: Setup) -> (TestServer, Self) {
        let (sender, receiver) = watch::channel(manner);
        let shared = Arc::<Shared>::default();
        let socket = bound("127.0.0.1:0".parse().unwrap());
        setup.endpoint = Some(format!("http://{}", socket.local_addr().unwrap()));
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        tokio::spawn(serve(socket, receiver, Arc::clone(&shared), ready));
        is_ready.await.unwrap();
        let server = TestServer::with(setup).await;
        *shared.store.lock().unwrap() = Some(server.store.address);
        (server, Self { manner: sender, shared })
    }

    /// From now on it is so; connections of another manner end.
    pub fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How many connections were taken so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn serve(
    mut socket: TcpSocket,
    mut manner: watch::Receiver<Manner>,
    shared: Arc<Shared>,
    ready: tokio::sync::oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    let address = socket.local_addr().unwrap();
    loop {
        let now = *manner.borrow_and_update();
        if now == Manner::Away {
            let _ = ready.take().map(|ready| ready.send(()));
            if manner.changed().await.is_err() {
                return;
            }
            continue;
        }
        let listener = socket.listen(1024).unwrap();
        let _ = ready.take().map(|ready| ready.send(()));
        if accept(&listener, now, &mut manner, &shared).await.is_none() {
            return;
        }
        drop(listener);
        socket = bound(address);
    }
}

/// Until the manner changes; none where nobody will change it any more.
async fn accept(
    listener: &TcpListener,
    now: Manner,
    manner: &mut watch::Receiver<Manner>,
    shared: &Arc<Shared>,
) -> Option<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            changed = manner.changed() => return changed.ok(),
            accepted = listener.accept() => accepted,
        };
        let (stream, _) = accepted.unwrap();
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let store = *shared.store.lock().unwrap();
        let open = Open::new(Arc::clone(shared));
        connections.spawn(async move {
            let _open = open;
            connection(stream, store, now).await;
        });
    }
}

struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn connection(near: TcpStream, store: Option<SocketAddr>, manner: Manner) {
    match manner {
        Manner::Close | Manner::Away => return,
        Manner::Silent => return std::future::pending().await,
        Manner::Through | Manner::CutUp(_) | Manner::CutDown(_) | Manner::Drip(_) => {}
    }
    let Some(store) = store else { return };
    let Ok(far) = TcpStream::connect(store).await else { return };
    if matches!(manner, Manner::CutUp(_) | Manner::CutDown(_)) {
        // A reset, and not an end.
        near.set_zero_linger().unwrap();
        far.set_zero_linger().unwrap();
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let (up, down, pause) = match manner {
        Manner::CutUp(bytes) => (bytes, usize::MAX, None),
        Manner::CutDown(bytes) => (usize::MAX, bytes, None),
        Manner::Drip(pause) => (usize::MAX, usize::MAX, Some(pause)),
        Manner::Through | Manner::Away | Manner::Close | Manner::Silent => (usize::MAX, usize::MAX, None),
    };
    // The first direction that ends, ends both.
    tokio::select! {
        () = carry(near_read, far_write, up, None) => {}
        () = carry(far_read, near_write, down, pause) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: usize, pause: Option<Duration>) {
    let mut buffer = vec![0; if pause.is_some() { 1 } else { 65_536 }];
    while left > 0 {
        let room = buffer.len().min(left);
        let Ok(bytes @ 1..) = from.read(&mut buffer[..room]).await else { return };
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
        left -= bytes;
    }
}
