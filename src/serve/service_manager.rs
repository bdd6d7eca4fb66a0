//! What the service manager is told: that this process is ready, is about to stop, or has another one in its
//! place (`sd_notify(3)`). \[IO\]
//!
//! It is one datagram with a few words, to the socket that `NOTIFY_SOCKET` names; without one nobody is told.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio::{task::AbortHandle, time::interval};

/// Tells it `state`, such as `READY=1`.
pub(super) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "the service manager cannot be told");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let here = UnixDatagram::unbound()?;
    // One that does not read must not hold anything up.
    here.set_nonblocking(true)?;
    here.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

/// Tells the service manager now and then that this process is alive, where it wants to know
/// (`WatchdogSec=`); until it is dropped.
pub(super) struct Watchdog(Option<AbortHandle>);

impl Watchdog {
    /// Twice as often as `WATCHDOG_USEC` asks for, in a task of the runtime that serves.
    pub(super) fn start() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let Some(microseconds) = number("WATCHDOG_USEC").filter(|time| is_ours && *time > 1) else {
            return Self(None);
        };
        let mut ticks = interval(Duration::from_micros(microseconds / 2));
        let task = tokio::spawn(async move {
            loop {
                ticks.tick().await;
                notify("WATCHDOG=1");
            }
        });
        Self(Some(task.abort_handle()))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_arrives_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("subgate-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, receiver) in
            [(path.as_os_str().to_owned(), by_path), (format!("@{name}").into(), by_name)]
        {
            send(&socket, "READY=1").unwrap();
            let mut bytes = [0; 16];
            let length = receiver.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        }
        assert!(send("/nowhere/notify".as_ref(), "READY=1").is_err());
    }
}
