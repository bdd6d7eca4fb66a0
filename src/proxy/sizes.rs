//! Sizes: what may come in, judged before a byte of it is read. Pure.

use http::{HeaderMap, header};

use crate::{
    auth::Payload,
    config::BodyBounds,
    error::{Code, Error, Result},
};

/// Judges the size of the whole object under `key`: a PUT, the source of a copy, the sum of parts (S10).
pub(super) fn check_object(bounds: &BodyBounds, key: &str, bytes: u64) -> Result<()> {
    if bytes > bounds.object_bytes_max {
        return Err(too_large(bounds, bytes));
    }
    let bytes_min = bounds.object_bytes_min_of(key);
    if bytes < bytes_min {
        return Err(Error::new(
            Code::EntityTooSmall,
            format!("Your proposed upload is smaller than this server's minimum of {bytes_min} bytes."),
        )
        .element("ProposedSize", bytes.to_string())
        .element("MinSizeAllowed", bytes_min.to_string()));
    }
    Ok(())
}

/// Judges the size of one part: only what no sum could make right again.
pub(super) fn check_part(bounds: &BodyBounds, bytes: u64) -> Result<()> {
    if bytes > bounds.object_bytes_max { Err(too_large(bounds, bytes)) } else { Ok(()) }
}

fn too_large(bounds: &BodyBounds, bytes: u64) -> Error {
    Error::new(
        Code::EntityTooLarge,
        format!("Your proposed upload exceeds this server's maximum of {} bytes.", bounds.object_bytes_max),
    )
    .element("ProposedSize", bytes.to_string())
    .element("MaxSizeAllowed", bounds.object_bytes_max.to_string())
}

/// The length of the body that a request declares; 0 where it declares none.
pub(super) fn declared_body_bytes(headers: &HeaderMap) -> u64 {
    number(headers, header::CONTENT_LENGTH.as_str()).ok().flatten().unwrap_or_default()
}

/// The decoded length that a body declares: `x-amz-decoded-content-length` for chunked ones, else
/// `Content-Length` (P42). Without either there is no length, and no upload.
pub(super) fn declared_bytes(payload: &Payload, headers: &HeaderMap) -> Result<u64> {
    let length = number(headers, header::CONTENT_LENGTH.as_str())?;
    let decoded = number(headers, "x-amz-decoded-content-length")?;
    let missing = |what: &str| {
        Error::new(Code::MissingContentLength, format!("You must provide the {what} HTTP header."))
    };
    match payload {
        Payload::Sha256(_) | Payload::Unsigned => match (length, decoded) {
            (Some(length), Some(decoded)) if length != decoded => Err(Error::new(
                Code::InvalidRequest,
                "Content-Length and x-amz-decoded-content-length differ although the body is not chunked.",
            )),
            (Some(length), _) => Ok(length),
            (None, Some(decoded)) => Ok(decoded),
            (None, None) => Err(missing("Content-Length")),
        },
        Payload::SignedChunks(_) | Payload::SignedChunksTrailer(_) | Payload::UnsignedTrailer => {
            decoded.ok_or_else(|| missing("x-amz-decoded-content-length"))
        }
    }
}

/// The `Content-Length` of a request that cannot do without one (P42).
pub(super) fn content_length(headers: &HeaderMap) -> Result<u64> {
    number(headers, header::CONTENT_LENGTH.as_str())?.ok_or_else(|| {
        Error::new(Code::MissingContentLength, "You must provide the Content-Length HTTP header.")
    })
}

/// The size of an object by the store's answer to a HEAD.
pub(super) fn of_answer(headers: &HeaderMap) -> Result<u64> {
    let bytes = headers.get(header::CONTENT_LENGTH).and_then(|bytes| bytes.to_str().ok()?.parse().ok());
    bytes.ok_or_else(|| Error::store_unavailable("a HEAD without Content-Length"))
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Digits alone: `parse` would take a sign as well.
    let digits =
        value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(number), None) => Ok(Some(number)),
        _ => Err(Error::new(
            Code::InvalidArgument,
            format!("The header {name} must be one whole number of bytes."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::{FileName, SmallFiles};

    fn bounds() -> BodyBounds {
        BodyBounds {
            object_bytes_min: 1024,
            object_bytes_max: 5 << 30,
            small_files: SmallFiles {
                names: vec![FileName::Exact("_SUCCESS".to_owned())],
                object_bytes_min: 4,
            },
            body_idle_seconds: 1,
            body_bytes_per_second_min: 0,
        }
    }

    fn declared(
        payload: &Payload,
        headers: &[(&'static str, &'static str)],
    ) -> std::result::Result<u64, Code> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        declared_bytes(payload, &map).map_err(|error| error.code)
    }

    #[test]
    fn s10_objects_are_1_kib_to_5_gib() {
        let bounds = bounds();
        let code = |bytes| check_object(&bounds, "data/x/5A/f", bytes).map_err(|error| error.code);
        assert_eq!(code(1023), Err(Code::EntityTooSmall));
        assert_eq!(code(1024), Ok(()));
        assert_eq!(code(5_368_709_120), Ok(()));
        assert_eq!(code(5_368_709_121), Err(Code::EntityTooLarge));
        assert!(check_part(&bounds, 0).is_ok() && check_part(&bounds, 5_368_709_121).is_err());
    }

    #[test]
    fn s10_small_files_have_a_minimum_of_their_own() {
        let bounds = bounds();
        let check = |bytes| check_object(&bounds, "data/x/5A/t/_SUCCESS", bytes);
        assert!(check(4).is_ok() && check(5 << 30).is_ok());
        assert_eq!(check((5 << 30) + 1).unwrap_err().code, Code::EntityTooLarge);
        let error = check(3).unwrap_err();
        assert_eq!(error.code, Code::EntityTooSmall);
        assert!(error.elements.contains(&("MinSizeAllowed", "4".to_owned())), "{:?}", error.elements);
    }

    #[test]
    fn p42_the_length_is_known_or_there_is_no_upload() {
        let chunked = Payload::UnsignedTrailer;
        assert_eq!(declared(&Payload::Unsigned, &[("content-length", "5")]), Ok(5));
        assert_eq!(declared(&Payload::Unsigned, &[]), Err(Code::MissingContentLength));
        assert_eq!(declared(&chunked, &[("content-length", "50")]), Err(Code::MissingContentLength));
        assert_eq!(
            declared(&chunked, &[("content-length", "50"), ("x-amz-decoded-content-length", "5")]),
            Ok(5)
        );
        let both = [("content-length", "5"), ("x-amz-decoded-content-length", "6")];
        assert_eq!(declared(&Payload::Unsigned, &both), Err(Code::InvalidRequest));
        for text in ["", "+5", "-1", "0x5", "5 ", "18446744073709551616"] {
            assert_eq!(
                declared(&Payload::Unsigned, &[("content-length", text)]),
                Err(Code::InvalidArgument),
                "{text:?}"
            );
        }
        let twice = [("content-length", "5"), ("content-length", "5")];
        assert_eq!(declared(&Payload::Unsigned, &twice), Err(Code::InvalidArgument));
        assert_eq!(declared(&chunked, &[("x-amz-decoded-content-length", "8589934592")]), Ok(8_589_934_592));
    }
}
