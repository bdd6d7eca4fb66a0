//! The PROXY protocol, versions 1 and 2: the header by which a load balancer says whose connection it passes
//! on (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>). Pure.
//!
//! Invariants: a header is decided by its own bytes, however they arrive, and what follows it is not touched;
//! what cannot become a header is refused at its first wrong byte; no more than [`HEADER_BYTES_MAX`] bytes
//! are waited for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is read. One of version 2 may have 64 KiB; those of load balancers, with all that
/// they add, have a few hundred bytes.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;

/// The longest header of version 1, its end of line included.
const V1_BYTES_MAX: usize = 107;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed part of version 2: the start, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How many bytes it has; the client's own follow.
    pub bytes: usize,
    /// Whose connection this is.
    pub source: Source,
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The load balancer's own, or it does not know: the address that the connection comes from.
    Peer,
    /// This client's.
    Client(SocketAddr),
}

/// Why what a connection begins with is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// It begins with something else.
    #[error("it does not begin with a PROXY header")]
    None,
    /// A line of version 1 that is too long, or not of its form.
    #[error("its PROXY header of version 1 is not of the form \"PROXY TCP4 ADDRESS ADDRESS PORT PORT\"")]
    Line,
    /// Version 2 with another number, an unknown command, or what is neither TCP nor unspecified.
    #[error("its PROXY header of version 2 is not about a TCP connection")]
    Kind,
    /// Version 2 with less than its addresses, or with more than is read.
    #[error("its PROXY header of version 2 is too short or too long")]
    Length,
}

/// The header that `bytes` begin with; none while more of it is needed.
///
/// # Errors
/// Where no further bytes could make it one.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => version_1(bytes),
        Some(_) => version_2(bytes),
    }
}

fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    if !begins_with(bytes, V1_START) {
        return Err(ProxyHeaderError::None);
    }
    let within = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { Err(ProxyHeaderError::Line) };
    };
    let line = within.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(ProxyHeaderError::Line)?;
    let source = std::str::from_utf8(line).ok().and_then(source_of_line).ok_or(ProxyHeaderError::Line)?;
    Ok(Some(ProxyHeader { bytes: end.saturating_add(1), source }))
}

fn source_of_line(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    let (_proxy, family) = (words.next()?, words.next()?);
    let address: fn(&str) -> Option<IpAddr> = match family {
        // Whatever follows it is to be passed over.
        "UNKNOWN" => return Some(Source::Peer),
        "TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => return None,
    };
    let (source, _destination) = (address(words.next()?)?, address(words.next()?)?);
    let (port, _port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Source::Client(SocketAddr::new(source, port)))
}

/// Digits alone, and no zero before others.
fn port(word: &str) -> Option<u16> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_number)
}

fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    if !begins_with(bytes, V2_START) {
        return Err(ProxyHeaderError::None);
    }
    let rest = bytes.get(V2_START.len()..).unwrap_or_default();
    let command = match rest.first() {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(ProxyHeaderError::Kind),
    };
    let Some(family) = rest.get(1) else { return Ok(None) };
    let addresses_bytes = match (command, family) {
        // Its addresses are to be passed over.
        (Command::Local, _) | (Command::Proxy, 0x00) => 0,
        (Command::Proxy, 0x11) => 12,
        (Command::Proxy, 0x21) => 36,
        (Command::Proxy, _) => return Err(ProxyHeaderError::Kind),
    };
    let Some(&length) = rest.get(2..).and_then(|rest| rest.first_chunk::<2>()) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(length));
    let whole = V2_FIXED_BYTES.saturating_add(length);
    if length < addresses_bytes || whole > HEADER_BYTES_MAX {
        return Err(ProxyHeaderError::Length);
    }
    // What stands behind the addresses is passed over with them.
    let Some(addresses) = bytes.get(V2_FIXED_BYTES..whole) else { return Ok(None) };
    let source = match (command, addresses_bytes) {
        (Command::Proxy, 12) => client::<4>(addresses),
        (Command::Proxy, 36) => client::<16>(addresses),
        (Command::Proxy | Command::Local, _) => Some(Source::Peer),
    };
    Ok(Some(ProxyHeader { bytes: whole, source: source.ok_or(ProxyHeaderError::Length)? }))
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Local,
    Proxy,
}

/// Source address, destination address, source port, destination port.
fn client<const N: usize>(addresses: &[u8]) -> Option<Source>
where
    IpAddr: From<[u8; N]>,
{
    let address = IpAddr::from(*addresses.first_chunk::<N>()?);
    let port = u16::from_be_bytes(*addresses.get(N.saturating_mul(2)..)?.first_chunk::<2>()?);
    Some(Source::Client(SocketAddr::new(address, port)))
}

/// Whether `bytes` are `start`, so far as they have come.
fn begins_with(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

#[cfg(test)]
mod tests;
