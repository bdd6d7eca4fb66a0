"""The wheel, as `pip install subgate` gives it to a miner."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

PACKAGES = Path(os.environ["SUBGATE_PACKAGES"])
ROOT = Path(__file__).parents[2]
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]

# Newer than what is tested elsewhere does not matter: it is the wheel that is tried.
BOTO3 = "boto3==1.43.0"


def only(pattern: str) -> Path:
    found = list(PACKAGES.glob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that has the wheel and boto3."""
    place = tmp_path_factory.mktemp("venv") / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [place / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", only("*.whl")], check=True)
    subprocess.run([*pip, BOTO3], check=True)
    return place


@pytest.fixture
def dev(venv: Path, tmp_path: Path) -> Iterator[dict]:
    """`subgate dev` out of the wheel."""
    data = tmp_path / "dev"
    command = [venv / "bin/subgate", "dev", "--listen", "127.0.0.1:0", "--data", data]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not (data / "dev.json").exists():
            assert process.poll() is None and time.monotonic() < end, "it does not start"
            time.sleep(0.05)
        yield json.loads((data / "dev.json").read_text())
    finally:
        process.terminate()
        assert process.wait(30) == 0


def environment(**more: str) -> dict[str, str]:
    """Without what a developer's shell says of AWS and of Subgate."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SUBGATE_"))}
    return own | more


def test_the_wheel_holds_the_program_its_licences_and_nothing_else() -> None:
    wheel = zipfile.ZipFile(only("*.whl"))
    info = f"subgate-{CARGO['version']}.dist-info"
    data = f"subgate-{CARGO['version']}.data"
    assert sorted(wheel.namelist()) == [
        f"{data}/scripts/subgate",
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/WHEEL",
        f"{info}/licenses/LICENSE-APACHE",
        f"{info}/licenses/LICENSE-MIT",
        "subgate/__init__.py",
        "subgate/__main__.py",
    ]
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert (metadata["Name"], metadata["Version"]) == ("subgate", CARGO["version"])
    assert metadata["License-Expression"] == CARGO["license"]
    assert metadata["Summary"] == CARGO["description"]
    assert metadata.get_all("Requires-Dist") is None
    assert "pip install subgate" in metadata.get_payload()
    tag = Parser().parsestr(wheel.read(f"{info}/WHEEL").decode())["Tag"]
    assert tag.startswith("py3-none-manylinux_2_"), tag


def test_the_program_runs_by_its_name_and_as_a_module(venv: Path) -> None:
    python = venv / "bin/python"
    for command in ([venv / "bin/subgate"], [python, "-m", "subgate"]):
        run = subprocess.run([*command, "--version"], env=environment(), capture_output=True, text=True)
        assert (run.returncode, run.stdout) == (0, f"subgate {CARGO['version']}\n")
        # The exit code is the program's own.
        assert subprocess.run([*command, "bogus"], env=environment(), capture_output=True).returncode == 64


def test_boto3_has_its_credentials_from_the_wheel(venv: Path, dev: dict, tmp_path: Path) -> None:
    miner = next(identity for identity in dev["identities"] if identity["name"] == "miner-a")
    config = tmp_path / "config"
    # As a miner writes it who has it by pip.
    config.write_text(
        "[default]\nregion = us-east-1\n"
        f"credential_process = {venv}/bin/python -m subgate credentials --wallet-path {dev['wallets']} "
        f"--wallet-name miner-a --endpoint {dev['endpoint']} --cache-dir {tmp_path}/cache\n"
    )
    program = """
import sys, boto3
endpoint, bucket, key = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint)
s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 2000)
print(s3.get_object(Bucket=bucket, Key=key)["ContentLength"])
try:
    s3.list_objects_v2(Bucket=bucket, Prefix="data/")
except s3.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""
    key = miner["folders"][0] + "one.bin"
    arguments = [venv / "bin/python", "-c", program, dev["endpoint"], dev["bucket"], key]
    own = environment(AWS_CONFIG_FILE=str(config), AWS_SHARED_CREDENTIALS_FILE="/nonexistent", NO_PROXY="*")
    run = subprocess.run(arguments, env=own, capture_output=True, text=True)
    assert run.stdout.split() == ["2000", "AccessDenied"], run.stderr


def test_checksums_are_those_of_the_files_and_the_tarball_is_whole() -> None:
    lines = only("SHA256SUMS").read_text().splitlines()
    named = {name: digest for digest, name in (line.split("  ") for line in lines)}
    there = {path.name for path in PACKAGES.iterdir()} - {"SHA256SUMS"}
    assert set(named) == there and len(there) == 4
    for name, digest in named.items():
        assert hashlib.sha256((PACKAGES / name).read_bytes()).hexdigest() == digest, name
    names = tarfile.open(only("*.tar.gz")).getnames()
    folder = names[0].split("/")[0]
    for name in ("subgate", "LICENSE-MIT", "proxy.toml", "man/subgate-serve.1", "completions/_subgate",
                 "docs/operator.md", "systemd/subgate.service"):
        assert f"{folder}/{name}" in names, name
