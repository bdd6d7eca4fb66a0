//! Where the listening sockets come from: bound here, passed by the service manager, or left by the process
//! before this one. \[IO\]
//!
//! Invariant: the configuration alone says where is listened, whoever opened the socket: what it permits
//! (plain HTTP on loopback) must not be got around by a unit file.

use std::{
    net::{self, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
};

use listenfd::ListenFd;
use tokio::net::TcpListener;

use super::{
    error::{Address, PassedSocketError, ServeError},
    handover::{Predecessor, SocketRole},
};
/// The names of sockets in a unit file (`FileDescriptorName=`).
const CLIENTS_NAME: &str = "subgate";
const ADMIN_NAME: &str = "subgate-admin";

/// Listening sockets that others have opened for this process.
#[derive(Debug, Default)]
pub struct PassedSockets {
    by_predecessor: Vec<(SocketRole, net::TcpListener)>,
    by_service_manager: Vec<(Option<SocketRole>, net::TcpListener)>,
}

impl PassedSockets {
    /// Those of the process before this one, or else those of the service manager (`LISTEN_FDS`). To be
    /// called once, before anything else opens files.
    ///
    /// # Errors
    /// `Unusable` for a socket that is no listener of TCP.
    pub fn take(predecessor: Option<&mut Predecessor>) -> Result<Self, PassedSocketError> {
        // The variables that say so are gone afterwards.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        if let Some(predecessor) = predecessor {
            return Ok(Self { by_predecessor: predecessor.take_sockets(), by_service_manager: Vec::new() });
        }
        let mut names = names.split(':');
        let mut by_service_manager = Vec::new();
        for index in 0..passed.len() {
            let role = names.next().and_then(role_of);
            let listener = passed.take_tcp_listener(index).map_err(unusable)?;
            let Some(listener) = listener else { continue };
            match rustix::net::sockopt::socket_acceptconn(&listener) {
                Ok(true) => by_service_manager.push((role, listener)),
                Ok(false) => return Err(unusable("it does not listen")),
                Err(error) => return Err(unusable(error)),
            }
        }
        Ok(Self { by_predecessor: Vec::new(), by_service_manager })
    }
}

/// Whom a socket of that name is for; none where the name says nothing.
fn role_of(name: &str) -> Option<SocketRole> {
    match name {
        CLIENTS_NAME => Some(SocketRole::Clients),
        ADMIN_NAME => Some(SocketRole::Admin),
        _ => None,
    }
}

/// The sockets at which this process listens.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) clients: TcpListener,
    pub(super) admin: Option<TcpListener>,
}

impl Listeners {
    /// Takes those that were passed, and binds the others.
    pub(super) async fn open(
        listen: SocketAddr,
        admin_listen: Option<SocketAddr>,
        passed: PassedSockets,
    ) -> Result<Self, ServeError> {
        let PassedSockets { by_predecessor, by_service_manager } = passed;
        let configured = |role| match role {
            SocketRole::Clients => Some(listen),
            SocketRole::Admin => admin_listen,
        };
        let (mut clients, mut admin) = (None, None);
        for (role, listener) in by_service_manager {
            let address = address_of(&listener)?;
            let role = assign(role, address, configured)?;
            let place = match role {
                SocketRole::Clients => &mut clients,
                SocketRole::Admin => &mut admin,
            };
            if place.replace(listener).is_some() {
                return Err(PassedSocketError::Twice(setting_of(role)).into());
            }
        }
        for (role, listener) in by_predecessor {
            let address = address_of(&listener)?;
            // Where the configuration has changed meanwhile, it is bound anew, and this one ends with the
            // other process.
            if configured(role).is_some_and(|configured| is_same(configured, address)) {
                match role {
                    SocketRole::Clients => clients = Some(listener),
                    SocketRole::Admin => admin = Some(listener),
                }
            }
        }
        Ok(Self {
            clients: open(SocketRole::Clients, listen, clients).await?,
            admin: match admin_listen {
                Some(address) => Some(open(SocketRole::Admin, address, admin).await?),
                None => None,
            },
        })
    }

    /// The same sockets for another process.
    pub(super) fn duplicates(&self) -> std::io::Result<Vec<(SocketRole, OwnedFd)>> {
        let duplicate = |listener: &TcpListener| listener.as_fd().try_clone_to_owned();
        let clients = (SocketRole::Clients, duplicate(&self.clients)?);
        let admin = self.admin.as_ref().map(duplicate).transpose()?;
        Ok(std::iter::once(clients).chain(admin.map(|admin| (SocketRole::Admin, admin))).collect())
    }
}

/// Whom a socket of the service manager is for.
fn assign(
    named: Option<SocketRole>,
    passed: SocketAddr,
    configured: impl Fn(SocketRole) -> Option<SocketAddr>,
) -> Result<SocketRole, PassedSocketError> {
    let fits = |role: &SocketRole| configured(*role).is_some_and(|configured| is_same(configured, passed));
    match named {
        Some(role) if fits(&role) => Ok(role),
        Some(role) => Err(PassedSocketError::OtherAddress {
            setting: setting_of(role),
            passed,
            configured: Address::of(configured(role)),
        }),
        None => [SocketRole::Clients, SocketRole::Admin]
            .into_iter()
            .find(fits)
            .ok_or(PassedSocketError::Unknown(passed)),
    }
}

fn setting_of(role: SocketRole) -> &'static str {
    match role {
        SocketRole::Clients => "server.listen",
        SocketRole::Admin => "server.admin",
    }
}

/// Whether a socket listens where the configuration says; port 0 is any.
fn is_same(configured: SocketAddr, socket: SocketAddr) -> bool {
    configured.ip().to_canonical() == socket.ip().to_canonical()
        && (configured.port() == 0 || configured.port() == socket.port())
}

fn address_of(listener: &net::TcpListener) -> Result<SocketAddr, PassedSocketError> {
    listener.local_addr().map_err(unusable)
}

fn unusable(what: impl std::fmt::Display) -> PassedSocketError {
    PassedSocketError::Unusable(what.to_string())
}

async fn open(
    role: SocketRole,
    address: SocketAddr,
    passed: Option<net::TcpListener>,
) -> Result<TcpListener, ServeError> {
    let opened = match passed {
        Some(listener) => listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)),
        None => TcpListener::bind(address).await,
    };
    opened.map_err(|source| ServeError::Listen { setting: setting_of(role), address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn assigned(named: Option<&str>, passed: &str) -> Result<SocketRole, String> {
        let configured = |role| match role {
            SocketRole::Clients => Some(address("127.0.0.1:8014")),
            SocketRole::Admin => Some(address("[::1]:8015")),
        };
        assign(named.and_then(role_of), address(passed), configured).map_err(|error| error.to_string())
    }

    #[test]
    fn a_passed_socket_is_for_whom_its_name_or_its_address_says() {
        assert_eq!(assigned(Some("subgate"), "127.0.0.1:8014"), Ok(SocketRole::Clients));
        assert_eq!(assigned(Some("subgate-admin"), "[::1]:8015"), Ok(SocketRole::Admin));
        for name in [None, Some("subgate.socket"), Some("unknown")] {
            assert_eq!(assigned(name, "127.0.0.1:8014"), Ok(SocketRole::Clients), "{name:?}");
            assert_eq!(assigned(name, "[::ffff:127.0.0.1]:8014"), Ok(SocketRole::Clients), "{name:?}");
            assert_eq!(assigned(name, "[::1]:8015"), Ok(SocketRole::Admin), "{name:?}");
        }
    }

    #[test]
    fn a_passed_socket_cannot_widen_what_the_configuration_permits() {
        for (name, passed, words) in [
            (Some("subgate"), "0.0.0.0:8014", ["server.listen", "127.0.0.1:8014"]),
            (Some("subgate"), "127.0.0.1:80", ["server.listen", "127.0.0.1:80"]),
            (Some("subgate-admin"), "[::]:8015", ["server.admin", "[::1]:8015"]),
            (Some("subgate-admin"), "127.0.0.1:8014", ["server.admin", "[::1]:8015"]),
            (None, "0.0.0.0:8014", ["0.0.0.0:8014", "neither"]),
        ] {
            let error = assigned(name, passed).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_socket_of_the_process_before_is_taken_where_the_address_is_still_the_same() {
        let (kept, left) =
            (net::TcpListener::bind("127.0.0.1:0").unwrap(), net::TcpListener::bind("127.0.0.1:0").unwrap());
        let (kept_at, left_at) = (kept.local_addr().unwrap(), left.local_addr().unwrap());
        let passed = |listener| PassedSockets {
            by_predecessor: vec![(SocketRole::Clients, listener)],
            ..Default::default()
        };
        let listeners = Listeners::open(kept_at, None, passed(kept)).await.unwrap();
        assert_eq!(listeners.clients.local_addr().unwrap(), kept_at);
        let listeners = Listeners::open(address("127.0.0.2:0"), None, passed(left)).await.unwrap();
        assert_ne!(listeners.clients.local_addr().unwrap(), left_at);
    }
}
