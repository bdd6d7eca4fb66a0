//! S3's documents, read: lists of objects, of uploads, and errors.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>.
//!
//! A document that lacks what it must have is none: a list is complete, or an error.

use percent_encoding::percent_decode_str;

use super::object::{Listed, OpenUpload};
use crate::s3::xml::{Element, bare_etag};

/// S3 gives no more entries on a page.
const PAGE_ENTRIES_MAX: usize = 1000;

/// S3 knows no longer keys.
const KEY_BYTES_MAX: usize = 1024;

/// One page of a list of objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ListPage {
    /// The objects, in the server's order.
    pub(crate) objects: Vec<Listed>,
    /// The common prefixes, where a delimiter was given.
    pub(crate) prefixes: Vec<String>,
    /// The token of the next page, where there is one.
    pub(crate) next: Option<String>,
}

/// One page of a list of uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct UploadsPage {
    pub(super) uploads: Vec<OpenUpload>,
    /// The markers of the next page: key and id.
    pub(super) next: Option<(String, String)>,
}

/// A document's names, which may be percent-encoded.
struct Names {
    is_encoded: bool,
}

impl Names {
    fn of(root: &Element) -> Self {
        Self { is_encoded: root.text_of("EncodingType").map(str::trim) == Some("url") }
    }

    /// The name as it is; S3 writes a space as `+`.
    fn read(&self, text: &str) -> Option<String> {
        if !self.is_encoded {
            return Some(text.to_owned());
        }
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    }
}

fn root(document: &[u8], name: &str) -> Option<Element> {
    Element::parse(document).ok().filter(|root| root.name == name)
}

fn is_truncated(root: &Element) -> Option<bool> {
    match root.text_of("IsTruncated")?.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Reads a page of ListObjectsV2; none where it is not one, or not a whole one.
pub(super) fn list_page(document: &[u8]) -> Option<ListPage> {
    let root = root(document, "ListBucketResult")?;
    let names = Names::of(&root);
    let mut page = ListPage::default();
    for child in &root.children {
        match child.name.as_str() {
            "Contents" => page.objects.push(Listed {
                key: names.read(child.text_of("Key")?)?,
                size: child.text_of("Size")?.trim().parse().ok()?,
                etag: bare_etag(child.text_of("ETag").unwrap_or_default()).to_owned(),
                last_modified: child.text_of("LastModified").and_then(|time| time.trim().parse().ok()),
            }),
            "CommonPrefixes" => page.prefixes.push(names.read(child.text_of("Prefix")?)?),
            _ => {}
        }
    }
    if is_truncated(&root)? {
        let next = root.text_of("NextContinuationToken").filter(|token| !token.is_empty())?;
        page.next = Some(next.to_owned());
    }
    Some(page)
}

/// Whether that is a page of such a list: no caller is to hold, or to delete, what it did not ask for.
pub(super) fn is_page_of(page: &ListPage, prefix: &str) -> bool {
    let keys = page.objects.iter().map(|object| &object.key).chain(&page.prefixes);
    let mut entries = 0_usize;
    for key in keys {
        entries = entries.saturating_add(1);
        if !key.starts_with(prefix) || key.len() > KEY_BYTES_MAX {
            return false;
        }
    }
    entries <= PAGE_ENTRIES_MAX
}

/// Reads a page of ListMultipartUploads; none where it is not one. A store that does not say whether there is
/// more has no more.
pub(super) fn uploads_page(document: &[u8]) -> Option<UploadsPage> {
    let root = root(document, "ListMultipartUploadsResult")?;
    let names = Names::of(&root);
    let mut page = UploadsPage::default();
    for upload in root.children.iter().filter(|child| child.name == "Upload") {
        page.uploads.push(OpenUpload {
            key: names.read(upload.text_of("Key")?)?,
            id: upload.text_of("UploadId")?.to_owned(),
            initiated: upload.text_of("Initiated").and_then(|time| time.trim().parse().ok()),
        });
    }
    if is_truncated(&root) == Some(true) {
        let key = names.read(root.text_of("NextKeyMarker")?)?;
        page.next = Some((key, root.text_of("NextUploadIdMarker").unwrap_or_default().to_owned()));
    }
    Some(page)
}

/// The id in an answer to CreateMultipartUpload.
pub(super) fn upload_id(document: &[u8]) -> Option<String> {
    let root = root(document, "InitiateMultipartUploadResult")?;
    root.text_of("UploadId").filter(|id| !id.is_empty()).map(str::to_owned)
}

/// The ETag in an answer to CompleteMultipartUpload.
pub(super) fn completed_etag(document: &[u8]) -> Option<String> {
    let root = root(document, "CompleteMultipartUploadResult")?;
    root.text_of("ETag").map(|etag| bare_etag(etag).to_owned())
}

/// Code and message of an error.
pub(super) fn error(document: &[u8]) -> Option<(String, String)> {
    let root = root(document, "Error")?;
    let text = |name| root.text_of(name).unwrap_or_default().trim().to_owned();
    Some((text("Code"), text("Message")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "<?xml version=\"1.0\"?>\
        <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
        <NextContinuationToken>t/1=</NextContinuationToken>\
        <Contents><Key>a+b%2Bc/%C3%A4</Key><Size>12</Size><ETag>&quot;e&quot;</ETag>\
        <LastModified>2026-11-03T10:11:12.345Z</LastModified></Contents>\
        <CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes></ListBucketResult>";

    #[test]
    fn a_page_is_read_with_its_names_as_they_are() {
        let page = list_page(PAGE.as_bytes()).unwrap();
        assert_eq!(page.objects[0].key, "a b+c/ä");
        assert_eq!((page.objects[0].size, page.objects[0].etag.as_str()), (12, "e"));
        assert!(page.objects[0].last_modified.is_some());
        assert_eq!((page.prefixes, page.next.as_deref()), (vec!["d/".to_owned()], Some("t/1=")));
        let plain = PAGE.replace("<EncodingType>url</EncodingType>", "");
        assert_eq!(list_page(plain.as_bytes()).unwrap().objects[0].key, "a+b%2Bc/%C3%A4");
    }

    #[test]
    fn a_page_that_may_not_be_whole_is_no_page() {
        for (from, to) in [
            ("<NextContinuationToken>t/1=</NextContinuationToken>", ""),
            ("t/1=", ""),
            ("<IsTruncated>true</IsTruncated>", ""),
            (">true<", ">perhaps<"),
            ("<Size>12</Size>", ""),
            (">12<", ">-1<"),
            ("%C3%A4", "%C3"),
            ("ListBucketResult", "Error"),
            ("</CommonPrefixes>", ""),
        ] {
            assert_eq!(list_page(PAGE.replace(from, to).as_bytes()), None, "{from}");
        }
    }

    #[test]
    fn a_page_has_only_what_was_asked_for_and_no_more_than_s3_gives() {
        let listed =
            |key: &str| Listed { key: key.to_owned(), size: 1, etag: String::new(), last_modified: None };
        let page = |keys: &[&str]| ListPage {
            objects: keys.iter().map(|key| listed(key)).collect(),
            ..ListPage::default()
        };
        let longest = format!("p/{}", "k".repeat(KEY_BYTES_MAX - 2));
        assert!(is_page_of(&page(&["p/a", &longest]), "p/"));
        assert!(!is_page_of(&page(&[&format!("{longest}k")]), "p/"));
        assert!(!is_page_of(&page(&["p/a", "q/a"]), "p/"));
        assert!(is_page_of(&page(&["p/a"; PAGE_ENTRIES_MAX]), "p/"));
        assert!(!is_page_of(&page(&["p/a"; PAGE_ENTRIES_MAX + 1]), "p/"));
        let folders = ListPage { prefixes: vec!["q/".to_owned()], ..ListPage::default() };
        assert!(!is_page_of(&folders, "p/") && is_page_of(&folders, ""));
    }

    #[test]
    fn uploads_are_read_page_by_page() {
        let page = |more: &str| {
            uploads_page(
                format!(
                    "<ListMultipartUploadsResult>{more}<Upload><Key>k</Key><UploadId>i+/=</UploadId>\
                     <Initiated>2026-11-03T10:11:12.345Z</Initiated></Upload></ListMultipartUploadsResult>"
                )
                .as_bytes(),
            )
        };
        let last = page("").unwrap();
        assert_eq!((last.uploads[0].id.as_str(), last.next), ("i+/=", None));
        let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>";
        assert_eq!(page(more).unwrap().next, Some(("k".to_owned(), String::new())));
        assert_eq!(page("<IsTruncated>true</IsTruncated>"), None);
    }

    proptest! {
        #[test]
        fn no_document_panics(document in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (list_page(&document), uploads_page(&document), upload_id(&document));
            let _ = (completed_etag(&document), error(&document));
        }
    }
}
