//! POST of a form to the bucket: S3's browser uploads, with the same rights, sizes and stream as a PUT (P14).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>. Beyond S3: the file has to
//! be the last part and the form ends with its last boundary and a line end, for the file's length is told to
//! the store before its first byte; and a redirect leads to the hosts of `endpoints.redirect_hosts` alone.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};

use super::{
    Proxy, check_head,
    put::{ClientForm, Planned, rewrite},
    sizes, storage_class,
};
use crate::{
    auth::{Payload, sigv4::post_policy::PostForm},
    body::{
        client_body::ClientBody,
        failure::too_slow,
        form::{Boundary, FORM_HEAD_BYTES_MAX, FilePart, FormHead, read_head},
        plan::{Framing, Plan},
    },
    error::{Code, Error, Reason, Result},
    exchange::{Answer, Exchange, RequestBody},
    policy::UploadPermit,
    s3::{
        Addressing, ForwardedHeaders, Operation, Request, answer_headers,
        uri::{self, Query},
        xml,
    },
    site,
};

/// How long all that stands before the file may take: it is a few kilobytes of whom nobody knows.
const FORM_HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// The variable of a key for which the client's file name stands in.
const FILENAME: &str = "${filename}";

/// Fields that are headers of the object under the same name; `x-amz-*` are as well.
const OBJECT_FIELDS: &[&str] =
    &["cache-control", "content-disposition", "content-encoding", "content-md5", "content-type", "expires"];

/// Whether a request is a form for the bucket: a POST of `multipart/form-data`, without a query, not to an
/// object.
pub(crate) fn is_form(head: &Parts) -> bool {
    let path = head.uri.path();
    head.method == Method::POST
        && head.uri.query().is_none_or(str::is_empty)
        && !path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').contains('/')
        && content_type(head).is_some_and(Boundary::is_form)
}

fn content_type(head: &Parts) -> Option<&str> {
    head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// How an upload is answered.
enum Success {
    Status(StatusCode),
    Redirect(String),
}

impl Proxy {
    /// Uploads the file of a form.
    ///
    /// # Errors
    /// S3's codes for what is wrong with the form, its policy, or the caller's rights.
    pub(crate) async fn post_form(&self, exchange: &mut Exchange, body: RequestBody) -> Result<Answer> {
        let now = exchange.now;
        check_head(&exchange.head)?;
        let host = site::host(&exchange.head)?.to_owned();
        let bucket = self.form_bucket(exchange, &host)?;
        let headers = &exchange.head.headers;
        if headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS")) {
            return Err(Error::new(
                Code::InvalidRequest,
                "Only one auth mechanism allowed: the Authorization header or the form's policy, not both.",
            ));
        }
        let form_bytes = sizes::content_length(headers)?;
        if form_bytes > self.body_bounds.object_bytes_max.saturating_add(FORM_HEAD_BYTES_MAX as u64 + 128) {
            sizes::check_part(&self.body_bounds, form_bytes)?;
        }
        let boundary = Boundary::of(content_type(&exchange.head).unwrap_or_default())?;

        // The fields, within bounds, and the beginning of the file.
        let mut buffered = self.limits.buffer_of_sender(exchange.sender)?;
        buffered.grow(FORM_HEAD_BYTES_MAX as u64)?;
        let head = read_head(body, &boundary, form_bytes, self.pace);
        let (form_head, file) =
            tokio::time::timeout(FORM_HEAD_TIME_MAX, head).await.map_err(|_| too_slow())??;
        exchange.body_arrived();
        let file_bytes = file.bytes();
        let is_own_host = self.site.is_own_host(&host);
        let form = PostForm { fields: &form_head.fields, host: &host, is_own_host };

        // Verify, and look up, as on the road.
        let verified = self.access.verify_form(&form, exchange)?;
        let (caller, _) = self.access.identify(verified.hotkey(), exchange)?;
        exchange.record.operation = Some(Operation::PutObject);
        self.admit(exchange, &caller, Operation::PutObject).await?;
        drop(buffered);

        // The policy's conditions on this form, then what this server lets the caller do.
        let key = key(&form, &form_head)?;
        exchange.record.key = Some(key.clone());
        verified.policy().check(&form, &key, &bucket, now)?;
        let success = self.success(&form)?;
        let fields = object_headers(&form)?;
        let path = format!("/{bucket}/{key}");
        let request =
            Request::parse(&Method::PUT, Addressing::Path, &path, Query::default(), &HeaderMap::new())?;
        let mut forwarded = ForwardedHeaders::of(Operation::PutObject, &fields)?;
        forwarded.keep_checksums(Operation::PutObject, &self.checksums_of_store)?;
        let permit = self.access.policy().authorise(&caller, request)?;
        let permit = permit.object_upload()?;

        // The bounds of the policy, and the server's own.
        storage_class::check(&self.storage_classes, &forwarded)?;
        verified.policy().check_length(file_bytes)?;
        sizes::check_object(&self.body_bounds, &key, file_bytes)?;

        let answer = self.store_file(exchange, permit, forwarded, &fields, file).await?;
        if !answer.is_success() {
            return Ok(answer);
        }
        let endpoint = exchange.endpoint();
        let location = format!("{endpoint}{}/{}", self.site.bucket_path(&host), uri::encode_path(&key));
        form_answer(&answer, &success, &location, &bucket, &key)
    }

    /// Streams the file to the store.
    async fn store_file(
        &self,
        exchange: &Exchange,
        permit: UploadPermit<'_>,
        mut forwarded: ForwardedHeaders,
        fields: &HeaderMap,
        file: FilePart<RequestBody>,
    ) -> Result<Answer> {
        let expected = self.expected_digests(&Payload::Unsigned, fields)?;
        let plan = Plan::new(Framing::Plain, file.bytes(), expected);
        let plan = self.guard(plan, permit, &forwarded, ClientForm::Framed);
        let payload_hash = rewrite(&mut forwarded, &plan, &Payload::Unsigned)?;
        let body = ClientBody::FormFile(Box::new(file));
        self.stream(exchange, permit, forwarded, Planned { plan, payload_hash, body }).await
    }

    /// The bucket of a form: there is one, and the path names no object.
    fn form_bucket(&self, exchange: &Exchange, host: &str) -> Result<String> {
        let path = uri::decode_path(exchange.path())?;
        let named = path.trim_matches('/');
        let bucket = match (self.site.host_bucket(host), named) {
            (Some(bucket), "") => bucket,
            (Some(_), _) | (None, "") => {
                return Err(Error::new(
                    Code::MethodNotAllowed,
                    "The specified method is not allowed against this resource: a form is posted to the \
                     bucket's own URL.",
                ));
            }
            (None, named) => named,
        };
        self.site.check_bucket(bucket, host)?;
        Ok(bucket.to_owned())
    }

    fn success(&self, form: &PostForm<'_>) -> Result<Success> {
        let redirect = form.field("success_action_redirect")?.or(form.field("redirect")?);
        if let Some(target) = redirect.filter(|target| !target.is_empty()) {
            let target: Option<Uri> = target.parse().ok();
            let host = target.as_ref().and_then(|target| {
                let is_web = matches!(target.scheme_str(), Some("http" | "https"));
                target.authority().filter(|authority| is_web && !authority.as_str().contains('@'))
            });
            return match (&target, host) {
                (Some(target), Some(authority))
                    if self.redirect_hosts.iter().any(|own| own.eq_ignore_ascii_case(authority.as_str())) =>
                {
                    Ok(Success::Redirect(target.to_string()))
                }
                _ => Err(Error::because(
                    Code::AccessDenied,
                    Reason::RedirectDenied,
                    "success_action_redirect must lead to one of the hosts in \
                     endpoints.redirect_hosts.",
                )),
            };
        }
        Ok(Success::Status(match form.field("success_action_status")? {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            // Whatever else it says: S3 takes it as nothing.
            _ => StatusCode::NO_CONTENT,
        }))
    }
}

/// The key, its variable filled in with the last part of the client's file name.
fn key(form: &PostForm<'_>, head: &FormHead) -> Result<String> {
    let key = form.field("key")?.filter(|key| !key.is_empty()).ok_or_else(|| {
        Error::new(
            Code::UserKeyMustBeSpecified,
            "The bucket POST must contain the specified field name. If it is specified, please check the \
             order of the fields: the key stands before the file.",
        )
    })?;
    if !key.contains(FILENAME) {
        return Ok(key.to_owned());
    }
    let segments = || head.filename.split(['/', '\\']);
    if segments().any(|segment| matches!(segment, "." | "..")) {
        return Err(Error::because(
            Code::InvalidArgument,
            Reason::KeyNotAllowed,
            "the file name holds the segment \".\" or \"..\"; send a plain file name.",
        ));
    }
    Ok(key.replace(FILENAME, segments().next_back().unwrap_or_default()))
}

/// The fields that are headers of the object; judged like those of a PUT.
fn object_headers(form: &PostForm<'_>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in form.fields {
        let name = match name.as_str() {
            "acl" => "x-amz-acl",
            "tagging" => "x-amz-tagging",
            // What signs the form is no instruction to the store.
            "x-amz-algorithm" | "x-amz-credential" | "x-amz-signature" => continue,
            name if name.starts_with("x-amz-") || OBJECT_FIELDS.contains(&name) => name,
            _ => continue,
        };
        let invalid = || Error::new(Code::InvalidArgument, format!("The form field {name:?} is no header."));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        if headers.insert(header, value).is_some() {
            return Err(invalid());
        }
    }
    Ok(headers)
}

fn form_answer(
    stored: &Answer,
    success: &Success,
    location: &str,
    bucket: &str,
    key: &str,
) -> Result<Answer> {
    let etag = stored.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    let (status, document, location) = match success {
        Success::Status(StatusCode::CREATED) => {
            (StatusCode::CREATED, xml::post_response(location, bucket, key, etag), location.to_owned())
        }
        Success::Status(status) => (*status, String::new(), location.to_owned()),
        Success::Redirect(target) => {
            let told = [("bucket", bucket), ("key", key), ("etag", etag)]
                .map(|(name, value)| format!("{name}={}", uri::encode_component(value)))
                .join("&");
            let joint = if target.contains('?') { '&' } else { '?' };
            (StatusCode::SEE_OTHER, String::new(), format!("{target}{joint}{told}"))
        }
    };
    let location = HeaderValue::from_str(&location).map_err(Error::internal)?;
    let answer = Answer::whole(status, "application/xml", document).header(header::LOCATION, location);
    Ok(answer.headers_of(answer_headers::of_form(stored.headers())))
}
