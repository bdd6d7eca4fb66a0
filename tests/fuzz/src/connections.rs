//! What stands before the first request of a connection: the header of a load balancer.

use subgate::serve::proxy_protocol::{HEADER_BYTES_MAX, parse};

/// A header is decided by its own bytes alone, and never needs more than are read.
pub fn proxy_header(input: &[u8]) {
    match parse(input) {
        Ok(None) => assert!(input.len() < HEADER_BYTES_MAX),
        Ok(Some(header)) => {
            assert!((1..=input.len().min(HEADER_BYTES_MAX)).contains(&header.bytes));
            for end in [0, header.bytes / 2, header.bytes - 1] {
                assert_eq!(parse(&input[..end]), Ok(None));
            }
            assert_eq!(parse(&input[..header.bytes]), Ok(Some(header)));
        }
        Err(error) => assert_eq!(parse(&[input, b"\r\n"].concat()), Err(error)),
    }
}

/// Version 2 is not text.
pub fn proxy_header_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let v2 = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
    };
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x40, 1, 0xbb];
    vec![
        ("v1_tcp4", b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\nGET / HTTP/1.1\r\n".to_vec()),
        ("v1_tcp6", b"PROXY TCP6 2001:db8::1 ::1 40000 443\r\n\x16\x03\x01".to_vec()),
        ("v1_unknown", b"PROXY UNKNOWN anything\r\n".to_vec()),
        ("v2_tcp4", v2(0x21, 0x11, &v4)),
        ("v2_tcp4_more", v2(0x21, 0x11, &[&v4[..], &[4, 0, 2, 1, 1], b"GET /"].concat())),
        ("v2_tcp6", v2(0x21, 0x21, &[1; 36])),
        ("v2_local", v2(0x20, 0, &[])),
    ]
}
