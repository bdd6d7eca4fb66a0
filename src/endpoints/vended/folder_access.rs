//! `POST /get-folder-access`: a miner's form and list for its own folder.

use std::collections::BTreeMap;

use http::{StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Signature, account, answered, bad,
    links::{Links, unsigned},
};
use crate::{
    auth::bittensor::vending::VendingRequest,
    endpoints::session::Refusal,
    exchange::AccessRecord,
    proxy::{Answer, Arrival, Gate},
};

/// A request of a few hundred bytes, and room for more.
pub(in crate::endpoints) const BODY_BYTES_MAX: usize = 4096;

/// What a miner asks with.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct FolderAccessRequest {
    /// The owner of the hotkey; it must be the one that the chain names.
    coldkey: String,
    /// The miner's hotkey, SS58.
    hotkey: String,
    /// Unix seconds at which the string was signed.
    timestamp: u64,
    /// sr25519 by the hotkey, hex with or without `0x`, over `s3:access:{coldkey}:{source}:{timestamp}` with a source,
    /// else over `s3:data:access:{coldkey}:{hotkey}:{timestamp}`.
    signature: String,
    /// One of the configured sources, such as `x`.
    source: Option<String>,
    /// Unix seconds at which access is to end; 24 hours by default.
    expiry: Option<u64>,
}

/// What a miner gets.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct FolderAccess {
    /// The folder, with its slash.
    folder: String,
    /// Where the form is posted.
    url: String,
    /// The fields of the form; `key` may be set to any key in the folder.
    fields: BTreeMap<String, String>,
    /// When all of it ends.
    expiry: String,
    /// A presigned list of the folder; `continuation-token`, `start-after`, `delimiter`, `max-keys` and a longer
    /// `prefix` may be added at its end.
    list_url: String,
    /// How folders are laid out.
    structure_info: StructureInfo,
}

/// How folders are laid out.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct StructureInfo {
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

impl Gate {
    pub(in crate::endpoints) fn structure_info(&self) -> StructureInfo {
        let templates: Vec<String> =
            self.policy().templates().iter().map(|template| template.as_str().to_owned()).collect();
        StructureInfo {
            description: format!("Each miner owns the folders {}", templates.join(" and ")),
            folder_structure: templates,
            roots: self.policy().roots().to_vec(),
            object_bytes_min: self.limits().object_bytes_min,
            object_bytes_max: self.limits().object_bytes_max,
        }
    }

    pub(in crate::endpoints) async fn get_folder_access(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Answer {
        let result = self.folder_access(head, arrival, record).await;
        answered(result, record)
    }

    async fn folder_access(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Result<FolderAccess, Refusal> {
        let request: FolderAccessRequest = self.asked(arrival, record, BODY_BYTES_MAX).await?;
        let coldkey = account("coldkey", &request.coldkey)?;
        let source = request.source.as_deref().filter(|source| !source.is_empty());
        let ask = match source {
            Some(source) if VendingRequest::is_source(source) => VendingRequest::Source { coldkey, source },
            Some(_) => return Err(bad("Invalid source")),
            None => VendingRequest::Folder { coldkey, hotkey: account("hotkey", &request.hotkey)? },
        };
        let signed = Signature {
            hotkey: &request.hotkey,
            timestamp: request.timestamp,
            signature: &request.signature,
            expiry: request.expiry,
        };
        let asked = self.seed_caller(&ask, &signed, record)?;
        // Whose the folder is says the chain, never the request.
        if asked.caller.owner.coldkey() != request.coldkey {
            return Err((
                StatusCode::FORBIDDEN,
                "The coldkey is not the owner of this hotkey on the chain".to_owned(),
            ));
        }
        let templates = self.policy().templates().iter();
        let fitting = templates
            .map(|template| template.owned_folders(&asked.caller.owner, source))
            .find_map(|folders| <[String; 1]>::try_from(folders).ok());
        let Some([folder]) = fitting else {
            let what = if source.is_some() { "Invalid source" } else { "A source is required" };
            return Err(bad(format!("{what}; see /structure-info")));
        };
        let links = Links::new(self, self.place(head, record), &asked, asked.expires_at).map_err(unsigned)?;
        let limits = self.limits();
        let (url, fields) =
            links.form(&folder, limits.object_bytes_min, limits.object_bytes_max).map_err(unsigned)?;
        Ok(FolderAccess {
            list_url: links.list(&folder, None).map_err(unsigned)?,
            folder,
            url,
            fields,
            expiry: asked.expires_at.to_string(),
            structure_info: self.structure_info(),
        })
    }
}
