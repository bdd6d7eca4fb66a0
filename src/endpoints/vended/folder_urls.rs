//! `POST /get-folder-presigned-urls`: lists of all job folders, for validators.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use tokio::sync::SemaphorePermit;
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, ValidatorRequest, VendedEndpoints, account, incomplete_list};
use crate::{
    auth::bittensor::vending::VendingRequest,
    endpoints::{discovery::Depth, json::Refusal},
    exchange::{Exchange, RequestBody},
};

/// Folders signed before others have their turn.
const FOLDERS_PER_TURN: usize = 64;

/// Lists of all job folders.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct FolderUrls {
    folder_urls: BTreeMap<String, MinerFolders>,
    total_miners: usize,
    /// The string that was signed.
    commitment_used: String,
}

/// The folders of one miner.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct MinerFolders {
    miner_path: String,
    job_folders: Vec<JobFolder>,
    /// Those that are shown.
    total_jobs: usize,
    /// Whether there are more than are shown; `rest_urls` lists them.
    truncated: bool,
    /// By prefix, where not all folders below it are shown: a list of all that is there, which can be paged.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    rest_urls: BTreeMap<String, String>,
}

/// One job folder.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct JobFolder {
    job_id: String,
    path: String,
    presigned_url: String,
}

impl VendedEndpoints {
    /// The lists, and the turn that lasts until the answer is written.
    pub(in crate::endpoints) async fn folder_urls(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Result<(FolderUrls, SemaphorePermit<'_>), Refusal> {
        let (request, _buffered): (ValidatorRequest, _) = self.read(exchange, body, BODY_BYTES_MAX).await?;
        let hotkey = account("hotkey", &request.hotkey)?;
        let fields = request.signed_fields();
        let verified = self.verify_validator(&VendingRequest::Folders(hotkey), &fields, exchange).await?;
        let found = self
            .discovery
            .folders(&verified.caller, &verified.snapshot, Depth::Whole, exchange.now)
            .await
            .map_err(incomplete_list)?;
        let Some(turn) = self.discovery.turn_to_answer().await else {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Others are being answered with all folders; please retry",
            ));
        };
        let links = self.links(exchange, &verified, verified.expires_at)?;
        let mut folder_urls: BTreeMap<String, MinerFolders> = BTreeMap::new();
        for (index, folder) in found.folders.iter().enumerate() {
            if index % FOLDERS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
            let at = folder.prefix.find(&folder.miner).map(|at| at.saturating_add(folder.miner.len()));
            let above = at.and_then(|at| folder.prefix.get(..at)).unwrap_or(&folder.prefix);
            let miner = folder_urls
                .entry(folder.miner.clone())
                .or_insert_with(|| MinerFolders::new(format!("{above}/")));
            miner.job_folders.push(JobFolder {
                job_id: folder.values.last().cloned().unwrap_or_default(),
                path: folder.prefix.clone(),
                presigned_url: links.list(&folder.prefix, None)?,
            });
            miner.total_jobs = miner.job_folders.len();
        }
        for (prefix, miner) in &found.truncated {
            let miner = folder_urls.entry(miner.clone()).or_insert_with(|| MinerFolders::new(prefix.clone()));
            miner.truncated = true;
            miner.rest_urls.insert(prefix.clone(), links.list(prefix, None)?);
        }
        let urls =
            FolderUrls { total_miners: folder_urls.len(), folder_urls, commitment_used: verified.string };
        Ok((urls, turn))
    }
}

impl MinerFolders {
    fn new(miner_path: String) -> Self {
        Self {
            miner_path,
            job_folders: Vec::new(),
            total_jobs: 0,
            truncated: false,
            rest_urls: BTreeMap::new(),
        }
    }
}
