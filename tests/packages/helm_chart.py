"""The chart of deploy/helm/subgate, rendered: what Kubernetes would be given, and what Subgate then reads."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "subgate"
HELM, SUBGATE = os.environ["HELM"], os.environ["SUBGATE_BIN"]

# Removed at the end.
DOCUMENTED = tempfile.TemporaryDirectory()


def documented() -> Path:
    """The values that the operator's page shows."""
    (text,) = re.findall(
        r"```yaml\n(# my-values.yaml\n.*?)```", (ROOT / "docs/operator.md").read_text(), re.DOTALL
    )
    path = Path(DOCUMENTED.name) / "documented-values.yaml"
    path.write_text(text)
    return path


VALUES = [*sorted((CHART / "ci").glob("*-values.yaml")), documented()]
# The oldest that the chart allows, and the newest whose schemas are there.
KUBERNETES = ["1.27", "1.37"]
START_SECONDS_MAX = 30


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, env=environment, check=False)


@dataclass(frozen=True)
class Rendered:
    manifests: list[dict]

    def all(self, kind: str) -> list[dict]:
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str = "r-subgate") -> dict:
        (found,) = [m for m in self.all(kind) if m["metadata"]["name"] == name]
        return found

    @property
    def pod(self) -> dict:
        return self.one("Deployment")["spec"]["template"]

    @property
    def container(self) -> dict:
        (container,) = self.pod["spec"]["containers"]
        return container

    @property
    def toml(self) -> str:
        return self.one("ConfigMap")["data"]["proxy.toml"]

    @property
    def config(self) -> dict:
        return tomllib.loads(self.toml)


@cache
def rendered(values: str, *more: str) -> Rendered:
    done = helm(
        "template", "r", str(CHART), "--namespace", "s3", "--values", str(CHART / "ci" / values), *more
    )
    assert done.returncode == 0, done.stderr
    return Rendered([manifest for manifest in yaml.safe_load_all(done.stdout) if manifest])


@pytest.fixture(params=VALUES, ids=lambda path: path.name)
def chart(request: pytest.FixtureRequest) -> Rendered:
    return rendered(str(request.param))


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name)
def test_helm_finds_nothing_to_complain_of(values: Path) -> None:
    done = helm("lint", "--strict", str(CHART), "--values", str(values))
    assert done.returncode == 0 and "[WARNING]" not in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(chart: Rendered, version: str) -> None:
    for manifest in chart.manifests:
        if manifest["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(manifest, version, strict=True)
        assert manifest["metadata"]["namespace"] == "s3", manifest["kind"]


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    deployment = json.loads(json.dumps(rendered("least-values.yaml").one("Deployment")))
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


def test_nothing_runs_as_root_or_may_become_it(chart: Rendered) -> None:
    spec, container = chart.pod["spec"], chart.container
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]


def test_secrets_are_files_of_a_secret_that_the_chart_does_not_make(chart: Rendered) -> None:
    assert not chart.all("Secret")
    assert not any("valueFrom" in variable for variable in chart.container["env"])
    volumes = {volume["name"]: volume for volume in chart.pod["spec"]["volumes"]}
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o440
    for name, mount in {m["name"]: m for m in chart.container["volumeMounts"]}.items():
        assert name in volumes and "subPath" not in mount, name
        assert mount.get("readOnly", False) != (name == "state"), name


def laid_out(chart: Rendered, folder: Path) -> Path:
    """proxy.toml with the files that it names, as the kubelet mounts them, below `folder`."""
    mounts = [mount["mountPath"] for mount in chart.container["volumeMounts"]]
    text = chart.toml
    for path in sorted(set(re.findall(r'"(/[^"]*)"', text))):
        assert any(path.startswith(f"{mount}/") for mount in mounts), f"{path} is mounted by nothing"
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        name = file.name
        if name == "tls.crt":
            certificate(file, file.with_name("tls.key"), "s3.example.com")
        elif name in ("ca.pem", "ca.crt"):
            certificate(file, folder / "ca.key", "ca.example.com")
        elif name == "store.json":
            file.write_text('{"access_key": "AK", "secret_key": "of-this-test-alone"}')
        elif name == "registry.json":
            file.write_text('{"identities": []}')
        elif name.endswith((".key", ".token", ".password")) and not file.exists():
            file.write_text("0f" * 32)
        if file.exists():
            file.chmod(0o440)
        text = text.replace(f'"{path}"', f'"{file}"')
    config = folder / "proxy.toml"
    config.write_text(text)
    config.chmod(0o444)
    return config


def certificate(file: Path, key: Path, name: str) -> None:
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        + ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", file],
        capture_output=True,
        check=True,
    )


def test_the_configuration_has_no_faults(chart: Rendered, tmp_path: Path) -> None:
    config = laid_out(chart, tmp_path)
    done = subprocess.run(
        [SUBGATE, "check", "--config", config, "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stdout


def test_numbers_and_texts_arrive_as_they_were_written() -> None:
    config = rendered("full-values.yaml").config
    assert config["chain"]["netuid"] == 13 and config["chain"]["collapse_share_max"] == 0.25
    assert config["limits"]["object_bytes_max"] == 5368709120
    assert config["policy"]["variables"]["job_id"]["pattern"] == "[A-Za-z0-9_-]{1,64}"
    strange = 'a "quoted" \\ <&> ü \t'
    more = ("--set-json", f"config.policy.folders={json.dumps([strange])}")
    assert rendered("least-values.yaml", *more).config["policy"]["folders"] == [strange]
    # Past 2^31, and as --set gives it.
    more = ("--set", "config.limits.object_bytes_max=1099511627776")
    assert rendered("least-values.yaml", *more).config["limits"]["object_bytes_max"] == 1 << 40


def test_a_pod_has_the_time_that_its_server_takes_to_end(chart: Rendered) -> None:
    server = chart.config["server"]
    drain = server["drain_announce_seconds"] + server["drain_seconds_max"]
    assert chart.pod["spec"]["terminationGracePeriodSeconds"] >= drain + 10
    # Before connections are refused the pod is out of every Service.
    readiness = chart.container["readinessProbe"]
    assert server["drain_announce_seconds"] >= readiness["periodSeconds"]
    assert chart.one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }


def test_services_lead_to_ports_and_pods_that_are_there(chart: Rendered) -> None:
    labels, ports = (
        chart.pod["metadata"]["labels"],
        {p["name"]: p["containerPort"] for p in chart.container["ports"]},
    )
    selectors = [service["spec"]["selector"] for service in chart.all("Service")]
    selectors.append(chart.one("Deployment")["spec"]["selector"]["matchLabels"])
    for kind in ["PodDisruptionBudget", "NetworkPolicy"]:
        for manifest in chart.all(kind):
            spec = manifest["spec"]
            selectors.append((spec.get("selector") or spec["podSelector"])["matchLabels"])
    for constraint in chart.pod["spec"].get("topologySpreadConstraints", []):
        selectors.append(constraint["labelSelector"]["matchLabels"])
    for selector in selectors:
        assert selector and selector.items() <= labels.items(), selector
    for service in chart.all("Service"):
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])
    # The ports are those at which the server listens.
    server = chart.config["server"]
    assert server["listen"].endswith(f":{ports['s3']}")
    assert ("admin" in server) == ("admin" in ports) and server.get("admin", "").endswith(
        str(ports.get("admin", ""))
    )
    # The load balancer does not lead to the admin listener.
    public = chart.one("Service")
    assert [port["targetPort"] for port in public["spec"]["ports"]] == ["s3"]
    for ingress in chart.all("Ingress"):
        names = {port["name"] for port in public["spec"]["ports"]}
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["backend"]["service"]["name"] == public["metadata"]["name"]
                assert path["backend"]["service"]["port"]["name"] in names


def test_prometheus_finds_the_admin_service_and_shows_its_token() -> None:
    chart = rendered("full-values.yaml")
    monitor, service = chart.one("ServiceMonitor")["spec"], chart.one("Service", "r-subgate-admin")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert (
        not monitor["selector"]["matchLabels"].items() <= chart.one("Service")["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["scheme"] == "https" and endpoint["tlsConfig"]["serverName"] == "s3.example.com"
    assert endpoint["authorization"]["credentials"] == {"name": "subgate", "key": "admin.token"}
    # The job of the alerts and of the dashboard.
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "subgate"
    assert 'job="subgate"' in (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()


def test_a_network_policy_names_who_may_do_what() -> None:
    chart = rendered("full-values.yaml")
    spec = chart.one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"][0]["port"] for rule in spec["ingress"]] == ["s3", "admin"]
    assert all(rule["from"] for rule in spec["ingress"])
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 9000, 443, 9944, 6380}


def test_a_changed_configuration_begins_new_pods_only_if_asked() -> None:
    change = ("--set", "config.limits.object_bytes_min=2048")
    for values, is_anew in [("full-values.yaml", True), ("least-values.yaml", False)]:
        assert (rendered(values).pod != rendered(values, *change).pod) == is_anew, values


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def asked(url: str) -> tuple[int, str]:
    context = ssl.create_default_context()
    # As the kubelet asks.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


@pytest.mark.parametrize("values", ["file-values.yaml", "full-values.yaml"])
def test_the_probes_ask_what_the_server_answers(values: str, tmp_path: Path) -> None:
    chart = rendered(values)
    config = laid_out(chart, tmp_path)
    # Only on this machine, at free ports, and with nobody beyond it.
    ports = {port["name"]: free_port() for port in chart.container["ports"]}
    text = config.read_text()
    for port in chart.container["ports"]:
        text = text.replace(f'"0.0.0.0:{port["containerPort"]}"', f'"127.0.0.1:{ports[port["name"]]}"')
    text = re.sub(r'"(https?|rediss?|wss?)://[^"]*"', r'"\1://127.0.0.1:9"', text)
    text = re.sub(r"endpoints = \[.*\]", 'endpoints = ["ws://127.0.0.1:9"]', text).replace(
        "quorum = 2", "quorum = 1"
    )
    own = tmp_path / "own.toml"
    own.write_text(text)
    log = tmp_path / "log"
    environment = {
        "AWS_ACCESS_KEY_ID": "AK",
        "AWS_SECRET_ACCESS_KEY": "of-this-test-alone",
        "AWS_REGION": "us-east-1",
    }
    environment |= {"PATH": os.environ["PATH"], "SUBGATE_LOG": "info"}
    command = [SUBGATE, "serve", "--config", own, "--log-format", "json"]
    with log.open("w") as output, subprocess.Popen(command, stderr=output, env=environment) as server:
        try:
            wait_until_it_listens(server, log)
            for kind, statuses in [("startupProbe", 200), ("livenessProbe", 200), ("readinessProbe", 503)]:
                get = chart.container[kind]["httpGet"]
                url = f"{get['scheme'].lower()}://127.0.0.1:{ports[get['port']]}{get['path']}"
                status, body = asked(url)
                # There is no store: the process lives and is not ready, in the words of that endpoint.
                assert status == statuses and ("Not ready" in body) == (statuses == 503), (kind, body)
        finally:
            server.kill()


def wait_until_it_listens(server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while '"accepting connections"' not in log.read_text():
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("values", "more", "says"),
    [
        ("least", "plaintext=false", "tls.secretName is missing"),
        ("least", "tls.secretName=a", "exclude each other"),
        ("least", "admin.enabled=true", "needs tls.secretName"),
        ("least", "serviceMonitor.enabled=true", "needs admin.enabled"),
        ("least", "ingress.hosts=null", "ingress.hosts"),
        ("least", "networkPolicy.enabled=true", "networkPolicy.egress"),
        ("least", "config.server.listen=0.0.0.0:1", "config.server.listen is set by the chart"),
        ("least", "config.server.drain_seconds_max=1", "use termination.drainSecondsMax"),
        ("least", "config.limits.shared.on_outage=local", "only with redis.url"),
        ("full", "config.limits.shared.url=redis://a", "use redis.url"),
        ("full", "config.server.tls.certificates[0].key=a", "use tls.secretName"),
        ("full", "admin.enabled=false,serviceMonitor.enabled=false", "the kubelet has no certificate"),
        ("least", "secrets.existingSecret=", "/secrets/existingSecret"),
        ("least", "image.repository=", "/image/repository"),
        ("least", "config.bucket.name=", "/config/bucket/name"),
        ("least", "config.servers.hosts=a", "servers"),
        ("least", "replicas=3", "replicas"),
        ("least", "termination.drainSecondsMax=soon", "/termination/drainSecondsMax"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: str, more: str, says: str) -> None:
    done = helm(
        "template", "r", str(CHART), "--values", str(CHART / "ci" / f"{values}-values.yaml"), "--set", more
    )
    assert done.returncode != 0 and says in done.stderr, done.stderr
    assert not done.stdout
