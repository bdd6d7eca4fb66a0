"""The image, and deploy/compose.yaml around it: built, run under podman, used by boto3."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ["SUBGATE_IMAGE_CACHE"])
SUBGATE = Path(os.environ["SUBGATE_BIN"]).resolve()
TOOLS = CACHE / "venv" / "bin"
IS_FROM_SOURCE = bool(os.environ.get("SUBGATE_IMAGE_FROM_SOURCE"))

IMAGE, MINIO, REDIS = (
    "localhost/subgate-test:latest",
    "localhost/minio-test:latest",
    "localhost/redis-test:latest",
)
BUCKET = "data-universe"
# Of the wallet "plain" in tests/fixtures/wallets, and another's.
HOTKEY = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi"
OTHER = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA"
START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 40

# What cargo gets told is looked at, and the binary is put where it would put it.
STAND_IN = """#!/bin/sh
set -eu
made=target/dist platform=
if [ -e image.profdata ]; then
    made=target/some-machine/dist platform=' --target some-machine'
    echo "cargo is told of $(cat "${RUSTFLAGS#-Cprofile-use=}")"
fi
[ "$*" = "build --locked --profile dist --no-default-features --features jemalloc --bin subgate$platform" ]
[ -f Cargo.lock ] && [ -f src/main.rs ] && [ -f tests/fuzz/Cargo.toml ]
[ ! -e .git ] && [ ! -e certs ] && [ ! -e tests/interop ] && [ ! -e target/debug ]
mkdir -p "$made" && cp /opt/subgate "$made/subgate"
"""
STAND_IN_COMPILER = """#!/bin/sh
[ "$*" = "--print host-tuple" ] && echo some-machine
"""
# A build that is quick rather than good: what is tried is the Dockerfile.
QUICK = """
[profile.dist]
opt-level = 0
lto = "off"
debug = false
strip = "symbols"
codegen-units = 16
"""


@dataclass(frozen=True)
class Podman:
    """podman and buildah with a storage, a runtime and networks of their own."""

    environment: dict[str, str]

    def run(self, *command: str | Path, ok: bool = True, **more: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=1800, **more
        )
        assert not ok or done.returncode == 0, (
            f"{' '.join(words)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done

    def __call__(self, *arguments: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
        return self.run("podman", *arguments, **more)

    def inspect(self, name: str) -> dict:
        (found,) = json.loads(self("inspect", name).stdout)
        return found


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("containers")
    # runc knows control groups of both versions, and no limit is raised above what this machine allows.
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{folder}/networks"\n'
    )
    storage = CACHE / "storage"
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}"\nrunroot = "{folder}/run"\n'
    )
    (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    podman = Podman(
        os.environ
        | {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "BUILDAH_RUNTIME": "runc",
            "TMPDIR": str(folder),
        }
    )
    yield podman
    podman("rm", "--all", "--force", "--time", "1", ok=False)
    podman("network", "prune", "--force", ok=False)
    podman("image", "prune", "--force", ok=False)


def base_of(podman: Podman, folder: str) -> str:
    """An image of a folder's files, kept for the next run."""
    name = f"localhost/{folder}-base"
    if podman("image", "exists", name, ok=False).returncode != 0:
        container = podman.run("buildah", "from", "scratch").stdout.strip()
        podman.run("buildah", "add", "--quiet", container, CACHE / folder, "/")
        podman.run("buildah", "commit", "--quiet", "--rm", "--format", "docker", container, name)
    return name


def image_of(podman: Podman, name: str, base: str, *steps: list[str | Path]) -> None:
    """An image on another, by steps of buildah, in which "it" stands for the container."""
    container = podman.run("buildah", "from", "--pull-never", base).stdout.strip()
    for verb, *words in steps:
        rest = [container if word == "it" else word for word in words]
        podman.run("buildah", verb, *rest)
    podman.run("buildah", "commit", "--quiet", "--rm", "--format", "docker", container, name)


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("build")
    runtime = base_of(podman, "runtime")
    cargo_home = folder / "cargo"
    (cargo_home / "bin").mkdir(parents=True)
    steps: list[list[str | Path]] = [
        ["config", "--env", "PATH=/usr/local/cargo/bin:/usr/sbin:/usr/bin:/sbin:/bin", "it"]
    ]
    if IS_FROM_SOURCE:
        found = subprocess.run(
            ["rustc", "--print", "sysroot"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        sysroot = Path(found.stdout.strip())
        (cargo_home / "config.toml").write_text(QUICK)
        for name in ["cargo", "rustc"]:
            (cargo_home / "bin" / name).symlink_to(f"/usr/local/rust/bin/{name}")
        steps += [["add", "--quiet", "it", sysroot, "/usr/local/rust"]]
        # The way to the crates may lead past an authority that this machine alone trusts.
        authorities = "/etc/ssl/certs/ca-certificates.crt"
        steps += [["copy", "--quiet", "it", authorities, authorities]]
        steps += [
            [
                "run",
                "--network",
                "host",
                "it",
                "sh",
                "-c",
                "apt-get update -qq && apt-get install -y -qq gcc g++ make",
            ]
        ]
    else:
        for name, stand_in in [("cargo", STAND_IN), ("rustc", STAND_IN_COMPILER)]:
            (cargo_home / "bin" / name).write_text(stand_in)
            (cargo_home / "bin" / name).chmod(0o755)
        steps += [["copy", "--quiet", "it", SUBGATE, "/opt/subgate"]]
    steps += [["config", "--env", "CARGO_HOME=/usr/local/cargo", "it"]]
    steps += [["add", "--quiet", "it", cargo_home, "/usr/local/cargo"]]
    image_of(podman, "localhost/rust-test", base_of(podman, "debian"), *steps)
    podman.run(
        *["buildah", "build", "--format", "docker", "--pull-never", "--no-cache"],
        *["--network", "host" if IS_FROM_SOURCE else "none", "--tag", IMAGE],
        *["--build-arg", "RUST_IMAGE=localhost/rust-test", "--build-arg", f"RUNTIME_IMAGE={runtime}", ROOT],
    )
    return IMAGE


@pytest.mark.skipif(IS_FROM_SOURCE, reason="what is recorded here is nothing for a compiler")
def test_what_was_recorded_of_its_load_goes_into_the_build(
    podman: Podman, image: str, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    shutil.copytree(ROOT, context, ignore=shutil.ignore_patterns("target", ".git", ".subgate"))
    (context / "image.profdata").write_text("recorded counts")
    built = podman.run(
        *["buildah", "build", "--format", "docker", "--pull-never", "--no-cache", "--network", "none"],
        *["--target", "build", "--build-arg", "RUST_IMAGE=localhost/rust-test", context],
    )
    assert "cargo is told of recorded counts" in built.stdout + built.stderr


def test_linters_find_nothing_to_complain_of() -> None:
    subprocess.run([TOOLS / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile"], check=True)
    schema = ["--builtin-schema", "vendor.compose-spec"]
    subprocess.run([TOOLS / "check-jsonschema", *schema, ROOT / "deploy" / "compose.yaml"], check=True)
    for script in ["prepare", "setup/store-setup"]:
        subprocess.run(["sh", "-n", ROOT / "deploy" / "compose" / script], check=True)


def test_the_image_holds_the_program_and_nothing_else(podman: Podman, image: str) -> None:
    found = podman.inspect(image)
    config = found["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/local/bin/subgate"] and config["Cmd"] == ["serve"]
    assert found["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/subgate", "healthcheck"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT OR Apache-2.0"
    mounted = Path(podman("image", "mount", image).stdout.strip())
    try:
        files = {str(path.relative_to(mounted)) for path in mounted.rglob("*") if not path.is_dir()}
        base = CACHE / "runtime"
        own = files - {str(path.relative_to(base)) for path in base.rglob("*") if not path.is_dir()}
        doc = "usr/share/doc/subgate"
        assert own == {"usr/local/bin/subgate", f"{doc}/LICENSE-APACHE", f"{doc}/LICENSE-MIT"}
        state = (mounted / "var/lib/subgate").stat()
        assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (65532, 65532, 0o700)
        program = (mounted / "usr/local/bin/subgate").stat()
        assert (program.st_uid, program.st_mode & 0o7777) == (0, 0o755)
    finally:
        podman("image", "unmount", image)


CONTAINED = [
    "--rm",
    "--read-only",
    "--cap-drop",
    "all",
    "--security-opt",
    "no-new-privileges",
    "--network",
    "none",
]


def test_it_says_what_is_missing(podman: Podman, image: str) -> None:
    done = podman("run", *CONTAINED, image, ok=False)
    assert done.returncode == 66 and "/etc/subgate/proxy.toml" in done.stderr, done.stderr
    done = podman("run", *CONTAINED, image, "healthcheck", ok=False)
    assert done.returncode == 1 and "http://127.0.0.1:8014/healthz cannot be reached" in done.stderr, (
        done.stderr
    )
    assert "serve" in podman("run", *CONTAINED, image, "--help").stdout
    done = podman("run", *CONTAINED, "--entrypoint", "/bin/sh", image, "-c", "true", ok=False)
    assert done.returncode == 127, "there is a shell"


def prepare(folder: Path) -> Path:
    """A copy of deploy/, prepared as the documents say."""
    deploy = folder / "deploy"
    ignored = shutil.ignore_patterns("helm", "config", "data", "secrets", "state", ".env")
    shutil.copytree(ROOT / "deploy", deploy, ignore=ignored)
    subprocess.run([deploy / "compose" / "prepare"], check=True, capture_output=True)
    return deploy


def test_secrets_are_made_once_and_for_one_user(tmp_path: Path) -> None:
    deploy, other = prepare(tmp_path / "a"), prepare(tmp_path / "b")
    secrets = sorted((deploy / "compose" / "secrets").iterdir())
    declared = yaml.safe_load((deploy / "compose.yaml").read_text())["secrets"]
    assert {deploy / secret["file"] for secret in declared.values()} == set(secrets)
    texts = {secret: secret.read_text() for secret in secrets}
    for secret, text in texts.items():
        status = secret.stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o600, 65532), secret
        assert text != (other / "compose" / "secrets" / secret.name).read_text(), secret
    subprocess.run([deploy / "compose" / "prepare"], check=True, capture_output=True)
    assert {secret: secret.read_text() for secret in secrets} == texts


def test_no_password_stands_in_the_compose_file() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    assert services.keys() == {"subgate", "store", "store-setup", "redis"}
    for name, service in services.items():
        for variable in service.get("environment", {}):
            assert variable.endswith("_FILE") or not re.search("PASSWORD|SECRET|USER|KEY", variable), variable
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert bool(service.get("ports")) == (name == "subgate"), name


def test_the_stores_policy_is_that_of_the_configuration(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "compose" / "proxy.toml").read_text()
    for name, secret in {
        "store.json": '{"access_key": "a", "secret_key": "b"}',
        "session.key": "0f" * 32,
    }.items():
        (tmp_path / name).write_text(secret)
    (tmp_path / "redis.password").write_text("of-this-test-alone")
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    config = tmp_path / "proxy.toml"
    config.write_text(
        text.replace("/run/secrets/", f"{tmp_path}/").replace("/var/lib/subgate", str(tmp_path))
    )
    command = [SUBGATE, "store", "policy", "--config", config, "--for", "minio"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == json.loads(
        (ROOT / "deploy" / "compose" / "setup" / "policy.json").read_text()
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(true: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)


@dataclass(frozen=True)
class Compose:
    """The services, as podman-compose starts them."""

    podman: Podman
    deploy: Path
    port: int

    def __call__(self, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
        return self.podman.run(TOOLS / "podman-compose", *arguments, cwd=self.deploy, **more)

    def name(self, service: str) -> str:
        return f"subgate_{service}_1"

    def is_healthy(self, service: str) -> bool:
        # Here is no systemd, whose timers podman asks by.
        return self.podman("healthcheck", "run", self.name(service), ok=False).returncode == 0

    def logs(self, service: str) -> str:
        done = self.podman("logs", "--tail", "40", self.name(service), ok=False)
        return done.stdout + done.stderr

    def wait_until_healthy(self, service: str) -> None:
        wait_until(lambda: self.is_healthy(service), lambda: self.logs(service))

    def client(self) -> object:
        """boto3 with a session of the miner's."""
        endpoint = f"http://127.0.0.1:{self.port}"
        command = [SUBGATE, "credentials", "--endpoint", endpoint, "--wallet-name", "plain", "--no-cache"]
        command += ["--wallet-path", ROOT / "tests" / "fixtures" / "wallets"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + self.logs("subgate")
        session = json.loads(done.stdout)
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )


@pytest.fixture(scope="module")
def compose(podman: Podman, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    programs = [
        ["copy", "--quiet", "--chmod", "755", "it", CACHE / "bin" / name, f"/usr/bin/{name}"]
        for name in ["minio", "mc"]
    ]
    start = ["config", "--entrypoint", '["/usr/bin/minio"]', "--env", "MC_CONFIG_DIR=/tmp/.mc", "it"]
    image_of(podman, MINIO, base_of(podman, "debian"), *programs, start)
    image_of(podman, REDIS, base_of(podman, "debian"))
    deploy, port = prepare(tmp_path_factory.mktemp("compose")), free_port()
    with (deploy / ".env").open("a") as env:
        env.write(f"SUBGATE_IMAGE={IMAGE}\nMINIO_IMAGE={MINIO}\nREDIS_IMAGE={REDIS}\nSUBGATE_PORT={port}\n")
    config = deploy / "compose" / "config"
    people = [{"name": name, "hotkey": name, "coldkey": name} for name in [HOTKEY, OTHER]]
    registry = {"identities": [person | {"validator_permit": False, "stake": 0} for person in people]}
    (config / "registry.json").write_text(json.dumps(registry))
    text = (
        (config / "proxy.toml")
        .read_text()
        .replace(':8014"', f':{port}"')
        .replace(f"0.0.0.0:{port}", "0.0.0.0:8014")
    )
    chain = 'source = "subtensor"\nnetuid = 13\nsnapshot_file = "/var/lib/subgate/chain-snapshot.json"\n'
    assert chain in text
    (config / "proxy.toml").write_text(text.replace(chain, 'source = "file"\nfile = "registry.json"\n'))
    compose = Compose(podman, deploy, port)
    try:
        # The order is that of `depends_on`, whose conditions this podman does not know.
        for service in ["store", "redis"]:
            compose("up", "--detach", "--no-deps", service)
            compose.wait_until_healthy(service)
        compose("up", "--detach", "--no-deps", "store-setup")
        ended = lambda: podman.inspect(compose.name("store-setup"))["State"]  # noqa: E731
        wait_until(lambda: ended()["Status"] == "exited", lambda: compose.logs("store-setup"))
        assert ended()["ExitCode"] == 0, compose.logs("store-setup")
        compose("up", "--detach", "--no-deps", "subgate")
        compose.wait_until_healthy("subgate")
        yield compose
    finally:
        compose("down", "--timeout", "1", ok=False)


def test_a_miner_uploads_through_compose(compose: Compose) -> None:
    client = compose.client()
    body, key = os.urandom(3_000_000), f"data/x/{HOTKEY}/a.bin"
    client.put_object(Bucket=BUCKET, Key=key, Body=body)
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"data/x/{HOTKEY}/")
    assert [entry["Key"] for entry in listed["Contents"]] == [key]
    with pytest.raises(ClientError) as refused:
        client.put_object(Bucket=BUCKET, Key=f"data/x/{OTHER}/a.bin", Body=body)
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert [
        path.name for path in (compose.deploy / "compose" / "data" / BUCKET / "data" / "x").iterdir()
    ] == [HOTKEY]


def test_processes_have_no_rights_of_their_own(compose: Compose) -> None:
    for service in ["subgate", "store", "redis"]:
        pid = compose.podman.inspect(compose.name(service))["State"]["Pid"]
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert set(status["Uid"].split()) == {"65532"} and set(status["Gid"].split()) == {"65532"}, service
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, service
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), service
        mounts = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text().splitlines()]
        assert all("ro" in mount[3].split(",") for mount in mounts if mount[1] == "/"), service
        words = Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
        for secret in (compose.deploy / "compose" / "secrets").iterdir():
            assert not any(line in words for line in secret.read_text().split()), (service, secret.name)


def test_the_stores_user_may_do_what_subgate_does_and_no_more(compose: Compose) -> None:
    secrets = compose.deploy / "compose" / "secrets"
    script = 'mc --quiet alias set own http://127.0.0.1:9000 >/dev/null && exec mc --quiet "$@"'

    def mc(*words: str) -> str:
        command = ["exec", "--interactive", "--env", "MC_CONFIG_DIR=/tmp/own", compose.name("store")]
        done = compose.podman(
            *command, "sh", "-c", script, "mc", *words, ok=False, input=(secrets / "store.user").read_text()
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr

    assert not mc("cp", "/etc/hostname", f"own/{BUCKET}/data/x/{HOTKEY}/by-hand")
    assert "Insufficient permissions" in mc("cp", "/etc/hostname", f"own/{BUCKET}/elsewhere")
    assert mc("mb", "own/another") and mc("admin", "user", "list", "own")


def test_replicas_would_count_in_redis_which_asks_for_its_password(compose: Compose) -> None:
    compose.client()
    script = "redis-cli dbsize; REDISCLI_AUTH=$(cat /run/secrets/redis.password) redis-cli dbsize"
    said = compose.podman("exec", compose.name("redis"), "sh", "-c", script).stdout.split()
    assert "NOAUTH" in said and int(said[-1]) > 0, said


def test_a_running_setup_can_be_repeated(compose: Compose) -> None:
    name = compose.name("store-setup")
    compose.podman("start", "--attach", name)
    assert compose.podman.inspect(name)["State"]["ExitCode"] == 0


def test_health_tells_a_store_that_is_away_from_a_server_that_is(compose: Compose) -> None:
    compose.podman("stop", "--time", "5", compose.name("store"))
    wait_until(lambda: not compose.is_healthy("subgate"), lambda: compose.logs("subgate"))
    # The process lives: what the image itself asks.
    compose.podman("exec", compose.name("subgate"), "/usr/local/bin/subgate", "healthcheck")
    compose.podman("start", compose.name("store"))
    compose.wait_until_healthy("subgate")


def test_it_drains_and_ends_by_itself(compose: Compose) -> None:
    name, start = compose.name("subgate"), time.monotonic()
    compose.podman("stop", "--time", "75", name)
    seconds = time.monotonic() - start
    state = compose.podman.inspect(name)["State"]
    # It announces its end for 5 seconds, and is not killed.
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False) and 5 <= seconds < STOP_SECONDS_MAX, (
        state,
        seconds,
    )
