"""The SBOM of the release: what somebody else's tools make of it."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

PACKAGES = Path(os.environ["SUBGATE_PACKAGES"])
ROOT = Path(__file__).parents[2]
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
LOCK = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]


@pytest.fixture
def text() -> str:
    return (PACKAGES / f"subgate-{CARGO['version']}.cdx.json").read_text()


def test_the_wheel_says_nothing_of_where_it_was_built() -> None:
    (wheel,) = PACKAGES.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            assert str(ROOT).encode() not in files.read(name), name


def dependencies() -> set[tuple[str, str]]:
    """Names and versions of the crates that cargo compiles into the program."""
    command = ["cargo", "tree", "--locked", "--package", "subgate", "--edges", "normal"]
    listed = subprocess.run(
        [*command, "--prefix", "none", "--format", "{p}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    pairs = {(line.split()[0], line.split()[1].removeprefix("v")) for line in listed if line}
    return pairs - {("subgate", CARGO["version"])}


def test_it_is_cyclonedx_and_is_of_this_version(text: str) -> None:
    document = json.loads(text)
    version = SchemaVersion.from_version(document["specVersion"])
    assert (fault := JsonStrictValidator(version).validate_str(text)) is None, fault
    described = document["metadata"]["component"]
    assert (described["name"], described["version"]) == ("subgate", CARGO["version"])
    # Where it was built is nobody's business.
    assert str(ROOT) not in text and str(Path.home()) not in text


def test_it_has_every_crate_of_the_program_in_the_version_that_is_locked(text: str) -> None:
    listed = {(part["name"], part["version"]) for part in json.loads(text)["components"]}
    assert len(dependencies()) > 100
    assert dependencies() <= listed
    assert listed <= {(package["name"], package["version"]) for package in LOCK}
