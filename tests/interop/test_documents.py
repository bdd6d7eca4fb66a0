"""The documents are run as a reader pastes them: block by block, in one shell, with the reader's wallet.

What stands for the reader's own (the server's URL, the coldkey `5F…`) is replaced; nothing else is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from documents import RUN, Block, blocks_of
from hub import USER, Hub
from servers import BIN, SUBGATE, Identity, Target, free_port, serve_config

ROOT = Path(__file__).resolve().parents[2]
BLOCK_SECONDS_MAX = 120

# Who reads it, by the identity of `subgate dev` whose wallet that reader has.
READERS = {
    "miner.md": "miner-a",
    "validator.md": "validator",
    "operator.md": "miner-a",
    # The validator's wallet is there beside the miner's.
    "migrate.md": "miner-a",
}

# Made from what `subgate setup` prints, which the clients' own tests run.
RUN_ELSEWHERE = ("clients.md",)


@dataclass
class Reader:
    """Somebody with a home, a wallet, a shell, files to upload, and a server to operate."""

    target: Target
    identity: Identity
    # The miner of whom the document speaks as `5F…`.
    miner: Identity
    home: Path
    operates: bool = False
    going_on: list[subprocess.Popen] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tools = self.home / "bin"
        tools.mkdir()
        for name, tool in {
            "subgate": SUBGATE,
            "aws": BIN / "aws1",
            "rclone": BIN / "rclone",
            "s3cmd": BIN / "s3cmd",
            "python": Path(sys.executable),
        }.items():
            # Not a link: Python finds its environment by the path of its program.
            (tools / name).write_text(f'#!/bin/sh\nexec {tool} "$@"\n')
            (tools / name).chmod(0o755)
        wallets = self.home / ".bittensor" / "wallets"
        wallets.mkdir(parents=True)
        for name, identity in {
            "miner": self.miner.name,
            "validator": "validator",
            "my-test-miner": self.identity.name,
        }.items():
            (wallets / name).symlink_to(self.target.wallets / identity)
        work = self.home / "work"
        for folder in ("today", "certs"):
            (work / folder).mkdir(parents=True)
        for name in ("one.parquet", "today/a.parquet", "today/b.parquet"):
            pyarrow.parquet.write_table(pyarrow.table({"id": range(1000)}), work / name)
        self.target.store.write(f"{self.miner.folder()}a.parquet", (work / "one.parquet").read_bytes())
        self.prepare_to_operate(work)
        self.environment = self.target.environment() | {
            "HOME": str(self.home),
            "PATH": f"{tools}:/usr/bin:/bin",
            "REQUESTS_CA_BUNDLE": str(self.target.ca or ""),
            "EDITOR": f"cp --no-preserve=mode {work / 'edited.toml'}",
            "AWS_ACCESS_KEY_ID": self.target.store.access_key,
            "AWS_SECRET_ACCESS_KEY": self.target.store.secret_key,
        }
        if self.operates:
            return
        # Whoever is no operator has no credentials but those of a session.
        del self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]

    def prepare_to_operate(self, work: Path) -> None:
        """A configuration as the operator's editor leaves it, in front of the same store, and a log."""
        (work / "proxy.toml").write_text((ROOT / "proxy.toml").read_text())
        (work / "registry.json").write_text(self.target.registry.read_text())
        text = serve_config(free_port(), self.target.store, work, ())
        (work / "edited.toml").write_text(text)
        logged = (self.target.data / "serve.log").read_text().splitlines()
        (work / "access.log").write_text("\n".join(line for line in logged if line.startswith("{")))

    def own(self, text: str) -> str:
        """The text with what is this reader's in the place of what stands for it."""
        for placeholder, value in {
            "https://s3.example.com": self.target.endpoint,
            "s3.example.com": self.target.host,
            "data-universe": self.target.bucket,
            "NEW_COLDKEY": self.identity.coldkey,
            "5F…": self.miner.coldkey,
            "5H…": self.miner.hotkey,
            "http://127.0.0.1:8015": self.target.admin,
        }.items():
            text = text.replace(placeholder, value)
        return text

    def save(self, block: Block) -> None:
        path = Path(block.argument.replace("~", str(self.home), 1))
        path = path if path.is_absolute() else self.home / "work" / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.own(block.text))

    def run(self, block: Block) -> None:
        """Runs it; what it exports stays for the blocks that follow, as in a terminal."""
        text = self.own(block.text)
        script = self.home / ("block.py" if block.language == "python" else "block.sh")
        script.write_text(text)
        exported = self.home / "exported"
        if block.language == "python":
            command = [sys.executable, str(script)]
        else:
            command = ["bash", "-euo", "pipefail", "-c", f'source "{script}"; env -0 >"{exported}"']
        process = subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.home / "work",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if block.mark == "until":
            self.going_on.append(process)
            said = said_until(process, block.argument)
            assert block.argument in said, f"{block} never said {block.argument!r}:\n{text}\n{said}"
            return
        try:
            said = process.communicate(timeout=BLOCK_SECONDS_MAX)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said = process.communicate()[0].decode(errors="replace")
            pytest.fail(f"{block} did not end in {BLOCK_SECONDS_MAX} s:\n{text}\n{said}")
        assert process.returncode == 0, f"{block} exited {process.returncode}:\n{text}\n{said}"
        if exported.exists():
            pairs = exported.read_text().split("\0")
            self.environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            exported.unlink()


def said_until(process: subprocess.Popen, awaited: str) -> str:
    """What it printed until then."""
    os.set_blocking(process.stdout.fileno(), False)
    said, deadline = "", time.monotonic() + BLOCK_SECONDS_MAX
    while awaited not in said and time.monotonic() < deadline and process.poll() is None:
        said += (process.stdout.read() or b"").decode(errors="replace")
        time.sleep(0.05)
    return said


@pytest.fixture
def readers() -> Iterator[list[Reader]]:
    """Whoever read something; what they left going on is ended."""
    read: list[Reader] = []
    yield read
    for process in (process for reader in read for process in reader.going_on):
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.targets("tls")
@pytest.mark.parametrize("name", READERS)
def test_every_command_works_as_it_stands(
    name: str, target: Target, hub: Hub, tmp_path: Path, subtests: pytest.Subtests, readers: list[Reader]
) -> None:
    identities = target.identities
    home = tmp_path / "home"
    home.mkdir()
    reader = Reader(target, identities[READERS[name]], identities["miner-a"], home, name == "operator.md")
    readers.append(reader)
    # What the reader of `migrate.md` has at the Hub.
    hub.order(dataset={"id": f"{USER}/x_dataset_7", "visibility": "public"})
    hub.order(chunks={"id": f"{USER}/x_dataset_7", "files": 5, "bytes": 5000})
    reader.environment |= hub.environment()
    ran = 0
    for block in blocks_of(ROOT / "docs" / name, name):
        with subtests.test(str(block)):
            if block.mark == "saved as":
                reader.save(block)
            elif block.language in RUN and block.mark != "not run":
                ran += 1
                reader.run(block)
    assert ran >= 5, f"{name} has hardly a command"


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md") if page.name not in RUN_ELSEWHERE),
    ],
)
def test_every_command_is_run_or_says_why_not(document: str) -> None:
    blocks = blocks_of(ROOT / document, document)
    nobodys = [
        str(block)
        for block in blocks
        if block.language in RUN and block.mark != "not run" and Path(document).name not in READERS
    ]
    assert not nobodys, f"no reader runs these, and none says why: {', '.join(nobodys)}"
