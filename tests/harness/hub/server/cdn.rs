//! The CDN: large files on their way out and in, by URLs that are signed and expire. It knows no tokens, and
//! whoever shows it one is told off.

use aws_lc_rs::hmac;
use md5::{Digest as _, Md5};

use super::{
    answer::Answer,
    content::Content,
    http::Request,
    now_seconds,
    site::{Site, State},
    upload::keep,
};

impl Site {
    /// A URL of the CDN that counts until then.
    pub fn signed_url(&self, method: &str, path: &str, query: &str, expires: u64) -> String {
        let signature = self.signature(method, path, query, expires);
        let separator = if query.is_empty() { "" } else { "&" };
        format!("{}{path}?{query}{separator}Expires={expires}&Signature={signature}", self.cdn)
    }

    fn signature(&self, method: &str, path: &str, query: &str, expires: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        hex::encode(hmac::sign(&key, format!("{method}\n{path}\n{query}\n{expires}").as_bytes()))
    }

    /// Nothing, if the URL of the request is signed and counts.
    fn refuse_unsigned(&self, state: &mut State, request: &Request) -> Result<(), Answer> {
        if request.header("authorization").is_some() {
            let what = format!("{} {} came to the CDN with a token", request.method, request.path);
            state.violations.push(what);
            let message = "Only one auth mechanism allowed";
            return Err(Answer::xml_refusal(400, "InvalidArgument", message));
        }
        let method = if request.is_head() { "GET" } else { request.method.as_str() };
        let signed = request.raw_query.rsplit_once("Expires=").and_then(|(query, rest)| {
            let (expires, signature) = rest.split_once("&Signature=")?;
            let expires = expires.parse().ok()?;
            let right = self.signature(method, &request.path, query.trim_end_matches('&'), expires);
            (right == signature).then_some(expires)
        });
        match signed {
            Some(expires) if expires > now_seconds() => Ok(()),
            Some(_) => Err(Answer::xml_refusal(403, "AccessDenied", "Request has expired")),
            None => Err(Answer::xml_refusal(403, "SignatureDoesNotMatch", "The signature is not ours")),
        }
    }

    pub fn download(&self, state: &mut State, request: &Request, sha256: &str) -> Result<Answer, Answer> {
        self.refuse_unsigned(state, request)?;
        let content = state.objects.get(sha256).cloned();
        let content =
            content.ok_or_else(|| Answer::xml_refusal(404, "NoSuchKey", "There is no such object"))?;
        Ok(Answer::file(content, request.header("range"))
            .header("etag", format!("\"{sha256}\""))
            .header("content-type", "binary/octet-stream"))
    }

    /// A file, or one of its parts, on its way in.
    pub fn put(&self, state: &mut State, request: &Request, sha256: &str) -> Result<Answer, Answer> {
        self.refuse_unsigned(state, request)?;
        let etag = format!("\"{}\"", hex::encode(Md5::digest(&request.body)));
        match (request.query("uploadId"), request.query("partNumber").and_then(|part| part.parse().ok())) {
            (Some(id), Some(part)) => {
                let gone = || Answer::xml_refusal(404, "NoSuchUpload", "There is no such upload");
                let upload = state.uploads.get_mut(id).ok_or_else(gone)?;
                upload.parts.insert(part, (etag.clone(), request.body.clone()));
            }
            _ => keep(state, sha256, Content::Held(request.body.clone())),
        }
        Ok(Answer::new(200, Content::from(Vec::new())).header("etag", etag))
    }
}
