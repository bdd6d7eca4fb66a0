//! The dashboard, the alerts and the operator's page speak of the metrics that a scrape has, and of all.

use std::{collections::BTreeSet, path::Path};

use super::{scrape, start};
use crate::harness::{
    client::Call,
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::Reply,
};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Words of a text that look like names of metrics.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words = text.split(|char| !is_part(char));
    let is_metric = |word: &&str| word.starts_with("subgate_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

/// The families of a scrape, and every name that their series have.
fn families(scrape: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let families = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next());
    (families.map(str::to_owned).collect(), names.map(str::to_owned).collect())
}

/// A scrape of a server that did some work, so that no family is empty but the chain's events: those are of a
/// server that reads the chain.
async fn worked() -> String {
    let setup = Setup {
        server: "admin = \"127.0.0.1:0\"".to_owned(),
        limits: "[limits.miner]\nwrites_per_second = 1\nwrites_burst = 1".to_owned(),
        ..Setup::default()
    };
    let server = TestServer::with(setup).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let key = server.session(&ALICE).await;
    server.send(&key, &Call::get(&ALICE.file("f"))).await;
    server.send(&key, &Call::get(&BOB.file("f"))).await.refused(403, "AccessDenied");
    server.send(&key, &Call::put(&ALICE.file("g"), bytes(1500))).await;
    server.send(&key, &Call::put(&ALICE.file("g"), bytes(1500))).await.refused(503, "SlowDown");
    server.store.always(Reply::error(503, "SlowDown", "m"));
    server.send(&key, &Call::get(&ALICE.file("f"))).await;
    for _ in 0..200 {
        let text = scrape(&server).await;
        if text.contains("\nsubgate_requests_under_way 0\n") {
            return text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("requests do not end");
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_the_alerts_is_in_a_scrape() {
    let (_, mut names) = families(&worked().await);
    names.insert("subgate_chain_events_total".to_owned());
    for path in ["deploy/grafana/subgate.json", "deploy/prometheus/alerts.yml"] {
        let named = named(&read(path));
        assert!(named.len() >= 10, "{path} names {} metrics", named.len());
        let unknown: Vec<_> = named.difference(&names).collect();
        assert!(unknown.is_empty(), "{path} names what no scrape has: {unknown:?}");
    }
}

#[tokio::test]
async fn every_metric_is_in_the_operators_page_and_nothing_else_is() {
    let (families, _) = families(&scrape(&start().await).await);
    let page = read("docs/operator.md");
    let rows = page.lines().filter(|line| line.starts_with("| `subgate_") || line.starts_with("| `process_"));
    let documented = named(&rows.filter_map(|row| row.split('|').nth(1)).collect::<String>());
    assert!(families.len() >= 30 && documented == families, "{:#?}", {
        let missing: Vec<_> = families.difference(&documented).collect();
        let unknown: Vec<_> = documented.difference(&families).collect();
        (missing, unknown)
    });
}

#[test]
fn the_dashboard_is_one_and_every_panel_asks_something() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/subgate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (rows, graphs): (Vec<_>, Vec<_>) = panels.iter().partition(|panel| panel["type"] == "row");
    assert!(rows.len() >= 5 && graphs.len() >= 20);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in graphs {
        let targets = panel["targets"].as_array().unwrap();
        let title = &panel["title"];
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(!named(expression).is_empty(), "{title}: {expression}");
            assert!(expression.contains("$instance"), "{title}: {expression}");
        }
    }
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let (alerts, tests) = (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/alerts_test.yml"));
    let page = read("docs/operator.md");
    let anchor = |heading: &str| heading.to_lowercase().replace([',', '\''], "").replace(' ', "-");
    let headings = page.lines().filter_map(|line| line.strip_prefix("## ").or(line.strip_prefix("### ")));
    let anchors: BTreeSet<String> = headings.map(anchor).collect();
    let mut count = 0;
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        for part in ["\n        for: ", "severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let runbook = alert.split("runbook: docs/operator.md#").nth(1).and_then(|rest| rest.lines().next());
        assert!(runbook.is_some_and(|runbook| anchors.contains(runbook)), "{name}: {runbook:?}");
        // Once where it fires, and once where it does not.
        assert!(tests.matches(&format!("alertname: {name}\n")).count() >= 1, "{name} is not tested");
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []")), "{name} is not tested");
        count += 1;
    }
    assert!(count >= 10);
}
