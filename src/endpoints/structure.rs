//! How folders are laid out, and which strings are signed: what a client needs to know before it asks.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    auth::bittensor::vending::{FUTURE_SECONDS_MAX, PAST_SECONDS_MAX, VendingRequest},
    config::{BodyBounds, FileName},
    policy::{Policy, Template, Values},
};

/// What a variable of the folders may hold.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum VariableInfo {
    /// One of these.
    Values(Vec<String>),
    /// What this regular expression matches as a whole.
    Pattern(String),
}

/// Files that are small by their nature.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SmallFilesInfo {
    /// Their names; `NAME/*` is every file in a folder of that name.
    names: Vec<String>,
    /// Least size of such an object.
    object_bytes_min: u64,
}

/// How folders are laid out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StructureInfo {
    /// The template of the folders; with several of them the one of jobs, or the first.
    folder_structure: String,
    /// All templates.
    folder_structures: Vec<String>,
    /// What is before every miner's folder.
    roots: Vec<String>,
    /// A line for people.
    description: String,
    /// What each variable of the templates may hold, beside `hotkey` and `coldkey`.
    variables: BTreeMap<String, VariableInfo>,
    /// Least size of an object.
    object_bytes_min: u64,
    /// Largest size of an object.
    object_bytes_max: u64,
    /// Files with a least size of their own, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    small_files: Option<SmallFilesInfo>,
}

impl StructureInfo {
    pub(super) fn new(policy: &Policy, bounds: &BodyBounds) -> Self {
        let templates: Vec<String> =
            policy.templates().iter().map(|template| template.as_str().to_owned()).collect();
        Self {
            description: format!("Each miner owns the folders {}", templates.join(" and ")),
            folder_structure: folder_structure(policy),
            folder_structures: templates,
            roots: policy.roots().to_vec(),
            variables: variables(policy),
            small_files: small_files(bounds),
            object_bytes_min: bounds.object_bytes_min,
            object_bytes_max: bounds.object_bytes_max,
        }
    }
}

fn variables(policy: &Policy) -> BTreeMap<String, VariableInfo> {
    let all = policy.templates().iter().flat_map(Template::variables);
    let told = all.map(|(name, values)| {
        let info = match values {
            Values::List(values) => VariableInfo::Values(values.clone()),
            Values::Pattern(_) => VariableInfo::Pattern(values.expression().unwrap_or_default().to_owned()),
        };
        (name.to_owned(), info)
    });
    told.collect()
}

fn small_files(bounds: &BodyBounds) -> Option<SmallFilesInfo> {
    let names: Vec<String> = bounds.small_files.names.iter().map(FileName::text).collect();
    let object_bytes_min = bounds.small_files.object_bytes_min;
    (!names.is_empty()).then_some(SmallFilesInfo { names, object_bytes_min })
}

/// The one template of the folders that a client is told which knows of one: that of jobs, or the first.
pub(super) fn folder_structure(policy: &Policy) -> String {
    let templates = policy.templates();
    let of_jobs = templates.iter().find(|template| template.before_hotkey().is_some());
    of_jobs.or_else(|| templates.first()).map(|template| template.as_str().to_owned()).unwrap_or_default()
}

/// The strings that are signed, by endpoint.
pub(super) fn commitment_formats() -> Value {
    let formats: serde_json::Map<String, Value> = VendingRequest::FORMATS
        .iter()
        .map(|(endpoint, format)| ((*endpoint).to_owned(), json!(format)))
        .collect();
    json!({
        "formats": formats,
        "miner_format": VendingRequest::format_of("/get-folder-access"),
        "validator_format": VendingRequest::format_of("/get-validator-access"),
        "miner_specific_format": VendingRequest::format_of("/get-miner-specific-access"),
        "folder_presigned_format": VendingRequest::format_of("/get-folder-presigned-urls"),
        "file_presigned_format": VendingRequest::format_of("/get-file-presigned-urls"),
        "x_tao_format": "{sha256_hex_of_body}.{nonce}.{timestamp_ms}",
        "signature": "sr25519 by the hotkey over the UTF-8 string, hex, with or without 0x",
        "window_seconds": { "past": PAST_SECONDS_MAX, "future": FUTURE_SECONDS_MAX },
    })
}
