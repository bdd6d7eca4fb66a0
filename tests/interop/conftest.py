"""Targets (each started once), identities, clients and files."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pytest

import servers
from clients import Account, Client
from files import LARGE_BYTES
from hub import Hub, start_hub
from servers import CACHE, SUBGATE, Server, Target

TARGETS: dict[str, Callable[[Path], Target]] = {
    # The embedded store of `subgate dev`.
    "dev": servers.dev_target,
    # The same over TLS, by name.
    "dev-tls": servers.dev_tls_target,
    # `subgate serve` in front of a real MinIO.
    "minio": servers.serve_target,
    # The same, ending TLS by itself.
    "tls": servers.tls_target,
    # The same with nginx in front, which ends TLS.
    "nginx": servers.nginx_target,
}

STORES = ("dev", "minio")
# These run with `--matrix` alone.
MATRIX_TARGETS = ("dev-tls",)

LOGS = CACHE / "logs"


def pytest_addoption(parser: pytest.Parser) -> None:
    names = ",".join(TARGETS)
    parser.addoption("--targets", default=names, help=f"which of {names} to run against")
    parser.addoption("--matrix", action="store_true", help="each client on each target: takes long")


def pytest_configure(config: pytest.Config) -> None:
    # Those of the run before; pytest-xdist's workers find it done.
    if not hasattr(config, "workerinput"):
        shutil.rmtree(LOGS, ignore_errors=True)
    if not SUBGATE.exists():
        raise pytest.UsageError(f"no Subgate at {SUBGATE}: build it, or name it in SUBGATE_BIN")
    unknown = set(config.getoption("--targets").split(",")) - set(TARGETS)
    if unknown:
        raise pytest.UsageError(f"--targets knows {', '.join(TARGETS)}, not {', '.join(unknown)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--matrix"):
        return
    later = [item for item in items if item.get_closest_marker("matrix")]
    config.hook.pytest_deselected(items=later)
    items[:] = [item for item in items if not item.get_closest_marker("matrix")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`target` runs over both stores, or over what the test names by `@pytest.mark.targets(…)`."""
    if "target" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("targets")
    chosen = metafunc.config.getoption("--targets").split(",")
    names = [name for name in (marker.args if marker else STORES) if name in chosen]
    marks = {name: pytest.mark.matrix for name in MATRIX_TARGETS}
    values = [pytest.param(name, marks=marks.get(name, ())) for name in names]
    metafunc.parametrize("target", values, indirect=True, scope="session")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Target]]:
    """Starts a target at its first use, ends all of them, and keeps their logs below the cache directory."""
    started: dict[str, Target] = {}
    failed: dict[str, Exception] = {}

    def start(name: str) -> Target:
        # A target that does not start fails all of its tests at once, not each after its own wait.
        if name in failed:
            raise failed[name]
        if name not in started:
            try:
                started[name] = TARGETS[name](tmp_path_factory.mktemp(name))
            except Exception as error:
                failed[name] = error
                raise
        return started[name]

    yield start
    # Each of pytest-xdist's workers has targets of its own.
    logs = LOGS / os.environ.get("PYTEST_XDIST_WORKER", "")
    logs.mkdir(parents=True, exist_ok=True)
    # All of them, before anything can fail: whoever is left would run on.
    for server in reversed(Server.started):
        server.stop()
    for server in Server.started:
        # That of a server which one test had to itself is gone with the test's directory, where it passed.
        if server.log.exists():
            shutil.copy(server.log, logs / f"{server.log.parent.name}-{server.log.name}")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, running: Callable[[str], Target]) -> Target:
    return running(request.param)


class Accounts:
    """The development identities at one target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __getitem__(self, name: str) -> Account:
        return Account(self._target, self._target.identities[name])

    @cached_property
    def miner(self) -> Account:
        return self["miner-a"]

    @cached_property
    def other_miner(self) -> Account:
        return self["miner-b"]

    @cached_property
    def sibling(self) -> Account:
        """Another hotkey of the miner's coldkey."""
        return self["miner-a2"]

    @cached_property
    def validator(self) -> Account:
        return self["validator"]

    @cached_property
    def stranger(self) -> Account:
        return self["stranger"]


@pytest.fixture(scope="session")
def accounts(target: Target) -> Accounts:
    return Accounts(target)


@pytest.fixture
def connect(tmp_path: Path) -> Callable[[type[Client], Account], Client]:
    """Makes a client for an account, with a scratch directory of its own."""

    def make(kind: type[Client], account: Account) -> Client:
        scratch = tmp_path / f"{kind.name}-{account.identity.name}"
        scratch.mkdir(exist_ok=True)
        return kind(account, scratch)

    return make


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """An empty Hub of HuggingFace's kind, for one test."""
    yield from start_hub(tmp_path / "hub")


@pytest.fixture
def unique() -> str:
    """A part of a key that no other test uses."""
    return uuid.uuid4().hex[:12]


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    file = tmp_path / "small.parquet"
    file.write_bytes(os.urandom(20_000))
    return file


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "large.parquet"
    file.write_bytes(os.urandom(LARGE_BYTES))
    return file
