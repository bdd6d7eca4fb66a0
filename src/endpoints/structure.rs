//! How folders are laid out, and which strings are signed: what a client needs to know before it asks.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    auth::bittensor::vending::{FUTURE_SECONDS_MAX, PAST_SECONDS_MAX, VendingRequest},
    config::BodyBounds,
    policy::Policy,
};

/// How folders are laid out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StructureInfo {
    /// The templates of the folders.
    folder_structure: Vec<String>,
    /// What is before every miner's folder.
    roots: Vec<String>,
    /// A line for people.
    description: String,
    /// Least size of an object.
    object_bytes_min: u64,
    /// Largest size of an object.
    object_bytes_max: u64,
}

impl StructureInfo {
    pub(super) fn new(policy: &Policy, bounds: &BodyBounds) -> Self {
        let templates: Vec<String> =
            policy.templates().iter().map(|template| template.as_str().to_owned()).collect();
        Self {
            description: format!("Each miner owns the folders {}", templates.join(" and ")),
            folder_structure: templates,
            roots: policy.roots().to_vec(),
            object_bytes_min: bounds.object_bytes_min,
            object_bytes_max: bounds.object_bytes_max,
        }
    }
}

/// The strings that are signed, by endpoint.
pub(super) fn commitment_formats() -> Value {
    let formats: serde_json::Map<String, Value> = VendingRequest::FORMATS
        .iter()
        .map(|(endpoint, format)| ((*endpoint).to_owned(), json!(format)))
        .collect();
    json!({
        "formats": formats,
        "signature": "sr25519 by the hotkey over the UTF-8 string, hex, with or without 0x",
        "window_seconds": { "past": PAST_SECONDS_MAX, "future": FUTURE_SECONDS_MAX },
    })
}
