"""Prometheus itself reads what the admin listener says, by the configuration that the documents show; and
promtool finds nothing wrong with the metrics, the alerts and their tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import requests

from conftest import Accounts
from files import pattern
from servers import BIN, HERE, Server, Target, accepts, bare_environment, free_port, log_in, wait_until

DEPLOY = HERE.parents[1] / "deploy" / "prometheus"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def promtool(*words: str | Path, given: str | None = None) -> str:
    done = subprocess.run(
        [BIN / "promtool", *words], input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_alerts_are_rules_and_do_what_their_tests_say() -> None:
    assert "SUCCESS" in promtool("check", "rules", DEPLOY / "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", DEPLOY / "alerts_test.yml")


def admin_of(target: Target) -> str:
    return json.loads((target.data / "dev.json").read_text())["admin"]


@pytest.mark.targets("dev")
def test_promtool_finds_nothing_wrong_with_the_metrics(
    target: Target, accounts: Accounts, unique: str
) -> None:
    accounts.miner.boto3().put_object(
        Bucket=target.bucket, Key=f"{accounts.miner.folder}{unique}", Body=pattern(2000)
    )
    text = requests.get(f"{admin_of(target)}/metrics", timeout=10).text
    promtool("check", "metrics", given=text)
    openmetrics = requests.get(f"{admin_of(target)}/metrics", headers={"accept": OPENMETRICS}, timeout=10)
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.targets("dev")
def test_prometheus_scrapes_it_and_knows_the_alerts(
    target: Target, accounts: Accounts, unique: str, tmp_path: Path
) -> None:
    admin = admin_of(target).removeprefix("http://")
    config = tmp_path / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{DEPLOY / "alerts.yml"}]
scrape_configs:
  - job_name: subgate
    static_configs: [{{targets: ["{admin}"]}}]
""")
    port = free_port()
    prometheus = Server(
        [
            BIN / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log_in(tmp_path, "prometheus.log"),
        bare_environment(tmp_path),
    ).wait_until(lambda: accepts(port))

    def ask(path: str, **query: str) -> dict:
        answer = requests.get(f"http://127.0.0.1:{port}/api/v1/{path}", params=query, timeout=10)
        return answer.json()["data"] if answer.ok else {}

    def value(query: str) -> float:
        found = ask("query", query=query).get("result", [])
        return float(found[0]["value"][1]) if found else 0.0

    try:
        accounts.miner.boto3().put_object(
            Bucket=target.bucket, Key=f"{accounts.miner.folder}{unique}", Body=pattern(2000)
        )
        puts = 'subgate_requests_total{job="subgate",operation="PutObject",role="miner",status="200"}'
        wait_until(lambda: value(puts) >= 1, 30, "the PUT in Prometheus")
        assert value('up{job="subgate"}') == 1
        # A histogram that Prometheus takes for one.
        assert value('histogram_quantile(0.5, sum by (le) (subgate_store_first_byte_seconds_bucket))') > 0
        groups = ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) >= 10
        wait_until(
            lambda: all(
                rule["health"] == "ok" for group in ask("rules")["groups"] for rule in group["rules"]
            ),
            30,
            "every alert evaluated",
        )
    finally:
        prometheus.stop()
