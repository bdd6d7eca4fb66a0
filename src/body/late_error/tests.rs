#![allow(clippy::arithmetic_side_effects, reason = "tests")]

use std::sync::{Arc, Mutex};

use super::*;
use crate::body::testing::{Peer, read};

/// What comes out of `answer`, and what the closure was shown; the same for every split.
#[track_caller]
fn check(answer: &str, expected: &str, replaced: Option<&str>) {
    for frame_bytes in 1..=answer.len().max(1) {
        let shown = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&shown);
        let body = LateError::new(Peer::split(answer.as_bytes(), frame_bytes), move |error: Bytes| {
            *seen.lock().unwrap() = Some(String::from_utf8(error.to_vec()).unwrap());
            Bytes::from_static(b"<Error/>")
        });
        let (out, failure) = read(body);
        assert!(failure.is_none());
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{answer:?} in frames of {frame_bytes}");
        assert_eq!(shown.lock().unwrap().as_deref(), replaced, "{answer:?} in frames of {frame_bytes}");
    }
}

#[test]
fn p46_what_is_no_error_passes_byte_for_byte() {
    for answer in [
        "",
        " ",
        "\n\n  ",
        "<",
        "<Err",
        "<?xml version=\"1.0\"",
        "<!-- -",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CopyObjectResult><ETag>x</ETag></CopyObjectResult>",
        "<?xml version=\"1.0\"?>\n \n <CompleteMultipartUploadResult xmlns=\"x\"><Error>no</Error>\
         </CompleteMultipartUploadResult>",
        "<Errors><Error/></Errors>",
        "<Error:s/>",
        "no xml <Error>",
        "<!DOCTYPE x><Error/>",
        "<!-- <Error/> --><A/>",
        "\u{feff}<A/>",
        "<error/>",
    ] {
        check(answer, answer, None);
    }
    let long = format!("<{}Error>", "E".repeat(ROOT_BYTES_MAX));
    check(&long, &long, None);
}

#[test]
fn p46_an_error_behind_white_space_is_replaced() {
    const ERROR: &str = "<Error><Code>InternalError</Code></Error>";
    for (prolog, root) in [
        ("", ERROR),
        ("   \n ", ERROR),
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", ERROR),
        ("<?xml version=\"1.0\"?>\n  \n \r\n", ERROR),
        ("  <?xml ??>\n", ERROR),
        ("<!-- -- --->", ERROR),
        ("\u{feff}", ERROR),
        ("", "<Error/>"),
        ("\n", "<Error xmlns=\"x\"><Code>SlowDown</Code></Error>\n"),
        ("", "<s3:Error><Code>SlowDown"),
    ] {
        check(&format!("{prolog}{root}"), &format!("{prolog}<Error/>"), Some(root));
    }
}

#[test]
fn p46_white_space_passes_as_it_comes() {
    crate::body::testing::block_on(async {
        let peer = Peer::of(&["<?xml version=\"1.0\"?>", " ", "\n", "<CopyObjectResult/>"]);
        let mut body = LateError::new(peer, |error| error);
        for expected in ["<?xml version=\"1.0\"?>", " ", "\n", "<CopyObjectResult/>"] {
            assert_eq!(crate::body::testing::next(&mut body).await.unwrap().unwrap(), expected);
        }
        assert!(crate::body::testing::next(&mut body).await.is_none());
    });
}

#[test]
fn p46_an_endless_error_is_cut_off() {
    let flood = format!("  <Error>{}", "x".repeat(3 * ERROR_BYTES_MAX));
    for frame_bytes in [1000, 8192, flood.len()] {
        let body = LateError::new(Peer::split(flood.as_bytes(), frame_bytes), |error: Bytes| {
            assert_eq!(error.len(), ERROR_BYTES_MAX);
            Bytes::from_static(b"<Error/>")
        });
        assert_eq!(read(body).0, b"  <Error/>");
    }
}

#[test]
fn p46_a_broken_answer_stays_broken() {
    let peer = Peer::of(&[" ", "<Error><Code>"]).then_failure();
    let (out, failure) = read(LateError::new(peer, |_| panic!("nothing to be replaced")));
    assert_eq!(out, b" ");
    assert!(failure.is_some());
}
