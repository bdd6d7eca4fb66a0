//! `POST /get-file-presigned-urls`: downloads of a miner's files, for validators.

use std::collections::BTreeMap;

use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ValidatorRequest, VendedEndpoints, account, registered_miner};
use crate::{
    auth::bittensor::{tao, vending::VendingRequest},
    chain::Owner,
    endpoint::Endpoint,
    endpoints::{json::Refusal, openapi::patterns::Ss58},
    exchange::{Exchange, RequestBody},
    policy::{Caller, Standing},
    s3::{Addressing, Request, uri::Query},
};

/// Keys of one request.
const FILE_KEYS_MAX: usize = 500;

/// 500 keys of 1024 bytes, with what frames them and the rest of the request. Of keys that a client escapes,
/// fewer fit.
const BODY_BYTES_MAX: usize = 640 * 1024;

/// Longest life of a download, in hours.
const EXPIRY_HOURS_MAX: u64 = 24;

/// What a validator asks with for downloads.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct FilesRequest {
    #[serde(flatten)]
    validator: ValidatorRequest,
    /// The miner's hotkey, SS58.
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    /// At most 500 keys in the miner's folders.
    #[schema(max_items = 500)]
    file_keys: Vec<String>,
    /// How long the URLs last, 1 to 24.
    #[serde(default = "one")]
    #[schema(default = 1, minimum = 1, maximum = 24)]
    expiry_hours: u64,
}

/// What a validator asks with for downloads, in a request that is signed in its `X-Tao-*` headers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::endpoints) struct TaoFilesRequest {
    /// The miner's hotkey, SS58.
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    /// At most 500 keys in the miner's folders.
    #[schema(max_items = 500)]
    file_keys: Vec<String>,
    /// How long the URLs last, 1 to 24.
    #[serde(default = "one")]
    #[schema(default = 1, minimum = 1, maximum = 24)]
    expiry_hours: u64,
}

impl TaoFilesRequest {
    /// Checks the bounds of both numbers.
    fn check(&self) -> Result<(), Refusal> {
        if self.file_keys.len() > FILE_KEYS_MAX {
            return Err(Refusal::bad_request(format!("At most {FILE_KEYS_MAX} file_keys in one request")));
        }
        if !(1..=EXPIRY_HOURS_MAX).contains(&self.expiry_hours) {
            return Err(Refusal::bad_request(format!("expiry_hours must be 1 to {EXPIRY_HOURS_MAX}")));
        }
        Ok(())
    }
}

fn one() -> u64 {
    1
}

/// Downloads.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct FileUrls {
    file_urls: BTreeMap<String, FileUrl>,
    validator_hotkey: String,
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    total_requested_files: usize,
    valid_files_count: usize,
    invalid_files_count: usize,
    successful_urls: usize,
    /// How many could not be signed.
    failed_files: usize,
    /// Keys that could not be signed; ask again.
    failed_files_details: Vec<String>,
    /// Keys that are not in the miner's folders, or are none.
    invalid_files: Vec<String>,
    bucket: String,
    expiry_hours: u64,
    expiry_time: String,
    /// What was signed.
    commitment_used: String,
    usage_info: UsageInfo,
}

/// How an answer is used.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct UsageInfo {
    pub(super) description: &'static str,
}

/// One download.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct FileUrl {
    presigned_url: String,
    file_key: String,
    expires_in_seconds: u64,
    file_name: String,
}

impl VendedEndpoints {
    pub(in crate::endpoints) async fn file_urls(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Result<FileUrls, Refusal> {
        let (request, miner, verified, _buffered) = match tao::is_claimed(&exchange.head.headers) {
            true => {
                let (request, verified, buffered): (TaoFilesRequest, _, _) =
                    self.verify_tao(Endpoint::FileUrls, exchange, body, BODY_BYTES_MAX).await?;
                request.check()?;
                let miner = account("miner_hotkey", &request.miner_hotkey)?;
                (request, miner, verified.of_validator()?, buffered)
            }
            false => {
                let (request, buffered): (FilesRequest, _) =
                    self.read(exchange, body, BODY_BYTES_MAX).await?;
                let FilesRequest { validator, miner_hotkey, file_keys, expiry_hours } = request;
                let request = TaoFilesRequest { miner_hotkey, file_keys, expiry_hours };
                request.check()?;
                let miner = account("miner_hotkey", &request.miner_hotkey)?;
                let hotkey = account("hotkey", &validator.hotkey)?;
                let ask = VendingRequest::Files { miner, hotkey };
                let verified = self.verify_validator(&ask, &validator.signed_fields(), exchange).await?;
                (request, miner, verified, buffered)
            }
        };
        let owner = registered_miner(&verified, miner)?;
        let expires_at = exchange.now.plus_seconds(request.expiry_hours.saturating_mul(3600));
        let links = self.links(exchange, &verified, expires_at)?;
        let (mut file_urls, mut invalid_files, mut failed_files) = (BTreeMap::new(), Vec::new(), Vec::new());
        let total_requested_files = request.file_keys.len();
        for key in request.file_keys {
            if !self.is_file_of(&verified.caller, &owner, &key) {
                invalid_files.push(key);
                continue;
            }
            let Ok(presigned_url) = links.file(&key) else {
                failed_files.push(key);
                continue;
            };
            let url = FileUrl {
                presigned_url,
                file_key: key.clone(),
                expires_in_seconds: links.seconds(),
                file_name: key.rsplit('/').next().unwrap_or_default().to_owned(),
            };
            file_urls.insert(key, url);
        }
        Ok(FileUrls {
            validator_hotkey: verified.caller.owner.hotkey().to_owned(),
            miner_hotkey: request.miner_hotkey,
            total_requested_files,
            valid_files_count: file_urls.len() + failed_files.len(),
            invalid_files_count: invalid_files.len(),
            successful_urls: file_urls.len(),
            file_urls,
            failed_files: failed_files.len(),
            failed_files_details: failed_files,
            invalid_files,
            bucket: self.site.bucket().name.clone(),
            expiry_hours: request.expiry_hours,
            expiry_time: exchange.now.plus_seconds(links.seconds()).to_string(),
            commitment_used: verified.string,
            usage_info: UsageInfo { description: "GET each URL; ranges are served" },
        })
    }

    /// Whether a key is in the miner's folders and the caller may read it; asked again when the URL is used.
    fn is_file_of(&self, caller: &Caller, owner: &Owner, key: &str) -> bool {
        let policy = self.access.policy();
        let owned = policy
            .templates()
            .iter()
            .any(|template| template.owns(owner, key) || template.standing(owner, key) == Standing::Inside);
        let path = format!("/{}/{key}", self.site.bucket().name);
        owned
            && Request::parse(&Method::GET, Addressing::Path, &path, Query::default(), &HeaderMap::new())
                .and_then(|request| policy.authorise(caller, request).map(|_| ()))
                .is_ok()
    }
}
