use proptest::{collection::vec, prelude::*};

use super::*;

fn client(address: &str) -> Source {
    Source::Client(address.parse().unwrap())
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&V2_START[..], &[command, family], &length, addresses].concat()
}

/// Source, destination, ports.
fn v4() -> Vec<u8> {
    [&[192, 0, 2, 1, 198, 51, 100, 1][..], &40_000_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

fn v6() -> Vec<u8> {
    let [source, destination] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<Ipv6Addr>().unwrap());
    [&source.octets()[..], &destination.octets(), &40_000_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

#[test]
fn a_header_names_the_client_and_leaves_what_follows() {
    let lines: [(&[u8], Source); 6] = [
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n", client("192.0.2.1:40000")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", client("255.255.255.255:65535")),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n", client("[2001:db8::1]:40000")),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", client("[::ffff:192.0.2.1]:1")),
        (b"PROXY UNKNOWN\r\n", Source::Peer),
        (b"PROXY UNKNOWN ffff::1 whatever 0 99999\r\n", Source::Peer),
    ];
    let tlv = [0x20, 0, 3, 1, 2, 3];
    let binaries = [
        (v2(0x21, 0x11, &v4()), client("192.0.2.1:40000")),
        (v2(0x21, 0x21, &v6()), client("[2001:db8::1]:40000")),
        (v2(0x21, 0x11, &[&v4()[..], &tlv].concat()), client("192.0.2.1:40000")),
        (v2(0x21, 0x00, &[]), Source::Peer),
        (v2(0x21, 0x00, &[1; 100]), Source::Peer),
        (v2(0x20, 0x00, &[]), Source::Peer),
        // The addresses of its own connections are nobody's.
        (v2(0x20, 0x11, &v4()), Source::Peer),
        (v2(0x20, 0xff, &[7; 3]), Source::Peer),
        (v2(0x21, 0x11, &[&v4()[..], &[0; HEADER_BYTES_MAX - 28]].concat()), client("192.0.2.1:40000")),
    ];
    let all = lines.iter().map(|(bytes, source)| (bytes.to_vec(), *source)).chain(binaries);
    for (bytes, source) in all {
        let whole = Ok(Some(ProxyHeader { bytes: bytes.len(), source }));
        assert_eq!(parse(&bytes), whole);
        for follows in [&b"\x16\x03\x01"[..], b"GET / HTTP/1.1\r\n", b"\r\n", b"PROXY "] {
            assert_eq!(parse(&[&bytes[..], follows].concat()), whole);
        }
        // In pieces: what has come of it is neither refused nor believed.
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{end} of {bytes:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let begins_otherwise: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PUT /",
        b"\x16\x03\x01\x02\x00",
        b"proxy TCP4",
        b"PROXYTCP4",
        b" PROXY",
        b"\0",
        b"\r\n\r\n\0\r\nQUIX",
    ];
    for bytes in begins_otherwise {
        assert_eq!(parse(bytes), Err(ProxyHeaderError::None), "{bytes:?}");
    }
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4\t192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 00 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 0x1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1  2\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\u{660}\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(ProxyHeaderError::Line), "{line:?}");
    }
    // The longest line is whole at 107 bytes.
    let line = |bytes: usize| format!("PROXY UNKNOWN{}\r\n", " ".repeat(bytes - 15)).into_bytes();
    assert!(matches!(parse(&line(107)), Ok(Some(_))));
    assert_eq!(parse(&line(108)), Err(ProxyHeaderError::Line));
    assert_eq!(parse(&line(5000)[..107]), Err(ProxyHeaderError::Line));
}

#[test]
fn a_binary_header_of_another_kind_or_length_is_refused() {
    for (command, family) in [
        (0x11, 0x11),
        (0x31, 0x11),
        (0x22, 0x11),
        (0x2f, 0x11),
        (0x00, 0x00),
        (0x21, 0x10),
        (0x21, 0x12),
        (0x21, 0x22),
        (0x21, 0x31),
        (0x21, 0x32),
        (0x21, 0x01),
        (0x21, 0x41),
        (0x21, 0xff),
    ] {
        assert_eq!(parse(&v2(command, family, &[0; 36])), Err(ProxyHeaderError::Kind), "{command} {family}");
    }
    for (family, length) in [(0x11, 0), (0x11, 11), (0x21, 12), (0x21, 35), (0x11, 4081), (0x00, 65_535)] {
        let header = v2(0x21, family, &vec![0; length]);
        assert_eq!(parse(&header), Err(ProxyHeaderError::Length), "{family} {length}");
        // Nothing is waited for.
        assert_eq!(parse(&header[..V2_FIXED_BYTES]), Err(ProxyHeaderError::Length));
    }
}

proptest! {
    /// What is decided of a beginning stays decided, and is decided by it alone.
    #[test]
    fn more_bytes_change_no_decision(
        start in prop_oneof![
            Just(Vec::new()),
            Just(V1_START.to_vec()),
            Just(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r".to_vec()),
            Just(v2(0x21, 0x11, &v4())),
            Just(V2_START.to_vec()),
        ],
        random in vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = [start, random].concat();
        let part = &bytes[..cut.index(bytes.len() + 1)];
        match parse(part) {
            Ok(None) => prop_assert!(part.len() < HEADER_BYTES_MAX),
            decided => prop_assert_eq!(parse(&bytes), decided),
        }
        if let Ok(Some(header)) = parse(&bytes) {
            prop_assert!(header.bytes <= bytes.len());
            prop_assert_eq!(parse(&bytes[..header.bytes]), Ok(Some(header)));
        }
    }
}
