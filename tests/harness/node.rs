//! A node of the chain that says what a test wants: JSON-RPC over HTTP POST and over a WebSocket on one port.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::Message;

use super::hub::accept;

const RECORDING: &str = include_str!("../fixtures/subtensor/spec300_n256.json");
pub const GENESIS: [u8; 32] = [0x45; 32];
pub const NETUID: u16 = 13;
const METAGRAPH: &str = "SubnetInfoRuntimeApi_get_selective_metagraph";

/// The answers of a real runtime.
pub fn recording() -> Vec<Value> {
    let recording: Value = serde_json::from_str(RECORDING).unwrap();
    recording["calls"].as_array().unwrap().clone()
}

#[derive(Clone, PartialEq)]
pub struct Neuron {
    pub hotkey: [u8; 32],
    pub coldkey: [u8; 32],
    pub permit: bool,
    pub stake_rao: u64,
}

/// Keys and permits are those of the recording; each permit has 20,000 of stake.
pub fn recorded_neurons() -> Vec<Neuron> {
    let bytes = |text: &Value| hex::decode(text.as_str().unwrap().trim_start_matches("0x")).unwrap();
    let key = |value: &Value| <[u8; 32]>::try_from(bytes(value)).unwrap();
    let calls = recording();
    let storage: Vec<_> = calls.iter().filter(|call| call["method"] == "state_queryStorageAt").collect();
    let changes = |at: usize| storage[at]["result"][0]["changes"].as_array().unwrap();
    let permits = bytes(&changes(0)[1][1]);
    let flags = &permits[permits.len() - 256..];
    let hotkeys = changes(0)[3..].iter().map(|change| key(&change[1]));
    let coldkeys = changes(1).iter().map(|change| key(&change[1]));
    hotkeys
        .zip(coldkeys)
        .zip(flags)
        .map(|((hotkey, coldkey), flag)| Neuron {
            hotkey,
            coldkey,
            permit: *flag == 1,
            stake_rao: if *flag == 1 { 20_000_000_000_000 } else { 1_000_000_000 },
        })
        .collect()
}

/// How the next calls are answered.
#[derive(Clone, PartialEq)]
pub enum Manner {
    Answer,
    /// The connection ends without a word.
    Drop,
    /// HTTP 429 with Retry-After, or the JSON-RPC code over a WebSocket.
    Throttle {
        seconds: u64,
        times: u32,
    },
    /// Not JSON.
    Babble,
}

pub struct Script {
    pub block: u64,
    pub spec_version: u32,
    pub genesis: [u8; 32],
    pub neurons: Vec<Neuron>,
    /// What later runtimes put after field 69.
    pub appended: Vec<u8>,
    pub manner: Manner,
    /// In place of the metagraph.
    pub lie: Option<Vec<u8>>,
    /// The runtime has no such call.
    pub refuses_metagraph: bool,
    /// Part of each hash: another chain of the same heights.
    pub fork: u8,
    pub calls: BTreeMap<String, u32>,
}

impl Script {
    fn hash(&self, block: u64) -> [u8; 32] {
        if block == 0 {
            return self.genesis;
        }
        aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            &[&self.genesis[..], &[self.fork], &block.to_le_bytes()].concat(),
        )
        .as_ref()
        .try_into()
        .unwrap()
    }

    fn answer(&mut self, method: &str, params: &Value) -> Value {
        *self.calls.entry(method.to_owned()).or_default() += 1;
        let hex = |bytes: &[u8]| json!(format!("0x{}", hex::encode(bytes)));
        let head = hex(&self.hash(self.block));
        match method {
            "chain_getFinalizedHead" => json!({ "result": head }),
            "chain_getBlockHash" => {
                let block = params[0].as_u64().unwrap();
                let hash = if block <= self.block { hex(&self.hash(block)) } else { Value::Null };
                json!({ "result": hash })
            }
            _ if params.as_array().unwrap().last() != Some(&head) => {
                json!({ "error": { "code": -32000, "message": "UnknownBlock" } })
            }
            "chain_getHeader" => json!({ "result": { "number": format!("{:#010x}", self.block) } }),
            "state_getRuntimeVersion" => json!({ "result": { "specVersion": self.spec_version } }),
            "state_call" if params[0] == METAGRAPH && !self.refuses_metagraph => {
                assert_eq!(params[1], "0x0d0024070034003500380039003b00430044004500");
                json!({ "result": hex(self.lie.as_ref().unwrap_or(&self.metagraph())) })
            }
            "state_call" => json!({ "error": {
                "code": -32603, "message": "Internal Error: Function to start was not found."
            } }),
            "state_queryStorageAt" => {
                let keys = params[0].as_array().unwrap();
                let changes: Vec<_> = keys.iter().map(|key| json!([key, self.storage(key)])).collect();
                json!({ "result": [{ "block": head, "changes": changes }] })
            }
            _ => json!({ "error": { "code": -32601, "message": "Method not found" } }),
        }
    }

    /// The keys are those that the recording was asked for.
    fn storage(&self, key: &Value) -> Option<String> {
        let key = key.as_str().unwrap().strip_prefix("0x658faa385070e074c85bf6b568cf0555").unwrap();
        let (item, own) = key.split_at(32);
        let own = hex::decode(own).unwrap();
        let count = u16::try_from(self.neurons.len()).unwrap();
        let value = match item {
            "a1048e9d244171852dfe8db314dc68ca" => count.to_le_bytes().to_vec(),
            "56af5b07ace59da2c9d7f0d48bc93143" => {
                let mut flags = Vec::new();
                compact(count.into(), &mut flags);
                flags.extend(self.neurons.iter().map(|neuron| u8::from(neuron.permit)));
                flags
            }
            "9f99a2ce711f3a31b2fc05604c93f179" => {
                let uid = usize::from(u16::from_le_bytes([own[2], own[3]]));
                self.neurons.get(uid)?.hotkey.to_vec()
            }
            "eca6b7a1fdc9f689184ecb4f359c0518" => {
                self.neurons.iter().find(|neuron| neuron.hotkey == own[16..])?.coldkey.to_vec()
            }
            other => panic!("nobody asks for {other}"),
        };
        Some(format!("0x{}", hex::encode(value)))
    }

    pub fn metagraph(&self) -> Vec<u8> {
        encode(self.block, &self.neurons, &self.appended)
    }
}

pub fn encode(block: u64, neurons: &[Neuron], appended: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 0];
    for field in 1..=69 {
        let asked = [7, 52, 53, 56, 57, 59, 67, 68, 69].contains(&field);
        out.push(u8::from(asked));
        match field {
            7 => compact(block, &mut out),
            _ if asked => {
                compact(neurons.len() as u64, &mut out);
                for neuron in neurons {
                    match field {
                        52 => out.extend(neuron.hotkey),
                        53 => out.extend(neuron.coldkey),
                        56 => out.push(1),
                        57 => out.push(neuron.permit.into()),
                        59 => compact(block, &mut out),
                        _ => compact(neuron.stake_rao, &mut out),
                    }
                }
            }
            _ => {}
        }
    }
    out.extend(appended);
    out
}

fn compact(number: u64, out: &mut Vec<u8>) {
    match number {
        0..64 => out.push(u8::try_from(number << 2).unwrap()),
        64..16384 => out.extend(u16::try_from((number << 2) | 1).unwrap().to_le_bytes()),
        16384..1_073_741_824 => out.extend(u32::try_from((number << 2) | 2).unwrap().to_le_bytes()),
        _ => {
            let length = (8 - number.leading_zeros() as usize / 8).max(4);
            out.push(u8::try_from(((length - 4) << 2) | 3).unwrap());
            out.extend(&number.to_le_bytes()[..length]);
        }
    }
}

/// The node; what it says can be changed at any time.
#[derive(Clone)]
pub struct Node {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Node {
    /// A node with the recorded subnet at block 100.
    pub async fn start() -> Self {
        let script = Script {
            block: 100,
            spec_version: 300,
            genesis: GENESIS,
            neurons: recorded_neurons(),
            appended: vec![0, 1, 2],
            manner: Manner::Answer,
            lie: None,
            refuses_metagraph: false,
            fork: 0,
            calls: BTreeMap::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script));
        let own = Arc::clone(&script);
        tokio::spawn(async move {
            loop {
                let stream = accept(&listener).await;
                tokio::spawn(serve(stream, Arc::clone(&own)));
            }
        });
        Self { address, script }
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub fn http(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn ws(&self) -> String {
        format!("ws://{}/some/path?key=secret", self.address)
    }

    pub fn calls(&self, method: &str) -> u32 {
        self.script().calls.get(method).copied().unwrap_or_default()
    }
}

enum Said {
    Text(String),
    Throttled(u64),
    Nothing,
}

fn say(script: &Mutex<Script>, request: &[u8]) -> Said {
    let request: Value = serde_json::from_slice(request).unwrap();
    let mut script = script.lock().unwrap();
    match script.manner.clone() {
        Manner::Drop => return Said::Nothing,
        Manner::Babble => return Said::Text("<html>".to_owned()),
        Manner::Throttle { seconds, times } if times > 0 => {
            script.manner = Manner::Throttle { seconds, times: times - 1 };
            return Said::Throttled(seconds);
        }
        Manner::Throttle { .. } | Manner::Answer => {}
    }
    let mut answer = script.answer(request["method"].as_str().unwrap(), &request["params"]);
    answer["jsonrpc"] = json!("2.0");
    answer["id"] = request["id"].clone();
    Said::Text(answer.to_string())
}

async fn serve(stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut beginning = [0; 4];
    while stream.peek(&mut beginning).await.is_ok_and(|length| length > 0 && length < 4) {}
    if &beginning == b"POST" { http(stream, &script).await } else { socket(stream, &script).await }
}

async fn http(stream: TcpStream, script: &Mutex<Script>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while stream.read_line(&mut head).await.is_ok_and(|length| length > 2) {
            let line = head.lines().last().unwrap().to_ascii_lowercase();
            length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
        }
        let mut body = vec![0; length];
        if head.is_empty() || stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let answer = match say(script, &body) {
            Said::Text(text) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()),
            Said::Throttled(seconds) => {
                format!("HTTP/1.1 429 x\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n")
            }
            Said::Nothing => return,
        };
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn socket(stream: TcpStream, script: &Mutex<Script>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    // What a node says by itself is not an answer.
    let _ = socket.send(Message::text(r#"{"jsonrpc":"2.0","method":"notice","params":{}}"#)).await;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(request) = message else { continue };
        let text = match say(script, request.as_bytes()) {
            Said::Text(text) => text,
            Said::Throttled(_) => {
                let id: Value = serde_json::from_str::<Value>(&request).unwrap()["id"].clone();
                json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32005, "message": "slow" } })
                    .to_string()
            }
            Said::Nothing => return,
        };
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
}
