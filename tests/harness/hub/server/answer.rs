//! Answers before they are HTTP's: a status, headers, and bytes that may be made as they are sent.

use serde_json::{Value, json};

use super::content::Content;

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub content: Content,
    /// From where and up to where it is sent.
    pub range: (u64, u64),
}

impl Answer {
    pub fn new(status: u16, content: Content) -> Self {
        let range = (0, content.size());
        Self { status, headers: Vec::new(), content, range }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn json(status: u16, value: &Value) -> Self {
        let content = Content::from(value.to_string().into_bytes());
        Self::new(status, content).header("content-type", "application/json; charset=utf-8")
    }

    /// As the Hub refuses: a code that clients decide by, and words, in headers and as JSON.
    pub fn refusal(status: u16, code: &str, message: &str) -> Self {
        let answer =
            Self::json(status, &json!({ "error": message })).header("x-error-message", message.to_owned());
        if code.is_empty() { answer } else { answer.header("x-error-code", code) }
    }

    /// As the store behind the CDN refuses.
    pub fn xml_refusal(status: u16, code: &str, message: &str) -> Self {
        let text =
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Self::new(status, Content::from(text.into_bytes())).header("content-type", "application/xml")
    }

    pub fn redirect(status: u16, to: &str) -> Self {
        let text = format!("Redirecting to {to}");
        Self::new(status, Content::from(text.into_bytes()))
            .header("content-type", "text/plain; charset=utf-8")
            .header("location", to)
    }

    /// A file's bytes, or the part of them that was asked for.
    pub fn file(content: Content, range: Option<&str>) -> Self {
        let size = content.size();
        let Some(range) = range else {
            return Self::new(200, content).header("accept-ranges", "bytes");
        };
        let Some((from, end)) = parse_range(range, size) else {
            return Self::xml_refusal(416, "InvalidRange", "The requested range is not satisfiable")
                .header("content-range", format!("bytes */{size}"));
        };
        let mut answer = Self::new(206, content).header("accept-ranges", "bytes");
        answer.range = (from, end);
        answer.header("content-range", format!("bytes {from}-{}/{size}", end - 1))
    }
}

/// The beginning of a range and what lies behind its end.
fn parse_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, end) = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(from), Some(last)) => (from, last.saturating_add(1).min(size)),
        (Some(from), None) => (from, size),
        (None, Some(suffix)) => (size.saturating_sub(suffix), size),
        (None, None) => return None,
    };
    (from < end).then_some((from, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        assert_eq!(parse_range("bytes=0-9", 100), Some((0, 10)));
        assert_eq!(parse_range("bytes=90-", 100), Some((90, 100)));
        assert_eq!(parse_range("bytes=-5", 100), Some((95, 100)));
        assert_eq!(parse_range("bytes=90-900", 100), Some((90, 100)));
        assert_eq!(parse_range("bytes=100-", 100), None);
        assert_eq!(parse_range("bytes=-", 100), None);
    }
}
