//! `POST /get-miner-specific-access`: the list of one miner, for validators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, ValidatorRequest, VendedEndpoints, account, folder_of_miner};
use crate::{
    auth::bittensor::vending::VendingRequest,
    endpoints::{json::Refusal, openapi::patterns::Ss58},
    exchange::{Exchange, RequestBody},
};

/// What a validator asks with about one miner.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct MinerRequest {
    #[serde(flatten)]
    validator: ValidatorRequest,
    /// The miner's hotkey, SS58.
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    /// Which of the miner's folders, where its layout has sources.
    source: Option<String>,
}

/// The list of one miner.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct MinerAccess {
    bucket: String,
    region: String,
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    miner_url: String,
    prefix: String,
    /// When the URL ends.
    expiry: String,
}

impl VendedEndpoints {
    pub(in crate::endpoints) async fn miner_access(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Result<MinerAccess, Refusal> {
        let (request, _buffered): (MinerRequest, _) = self.read(exchange, body, BODY_BYTES_MAX).await?;
        let miner = account("miner_hotkey", &request.miner_hotkey)?;
        let fields = request.validator.signed_fields();
        let verified = self.verify_validator(&VendingRequest::Miner(miner), &fields, exchange).await?;
        let source = request.source.as_deref().filter(|source| !source.is_empty());
        let prefix = folder_of_miner(self.access.policy(), &verified, miner, source)
            .ok_or_else(|| Refusal::bad_request("Invalid source, or miner_hotkey is not registered"))?;
        let links = self.links(exchange, &verified, verified.expires_at)?;
        Ok(MinerAccess {
            bucket: self.site.bucket().name.clone(),
            region: self.site.bucket().region.clone(),
            miner_hotkey: request.miner_hotkey,
            miner_url: links.list(&prefix, None)?,
            prefix,
            expiry: verified.expires_at.to_string(),
        })
    }
}
