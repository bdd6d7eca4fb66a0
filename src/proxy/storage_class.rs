//! Which storage classes a client may ask for (P53). Pure.
//!
//! In a class of an archive an object is there and cannot be read, so a validator takes it for an outage, and
//! its retrieval is paid by the operator. The operator names the classes that clients may choose.

use crate::{
    error::{Code, Error, Result},
    s3::ForwardedHeaders,
};

/// Judges the storage class that a request asks for, if any.
///
/// # Errors
/// `InvalidStorageClass` for one that is not among `offered`.
pub(super) fn check(offered: &[String], headers: &ForwardedHeaders) -> Result<()> {
    let is_offered = |asked: &[u8]| offered.iter().any(|offered| offered.as_bytes() == asked);
    match headers.storage_classes().find(|asked| !is_offered(asked)) {
        None => Ok(()),
        Some(asked) => {
            let asked = String::from_utf8_lossy(asked).into_owned();
            Err(Error::new(Code::InvalidStorageClass, "The storage class you specified is not valid.")
                .element("StorageClassRequested", asked))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::s3::Operation;

    #[test]
    fn p53_only_the_classes_on_the_list_are_taken() {
        let check = |offered: &[&str], asked: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for class in asked {
                let name = HeaderName::from_static("x-amz-storage-class");
                headers.append(name, HeaderValue::from_static(class));
            }
            let offered: Vec<String> = offered.iter().map(|&class| class.to_owned()).collect();
            let headers = ForwardedHeaders::of(Operation::PutObject, &headers).unwrap();
            super::check(&offered, &headers).map_err(|error| error.code)
        };
        assert_eq!(check(&["STANDARD"], &[]), Ok(()));
        assert_eq!(check(&["STANDARD"], &["STANDARD"]), Ok(()));
        assert_eq!(check(&["STANDARD", "STANDARD_IA"], &["STANDARD_IA"]), Ok(()));
        assert_eq!(check(&[], &[]), Ok(()));
        for wrong in [&["DEEP_ARCHIVE"][..], &["standard"], &[""], &["STANDARD", "GLACIER"]] {
            assert_eq!(check(&["STANDARD"], wrong), Err(Code::InvalidStorageClass), "{wrong:?}");
        }
        assert_eq!(check(&[], &["STANDARD"]), Err(Code::InvalidStorageClass));
    }
}
