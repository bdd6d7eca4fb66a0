//! What a process and its successor say to each other: lines of JSON over a Unix socket, of which the first
//! brings the listening sockets. \[IO\]
//!
//! The socket is the successor's standard input, so no descriptor is left open for a child by its number:
//! everything else of this process is closed on exec.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::endpoints::NoncesLeft;

/// Two versions of Subgate understand each other where they have the same number here.
const PROTOCOL: u32 = 1;

/// The first line is far shorter.
const OFFER_BYTES_MAX: usize = 4096;

/// Most bytes of a line: all nonces that a process may hold take half of it.
pub(super) const LINE_BYTES_MAX: u64 = 16 << 20;

/// Most sockets that are passed at once.
const SOCKETS_MAX: usize = 8;

/// Whom a listening socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::serve) enum SocketRole {
    /// Clients.
    Clients,
    /// The operator.
    Admin,
}

/// The first line; the sockets come with it, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    protocol: u32,
    sockets: Vec<SocketRole>,
}

/// What the successor says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromSuccessor {
    /// It could begin to accept connections.
    Ready,
    /// It cannot start, and ends.
    Failed(String),
    /// It has begun to accept connections.
    TookOver,
}

/// What the predecessor says, once the successor is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TakeOver {
    /// The nonces that were spent here, or where they were. No more are spent here.
    pub(super) nonces: NoncesLeft,
}

/// One line.
pub(super) fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// What a line says.
pub(super) fn parse<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    serde_json::from_slice(line).map_err(|error| invalid(format_args!("a line that is no message: {error}")))
}

/// Offers the listening sockets.
pub(super) fn send_offer(stream: &UnixStream, sockets: &[(SocketRole, BorrowedFd<'_>)]) -> io::Result<()> {
    let roles = sockets.iter().map(|(role, _)| *role).collect();
    let descriptors: Vec<_> = sockets.iter().map(|(_, descriptor)| *descriptor).collect();
    let line = line(&Offer { protocol: PROTOCOL, sockets: roles })?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(invalid("there are too many sockets to pass"));
    }
    let sent_bytes = sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    match sent_bytes == line.len() {
        true => Ok(()),
        false => Err(invalid("the offer was not sent whole")),
    }
}

/// Receives the listening sockets.
pub(super) fn receive_offer(stream: &UnixStream) -> io::Result<Vec<(SocketRole, TcpListener)>> {
    let mut bytes = [0; OFFER_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    let offer: Offer = parse(bytes.get(..received.bytes).unwrap_or_default())?;
    if offer.protocol != PROTOCOL {
        return Err(invalid(format_args!(
            "the process before this one speaks version {} of the hand-over, and this one version \
             {PROTOCOL}; restart it instead",
            offer.protocol
        )));
    }
    if offer.sockets.len() != descriptors.len() {
        return Err(invalid("the sockets are not as many as was said"));
    }
    Ok(offer.sockets.into_iter().zip(descriptors.into_iter().map(TcpListener::from)).collect())
}

fn invalid(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpStream, os::fd::AsFd as _};

    use super::*;

    #[test]
    fn listening_sockets_go_over_with_what_waits_at_them() {
        let (here, there) = UnixStream::pair().unwrap();
        let [clients, admin] = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [&clients, &admin].map(|listener| listener.local_addr().unwrap());
        let waiting = TcpStream::connect(addresses[1]).unwrap();
        send_offer(&here, &[(SocketRole::Clients, clients.as_fd()), (SocketRole::Admin, admin.as_fd())])
            .unwrap();
        drop((clients, admin));
        let received = receive_offer(&there).unwrap();
        let roles: Vec<_> =
            received.iter().map(|(role, listener)| (*role, listener.local_addr().unwrap())).collect();
        assert_eq!(roles, [(SocketRole::Clients, addresses[0]), (SocketRole::Admin, addresses[1])]);
        assert_eq!(received[1].1.accept().unwrap().1, waiting.local_addr().unwrap());
        for (_, listener) in &received {
            let flags = rustix::io::fcntl_getfd(listener).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn another_protocol_and_what_is_none_are_refused() {
        for (line, word) in [
            (r#"{"protocol": 2, "sockets": []}"#, "version 2"),
            (r#"{"protocol": 1, "sockets": ["clients"]}"#, "as many"),
            ("GET / HTTP/1.1", "no message"),
            ("", "no message"),
        ] {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(line.as_bytes()).unwrap();
            drop(here);
            let error = receive_offer(&there).unwrap_err().to_string();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
