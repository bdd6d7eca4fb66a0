//! The store's error documents: what of them is told on.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>. Code and message are S3's
//! own; of the further elements those pass that describe the request or the object, and SDKs show them. Host
//! ids, strings to sign, access keys and whatever else a store adds stay here (P51).

use super::xml::Element;

/// Elements that describe the request or the object.
const TOLD: &[&str] = &[
    "AccessTier",
    "ActualObjectSize",
    "ActualPartCount",
    "ArgumentName",
    "ArgumentValue",
    "BucketName",
    "CalculatedDigest",
    "Condition",
    "ETag",
    "ExpectedDigest",
    "Header",
    "Key",
    "MaxSizeAllowed",
    "Method",
    "MinSizeAllowed",
    "PartNumber",
    "PartNumberRequested",
    "ProposedSize",
    "RangeRequested",
    "ResourceType",
    "Size",
    "StorageClass",
    "UploadId",
    "VersionId",
];

/// The longest value that is told on: a key has 1024 bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// An error of the store's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoreError {
    /// S3's code, never empty.
    pub(crate) code: String,
    pub(crate) message: String,
    /// The further elements that may be told, by name, each once.
    pub(crate) elements: Vec<(&'static str, String)>,
}

impl StoreError {
    /// Reads the document; none where it is no error of S3's.
    pub(crate) fn parse(document: &[u8]) -> Option<Self> {
        let root = Element::parse(document).ok().filter(|root| root.name == "Error")?;
        let text = |name| root.text_of(name).unwrap_or_default().trim().to_owned();
        let code = Some(text("Code")).filter(|code| !code.is_empty())?;
        let told = TOLD.iter().filter_map(|name| {
            let element = root.child(name)?;
            let is_value = element.children.is_empty() && element.text.len() <= VALUE_BYTES_MAX;
            is_value.then(|| (*name, element.text.clone()))
        });
        Some(Self { code, message: text("Message"), elements: told.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p51_only_what_describes_request_or_object_is_told() {
        let document = "<?xml version=\"1.0\"?>\n<Error><Code> InvalidRange </Code><Message>m</Message>\
            <ActualObjectSize>9</ActualObjectSize><AWSAccessKeyId>AK</AWSAccessKeyId>\
            <StringToSign>s</StringToSign><HostId>h</HostId><RequestId>r</RequestId><Resource>/own</Resource>\
            <RangeRequested>bytes=10-</RangeRequested><RangeRequested>2</RangeRequested>\
            <Key><b>1</b></Key><Region>own</Region></Error>";
        let expected = StoreError {
            code: "InvalidRange".to_owned(),
            message: "m".to_owned(),
            elements: vec![("ActualObjectSize", "9".to_owned()), ("RangeRequested", "bytes=10-".to_owned())],
        };
        assert_eq!(StoreError::parse(document.as_bytes()), Some(expected));
        let long = format!("<Error><Code>A</Code><Key>{}</Key></Error>", "k".repeat(VALUE_BYTES_MAX + 1));
        assert!(StoreError::parse(long.as_bytes()).unwrap().elements.is_empty());
        for none in ["", "<Error/>", "<Error><Code> </Code></Error>", "<html/>", "<Error><Code>A</Code>"] {
            assert_eq!(StoreError::parse(none.as_bytes()), None, "{none}");
        }
    }
}
