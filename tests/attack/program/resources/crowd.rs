//! Many connections of one attacker at once, and the victim at work beside them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
    sync::mpsc::unbounded_channel,
    time::{interval, timeout},
};

use super::{super::Target, Arena, Finding, Stop, batch, http2};

/// Longer than this the victim may not wait for a PUT, a GET and a DeleteObjects together.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// What the attack may cost the server's process in memory.
const GROWTH_BYTES_MAX: u64 = 200 << 20;

/// How long a flood lasts, where the patience is longer.
const FLOOD: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a connection goes on to do.
#[derive(Clone)]
pub(in super::super) struct Pace {
    send: Vec<u8>,
    read_bytes: usize,
    every: Duration,
}

impl Pace {
    pub(in super::super) fn silent() -> Self {
        Self { send: Vec::new(), read_bytes: 65_536, every: Duration::from_secs(1) }
    }

    pub(in super::super) fn sending(bytes: &[u8], every: Duration) -> Self {
        Self { send: bytes.to_vec(), read_bytes: 65_536, every }
    }

    pub(in super::super) fn reading(bytes: usize, every: Duration) -> Self {
        Self { send: Vec::new(), read_bytes: bytes, every }
    }

    fn reads_slowly(&self) -> bool {
        self.read_bytes < 1000
    }
}

pub(in super::super) struct Crowd<'a> {
    arena: &'a Arena,
    connections: usize,
    http2: bool,
}

impl<'a> Crowd<'a> {
    pub(in super::super) fn new(arena: &'a Arena, connections: usize) -> Self {
        let connections = connections.div_ceil(arena.target.crowd_divisor.max(1));
        Self { arena, connections, http2: false }
    }

    pub(in super::super) fn with_http2(self) -> Self {
        Self { http2: true, ..self }
    }

    /// All send `begin`, go on at that pace, and are held until the server ends them.
    pub(in super::super) fn hold(&self, begin: Vec<u8>, pace: Pace) -> Result<Finding, Stop> {
        let target = self.arena.target.clone();
        let begin: Arc<[u8]> = begin.into();
        let standing = Arc::new(AtomicUsize::new(self.connections));
        let connection = |_| {
            let (target, begin, pace) = (target.clone(), Arc::clone(&begin), pace.clone());
            let (standing, http2) = (Arc::clone(&standing), self.http2);
            async move {
                // An error is the server's way to end it as well.
                let _ = timeout(target.patience, hold_one(&target, &begin, &pace, http2)).await.map(|_| {
                    standing.fetch_sub(1, Ordering::Relaxed);
                });
            }
        };
        let watch = self.beside((0..self.connections).map(connection).collect())?;
        let left = standing.load(Ordering::Relaxed);
        if left > 0 {
            let patience = target.patience.as_secs();
            let of = self.connections;
            return Ok(Finding::Open(format!("{left} of {of} stand after {patience} s; {}", watch.text)));
        }
        Ok(watch.finding(&format!("all {} ended after {:.0?}", self.connections, watch.lasted)))
    }

    /// All send these requests as fast as they are answered; none may succeed.
    pub(in super::super) fn flood(&self, requests: &[Vec<u8>]) -> Result<Finding, Stop> {
        let until = FLOOD.min(self.arena.target.patience);
        let (sent, succeeded) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let target = self.arena.target.clone();
        let connection = |number: usize| {
            let (target, sent) = (target.clone(), Arc::clone(&sent));
            let (succeeded, requests) = (Arc::clone(&succeeded), requests.to_vec());
            async move {
                let request = requests.get(number % requests.len().max(1)).cloned().unwrap_or_default();
                let flood = async {
                    loop {
                        // A connection that is refused or closed is one of the answers.
                        if let Ok(true) = ask_once(&target, &request).await {
                            succeeded.fetch_add(1, Ordering::Relaxed);
                        }
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                };
                let _: Result<(), _> = timeout(until, flood).await;
            }
        };
        let watch = self.beside((0..self.connections).map(connection).collect())?;
        let (sent, succeeded) = (sent.load(Ordering::Relaxed), succeeded.load(Ordering::Relaxed));
        if succeeded > 0 {
            return Ok(Finding::Open(format!("{succeeded} of {sent} false signatures succeed")));
        }
        Ok(watch.finding(&format!("{sent} false signatures in {} s", until.as_secs())))
    }

    /// Runs the crowd while the victim works.
    fn beside<F>(&self, crowd: Vec<F>) -> Result<Watch, Stop>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let trouble = |error: io::Error| Stop::trouble(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(trouble)?;
        serve_victim(self.arena)?;
        let before = self.arena.target.pid.map(resident_bytes);
        let (over, started) = (AtomicBool::new(false), Instant::now());
        let (slowest, failure, peak) = std::thread::scope(|scope| {
            let victim = scope.spawn(|| {
                let (mut slowest, mut failure, mut peak) = (Duration::ZERO, None, 0);
                std::thread::sleep(Duration::from_millis(500));
                loop {
                    let asked = Instant::now();
                    if let Err(why) = serve_victim(self.arena) {
                        failure = Some(why);
                    }
                    slowest = slowest.max(asked.elapsed());
                    peak = peak.max(self.arena.target.pid.map_or(0, resident_bytes));
                    if over.load(Ordering::Relaxed) {
                        return (slowest, failure, peak);
                    }
                    std::thread::sleep(Duration::from_millis(500));
                }
            });
            runtime.block_on(async {
                let running: Vec<_> = crowd.into_iter().map(tokio::spawn).collect();
                for connection in running {
                    let _ = connection.await;
                }
            });
            over.store(true, Ordering::Relaxed);
            victim.join().unwrap_or((Duration::MAX, None, 0))
        });
        let growth = before.map(|before| peak.saturating_sub(before));
        let memory = growth.map_or(String::new(), |bytes| format!(", {} MiB more at the peak", bytes >> 20));
        let text = format!("the victim waits {slowest:.1?} at most{memory}");
        Ok(Watch { lasted: started.elapsed(), slowest, failure, growth, text })
    }
}

/// How the victim and the server fared.
struct Watch {
    lasted: Duration,
    slowest: Duration,
    failure: Option<Stop>,
    growth: Option<u64>,
    text: String,
}

impl Watch {
    fn finding(&self, what: &str) -> Finding {
        let evidence = format!("{what}; {}", self.text);
        match &self.failure {
            Some(Stop::Trouble(why) | Stop::NotApplicable(why)) => {
                Finding::Open(format!("the victim is not served: {why}"))
            }
            None if self.slowest > SERVED_WITHIN => Finding::Open(evidence),
            None if self.growth.is_some_and(|bytes| bytes > GROWTH_BYTES_MAX) => Finding::Open(evidence),
            None => Finding::Held(evidence),
        }
    }
}

/// What the victim does all the time: a PUT, a GET, a DeleteObjects.
fn serve_victim(arena: &Arena) -> Result<(), Stop> {
    let (key, _) = arena.object(&arena.victim)?;
    arena.trial().honest("batch delete", &arena.ask(&arena.victim, &batch(arena, &key)))
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

async fn connect(target: &Target, slow_reader: bool, http2: bool) -> io::Result<Box<dyn Stream>> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if slow_reader {
        socket.set_recv_buffer_size(4096)?;
    }
    // Another address than the victim's, where there is one.
    let other = target.address.ip().is_loopback() && target.address.is_ipv4();
    let own = target.attacker_address.or(other.then_some(IpAddr::from([127, 0, 0, 2])));
    if let Some(own) = own {
        socket.bind(SocketAddr::new(own, 0))?;
    }
    let stream = socket.connect(target.address).await?;
    let Some(tls) = &target.tls else { return Ok(Box::new(stream)) };
    let mut config = rustls::ClientConfig::clone(tls);
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let name = target.host.rsplit_once(':').map_or(target.host.as_str(), |(name, _)| name);
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    Ok(Box::new(connector.connect(name, stream).await?))
}

/// Ends when the server ends it.
async fn hold_one(target: &Target, begin: &[u8], pace: &Pace, http2: bool) -> io::Result<()> {
    let stream = connect(target, pace.reads_slowly(), http2).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (replies, mut replied) = unbounded_channel();
    let reading = async {
        let (mut received, mut piece) = (Vec::new(), vec![0; pace.read_bytes]);
        loop {
            if pace.reads_slowly() {
                tokio::time::sleep(pace.every).await;
            }
            let bytes = reader.read(&mut piece).await?;
            if bytes == 0 {
                return Ok(());
            }
            if http2 {
                received.extend(piece.iter().take(bytes));
                let frames = http2::take_frames(&mut received);
                if frames.is_ended {
                    return Ok(());
                }
                let _ = replies.send(frames.replies);
            }
        }
    };
    let writing = async {
        writer.write_all(begin).await?;
        let mut ticks = interval(pace.every);
        loop {
            tokio::select! {
                _ = ticks.tick() => writer.write_all(&pace.send).await?,
                Some(reply) = replied.recv() => writer.write_all(&reply).await?,
            }
        }
    };
    tokio::select! {
        ended = reading => ended,
        failed = writing => failed,
    }
}

/// Whether the one request is answered with a success.
async fn ask_once(target: &Target, request: &[u8]) -> io::Result<bool> {
    let mut stream = connect(target, false, false).await?;
    stream.write_all(request).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(start.get(9) == Some(&b'2'))
}
