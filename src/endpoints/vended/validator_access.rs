//! `POST /get-validator-access`: lists of everything, of each source and of each miner. Each URL is judged
//! again when it is used, so a validator that loses its permit loses its URLs.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, ValidatorRequest, VendedEndpoints, incomplete_list};
use crate::{
    auth::bittensor::vending::VendingRequest,
    chain::Snapshot,
    endpoints::{
        discovery::{Depth, Folder},
        json::Refusal,
        structure::StructureInfo,
    },
    exchange::{Exchange, RequestBody},
    policy::{Bound, Policy, Template},
};

/// A presigned list without a prefix cannot be paged.
const NO_ROOT: &str = "There is no list of everything here: a template of policy.folders begins with a \
 variable. \
                       The operator can put a fixed folder before it.";

/// The name among the miners under which clients look for the list of them all; no address is called so.
const LIST_ALL_MINERS: &str = "list_all_miners";

/// Folders signed before others have their turn of the thread.
const FOLDERS_PER_TURN: usize = 64;

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
    /// layout itself where several of them have the same sources. Under `list_all_miners` is a list of the
    /// folders of all hotkeys, where the layout has such folders.
    miners: BTreeMap<String, MinersEntry>,
    /// Miners that have, or may have, more folders than are shown; by prefix, which `rest_urls` lists. Only
    /// where the layout has an open variable above the miner's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    truncated: BTreeMap<String, BTreeSet<String>>,
    /// By prefix: a list of all that is there, which can be paged.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    rest_urls: BTreeMap<String, String>,
}

/// What stands under a name in `miners`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::endpoints) enum MinersEntry {
    /// The folders of a miner.
    Miner(BTreeMap<String, MinerUrls>),
    /// A presigned list.
    List(String),
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

impl VendedEndpoints {
    pub(in crate::endpoints) async fn validator_access(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Result<ValidatorAccess, Refusal> {
        let (request, _buffered): (ValidatorRequest, _) = self.read(exchange, body, BODY_BYTES_MAX).await?;
        let verified =
            self.verify_validator(&VendingRequest::Everything, &request.signed_fields(), exchange).await?;
        let policy = self.access.policy();
        let roots = policy.roots();
        let Some(first) = roots.first().filter(|_| roots.iter().all(|root| !root.is_empty())) else {
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, NO_ROOT));
        };
        let found = self
            .discovery
            .folders(&verified.caller, &verified.snapshot, Depth::Miners, exchange.on_behalf())
            .await
            .map_err(incomplete_list)?;
        let links = self.links(exchange, &verified, verified.expires_at)?;

        let mut sources = BTreeMap::new();
        for (source, prefix) in prefixes_of_sources(policy) {
            let list_miners = links.list(&prefix, Some("/"))?;
            sources.insert(source, SourceUrls { list_miners, prefix });
        }
        let hotkeys = hotkeys_by_account(&verified.snapshot);
        let mut miners: BTreeMap<String, BTreeMap<String, MinerUrls>> = BTreeMap::new();
        for (index, folder) in found.folders.iter().enumerate() {
            if index % FOLDERS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
            let source = source_name(policy, folder);
            let urls = MinerUrls {
                list_files: links.list(&folder.prefix, None)?,
                prefix: folder.prefix.clone(),
                hotkeys: hotkeys.get(folder.miner.as_str()).cloned().unwrap_or_default(),
            };
            let of_miner = miners.entry(folder.miner.clone()).or_default();
            // Other variables may have the same values; the prefix is no other folder's.
            let name = if of_miner.contains_key(&source) { folder.prefix.clone() } else { source };
            of_miner.insert(name, urls);
        }
        let mut miners: BTreeMap<String, MinersEntry> =
            miners.into_iter().map(|(miner, urls)| (miner, MinersEntry::Miner(urls))).collect();
        let before_hotkeys = policy.templates().iter().find_map(Template::before_hotkey);
        if let Some(prefix) = before_hotkeys.filter(|prefix| !prefix.is_empty()) {
            let list = links.list(&prefix, Some("/"))?;
            miners.insert(LIST_ALL_MINERS.to_owned(), MinersEntry::List(list));
        }
        let mut rest_urls = BTreeMap::new();
        for prefix in found.truncated.values().flatten() {
            if !rest_urls.contains_key(prefix) {
                rest_urls.insert(prefix.clone(), links.list(prefix, None)?);
            }
        }
        let list_all_data = links.list(first, None)?;
        let mut list_all_roots = BTreeMap::new();
        if roots.len() > 1 {
            for root in roots {
                list_all_roots.insert(root.clone(), links.list(root, None)?);
            }
        }
        Ok(ValidatorAccess {
            bucket: self.site.bucket().name.clone(),
            region: self.site.bucket().region.clone(),
            validator_hotkey: verified.caller.owner.hotkey().to_owned(),
            expiry: verified.expires_at.to_string(),
            expiry_seconds: links.seconds(),
            urls: ValidatorUrls {
                global: GlobalUrls { list_all_data, list_all_roots },
                sources,
                miners,
                truncated: found.truncated.clone(),
                rest_urls,
            },
            structure_info: StructureInfo::new(policy, &self.body_bounds),
        })
    }
}

/// The registered hotkeys whose folders an account names: those of a coldkey, or the hotkey itself.
fn hotkeys_by_account(snapshot: &Snapshot) -> BTreeMap<&str, Vec<String>> {
    let mut hotkeys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for neuron in snapshot.neurons() {
        let (hotkey, coldkey) = (neuron.owner.hotkey(), neuron.owner.coldkey());
        for name in [hotkey, coldkey] {
            let of_name = hotkeys.entry(name).or_default();
            if !of_name.iter().any(|other| other == hotkey) {
                of_name.push(hotkey.to_owned());
            }
        }
    }
    hotkeys.values_mut().for_each(|of_name| of_name.sort());
    hotkeys
}

/// What a folder is called among its miner's: its values, or its layout where another template has the same
/// variables.
fn source_name(policy: &Policy, folder: &Folder) -> String {
    let templates = policy.templates();
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
fn prefixes_of_sources(policy: &Policy) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for template in policy.templates() {
        let mut paths = vec![String::new()];
        for level in 0..template.owned_depth() {
            let Some(known) = template.known(level) else { break };
            let mut next = Vec::new();
            for prefix in &paths {
                for (text, bound) in &known {
                    let path = format!("{prefix}{text}/");
                    if let Bound::Named(source) = bound {
                        sources.entry(source.clone()).or_insert_with(|| path.clone());
                    }
                    next.push(path);
                }
            }
            paths = next;
        }
    }
    sources
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
