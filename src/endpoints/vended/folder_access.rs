//! `POST /get-folder-access`: a miner's form and list for its own folder.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, SignedFields, VendedEndpoints, account, links::FormKey};
use crate::{
    auth::bittensor::vending::VendingRequest,
    endpoints::{
        json::Refusal,
        openapi::patterns::{HexSignature, Ss58},
        structure::StructureInfo,
    },
    exchange::{Exchange, RequestBody},
};

/// What a miner asks with.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct FolderAccessRequest {
    /// The owner of the hotkey; it must be the one that the chain names.
    #[schema(value_type = Ss58)]
    coldkey: String,
    /// The miner's hotkey, SS58.
    #[schema(value_type = Ss58)]
    hotkey: String,
    /// Unix seconds at which the string was signed.
    timestamp: u64,
    /// sr25519 by the hotkey, hex with or without `0x`, over `s3:access:{coldkey}:{source}:{timestamp}` with
    /// a source, else over `s3:data:access:{coldkey}:{hotkey}:{timestamp}`.
    #[schema(value_type = HexSignature)]
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
    /// The fields of the form; `key` may be set to any key in the folder. As it is, it leads to a folder of
    /// the job `default` where the layout has jobs.
    fields: BTreeMap<String, String>,
    /// When all of it ends.
    expiry: String,
    /// A presigned list of the folder; `continuation-token`, `start-after`, `delimiter`, `max-keys` and a
    /// longer `prefix` may be added at its end.
    list_url: String,
    /// How folders are laid out.
    structure_info: StructureInfo,
}

impl VendedEndpoints {
    pub(in crate::endpoints) async fn folder_access(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Result<FolderAccess, Refusal> {
        let (request, _buffered): (FolderAccessRequest, _) =
            self.read(exchange, body, BODY_BYTES_MAX).await?;
        let coldkey = account("coldkey", &request.coldkey)?;
        let source = request.source.as_deref().filter(|source| !source.is_empty());
        let ask = match source {
            Some(source) if VendingRequest::is_source(source) => VendingRequest::Source { coldkey, source },
            Some(_) => return Err(Refusal::bad_request("Invalid source")),
            None => VendingRequest::Folder { coldkey, hotkey: account("hotkey", &request.hotkey)? },
        };
        let fields = SignedFields {
            hotkey: &request.hotkey,
            timestamp: request.timestamp,
            signature: &request.signature,
            expiry: request.expiry,
        };
        let verified = self.verify(ask.endpoint(), &ask, &fields, exchange).await?;
        // Whose the folder is says the chain, never the request.
        let owner = &verified.caller.owner;
        if owner.coldkey() != request.coldkey {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "The coldkey is not the owner of this hotkey on the chain",
            ));
        }
        let policy = self.access.policy();
        let fitting = policy.templates().iter().find_map(|template| {
            let [folder] = <[String; 1]>::try_from(template.owned_folders(owner, source)).ok()?;
            Some((template, folder))
        });
        let Some((template, folder)) = fitting else {
            let what = if source.is_some() { "Invalid source" } else { "A source is required" };
            return Err(Refusal::bad_request(format!("{what}; see /structure-info")));
        };
        let links = self.links(exchange, &verified, verified.expires_at)?;
        // A client that posts the form as it is gets a folder that is its own, however the layout goes on.
        let example_folder = template.example_below(&folder);
        let bounds = (self.body_bounds.object_bytes_min_of_all(), self.body_bounds.object_bytes_max);
        let (url, fields) =
            links.form(FormKey::In { folder: &folder, example_folder: &example_folder }, bounds)?;
        Ok(FolderAccess {
            list_url: links.list(&folder, None)?,
            folder,
            url,
            fields,
            expiry: verified.expires_at.to_string(),
            structure_info: StructureInfo::new(policy, &self.body_bounds),
        })
    }
}
