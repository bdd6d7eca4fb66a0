//! One reading of the subnet from one node: the finalized head, its number, the runtime's version, the neurons. \[IO\]
//!
//! The main read is one `state_call`; where the node refuses that call, the storage is read by computed keys, which
//! tells everything but the stake. Nothing is judged here beyond the forms.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    rpc::{Client, Endpoint, RpcFault},
    scale::{self, NEURONS_MAX, ScaleError},
    storage_key,
};

/// Storage keys of one call; an answer of about 250 KB.
const KEYS_AT_ONCE: usize = 1024;

/// How often a call is tried again after "too many".
const THROTTLE_RETRIES_MAX: u32 = 3;

/// A node that wants us away for longer is left for another.
const THROTTLE_WAIT_MAX: Duration = Duration::from_secs(8);

/// A hash of a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHash(pub [u8; 32]);

impl BlockHash {
    /// Reads `0x` and 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text.strip_prefix("0x")?).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One block of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: BlockHash,
}

/// A neuron as a node tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadNeuron {
    /// Public key of the hotkey.
    pub(crate) hotkey: [u8; 32],
    /// Public key of the coldkey.
    pub(crate) coldkey: [u8; 32],
    /// Whether it has a validator permit.
    pub(crate) validator_permit: bool,
    /// Total stake in rao; none where it was read from the storage.
    pub(crate) stake_rao: Option<u64>,
}

/// What a node says of the subnet at one block.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// At which block.
    pub(crate) block: Block,
    /// On which chain.
    pub(crate) genesis: BlockHash,
    /// By which version of the runtime.
    pub(crate) spec_version: u32,
    /// Who says so.
    pub(crate) source: Arc<str>,
    /// By uid.
    pub(crate) neurons: Vec<ReadNeuron>,
}

/// Why a node gave no reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadFault {
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcFault),
    /// An answer of a form that it does not have.
    #[error("the answer to {0} has another form than it should")]
    Form(&'static str),
    /// Another chain.
    #[error("the node is of another chain: its genesis is {0}")]
    Genesis(BlockHash),
    /// The metagraph cannot be decoded.
    #[error("the metagraph cannot be decoded: {0}")]
    Scale(#[from] ScaleError),
    /// The chain has no such subnet.
    #[error("the chain has no subnet {0}")]
    NoSubnet(u16),
}

impl ReadFault {
    /// The name under which it is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Rpc(RpcFault::Throttled { .. }) => "throttled",
            Self::Rpc(RpcFault::Broken(_) | RpcFault::Silent) => "unreachable",
            Self::Rpc(RpcFault::Refused { .. }) => "refused",
            Self::Rpc(RpcFault::Garbage(_)) | Self::Form(_) | Self::Scale(_) => "undecodable",
            Self::Genesis(_) => "wrong_genesis",
            Self::NoSubnet(_) => "no_subnet",
        }
    }

    /// How long the node wants to be left alone, where it says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rpc(RpcFault::Throttled { retry_after }) => *retry_after,
            _ => None,
        }
    }

    /// What an operator can do.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Rpc(RpcFault::Throttled { .. }) => {
                "nothing if it passes; otherwise raise chain.refresh_seconds, or name a node of your own in chain.endpoints"
            }
            Self::Rpc(_) => {
                "look whether the node runs and can be reached from here; name a second one in chain.endpoints"
            }
            Self::Form(_) | Self::Scale(_) => {
                "the runtime may have been upgraded: look for a newer Subgate; until then name a node in chain.endpoints that answers well"
            }
            Self::Genesis(_) => "name a node of the right network in chain.endpoints, or set chain.genesis",
            Self::NoSubnet(_) => "look at chain.netuid and at the network of chain.endpoints",
        }
    }
}

/// One node, and what was found out about it since it was connected.
pub(crate) struct Node {
    client: Client,
    netuid: u16,
    /// The genesis that it must have; any where none is set.
    wanted: Option<BlockHash>,
    /// The genesis that it has, read when it was connected; over HTTP that is at each reading.
    genesis: Option<BlockHash>,
}

impl Node {
    /// A node that has not been asked yet.
    pub(crate) fn new(client: Client, netuid: u16, wanted: Option<BlockHash>) -> Self {
        Self { client, netuid, wanted, genesis: None }
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.client.endpoint()
    }

    /// Reads the subnet at the finalized head; none where that is still `last`.
    pub(crate) async fn read(&mut self, last: Option<Block>) -> Result<Option<Reading>, ReadFault> {
        let was_connected = self.client.is_connected();
        let reading = self.read_once(last).await;
        // A connection that was kept may have ended since: that says nothing of the node yet.
        if was_connected && matches!(reading, Err(ReadFault::Rpc(RpcFault::Broken(_)))) {
            return self.read_once(last).await;
        }
        reading
    }

    async fn read_once(&mut self, last: Option<Block>) -> Result<Option<Reading>, ReadFault> {
        let genesis = self.check_genesis().await?;
        let head = self.call("chain_getFinalizedHead", json!([])).await?;
        let hash = hash(&head).ok_or(ReadFault::Form("chain_getFinalizedHead"))?;
        if last.is_some_and(|last| last.hash == hash) {
            return Ok(None);
        }
        let number = self.number(hash).await?;
        let version = self.call("state_getRuntimeVersion", json!([hash.to_string()])).await?;
        let spec_version = version.get("specVersion").and_then(Value::as_u64);
        let spec_version = spec_version.and_then(|version| u32::try_from(version).ok());
        let spec_version = spec_version.ok_or(ReadFault::Form("state_getRuntimeVersion"))?;
        let neurons = self.neurons(hash).await?;
        let source = self.endpoint().to_string().into();
        let block = Block { number, hash };
        Ok(Some(Reading { block, genesis, spec_version, source, neurons }))
    }

    /// Reads the subnet at a block that another node named, if this one has it in its chain as well.
    pub(crate) async fn read_at(&mut self, block: Block) -> Result<Vec<ReadNeuron>, ReadFault> {
        self.check_genesis().await?;
        let own = self.call("chain_getBlockHash", json!([block.number])).await?;
        if hash(&own) != Some(block.hash) {
            return Err(ReadFault::Form("chain_getBlockHash"));
        }
        self.neurons(block.hash).await
    }

    async fn check_genesis(&mut self) -> Result<BlockHash, ReadFault> {
        if let Some(genesis) = self.genesis.filter(|_| self.client.is_connected()) {
            return Ok(genesis);
        }
        let answer = self.call("chain_getBlockHash", json!([0])).await?;
        let genesis = hash(&answer).ok_or(ReadFault::Form("chain_getBlockHash"))?;
        if self.wanted.is_some_and(|wanted| wanted != genesis) {
            return Err(ReadFault::Genesis(genesis));
        }
        self.genesis = Some(genesis);
        Ok(genesis)
    }

    async fn number(&mut self, hash: BlockHash) -> Result<u64, ReadFault> {
        let header = self.call("chain_getHeader", json!([hash.to_string()])).await?;
        let digits = header.get("number").and_then(Value::as_str).and_then(|text| text.strip_prefix("0x"));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or(ReadFault::Form("chain_getHeader"))
    }

    async fn neurons(&mut self, at: BlockHash) -> Result<Vec<ReadNeuron>, ReadFault> {
        const METAGRAPH: &str = "SubnetInfoRuntimeApi_get_selective_metagraph";
        let arguments = format!("0x{}", hex::encode(scale::arguments(self.netuid)));
        match self.call("state_call", json!([METAGRAPH, arguments, at.to_string()])).await {
            Ok(answer) => {
                let bytes = bytes(&answer).ok_or(ReadFault::Form("state_call"))?;
                let metagraph =
                    scale::decode(self.netuid, &bytes)?.ok_or(ReadFault::NoSubnet(self.netuid))?;
                let neurons = metagraph.neurons.into_iter().map(|neuron| ReadNeuron {
                    hotkey: neuron.hotkey,
                    coldkey: neuron.coldkey,
                    validator_permit: neuron.validator_permit,
                    stake_rao: Some(neuron.total_stake_rao),
                });
                Ok(neurons.collect())
            }
            Err(ReadFault::Rpc(refused @ RpcFault::Refused { .. })) => {
                tracing::warn!(endpoint = %self.endpoint(), fault = %refused, "the node refuses the metagraph; its storage is read, and the last known stakes stand");
                self.neurons_from_storage(at).await
            }
            Err(fault) => Err(fault),
        }
    }

    async fn neurons_from_storage(&mut self, at: BlockHash) -> Result<Vec<ReadNeuron>, ReadFault> {
        const FORM: ReadFault = ReadFault::Form("state_queryStorageAt");
        let netuid = self.netuid;
        let first = vec![storage_key::subnetwork_n(netuid), storage_key::validator_permit(netuid)];
        let mut first = self.storage(first, at).await?.into_iter();
        let (Some(count), Some(permits)) = (first.next(), first.next()) else { return Err(FORM) };
        let Some(count) = count else { return Err(ReadFault::NoSubnet(netuid)) };
        let count = u16::from_le_bytes(count.try_into().map_err(|_| FORM)?);
        let permits = scale::decode_flags(&permits.unwrap_or_else(|| vec![0]))?;
        if usize::from(count) > NEURONS_MAX || permits.len() != usize::from(count) {
            return Err(ScaleError::Lengths.into());
        }
        // The chain's default is the zero key, which the judge refuses.
        let key =
            |value: Option<Vec<u8>>| value.map_or(Ok([0; 32]), |value| value.try_into().map_err(|_| FORM));
        let keys = (0..count).map(|uid| storage_key::keys(netuid, uid)).collect();
        let hotkeys =
            self.storage(keys, at).await?.into_iter().map(key).collect::<Result<Vec<[u8; 32]>, _>>()?;
        let keys = hotkeys.iter().map(storage_key::owner).collect();
        let coldkeys = self.storage(keys, at).await?.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let neurons = hotkeys.into_iter().zip(coldkeys).zip(permits).map(|((hotkey, coldkey), permit)| {
            ReadNeuron { hotkey, coldkey, validator_permit: permit, stake_rao: None }
        });
        Ok(neurons.collect())
    }

    /// The values of storage keys, in their order.
    async fn storage(
        &mut self,
        keys: Vec<Vec<u8>>,
        at: BlockHash,
    ) -> Result<Vec<Option<Vec<u8>>>, ReadFault> {
        const FORM: ReadFault = ReadFault::Form("state_queryStorageAt");
        let mut values = Vec::with_capacity(keys.len());
        for page in keys.chunks(KEYS_AT_ONCE) {
            let page: Vec<String> = page.iter().map(|key| format!("0x{}", hex::encode(key))).collect();
            let answer = self.call("state_queryStorageAt", json!([page, at.to_string()])).await?;
            let changes = answer.get(0).and_then(|set| set.get("changes")).and_then(Value::as_array);
            let changes = changes.ok_or(FORM)?.iter();
            let mut told: std::collections::HashMap<&str, &Value> =
                changes.filter_map(|change| Some((change.get(0)?.as_str()?, change.get(1)?))).collect();
            for key in &page {
                // A key that the node leaves out has not been answered; one without a value has null.
                values.push(match told.remove(key.as_str()) {
                    Some(Value::Null) => None,
                    Some(value) => Some(bytes(value).ok_or(FORM)?),
                    None => return Err(FORM),
                });
            }
        }
        Ok(values)
    }

    /// Calls, with patience for a rate limit that passes soon.
    async fn call(&mut self, method: &'static str, params: Value) -> Result<Value, ReadFault> {
        let mut tries = 0;
        loop {
            match self.client.call(method, params.clone()).await {
                Err(RpcFault::Throttled { retry_after }) if tries < THROTTLE_RETRIES_MAX => {
                    let wait = retry_after.unwrap_or(Duration::from_secs(1 << tries));
                    if wait > THROTTLE_WAIT_MAX {
                        return Err(RpcFault::Throttled { retry_after }.into());
                    }
                    tries += 1;
                    tokio::time::sleep(with_jitter(wait)).await;
                }
                answer => return Ok(answer?),
            }
        }
    }
}

/// A wait and up to a quarter of it more, so that replicas do not ask in step.
pub(super) fn with_jitter(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes there is no jitter, which harms nobody.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [byte] = byte;
    wait + wait.mul_f64(f64::from(byte) / 1024.0)
}

fn hash(value: &Value) -> Option<BlockHash> {
    BlockHash::parse(value.as_str()?)
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    hex::decode(value.as_str()?.strip_prefix("0x")?).ok()
}
