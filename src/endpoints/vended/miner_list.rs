//! `POST /get-miner-list`: one page of the list of one miner, for validators. Its clients ask anew for each
//! page, with the continuation token of the one before.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ValidatorRequest, VendedEndpoints, account, folder_of_miner, links::PageToken};
use crate::{
    auth::bittensor::{tao, vending::VendingRequest},
    endpoint::Endpoint,
    endpoints::{json::Refusal, openapi::patterns::Ss58},
    exchange::{Exchange, RequestBody},
};

/// Addresses, a signature and a continuation token.
const BODY_BYTES_MAX: usize = 8192;

/// What a validator asks with, in a request that is signed in its `X-Tao-*` headers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::endpoints) struct MinerListRequest {
    /// The miner's hotkey, SS58.
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    /// `NextContinuationToken` of the page before.
    continuation_token: Option<String>,
}

/// What a validator asks with, in a request that is signed in its body.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::endpoints) struct SignedMinerListRequest {
    #[serde(flatten)]
    validator: ValidatorRequest,
    /// The miner's hotkey, SS58.
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    /// `NextContinuationToken` of the page before.
    continuation_token: Option<String>,
}

/// One page of the list of one miner.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::endpoints) struct MinerList {
    /// A presigned list of the page.
    list_url: String,
    prefix: String,
    #[schema(value_type = Ss58)]
    miner_hotkey: String,
    expires_in_seconds: u64,
}

impl VendedEndpoints {
    pub(in crate::endpoints) async fn miner_list(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Result<MinerList, Refusal> {
        const ENDPOINT: Endpoint = Endpoint::MinerList;
        let (miner_hotkey, token, verified, _buffered) = match tao::is_claimed(&exchange.head.headers) {
            true => {
                let (request, verified, buffered) =
                    self.verify_tao::<MinerListRequest>(ENDPOINT, exchange, body, BODY_BYTES_MAX).await?;
                (request.miner_hotkey, request.continuation_token, verified, buffered)
            }
            false => {
                let (request, buffered): (SignedMinerListRequest, _) =
                    self.read(exchange, body, BODY_BYTES_MAX).await?;
                let ask = VendingRequest::Miner(account("miner_hotkey", &request.miner_hotkey)?);
                let fields = request.validator.signed_fields();
                let verified = self.verify(ENDPOINT, &ask, &fields, exchange).await?;
                (request.miner_hotkey, request.continuation_token, verified, buffered)
            }
        };
        let verified = verified.of_validator()?;
        let miner = account("miner_hotkey", &miner_hotkey)?;
        let token = token.as_deref().filter(|token| !token.is_empty()).map(PageToken::parse).transpose()?;
        let prefix = folder_of_miner(self.access.policy(), &verified, miner, None)
            .ok_or_else(|| Refusal::bad_request("miner_hotkey is not registered on the subnet"))?;
        let links = self.links(exchange, &verified, verified.expires_at)?;
        Ok(MinerList {
            list_url: links.page(&prefix, token)?,
            prefix,
            miner_hotkey,
            expires_in_seconds: links.seconds(),
        })
    }
}
