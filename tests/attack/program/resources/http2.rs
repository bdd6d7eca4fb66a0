//! As much of HTTP/2 as an attacker needs: a preface, one request, pings; and whether the other side has
//! ended it.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9113> and, for the head of the request, RFC 7541, 6.2.2.

use crate_call::Signed;

use super::super::call as crate_call;

/// A PING frame.
pub(super) const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// A string without Huffman's code; lengths over 126 take further bytes.
fn string(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    if text.len() < 127 {
        encoded.push(u8::try_from(text.len()).unwrap_or_default());
    } else {
        encoded.push(127);
        let mut left = text.len() - 127;
        while left >= 128 {
            encoded.push(u8::try_from(left % 128).unwrap_or_default() | 128);
            left /= 128;
        }
        encoded.push(u8::try_from(left).unwrap_or_default());
    }
    [encoded.as_slice(), text].concat()
}

/// Preface, settings with that window for each stream, and the request on stream 1.
pub(super) fn begin(request: &Signed, window: u32) -> Vec<u8> {
    let mut head = Vec::new();
    let mut add = |name: &str, value: &[u8]| {
        head.push(0);
        head.extend([string(name.as_bytes()), string(value)].concat());
    };
    add(":method", request.method.as_bytes());
    add(":scheme", b"http");
    add(":path", request.target.as_bytes());
    add(":authority", request.value("host").as_bytes());
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "host") {
        add(name, value);
    }
    let window = window.to_be_bytes();
    let settings = frame(4, 0, 0, &[&[0, 4], window.as_slice()].concat());
    // The end of the stream and of its head.
    let headers = frame(1, 0x5, 1, &head);
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings, &headers].concat()
}

/// What has come of the other side's frames.
pub(super) struct Received {
    /// It has ended the stream by force, or takes its leave.
    pub(super) is_ended: bool,
    /// What an honest client says to them: that it has seen settings and pings.
    pub(super) replies: Vec<u8>,
}

/// Takes the whole frames off `received`.
pub(super) fn take_frames(received: &mut Vec<u8>) -> Received {
    let mut taken = Received { is_ended: false, replies: Vec::new() };
    while let [high, middle, low, kind, flags, _, _, _, _, rest @ ..] = received.as_slice() {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        let Some(payload) = rest.get(..length) else { break };
        match (kind, flags & 1) {
            (3 | 7, _) => taken.is_ended = true,
            (4, 0) => taken.replies.extend(frame(4, 1, 0, &[])),
            (6, 0) => taken.replies.extend(frame(6, 1, 0, payload)),
            _ => {}
        }
        received.drain(..9 + length);
    }
    taken
}
