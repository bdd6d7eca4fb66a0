//! One reading of the subnet from one node: the finalized head, its number, the runtime's version, the
//! neurons. \[IO\]
//!
//! The main read is one `state_call`; where the node refuses that call, the storage is read by computed keys,
//! which gives everything but the stake. Nothing is checked here beyond the form of the answers.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    FINNEY_GENESIS,
    rpc::{ChainEndpoint, Client, RpcError},
    scale::{self, NEURONS_MAX, ScaleError},
    storage_key,
};

/// Storage keys of one call; an answer of about 250 KB.
const KEYS_AT_ONCE: usize = 1024;

/// How often a call is tried again after the node has limited the rate.
const THROTTLE_RETRIES_MAX: u32 = 3;

/// When a node asks for a longer pause, another one is asked.
const THROTTLE_WAIT_MAX: Duration = Duration::from_secs(8);

/// A hash of a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHash(pub [u8; 32]);

impl BlockHash {
    /// Reads `0x` and 64 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
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

/// Which chain a node must be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedGenesis {
    /// The chain whose first block has this hash.
    Hash(BlockHash),
    /// Any chain: for networks of one's own, which are started anew.
    Any,
}

impl ExpectedGenesis {
    /// Whether a chain whose first block has that hash is the expected one.
    pub(crate) fn accepts(self, genesis: BlockHash) -> bool {
        match self {
            Self::Hash(expected) => expected == genesis,
            Self::Any => true,
        }
    }
}

impl FromStr for ExpectedGenesis {
    type Err = ();

    /// Reads `finney`, `any`, or `0x` and 64 hex digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "any" => Ok(Self::Any),
            "finney" => Ok(Self::Hash(FINNEY_GENESIS)),
            hash => BlockHash::parse(hash).map(Self::Hash).ok_or(()),
        }
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

/// A neuron as a node reports it.
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
    /// The node it came from.
    pub(crate) source: Arc<str>,
    /// By uid.
    pub(crate) neurons: Vec<ReadNeuron>,
}

/// Why a node gave no reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
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

impl ReadError {
    /// The name under which it is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Rpc(RpcError::Throttled { .. }) => "throttled",
            Self::Rpc(RpcError::Broken(_) | RpcError::Silent) => "unreachable",
            Self::Rpc(RpcError::Refused { .. }) => "refused",
            Self::Rpc(RpcError::Garbage(_)) | Self::Form(_) | Self::Scale(_) => "undecodable",
            Self::Genesis(_) => "wrong_genesis",
            Self::NoSubnet(_) => "no_subnet",
        }
    }

    /// How long the node asks to be left alone, where it says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rpc(RpcError::Throttled { retry_after }) => *retry_after,
            _ => None,
        }
    }

    /// What an operator can do.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Rpc(RpcError::Throttled { .. }) => {
                "nothing if it passes; otherwise raise chain.refresh_seconds, or name a node of your own \
                in chain.endpoints"
            }
            Self::Rpc(_) => {
                "look whether the node runs and can be reached from here; name a second one in \
                chain.endpoints"
            }
            Self::Form(_) | Self::Scale(_) => {
                "the runtime may have been upgraded: look for a newer Subgate; until then name a node in \
                chain.endpoints that answers well"
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
    expected: ExpectedGenesis,
    /// The genesis that it has, read when it was connected; over HTTP that is at each reading.
    genesis: Option<BlockHash>,
}

impl Node {
    /// A node that has not been asked yet.
    pub(crate) fn new(client: Client, netuid: u16, expected: ExpectedGenesis) -> Self {
        Self { client, netuid, expected, genesis: None }
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> &ChainEndpoint {
        self.client.endpoint()
    }

    /// Reads the subnet at the finalized head; none where that is still `last`.
    pub(crate) async fn read(&mut self, last: Option<Block>) -> Result<Option<Reading>, ReadError> {
        let was_connected = self.client.is_connected();
        let reading = self.read_once(last).await;
        // A connection that was kept may have ended since: that says nothing of the node yet.
        if was_connected && matches!(reading, Err(ReadError::Rpc(RpcError::Broken(_)))) {
            return self.read_once(last).await;
        }
        reading
    }

    async fn read_once(&mut self, last: Option<Block>) -> Result<Option<Reading>, ReadError> {
        let genesis = self.check_genesis().await?;
        let head = self.call("chain_getFinalizedHead", json!([])).await?;
        let hash = hash(&head).ok_or(ReadError::Form("chain_getFinalizedHead"))?;
        if last.is_some_and(|last| last.hash == hash) {
            return Ok(None);
        }
        let number = self.number(hash).await?;
        let version = self.call("state_getRuntimeVersion", json!([hash.to_string()])).await?;
        let spec_version = version.get("specVersion").and_then(Value::as_u64);
        let spec_version = spec_version.and_then(|version| u32::try_from(version).ok());
        let spec_version = spec_version.ok_or(ReadError::Form("state_getRuntimeVersion"))?;
        let neurons = self.neurons(hash).await?;
        let source = self.endpoint().to_string().into();
        let block = Block { number, hash };
        Ok(Some(Reading { block, genesis, spec_version, source, neurons }))
    }

    /// Reads the subnet at a block that another node named, if this one has it in its chain as well.
    pub(crate) async fn read_at(&mut self, block: Block) -> Result<Vec<ReadNeuron>, ReadError> {
        self.check_genesis().await?;
        let own = self.call("chain_getBlockHash", json!([block.number])).await?;
        if hash(&own) != Some(block.hash) {
            return Err(ReadError::Form("chain_getBlockHash"));
        }
        self.neurons(block.hash).await
    }

    async fn check_genesis(&mut self) -> Result<BlockHash, ReadError> {
        if let Some(genesis) = self.genesis.filter(|_| self.client.is_connected()) {
            return Ok(genesis);
        }
        let answer = self.call("chain_getBlockHash", json!([0])).await?;
        let genesis = hash(&answer).ok_or(ReadError::Form("chain_getBlockHash"))?;
        if !self.expected.accepts(genesis) {
            return Err(ReadError::Genesis(genesis));
        }
        self.genesis = Some(genesis);
        Ok(genesis)
    }

    async fn number(&mut self, hash: BlockHash) -> Result<u64, ReadError> {
        let header = self.call("chain_getHeader", json!([hash.to_string()])).await?;
        let digits = header.get("number").and_then(Value::as_str).and_then(|text| text.strip_prefix("0x"));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or(ReadError::Form("chain_getHeader"))
    }

    async fn neurons(&mut self, at: BlockHash) -> Result<Vec<ReadNeuron>, ReadError> {
        const METAGRAPH: &str = "SubnetInfoRuntimeApi_get_selective_metagraph";
        let arguments = format!("0x{}", hex::encode(scale::arguments(self.netuid)));
        match self.call("state_call", json!([METAGRAPH, arguments, at.to_string()])).await {
            Ok(answer) => {
                let bytes = bytes(&answer).ok_or(ReadError::Form("state_call"))?;
                let metagraph =
                    scale::decode(self.netuid, &bytes)?.ok_or(ReadError::NoSubnet(self.netuid))?;
                let neurons = metagraph.neurons.into_iter().map(|neuron| ReadNeuron {
                    hotkey: neuron.hotkey,
                    coldkey: neuron.coldkey,
                    validator_permit: neuron.validator_permit,
                    stake_rao: Some(neuron.total_stake_rao),
                });
                Ok(neurons.collect())
            }
            Err(ReadError::Rpc(refused @ RpcError::Refused { .. })) => {
                tracing::warn!(
                    endpoint = %self.endpoint(), error = %refused,
                    "the node refuses the metagraph; its storage is read, and the last known stakes stand"
                );
                self.neurons_from_storage(at).await
            }
            Err(error) => Err(error),
        }
    }

    async fn neurons_from_storage(&mut self, at: BlockHash) -> Result<Vec<ReadNeuron>, ReadError> {
        const FORM: ReadError = ReadError::Form("state_queryStorageAt");
        let netuid = self.netuid;
        let first = vec![storage_key::subnetwork_n(netuid), storage_key::validator_permit(netuid)];
        let mut first = self.storage(first, at).await?.into_iter();
        let (Some(count), Some(permits)) = (first.next(), first.next()) else { return Err(FORM) };
        let Some(count) = count else { return Err(ReadError::NoSubnet(netuid)) };
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
    ) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        const FORM: ReadError = ReadError::Form("state_queryStorageAt");
        let mut values = Vec::with_capacity(keys.len());
        for page in keys.chunks(KEYS_AT_ONCE) {
            let page: Vec<String> = page.iter().map(|key| format!("0x{}", hex::encode(key))).collect();
            let answer = self.call("state_queryStorageAt", json!([page, at.to_string()])).await?;
            let changes = answer.get(0).and_then(|set| set.get("changes")).and_then(Value::as_array);
            let changes = changes.ok_or(FORM)?.iter();
            let mut values_by_key: std::collections::HashMap<&str, &Value> =
                changes.filter_map(|change| Some((change.get(0)?.as_str()?, change.get(1)?))).collect();
            for key in &page {
                // A key that the node leaves out has not been answered; one without a value has null.
                values.push(match values_by_key.remove(key.as_str()) {
                    Some(Value::Null) => None,
                    Some(value) => Some(bytes(value).ok_or(FORM)?),
                    None => return Err(FORM),
                });
            }
        }
        Ok(values)
    }

    /// Calls, with patience for a rate limit that passes soon.
    async fn call(&mut self, method: &'static str, params: Value) -> Result<Value, ReadError> {
        let mut tries = 0;
        loop {
            match self.client.call(method, params.clone()).await {
                Err(RpcError::Throttled { retry_after }) if tries < THROTTLE_RETRIES_MAX => {
                    let wait = retry_after.unwrap_or(Duration::from_secs(1 << tries));
                    if wait > THROTTLE_WAIT_MAX {
                        return Err(RpcError::Throttled { retry_after }.into());
                    }
                    tries += 1;
                    tokio::time::sleep(with_jitter(wait)).await;
                }
                answer => return Ok(answer?),
            }
        }
    }
}

/// A wait, lengthened by up to a quarter, so that replicas do not ask in step.
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
