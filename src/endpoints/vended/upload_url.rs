//! `POST /get-file-upload-url`: a form for one new file of a job, for miners.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, VendedEndpoints, VerifiedRequest, links::FormKey};
use crate::{
    endpoint::Endpoint,
    endpoints::json::Refusal,
    error::Error,
    exchange::{Exchange, RequestBody},
    policy::Permitted,
    s3::{Addressing, ForwardedHeaders, Request, uri::Query},
    store::StoreBody,
};

/// What a job id looks like.
const JOB_ID_SHAPE: &str = "[A-Za-z0-9_-]{1,64}";

/// What a file name looks like.
const FILENAME_SHAPE: &str = "data_YYYYMMDD_HHMMSS_ROWS_HEX.parquet, with 16 digits of HEX";

const JOB_ID_CHARS_MAX: usize = 64;

/// Digits of a number of rows: as many as 64 bits have.
const ROWS_DIGITS_MAX: usize = 20;

/// What a miner asks with, in a request that is signed in its `X-Tao-*` headers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::endpoints) struct UploadUrlRequest {
    /// The job.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    job_id: String,
    /// The name of the file, with the time at which it was made, its rows, and 16 random digits.
    #[schema(pattern = r"^data_\d{8}_\d{6}_\d{1,20}_[0-9A-Fa-f]{16}\.parquet$")]
    filename: String,
}

/// A form for one file.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct UploadUrl {
    /// The key at which the file will be.
    s3_key: String,
    /// Where the form is posted.
    url: String,
    /// The fields of the form; the file follows them.
    fields: BTreeMap<String, String>,
    expires_in_seconds: u64,
    /// `POST`.
    method: &'static str,
}

impl VendedEndpoints {
    pub(in crate::endpoints) async fn upload_url(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Result<UploadUrl, Refusal> {
        let (request, verified, _buffered): (UploadUrlRequest, _, _) =
            self.verify_tao(Endpoint::UploadUrl, exchange, body, BODY_BYTES_MAX).await?;
        let UploadUrlRequest { job_id, filename } = request;
        if !is_job_id(&job_id) {
            return Err(Refusal::bad_request(format!("Invalid job_id: expected {JOB_ID_SHAPE}")));
        }
        if !is_filename(&filename) {
            return Err(Refusal::bad_request(format!("Invalid filename: expected {FILENAME_SHAPE}")));
        }
        let policy = self.access.policy();
        let owner = &verified.caller.owner;
        let folder = policy.templates().iter().find_map(|template| template.job_folder(owner, &job_id));
        let Some(folder) = folder else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "This server has no folders of jobs; see /structure-info",
            ));
        };
        let s3_key = format!("{folder}{filename}");
        let is_there = self.check_new_file(&verified, &s3_key, exchange).await?;
        if is_there {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                format!("409: {s3_key} is already there; nothing is to be done"),
            ));
        }
        let links = self.links(exchange, &verified, verified.expires_at)?;
        let bounds = (self.body_bounds.object_bytes_min, self.body_bounds.object_bytes_max);
        let (url, fields) = links.form(FormKey::Exactly(&s3_key), bounds)?;
        Ok(UploadUrl { s3_key, url, fields, expires_in_seconds: links.seconds(), method: "POST" })
    }

    /// Whether there is a file of that key, where the caller may write it. Who may not read it is told of
    /// none (P36).
    async fn check_new_file(
        &self,
        verified: &VerifiedRequest,
        key: &str,
        exchange: &Exchange,
    ) -> Result<bool, Refusal> {
        let policy = self.access.policy();
        let path = format!("/{}/{key}", self.site.bucket().name);
        let request = |method: &Method| {
            Request::parse(method, Addressing::Path, &path, Query::default(), &HeaderMap::new())
        };
        policy.authorise(&verified.caller, request(&Method::PUT)?)?.object_upload()?;
        let Ok(permit) = policy.authorise(&verified.caller, request(&Method::HEAD)?) else {
            return Ok(false);
        };
        let Permitted::Forward(head) = permit.permitted() else {
            return Err(Error::internal("a HEAD is served in another way").into());
        };
        let outbound = head.outbound(ForwardedHeaders::default());
        let response = self.store.send(outbound, StoreBody::empty(), exchange.on_behalf()).await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(Error::store_unavailable(format!("the store answered {status} to a HEAD")).into()),
        }
    }
}

fn is_job_id(text: &str) -> bool {
    (1..=JOB_ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_filename(text: &str) -> bool {
    let parts = text.strip_prefix("data_").and_then(|rest| rest.strip_suffix(".parquet"));
    let Some([day, time, rows, id]) =
        parts.and_then(|parts| <[&str; 4]>::try_from(parts.split('_').collect::<Vec<_>>()).ok())
    else {
        return false;
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (day.len(), time.len(), id.len()) == (8, 6, 16)
        && (1..=ROWS_DIGITS_MAX).contains(&rows.len())
        && [day, time, rows].into_iter().all(are_digits)
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_files_and_jobs_have_their_shapes() {
        for name in [
            "data_20251121_093000_1_0123456789abcdef.parquet",
            "data_20251121_093000_18446744073709551615_0123456789ABCDEF.parquet",
        ] {
            assert!(is_filename(name), "{name}");
        }
        for name in [
            "",
            "data_.parquet",
            "data_20251121_093000_1_0123456789abcde.parquet",
            "data_20251121_093000_1_0123456789abcdefa.parquet",
            "data_20251121_093000_1_0123456789abcdeg.parquet",
            "data_20251121_093000__0123456789abcdef.parquet",
            "data_20251121_093000_-1_0123456789abcdef.parquet",
            "data_20251121_093000_1_0123456789abcdef.parquet.gz",
            "data_20251121_093000_1_0123456789abcdef",
            "data_2025112_093000_1_0123456789abcdef.parquet",
            "data_20251121_093000_1_2_0123456789abcdef.parquet",
            "../data_20251121_093000_1_0123456789abcdef.parquet",
            "a/data_20251121_093000_1_0123456789abcdef.parquet",
            "data_20251121_093000_1_0123456789abcdef.parquet/",
            "data_20251121_093000_1_0123456789abcdef.parquet\n",
            "data_\u{661}0251121_093000_1_0123456789abcdef.parquet",
        ] {
            assert!(!is_filename(name), "{name}");
        }
        for id in ["a", "crawler-7_h4", &"z".repeat(64)] {
            assert!(is_job_id(id), "{id}");
        }
        for id in ["", "a/b", "..", "a b", "a=b", "\u{e9}", &"z".repeat(65)] {
            assert!(!is_job_id(id), "{id}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_folder(name in "(data_)?[\\PC]{0,80}(\\.parquet)?", job_id in "\\PC{0,70}") {
            if is_filename(&name) && is_job_id(&job_id) {
                prop_assert!(![job_id, name.clone()].concat().contains(['/', '\\', '%', '=']));
                prop_assert!(name.is_ascii() && !name.contains(".."));
            }
        }
    }
}
