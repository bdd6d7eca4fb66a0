"""What rclone does beyond the verbs of every client: copies within the server, and folders kept alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from checks import DENIED
from clients import Account, Client, Rclone, Refused
from conftest import Accounts
from files import MIB, pattern
from servers import Target

Connect = Callable[[type[Client], Account], Client]

pytestmark = pytest.mark.targets("dev", "dev-tls", "minio", "tls")


def test_copies_stay_within_the_server(
    target: Target, accounts: Accounts, connect: Connect, unique: str
) -> None:
    """A folder from one source's to the other's; a large file goes there in parts, and never to the client."""
    client = connect(Rclone, accounts.miner)
    assert isinstance(client, Rclone)
    source = f"{accounts.miner.identity.folder('x')}{unique}/"
    copy = f"{accounts.miner.identity.folder('reddit')}{unique}/"
    bodies = {"a b/größe.parquet": pattern(4000), "hotkey=5A/large": os.urandom(20 * MIB)}
    for name, body in bodies.items():
        target.store.write(source + name, body)
    report = client.scratch / "copy.log"
    log = ("--log-file", report, "--log-level", "INFO")
    parts = ("--s3-copy-cutoff", "8M", "--s3-chunk-size", "8M")
    client.rclone("copy", *log, *parts, client.remote(source), client.remote(copy))
    lines = [line for line in report.read_text().splitlines() if "Copied (" in line]
    assert len(lines) == 2 and all("server-side copy" in line for line in lines), lines
    for name, body in bodies.items():
        assert target.store.read(copy + name) == body
    client.rclone("move", client.remote(copy), client.remote(f"{source}moved/"))
    assert target.store.keys(copy) == []
    assert target.store.read(f"{source}moved/hotkey=5A/large") == bodies["hotkey=5A/large"]


def test_bisync(
    target: Target, accounts: Accounts, connect: Connect, unique: str, tmp_path: Path
) -> None:
    client = connect(Rclone, accounts.miner)
    assert isinstance(client, Rclone)
    prefix, folder = f"{accounts.miner.folder}{unique}/", tmp_path / "folder"

    def keep(name: str, text: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pattern(3000, text))

    def bisync(*more: str) -> None:
        client.rclone("bisync", folder, client.remote(prefix), "--workdir", tmp_path / "work", *more)

    keep("here/one.parquet", "one")
    target.store.write(f"{prefix}there/two.parquet", pattern(3000, "two"))
    bisync("--resync")
    assert target.store.read(f"{prefix}here/one.parquet") == pattern(3000, "one")
    assert (folder / "there/two.parquet").read_bytes() == pattern(3000, "two")

    # Times are whole seconds at a store that tells no others.
    time.sleep(1.1)
    keep("new é.parquet", "new")
    (folder / "here/one.parquet").unlink()
    target.store.write(f"{prefix}there/two.parquet", pattern(4000, "changed"))
    target.store.write(f"{prefix}there/three.parquet", pattern(3000, "three"))
    bisync()
    names = ["new é.parquet", "there/three.parquet", "there/two.parquet"]
    assert target.store.keys(prefix) == [prefix + name for name in names]
    found = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    assert sorted(found) == names
    assert (folder / "there/two.parquet").read_bytes() == pattern(4000, "changed")


def test_a_validator_keeps_a_copy_and_changes_nothing(
    target: Target, accounts: Accounts, connect: Connect, unique: str, tmp_path: Path
) -> None:
    client = connect(Rclone, accounts.validator)
    assert isinstance(client, Rclone)
    prefix, folder = f"{accounts.miner.folder}{unique}/", tmp_path / "folder"
    for name in ("a/one", "b/two"):
        target.store.write(prefix + name, pattern(3000, name))
    client.rclone("sync", client.remote(prefix), folder)
    assert (folder / "b/two").read_bytes() == pattern(3000, "b/two")
    (folder / "a/one").unlink()
    with pytest.raises(Refused, match=DENIED):
        client.rclone("sync", folder, client.remote(prefix))
    assert target.store.keys(prefix) == [f"{prefix}a/one", f"{prefix}b/two"]
