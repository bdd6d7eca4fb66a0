//! `subgate chain` as a person calls it.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{account, fresh, node, node::Node};

async fn subgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
    command.arg("chain").args(arguments).stdin(Stdio::null()).env_remove("SUBGATE_CONFIG");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn json_of(arguments: &[&str]) -> Value {
    let output = subgate(arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_who_without_a_configuration_file() {
    let node = Node::start().await;
    for (endpoint, genesis) in
        [(node.http(), "any".to_owned()), (node.ws(), format!("0x{}", hex::encode(node::GENESIS)))]
    {
        let from = ["--endpoint", &endpoint, "--netuid", "13", "--genesis", &genesis, "--json"];
        let status = json_of(&[&["status"][..], &from].concat()).await;
        let source = endpoint.split("/some").next().unwrap();
        assert!(status["age_seconds"].as_u64().unwrap() < 60);
        assert_eq!(
            status,
            json!({
                "block": 100, "age_seconds": status["age_seconds"], "source": source, "spec_version": 300,
                "neurons": 256, "permits": 64, "validators": 64,
            })
        );
        let neurons = node::recorded_neurons();
        let uid = neurons.iter().position(|neuron| neuron.permit).unwrap();
        let (hotkey, coldkey) = (account(neurons[uid].hotkey), account(neurons[uid].coldkey));
        let who = json_of(&[&["who", &hotkey.to_ss58()][..], &from].concat()).await;
        assert_eq!(
            who,
            json!({
                "hotkey": hotkey, "coldkey": coldkey, "uid": uid, "role": "validator", "permit": true,
                "stake": 20_000.0, "why": who["why"],
            })
        );
        let who = json_of(&[&["who", &coldkey.to_ss58()][..], &from].concat()).await;
        assert_eq!((&who["coldkey"], &who["role"]), (&json!(coldkey), &json!("validator")));
        assert!(who["why"].as_str().unwrap().contains("is a coldkey that owns"));
        let nobody = account(fresh(5).hotkey);
        let who = json_of(&[&["who", &nobody.to_ss58()][..], &from].concat()).await;
        assert_eq!((&who["hotkey"], &who["role"], &who["uid"]), (&json!(nobody), &Value::Null, &Value::Null));
        assert!(who["why"].as_str().unwrap().starts_with("not registered on the subnet at block 100"));
        // For a person.
        let output = subgate(&[&["who", &hotkey.to_ss58()][..], &from[..6]].concat()).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("role     validator") && text.contains("it has a permit"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_file_gives_the_snapshot_of_its_server() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = super::serving::configuration(dir.path(), &[node.http()], "");
    let from = ["--config", &config, "--json"];
    assert_eq!(json_of(&[&["status"][..], &from].concat()).await["block"], 100);
    // The chain is down: what the server has put on disk, with its age.
    let snapshot_file = dir.path().join("chain-snapshot.json");
    let settings = super::on_disk(node.http(), &snapshot_file);
    drop(subgate::chain::ChainWatcher::start(settings).await.unwrap());
    node.script().manner = node::Manner::Drop;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let output = subgate(&[&["status"][..], &from].concat()).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(status["age_seconds"].as_u64().unwrap() >= 4 && status["block"] == 100);
    assert!(String::from_utf8(output.stderr).unwrap().contains("the last snapshot of the server"));
    // Nowhere anything.
    std::fs::remove_file(snapshot_file).unwrap();
    let output = subgate(&[&["status"][..], &from].concat()).await;
    assert_eq!(output.status.code(), Some(69));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_one_line() {
    for (arguments, says) in [
        (&["status"][..], "--netuid"),
        (&["status", "--netuid", "1", "--endpoint", "ftp://x"], "--endpoint"),
        (&["status", "--netuid", "1", "--genesis", "0x1"], "--genesis"),
        (&["who", "5abc", "--netuid", "1"], "SS58"),
    ] {
        let output = subgate(arguments).await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{line}");
        assert!(line.contains(says) && line.lines().count() == 1, "{line}");
    }
}
