use memchr::memmem;
use proptest::prelude::*;

use super::{head::Part, *};
use crate::{
    body::{
        failure::client_failure,
        pace::Pace,
        testing::{Peer, block_on, read},
    },
    error::{Code, Result},
};

const PACE: Pace = Pace {
    idle: std::time::Duration::from_millis(50),
    rate_min_bytes_per_second: 0,
    grace: std::time::Duration::from_millis(50),
};

fn boundary() -> Boundary {
    Boundary::of("multipart/form-data; boundary=b0").unwrap()
}

fn form(fields: &[(&str, &str)], file: &[u8], end: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for (name, value) in fields {
        wire.extend(
            format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    wire.extend(
        b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
          Content-Type: x/y\r\n\r\n",
    );
    wire.extend(file);
    wire.extend(end.bytes());
    wire
}

const END: &str = "\r\n--b0--\r\n";

/// Head, file and verdict of a form that comes in frames of `frame_bytes` and says to have `form_bytes`.
fn run(wire: &[u8], frame_bytes: usize, form_bytes: u64) -> Result<(FormHead, Vec<u8>)> {
    let boundary = boundary();
    let peer = Peer::split(wire, frame_bytes);
    let (head, file) = block_on(read_head(peer, &boundary, form_bytes, PACE))?;
    let (file, error) = read(file);
    match error {
        None => Ok((head, file)),
        Some(error) => Err(client_failure(error)),
    }
}

#[track_caller]
fn refused(wire: &[u8], form_bytes: u64, code: Code) {
    for frame_bytes in [1, 7, 64, 100_000] {
        let refusal = run(wire, frame_bytes, form_bytes).unwrap_err();
        assert_eq!(refusal.code, code, "{refusal} in frames of {frame_bytes}");
    }
}

#[test]
fn p14_fields_and_file_come_apart_however_the_form_is_split() {
    for file in [&b""[..], b"x", b"\r\n--b", b"\r\n--b\r\n--b", &[0xff; 100_000]] {
        let wire = form(&[("key", "a/${filename}"), ("X-Amz-Date", "d\r\ne")], file, END);
        for frame_bytes in [1, 2, 3, 5, 1000, 1 << 20] {
            let (head, seen) = run(&wire, frame_bytes, wire.len() as u64).unwrap();
            assert_eq!(seen, file);
            assert_eq!(head.filename, "a.bin");
            let fields = [("key", "a/${filename}"), ("x-amz-date", "d\r\ne")];
            assert_eq!(head.fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
}

#[test]
fn p14_what_follows_the_file_is_refused() {
    let after = "\r\n--b0\r\nContent-Disposition: form-data; name=\"acl\"\r\n\r\nprivate\r\n--b0--\r\n";
    for end in [after, "\r\n--b0--", "\r\n--b0--\r\nepilogue", "\r\n--b0--\r\n\r\n", "\r\n--b1--\r\n", ""] {
        let wire = form(&[], &[7; 3000], end);
        let code = run(&wire, 100, wire.len() as u64).unwrap_err().code;
        assert_eq!(code, Code::MalformedPOSTRequest, "{end:?}");
    }
}

#[test]
fn p14_a_false_length_is_refused() {
    let wire = form(&[], &[7; 3000], END);
    let length = wire.len() as u64;
    refused(&wire, length + 1, Code::MalformedPOSTRequest);
    refused(&wire, length - 1, Code::MalformedPOSTRequest);
    refused(&wire, 20, Code::MalformedPOSTRequest);
    refused(wire.get(..wire.len() - 100).unwrap(), length, Code::IncompleteBody);
}

#[test]
fn p14_a_form_that_is_none_is_refused() {
    let long = "v".repeat(FORM_HEAD_BYTES_MAX);
    for (wire, code) in [
        (&b"--b1\r\n"[..], Code::MalformedPOSTRequest),
        (b"preamble\r\n--b0\r\n", Code::MalformedPOSTRequest),
        (b"--b0xx", Code::MalformedPOSTRequest),
        (b"--b0\r\nno header\r\n\r\n", Code::MalformedPOSTRequest),
        (b"--b0\r\nContent-Type: a/b\r\n\r\n", Code::MalformedPOSTRequest),
        (b"--b0\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n", Code::MalformedPOSTRequest),
        (b"--b0\r\nContent-Disposition: form-data\r\n\r\n", Code::MalformedPOSTRequest),
        (
            b"--b0\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n",
            Code::MalformedPOSTRequest,
        ),
        (
            b"--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--b0\r\n",
            Code::MalformedPOSTRequest,
        ),
        (b"--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv", Code::MalformedPOSTRequest),
        (b"", Code::MalformedPOSTRequest),
        (b"--b0--\r\n", Code::IncorrectNumberOfFilesInPostRequest),
        (&form(&[("a", &long)], b"", END), Code::MaxPostPreDataLengthExceeded),
        (&form(&[("a", "")].repeat(101), b"", END), Code::MalformedPOSTRequest),
    ] {
        refused(wire, 1 << 20, code);
    }
}

#[test]
fn p14_boundaries() {
    for (text, boundary) in [
        ("multipart/form-data; boundary=abc", "abc"),
        ("multipart/form-data;boundary=\"a b'c\"; charset=utf-8", "a b'c"),
        ("Multipart/Form-Data; charset=utf-8; BOUNDARY=----WebKit0", "----WebKit0"),
    ] {
        assert!(Boundary::is_form(text));
        assert_eq!(Boundary::of(text).unwrap().0, boundary);
    }
    let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
    for text in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=\"é\"",
        long.as_str(),
    ] {
        assert_eq!(Boundary::of(text).unwrap_err().code, Code::MalformedPOSTRequest, "{text}");
    }
    assert!(!Boundary::is_form("multipart/form-data2; boundary=a") && !Boundary::is_form("text/xml"));
}

#[test]
fn quoted_names_are_read_as_browsers_write_them() {
    let part =
        Part::parse(b"content-disposition: form-data; name=File; filename=\"a \\\"b\\\"; c.txt\"\r\n\r\n");
    let part = part.unwrap();
    assert_eq!((part.name.as_str(), part.filename.as_str()), ("file", "a \"b\"; c.txt"));
}

proptest! {
    /// The verdict and all it gives are the same however the bytes are split, whatever the bytes.
    #[test]
    fn p14_the_split_means_nothing(
        fields in proptest::collection::vec(("[a-z]{1,8}", "[a-zA-Z0-9/\r\n-]{0,40}"), 0..5),
        file in proptest::collection::vec(
            prop_oneof![5 => prop::sample::select(b"\r\n-b0".to_vec()), 1 => any::<u8>()],
            0..300,
        ),
        damage in proptest::option::of((0usize..600, any::<u8>())),
        frame_bytes in 1usize..80,
        more in -2i64..3,
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut wire = form(&fields, &file, END);
        if let Some((at, byte)) = damage && let Some(slot) = wire.get_mut(at) {
            *slot = byte;
        }
        let form_bytes = (wire.len() as u64).saturating_add_signed(more);
        let verdict = |frame_bytes| run(&wire, frame_bytes, form_bytes).map_err(|error| error.code);
        let whole = verdict(1 << 20);
        if let Ok((_, seen)) = &whole {
            prop_assert_eq!(more, 0);
            prop_assert!(memmem::find(seen, b"\r\n--b0").is_none());
        }
        prop_assert_eq!(verdict(frame_bytes), whole);
    }
}
