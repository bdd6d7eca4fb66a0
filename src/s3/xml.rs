//! S3's XML: what clients send, what is answered here, and what the store's answers say.
//!
//! Source: <https://s3.amazonaws.com/doc/2006-03-01/AmazonS3.xsd>. Requests are parsed into a small tree and
//! built anew before they go on, so that the store cannot read them differently. Bounds: the text is bounded
//! by the caller, its depth and number of elements here; a document type is refused, so entities are the five
//! of XML and nothing expands.

use std::borrow::Cow;

use quick_xml::{Reader, escape::escape, events::Event};

use super::{key::check_id, xml_text::legal};
use crate::error::{Code, Error, Result};

/// The namespace which clients pin.
pub(crate) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The first line of every document.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// S3's documents are at most four deep; the rest is room for extensions.
const DEPTH_MAX: usize = 16;

/// 10,000 parts with all their checksums are 80,000 elements. An element takes about 100 bytes here, however
/// short it is in the text.
const ELEMENTS_MAX: usize = 100_000;

/// Keys of one DeleteObjects.
pub(crate) const DELETE_KEYS_MAX: usize = 1000;

/// Parts of one upload.
pub(crate) const PARTS_MAX: usize = 10_000;

/// One element: its local name, its own text and its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Local name, without a namespace prefix.
    pub name: String,
    /// Its own text, entities resolved.
    pub text: String,
    /// Its child elements in order.
    pub children: Vec<Self>,
}

impl Element {
    /// Parses a whole document.
    pub fn parse(document: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(document).map_err(|_| malformed("is not UTF-8"))?;
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        let mut elements: usize = 0;
        loop {
            let event = reader.read_event().map_err(|_| malformed("is not well-formed"))?;
            let start = match &event {
                Event::Start(start) | Event::Empty(start) => Some(start),
                _ => None,
            };
            if let Some(start) = start {
                elements += 1;
                if root.is_some() || open.len() >= DEPTH_MAX || elements > ELEMENTS_MAX {
                    return Err(malformed("has a second root, too many elements, or is nested too deep"));
                }
                let name = start.local_name().as_ref().to_owned();
                open.push(Self { name, ..Self::default() });
            }
            match event {
                Event::Text(piece) => {
                    let piece = piece.xml10_content();
                    match open.last_mut() {
                        Some(element) => element.text.push_str(&piece),
                        None if piece.trim().is_empty() => {}
                        None => return Err(malformed("holds text outside its root")),
                    }
                }
                Event::CData(piece) => match open.last_mut() {
                    Some(element) => element.text.push_str(&piece.xml10_content()),
                    None => return Err(malformed("holds text outside its root")),
                },
                Event::GeneralRef(reference) => {
                    let character = match reference.resolve_char_ref() {
                        Ok(Some(character)) => character,
                        Ok(None) => match reference.as_ref() {
                            "amp" => '&',
                            "lt" => '<',
                            "gt" => '>',
                            "quot" => '"',
                            "apos" => '\'',
                            _ => return Err(malformed("refers to an entity that XML does not define")),
                        },
                        Err(_) => return Err(malformed("refers to a character that does not exist")),
                    };
                    open.last_mut()
                        .ok_or_else(|| malformed("holds text outside its root"))?
                        .text
                        .push(character);
                }
                Event::End(_) | Event::Empty(_) => {
                    let done = open.pop().ok_or_else(|| malformed("ends an element that was not begun"))?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(done),
                        None => root = Some(done),
                    }
                }
                Event::DocType(_) => return Err(malformed("holds a document type")),
                Event::Start(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => break,
            }
        }
        match root {
            Some(root) if open.is_empty() => Ok(root),
            _ => Err(malformed("ends before its root does")),
        }
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of that name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// Refuses children of other names than these, and any that are there twice.
    fn only(&self, names: &[&str]) -> Result<()> {
        for (index, child) in self.children.iter().enumerate() {
            let twice = self.children.iter().take(index).any(|earlier| earlier.name == child.name);
            if twice || !names.contains(&child.name.as_str()) {
                return Err(malformed(&format!("holds a <{}> where none belongs", child.name)));
            }
        }
        Ok(())
    }
}

fn malformed(why: &str) -> Error {
    Error::new(
        Code::MalformedXML,
        format!(
            "The XML you provided was not well-formed or did not validate against our published schema: it \
            {why}."
        ),
    )
}

fn push(xml: &mut String, name: &str, text: &str) {
    for piece in ["<", name, ">", &escaped(text), "</", name, ">"] {
        xml.push_str(piece);
    }
}

/// Text as it stands in a document of ours.
pub(crate) fn text(text: &str) -> String {
    escaped(text).into_owned()
}

/// Whether this byte of a text is what it stands for in a document as well.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'<' | b'>' | b'&' | b'\'' | b'"')
}

fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly always all of it is. Looking at every byte without a way out in between is what a compiler makes
    // a few instructions of.
    if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        return Cow::Borrowed(text);
    }
    match legal(text) {
        Cow::Borrowed(text) => escape(text),
        Cow::Owned(text) => Cow::Owned(escape(text).into_owned()),
    }
}

/// One object of a DeleteObjects request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteObject {
    /// The key.
    pub key: String,
    /// Its version, and the conditions ETag, LastModifiedTime and Size, by element name.
    pub further: Vec<(String, String)>,
}

/// A DeleteObjects request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Whether successes go unmentioned.
    pub quiet: bool,
    /// 1 to 1000 objects.
    pub objects: Vec<DeleteObject>,
}

impl Delete {
    /// Parses the body.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let root = Element::parse(body)?;
        if root.name != "Delete" {
            return Err(malformed("is not a <Delete>"));
        }
        let mut delete = Self { quiet: false, objects: Vec::new() };
        for child in &root.children {
            match child.name.as_str() {
                "Quiet" => delete.quiet = matches!(child.text.trim(), "true" | "1"),
                "Object" => {
                    child.only(&["Key", "VersionId", "ETag", "LastModifiedTime", "Size"])?;
                    let key =
                        child.text_of("Key").ok_or_else(|| malformed("holds an <Object> without a <Key>"))?;
                    if let Some(version) = child.text_of("VersionId") {
                        check_id("VersionId", version)?;
                    }
                    let further = child.children.iter().filter(|element| element.name != "Key");
                    delete.objects.push(DeleteObject {
                        key: key.to_owned(),
                        further: further
                            .map(|element| (element.name.clone(), element.text.clone()))
                            .collect(),
                    });
                }
                _ => return Err(malformed(&format!("holds a <{}> where none belongs", child.name))),
            }
        }
        if delete.objects.is_empty() || delete.objects.len() > DELETE_KEYS_MAX {
            return Err(malformed("must hold 1 to 1000 objects"));
        }
        Ok(delete)
    }

    /// Builds the body for the store.
    pub(crate) fn to_xml(&self) -> String {
        let mut xml = format!("{DECLARATION}<Delete xmlns=\"{NAMESPACE}\">");
        if self.quiet {
            push(&mut xml, "Quiet", "true");
        }
        for object in &self.objects {
            xml.push_str("<Object>");
            push(&mut xml, "Key", &object.key);
            for (name, text) in &object.further {
                push(&mut xml, name, text);
            }
            xml.push_str("</Object>");
        }
        xml.push_str("</Delete>");
        xml
    }
}

/// The `<Error>` of one key in a DeleteObjects answer.
pub(crate) fn delete_error(object: &DeleteObject, error: &Error) -> String {
    let mut xml = String::from("<Error>");
    push(&mut xml, "Key", &object.key);
    for (_, version) in object.further.iter().filter(|(name, _)| name == "VersionId") {
        push(&mut xml, "VersionId", version);
    }
    push(&mut xml, "Code", error.code.as_str());
    push(&mut xml, "Message", &error.message);
    xml.push_str("</Error>");
    xml
}

/// The answer of a DeleteObjects of which nothing reached the store.
pub(crate) fn delete_result(errors: &str) -> String {
    format!("{DECLARATION}<DeleteResult xmlns=\"{NAMESPACE}\">{errors}</DeleteResult>")
}

/// One part named at completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// 1 to 10,000.
    pub number: u32,
    /// As the client wrote it, with or without quotes.
    pub etag: String,
    /// Checksum elements by name.
    pub checksums: Vec<(String, String)>,
}

const PART_ELEMENTS: &[&str] = &[
    "PartNumber",
    "ETag",
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumSHA1",
    "ChecksumSHA256",
    "ChecksumSHA512",
    "ChecksumMD5",
    "ChecksumXXHASH64",
    "ChecksumXXHASH3",
    "ChecksumXXHASH128",
];

/// Parses the body of CompleteMultipartUpload.
pub fn parse_complete(body: &[u8]) -> Result<Vec<CompletedPart>> {
    let root = Element::parse(body)?;
    if root.name != "CompleteMultipartUpload" {
        return Err(malformed("is not a <CompleteMultipartUpload>"));
    }
    let mut parts: Vec<CompletedPart> = Vec::new();
    for child in &root.children {
        if child.name != "Part" {
            return Err(malformed(&format!("holds a <{}> where none belongs", child.name)));
        }
        child.only(PART_ELEMENTS)?;
        let (Some(number), Some(etag)) = (child.text_of("PartNumber"), child.text_of("ETag")) else {
            return Err(malformed("holds a <Part> without a PartNumber and its ETag"));
        };
        let number = part_number(number)?;
        if parts.last().is_some_and(|last| last.number >= number) {
            return Err(Error::new(
                Code::InvalidPartOrder,
                "The list of parts was not in ascending order. The parts list must be specified in order by \
                 part number.",
            ));
        }
        let checksums = child.children.iter().filter(|element| element.name.starts_with("Checksum"));
        parts.push(CompletedPart {
            number,
            etag: etag.trim().to_owned(),
            checksums: checksums
                .map(|element| (element.name.clone(), element.text.trim().to_owned()))
                .collect(),
        });
    }
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return Err(malformed("must name 1 to 10000 parts"));
    }
    Ok(parts)
}

/// The number of a part; one that is out of range is no fault of the XML.
fn part_number(text: &str) -> Result<u32> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("holds a <PartNumber> that is no number"));
    }
    let number = text.parse().ok().filter(|number| (1..=PARTS_MAX).contains(number));
    number.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| {
        Error::new(Code::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
            .element("ArgumentName", "partNumber")
            .element("ArgumentValue", text)
    })
}

/// Builds the body of CompleteMultipartUpload for the store.
pub(crate) fn complete(parts: &[CompletedPart]) -> String {
    let mut xml = format!("{DECLARATION}<CompleteMultipartUpload xmlns=\"{NAMESPACE}\">");
    for part in parts {
        xml.push_str("<Part>");
        push(&mut xml, "PartNumber", &part.number.to_string());
        push(&mut xml, "ETag", &part.etag);
        for (name, text) in &part.checksums {
            push(&mut xml, name, text);
        }
        xml.push_str("</Part>");
    }
    xml.push_str("</CompleteMultipartUpload>");
    xml
}

/// One page of ListParts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartsPage {
    /// Number, size in bytes and ETag without quotes.
    pub parts: Vec<(u32, u64, String)>,
    /// From where the next page goes on, where there is one.
    pub next: Option<u32>,
}

/// An ETag without its quotes.
pub(crate) fn bare_etag(etag: &str) -> &str {
    etag.trim().trim_matches('"')
}

/// Reads the store's answer to ListParts; none where it is not one.
pub(crate) fn parse_parts(body: &[u8]) -> Option<PartsPage> {
    let root = Element::parse(body).ok().filter(|root| root.name == "ListPartsResult")?;
    let mut page = PartsPage::default();
    for part in root.children.iter().filter(|child| child.name == "Part") {
        let number = part.text_of("PartNumber")?.trim().parse().ok()?;
        let size = part.text_of("Size")?.trim().parse().ok()?;
        page.parts.push((number, size, bare_etag(part.text_of("ETag")?).to_owned()));
    }
    if root.text_of("IsTruncated").map(str::trim) == Some("true") {
        page.next = Some(root.text_of("NextPartNumberMarker")?.trim().parse().ok()?);
    }
    Some(page)
}

/// What an error document takes beside its message and its path, mostly.
const ERROR_BYTES: usize = 512;

/// The error document. `resource` is the path as the client named it.
pub(crate) fn error(
    code: &str,
    message: &str,
    elements: &[(&str, String)],
    resource: &str,
    request_id: &str,
) -> String {
    // Enough for the message with all that is around it: a refusal is to cost little.
    let mut xml = String::with_capacity(ERROR_BYTES + message.len() + resource.len());
    xml.push_str(DECLARATION);
    xml.push_str("<Error>");
    push(&mut xml, "Code", code);
    push(&mut xml, "Message", message);
    for (name, text) in elements {
        push(&mut xml, name, text);
    }
    push(&mut xml, "Resource", resource);
    push(&mut xml, "RequestId", request_id);
    xml.push_str("</Error>");
    xml
}

/// ListBuckets of the one bucket. `created` is RFC 3339.
pub(crate) fn list_buckets(owner: &str, bucket: Option<&str>, created: &str) -> String {
    let mut xml = format!("{DECLARATION}<ListAllMyBucketsResult xmlns=\"{NAMESPACE}\"><Owner>");
    push(&mut xml, "ID", owner);
    push(&mut xml, "DisplayName", owner);
    xml.push_str("</Owner><Buckets>");
    if let Some(bucket) = bucket {
        xml.push_str("<Bucket>");
        push(&mut xml, "Name", bucket);
        push(&mut xml, "CreationDate", created);
        xml.push_str("</Bucket>");
    }
    xml.push_str("</Buckets></ListAllMyBucketsResult>");
    xml
}

/// GetBucketLocation; S3 spells us-east-1 as nothing.
pub(crate) fn location(region: &str) -> String {
    let constraint = if region == "us-east-1" { "" } else { region };
    format!(
        "{DECLARATION}<LocationConstraint xmlns=\"{NAMESPACE}\">{}</LocationConstraint>",
        escape(constraint)
    )
}

/// The answer to a form that asked for 201.
pub(crate) fn post_response(location: &str, bucket: &str, key: &str, etag: &str) -> String {
    let mut xml = format!("{DECLARATION}<PostResponse>");
    push(&mut xml, "Location", location);
    push(&mut xml, "Bucket", bucket);
    push(&mut xml, "Key", key);
    push(&mut xml, "ETag", etag);
    xml.push_str("</PostResponse>");
    xml
}

/// A listing of common prefixes alone, for ListObjects and ListObjectsV2.
#[derive(Debug, Clone, Default)]
pub struct PrefixListing<'a> {
    /// The bucket as the client names it.
    pub bucket: &'a str,
    /// The prefix that was asked for.
    pub prefix: &'a str,
    /// The delimiter that was asked for.
    pub delimiter: &'a str,
    /// Whether this is the second version of the listing.
    pub v2: bool,
    /// Whether names are percent-encoded in the answer.
    pub url_encoded: bool,
    /// The bound that was asked for.
    pub keys_max: usize,
    /// `marker` or `start-after`, where given.
    pub after: Option<&'a str>,
    /// `continuation-token`, where given.
    pub token: Option<&'a str>,
    /// The prefixes on this page.
    pub prefixes: &'a [String],
    /// Whether more follow.
    pub truncated: bool,
}

impl PrefixListing<'_> {
    /// The document.
    pub(crate) fn to_xml(&self) -> String {
        let name =
            |text: &str| if self.url_encoded { super::uri::encode_path(text) } else { text.to_owned() };
        let mut xml = format!("{DECLARATION}<ListBucketResult xmlns=\"{NAMESPACE}\">");
        push(&mut xml, "Name", self.bucket);
        push(&mut xml, "Prefix", &name(self.prefix));
        let last = self.prefixes.last().filter(|_| self.truncated);
        if self.v2 {
            if let Some(after) = self.after {
                push(&mut xml, "StartAfter", &name(after));
            }
            if let Some(token) = self.token {
                push(&mut xml, "ContinuationToken", token);
            }
            push(&mut xml, "KeyCount", &self.prefixes.len().to_string());
            if let Some(last) = last {
                push(&mut xml, "NextContinuationToken", last);
            }
        } else {
            push(&mut xml, "Marker", &name(self.after.unwrap_or_default()));
            if let Some(last) = last {
                push(&mut xml, "NextMarker", &name(last));
            }
        }
        push(&mut xml, "MaxKeys", &self.keys_max.to_string());
        push(&mut xml, "Delimiter", &name(self.delimiter));
        if self.url_encoded {
            push(&mut xml, "EncodingType", "url");
        }
        push(&mut xml, "IsTruncated", if self.truncated { "true" } else { "false" });
        for prefix in self.prefixes {
            xml.push_str("<CommonPrefixes>");
            push(&mut xml, "Prefix", &name(prefix));
            xml.push_str("</CommonPrefixes>");
        }
        xml.push_str("</ListBucketResult>");
        xml
    }
}

#[cfg(test)]
mod tests;
