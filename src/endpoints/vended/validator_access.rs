//! What validators get: lists of everything, of each source, of each miner, and downloads. Each URL is judged again when
//! it is used, so a validator that loses its permit loses its URLs.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, Method, StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use tokio::sync::SemaphorePermit;
use utoipa::ToSchema;

use super::{
    Asked, Signature, account, answered, bad,
    folder_access::{BODY_BYTES_MAX, StructureInfo},
    links::{Links, unsigned},
};
use crate::{
    auth::bittensor::vending::VendingRequest,
    chain::{AccountId, Owner},
    endpoints::{
        discovery::{Depth, Folder},
        session::Refusal,
    },
    error::{Code, Error},
    exchange::AccessRecord,
    policy::{Caller, Standing, Template},
    proxy::{Answer, Arrival, Gate},
    s3::{Addressing, Request, uri::Query},
};

/// Keys of one request.
const FILE_KEYS_MAX: usize = 500;

/// 500 keys of 1024 bytes, escaped.
const FILES_BODY_BYTES_MAX: usize = 2 << 20;

/// Folders signed before others have their turn.
const FOLDERS_PER_TURN: usize = 64;

/// A presigned list without a prefix cannot be paged.
const NO_ROOT: &str = "There is no list of everything here: a template of policy.folders begins with a variable. \
                       The operator can put a fixed folder before it.";

/// Longest life of a download, in hours.
const EXPIRY_HOURS_MAX: u64 = 24;

/// What a validator asks with.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct ValidatorRequest {
    /// The validator's hotkey, SS58; `validator_hotkey` is taken as well.
    #[serde(alias = "validator_hotkey")]
    hotkey: String,
    /// Unix seconds at which the string was signed.
    timestamp: u64,
    /// sr25519 by the hotkey, hex with or without `0x`.
    signature: String,
    /// Unix seconds at which access is to end; 24 hours by default.
    expiry: Option<u64>,
}

impl ValidatorRequest {
    fn signature(&self) -> Signature<'_> {
        Signature {
            hotkey: &self.hotkey,
            timestamp: self.timestamp,
            signature: &self.signature,
            expiry: self.expiry,
        }
    }
}

/// What a validator asks with about one miner.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct MinerRequest {
    #[serde(flatten)]
    validator: ValidatorRequest,
    /// The miner's hotkey, SS58.
    miner_hotkey: String,
    /// Which of the miner's folders, where its layout has sources.
    source: Option<String>,
}

/// What a validator asks with for downloads.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct FilesRequest {
    #[serde(flatten)]
    validator: ValidatorRequest,
    /// The miner's hotkey, SS58.
    miner_hotkey: String,
    /// At most 500 keys in the miner's folders.
    #[schema(max_items = 500)]
    file_keys: Vec<String>,
    /// How long the URLs last, 1 to 24.
    #[serde(default = "one")]
    #[schema(default = 1, minimum = 1, maximum = 24)]
    expiry_hours: u64,
}

fn one() -> u64 {
    1
}

/// Lists of everything.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct ValidatorAccess {
    bucket: String,
    region: String,
    validator_hotkey: String,
    /// When the URLs end.
    expiry: String,
    expiry_seconds: u64,
    urls: ValidatorUrls,
    structure_info: StructureInfo,
}

/// Presigned lists by scope.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct ValidatorUrls {
    global: GlobalUrls,
    /// By source.
    sources: BTreeMap<String, SourceUrls>,
    /// By coldkey or hotkey, as the layout has it, then by source; `all` where the layout has none, and the
    /// layout itself where several of them have the same sources.
    miners: BTreeMap<String, BTreeMap<String, MinerUrls>>,
}

/// Everything.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct GlobalUrls {
    /// All of the first root, which mostly is the only one.
    list_all_data: String,
    /// By root, where there are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    list_all_roots: BTreeMap<String, String>,
}

/// One source.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct SourceUrls {
    list_miners: String,
    prefix: String,
}

/// One folder of a miner.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct MinerUrls {
    list_files: String,
    prefix: String,
    /// The registered hotkeys whose folder it is.
    hotkeys: Vec<String>,
}

/// The list of one miner.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct MinerAccess {
    bucket: String,
    region: String,
    miner_hotkey: String,
    miner_url: String,
    prefix: String,
    /// When the URL ends.
    expiry: String,
}

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

/// Downloads.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct FileUrls {
    file_urls: BTreeMap<String, FileUrl>,
    valid_files_count: usize,
    invalid_files_count: usize,
    /// Keys that could not be signed; ask again.
    failed_files: Vec<String>,
    /// Keys that are not in the miner's folders, or are none.
    invalid_files: Vec<String>,
    bucket: String,
    expiry_hours: u64,
    expiry_time: String,
    /// The string that was signed.
    commitment_used: String,
}

/// One download.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct FileUrl {
    presigned_url: String,
    file_key: String,
    expires_in_seconds: u64,
    file_name: String,
}

impl Gate {
    pub(in crate::endpoints) async fn get_validator_access(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Answer {
        let result = self.validator_access(head, arrival, record).await;
        answered(result, record)
    }

    pub(in crate::endpoints) async fn get_miner_access(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Answer {
        let result = self.miner_access(head, arrival, record).await;
        answered(result, record)
    }

    pub(in crate::endpoints) async fn get_folder_urls(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Answer {
        // The turn lasts until the answer is written.
        let (result, _turn) = match self.folder_urls(head, arrival, record).await {
            Ok((urls, turn)) => (Ok(urls), Some(turn)),
            Err(refusal) => (Err(refusal), None),
        };
        answered(result, record)
    }

    pub(in crate::endpoints) async fn get_file_urls(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Answer {
        let result = self.file_urls(head, arrival, record).await;
        answered(result, record)
    }

    async fn validator_access(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Result<ValidatorAccess, Refusal> {
        let request: ValidatorRequest = self.asked(arrival, record, BODY_BYTES_MAX).await?;
        let asked = self.seed_validator(&VendingRequest::Everything, &request.signature(), record)?;
        let roots = self.policy().roots();
        let Some(first) = roots.first().filter(|_| roots.iter().all(|root| !root.is_empty())) else {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, NO_ROOT.to_owned()));
        };
        let found = self
            .discover(&asked.caller, &asked.snapshot, Depth::Miners, asked.now)
            .await
            .map_err(incomplete)?;
        let links = Links::new(self, self.place(head, record), &asked, asked.expires_at).map_err(unsigned)?;

        let mut sources = BTreeMap::new();
        for (source, prefix) in self.sources() {
            let list_miners = links.list(&prefix, Some("/")).map_err(unsigned)?;
            sources.insert(source, SourceUrls { list_miners, prefix });
        }
        let mut hotkeys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for neuron in asked.snapshot.neurons() {
            let (hotkey, coldkey) = (neuron.owner.hotkey(), neuron.owner.coldkey());
            for name in [hotkey, coldkey] {
                let of = hotkeys.entry(name).or_default();
                if !of.iter().any(|other| other == hotkey) {
                    of.push(hotkey.to_owned());
                }
            }
        }
        hotkeys.values_mut().for_each(|of| of.sort());
        let mut miners: BTreeMap<String, BTreeMap<String, MinerUrls>> = BTreeMap::new();
        for folder in &found.folders {
            let source = self.source_name(folder);
            let urls = MinerUrls {
                list_files: links.list(&folder.prefix, None).map_err(unsigned)?,
                prefix: folder.prefix.clone(),
                hotkeys: hotkeys.get(folder.miner.as_str()).cloned().unwrap_or_default(),
            };
            let of = miners.entry(folder.miner.clone()).or_default();
            // Other variables may have the same values; the prefix is no other folder's.
            let name = if of.contains_key(&source) { folder.prefix.clone() } else { source };
            of.insert(name, urls);
        }
        let list_all_data = links.list(first, None).map_err(unsigned)?;
        let mut list_all_roots = BTreeMap::new();
        if roots.len() > 1 {
            for root in roots {
                list_all_roots.insert(root.clone(), links.list(root, None).map_err(unsigned)?);
            }
        }
        Ok(ValidatorAccess {
            bucket: self.bucket().name.clone(),
            region: self.bucket().region.clone(),
            validator_hotkey: asked.caller.owner.hotkey().to_owned(),
            expiry: asked.expires_at.to_string(),
            expiry_seconds: links.seconds(),
            urls: ValidatorUrls { global: GlobalUrls { list_all_data, list_all_roots }, sources, miners },
            structure_info: self.structure_info(),
        })
    }

    /// What a folder is called among its miner's: its values, or its layout where another template has the same
    /// variables.
    fn source_name(&self, folder: &Folder) -> String {
        let templates = self.policy().templates();
        let own = templates.get(folder.template).map(|own| (own, variables(own)));
        let shared =
            own.filter(|(_, names)| templates.iter().filter(|other| variables(other) == *names).count() > 1);
        match shared {
            Some((template, _)) => layout(template, &folder.values),
            None if folder.values.is_empty() => "all".to_owned(),
            None => folder.values.join("/"),
        }
    }

    /// The sources of the templates, with what begins each.
    fn sources(&self) -> BTreeMap<String, String> {
        let mut sources = BTreeMap::new();
        for template in self.policy().templates() {
            let mut paths = vec![(String::new(), String::new())];
            for level in 0..template.owned_depth() {
                let Some(known) = template.known(level) else { break };
                let mut next = Vec::new();
                for (prefix, _) in &paths {
                    for (text, bound) in &known {
                        let path = format!("{prefix}{text}/");
                        if let crate::policy::Bound::Named(source) = bound {
                            sources.entry(source.clone()).or_insert_with(|| path.clone());
                        }
                        next.push((path, String::new()));
                    }
                }
                paths = next;
            }
        }
        sources
    }

    async fn miner_access(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Result<MinerAccess, Refusal> {
        let request: MinerRequest = self.asked(arrival, record, BODY_BYTES_MAX).await?;
        let miner = account("miner_hotkey", &request.miner_hotkey)?;
        let asked =
            self.seed_validator(&VendingRequest::Miner(miner), &request.validator.signature(), record)?;
        let owner = registered_miner(&asked, miner)?;
        let source = request.source.as_deref().filter(|source| !source.is_empty());
        let folders: Vec<Vec<String>> =
            self.policy().templates().iter().map(|template| template.owned_folders(&owner, source)).collect();
        // A layout that names the miner in one folder says it all; else the first folder there is.
        let one = folders
            .iter()
            .find(|folders| folders.len() == 1)
            .or_else(|| folders.iter().find(|folders| !folders.is_empty()));
        let prefix = one.and_then(|folders| folders.first()).cloned().ok_or_else(|| bad("Invalid source"))?;
        let links = Links::new(self, self.place(head, record), &asked, asked.expires_at).map_err(unsigned)?;
        Ok(MinerAccess {
            bucket: self.bucket().name.clone(),
            region: self.bucket().region.clone(),
            miner_hotkey: request.miner_hotkey,
            miner_url: links.list(&prefix, None).map_err(unsigned)?,
            prefix,
            expiry: asked.expires_at.to_string(),
        })
    }

    async fn folder_urls(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Result<(FolderUrls, SemaphorePermit<'_>), Refusal> {
        let request: ValidatorRequest = self.asked(arrival, record, BODY_BYTES_MAX).await?;
        let hotkey = account("hotkey", &request.hotkey)?;
        let asked = self.seed_validator(&VendingRequest::Folders(hotkey), &request.signature(), record)?;
        let found = self
            .discover(&asked.caller, &asked.snapshot, Depth::Whole, asked.now)
            .await
            .map_err(incomplete)?;
        let within = Duration::from_secs(self.endpoints().discovery_seconds_max);
        let Ok(Ok(turn)) = tokio::time::timeout(within, self.discovery().answers.acquire()).await else {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "Others are being answered with all folders; please retry".to_owned(),
            ));
        };
        let links = Links::new(self, self.place(head, record), &asked, asked.expires_at).map_err(unsigned)?;
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
                presigned_url: links.list(&folder.prefix, None).map_err(unsigned)?,
            });
            miner.total_jobs = miner.job_folders.len();
        }
        for (prefix, miner) in &found.truncated {
            let miner = folder_urls.entry(miner.clone()).or_insert_with(|| MinerFolders::new(prefix.clone()));
            miner.truncated = true;
            miner.rest_urls.insert(prefix.clone(), links.list(prefix, None).map_err(unsigned)?);
        }
        let urls = FolderUrls { total_miners: folder_urls.len(), folder_urls, commitment_used: asked.string };
        Ok((urls, turn))
    }

    async fn file_urls(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Result<FileUrls, Refusal> {
        let request: FilesRequest = self.asked(arrival, record, FILES_BODY_BYTES_MAX).await?;
        if request.file_keys.len() > FILE_KEYS_MAX {
            return Err(bad(format!("At most {FILE_KEYS_MAX} file_keys in one request")));
        }
        if !(1..=EXPIRY_HOURS_MAX).contains(&request.expiry_hours) {
            return Err(bad(format!("expiry_hours must be 1 to {EXPIRY_HOURS_MAX}")));
        }
        let miner = account("miner_hotkey", &request.miner_hotkey)?;
        let hotkey = account("hotkey", &request.validator.hotkey)?;
        let ask = VendingRequest::Files { miner, hotkey };
        let asked = self.seed_validator(&ask, &request.validator.signature(), record)?;
        let owner = registered_miner(&asked, miner)?;
        let expires_at = asked.now.plus_seconds(request.expiry_hours.saturating_mul(3600));
        let links = Links::new(self, self.place(head, record), &asked, expires_at).map_err(unsigned)?;
        let (mut file_urls, mut invalid_files, mut failed_files) = (BTreeMap::new(), Vec::new(), Vec::new());
        for key in request.file_keys {
            if !self.is_file_of(&asked.caller, &owner, &key) {
                invalid_files.push(key);
                continue;
            }
            let Ok(presigned_url) = links.file(&key) else {
                failed_files.push(key);
                continue;
            };
            let file_name = key.rsplit('/').next().unwrap_or_default().to_owned();
            let url = FileUrl {
                presigned_url,
                file_key: key.clone(),
                expires_in_seconds: links.seconds(),
                file_name,
            };
            file_urls.insert(key, url);
        }
        Ok(FileUrls {
            valid_files_count: file_urls.len(),
            invalid_files_count: invalid_files.len(),
            file_urls,
            failed_files,
            invalid_files,
            bucket: self.bucket().name.clone(),
            expiry_hours: request.expiry_hours,
            expiry_time: asked.now.plus_seconds(links.seconds()).to_string(),
            commitment_used: asked.string,
        })
    }

    /// Whether a key is in the miner's folders and the caller may read it; asked again when the URL is used.
    fn is_file_of(&self, caller: &Caller, owner: &Owner, key: &str) -> bool {
        let owned =
            self.policy().templates().iter().any(|template| {
                template.owns(owner, key) || template.standing(owner, key) == Standing::Inside
            });
        let path = format!("/{}/{key}", self.bucket().name);
        owned
            && Request::parse(&Method::GET, Addressing::Path, &path, Query::default(), &HeaderMap::new())
                .and_then(|request| self.policy().authorise(caller, request).map(|_| ()))
                .is_ok()
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

/// A segment as what stands before its variable, the variable, and what stands behind it.
fn parts(segment: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = segment.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn names_miner(variable: &str) -> bool {
    matches!(variable, "hotkey" | "coldkey")
}

/// The variables of the part that is a miner's folder, and by what key it is the miner's.
fn variables(template: &Template) -> (Vec<&str>, Option<&str>) {
    let owned = template.as_str().split('/').take(template.owned_depth());
    let all: Vec<&str> = owned.filter_map(parts).map(|(_, name, _)| name).collect();
    let key = all.iter().rev().copied().find(|name| names_miner(name));
    (all.into_iter().filter(|name| !names_miner(name)).collect(), key)
}

/// The part of a template that is a miner's folder, with the values in it: `b/x/{hotkey}/`.
fn layout(template: &Template, values: &[String]) -> String {
    let mut values = values.iter();
    let owned = template.as_str().split('/').take(template.owned_depth());
    owned
        .map(|segment| match parts(segment).filter(|(_, name, _)| !names_miner(name)) {
            Some((before, _, after)) => {
                format!("{before}{}{after}/", values.next().map_or("", String::as_str))
            }
            None => format!("{segment}/"),
        })
        .collect()
}

fn registered_miner(asked: &Asked, miner: AccountId) -> Result<std::sync::Arc<Owner>, Refusal> {
    match asked.snapshot.neuron(&miner) {
        Some(neuron) => Ok(std::sync::Arc::clone(&neuron.owner)),
        None => Err(bad("miner_hotkey is not registered on the subnet")),
    }
}

/// A list that could not be completed is no list.
fn incomplete(error: Error) -> Refusal {
    match error.code {
        Code::AccessDenied => (StatusCode::FORBIDDEN, error.message.into_owned()),
        _ => {
            tracing::warn!(detail = error.detail.as_deref().unwrap_or_default(), "a discovery failed");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "The list of miners could not be completed: {} Nothing is shown of it.",
                    error.message
                ),
            )
        }
    }
}
