//! A running server: it accepts connections until it is told to stop or another process has taken over, and
//! then leads those that are there to their end. \[IO\]

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::sleep,
};

use super::{
    ACCEPT_REST, Server, admin,
    arrival::Arrival,
    connection::{self, BufferSizes},
    drain::{Drain, Drained},
    handover::{HandOver, Program},
    listeners::Listeners,
    service_manager::{self, Watchdog},
    terms::CurrentTerms,
    tls,
};
use crate::observe::{ClientConnection, Metrics};

/// What a running server is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// To stop; the second time, at once.
    Stop(Announcement),
    /// To let this program take its place.
    HandOver(Program),
}

/// Whether load balancers learn of the end before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// For as long as the configuration says.
    AsConfigured,
    /// There is a person who waits.
    Skipped,
}

/// Why a server takes no more connections.
enum Departure {
    /// It was told to stop.
    Stop(Announcement),
    /// Another process accepts them.
    HandedOver,
}

/// Serves until an order to stop, or until another process has taken over; then leads all connections to
/// their end.
pub(super) async fn run(server: Server, orders: impl Stream<Item = Order>) {
    let mut orders = std::pin::pin!(orders.chain(stream::pending()));
    let Server { terms, metrics, tls, reloader: _, listeners, settings: _, connections_max } = server;
    // There as long as this process listens, and no longer: what waits at a socket that nobody closes and
    // nobody asks waits for ever.
    let sockets = listeners.duplicates();
    let Listeners { clients, admin } = listeners;
    let admin = admin.map(|admin| tokio::spawn(admin::run(admin, Arc::clone(&terms), tls.clone())));
    let drain = Drain::new();
    let process = Arc::clone(terms.load().front.process());
    let current = Arc::clone(&terms);
    if let Some(tls) = &tls {
        tokio::spawn(tls::watch(Arc::downgrade(tls)));
    }
    let departing_tls = tls.clone();
    let slots = Arc::new(Semaphore::new(connections_max));
    let mut reception = Reception {
        arrival: Arc::new(Arrival::new(tls, Arc::clone(&metrics))),
        slots: Arc::clone(&slots),
        connections_max,
        listener: clients,
        terms,
        metrics,
        drain: &drain,
    };
    let mut watchdog = Some(Watchdog::start());
    service_manager::notify("READY=1");
    let mut hand_over = HandOver::new(&sockets, &process);
    let departure = loop {
        tokio::select! {
            () = reception.receive() => {}
            () = hand_over.done() => break Departure::HandedOver,
            order = orders.next() => match order {
                Some(Order::Stop(announcement)) => break Departure::Stop(announcement),
                Some(Order::HandOver(program)) => {
                    hand_over.begin(program, current.load().server.hand_over_seconds_max);
                }
                None => {}
            }
        }
    };
    // What has not taken over by now is killed.
    drop(hand_over);
    process.leave();
    departing_tls.iter().for_each(|tls| tls.leave());
    drain.announce();
    let settings = current.load().server.clone();
    let announce_time = Duration::from_secs(settings.drain_announce_seconds);
    // A service manager that stops the service signals all its processes, those included that have handed
    // over: for these the first order to stop is the one that the others have had by now.
    let mut is_told_to_stop = match departure {
        Departure::Stop(_) => true,
        Departure::HandedOver => false,
    };
    match departure {
        Departure::Stop(announcement) => {
            service_manager::notify("STOPPING=1");
            if announcement == Announcement::AsConfigured && !announce_time.is_zero() {
                tracing::info!(
                    seconds = announce_time.as_secs(),
                    "about to stop: /readyz says so, and connections are still accepted"
                );
                let announced = async {
                    tokio::select! {
                        () = sleep(announce_time) => {}
                        () = next_stop(orders.as_mut()) => {}
                    }
                };
                reception.receive_until(announced).await;
            }
            drop((reception, sockets));
        }
        Departure::HandedOver => {
            drop((reception, sockets));
            // The new process tells that it is alive by itself, or it is not.
            drop(watchdog.take());
            // Its connections end by themselves; the new process has the socket.
            admin.iter().for_each(JoinHandle::abort);
            tokio::select! {
                () = drain.wait(announce_time) => {}
                () = next_stop(orders.as_mut()) => is_told_to_stop = true,
            }
        }
    }
    let connections = connections_max.saturating_sub(slots.available_permits());
    let seconds_max = settings.drain_seconds_max;
    tracing::info!(
        connections,
        seconds_max,
        "no more connections are accepted, and what is under way may end"
    );
    let interrupted = async {
        if !is_told_to_stop {
            next_stop(orders.as_mut()).await;
            tracing::info!(
                "what is under way may still end, for another process serves; one more signal cuts it off"
            );
        }
        next_stop(orders.as_mut()).await;
    };
    match drain.finish(Duration::from_secs(seconds_max), interrupted).await {
        Drained::Whole => {}
        Drained::TooLate => {
            tracing::warn!("what did not end within server.drain_seconds_max is cut off");
        }
        Drained::Interrupted => {
            tracing::warn!("what is under way is cut off, for another signal asks for it")
        }
    }
    current.load_full().limits().settle(SystemTime::now().into()).await;
    drop(watchdog);
    admin.iter().for_each(JoinHandle::abort);
}

/// The next order to stop; the others come too late.
async fn next_stop(mut orders: Pin<&mut impl Stream<Item = Order>>) {
    loop {
        match orders.next().await {
            Some(Order::Stop(_)) => return,
            Some(Order::HandOver(_)) => {
                tracing::warn!("nothing is handed over, for this process is about to end");
            }
            None => std::future::pending().await,
        }
    }
}

/// Where clients come in.
struct Reception<'a> {
    arrival: Arc<Arrival>,
    slots: Arc<Semaphore>,
    connections_max: usize,
    listener: TcpListener,
    terms: Arc<CurrentTerms>,
    metrics: Arc<Metrics>,
    drain: &'a Drain,
}

impl Reception<'_> {
    /// Accepts one connection and serves it. Nothing is lost where this is dropped.
    async fn receive(&mut self) {
        // A connection is accepted only when there is room for it; others wait in the system's queue.
        let Some((stream, peer, slot)) = accept(&self.listener, &self.slots).await else { return };
        let counted = ClientConnection::begin(&self.metrics);
        let open = self.connections_max.saturating_sub(self.slots.available_permits());
        let (terms, arrival) = (Arc::clone(&self.terms), Arc::clone(&self.arrival));
        let stage = self.drain.receiver();
        tokio::spawn(async move {
            connection::serve(terms, arrival, stream, peer, BufferSizes::of(open), stage).await;
            drop((slot, counted));
        });
    }

    async fn receive_until(&mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = self.receive() => {}
            }
        }
    }
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, slot)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            sleep(ACCEPT_REST).await;
            None
        }
    }
}
