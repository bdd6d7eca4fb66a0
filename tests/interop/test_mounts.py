"""Folders mounted by rclone and by s3fs-fuse. Without FUSE these cannot run, and say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from clients import mounts
from conftest import Accounts
from files import MIB, digest, pattern
from servers import Target, wait_until

pytestmark = [
    pytest.mark.targets("dev", "dev-tls", "minio", "tls"),
    pytest.mark.skipif(bool(mounts.missing()), reason=f"no mounts here: {mounts.missing()}"),
]

NAMES = ("one.parquet", "hotkey=5Abc/job_id=1/data.parquet", "a b+c/größe 数据.parquet")


def arrive(target: Target, prefix: str, names: list[str]) -> None:
    wait_until(lambda: target.store.keys(prefix) == sorted(prefix + name for name in names), 20, f"{names}")


def has(target: Target, key: str, content: bytes) -> bool:
    """Whether the object has that content now; a store on a file system may replace it in two steps."""
    try:
        return target.store.read(key) == content
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return False


def test_rclone_mount_of_a_miner(target: Target, accounts: Accounts, unique: str, tmp_path: Path) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    large = os.urandom(20 * MIB + 5)
    with mounts.rclone_mount(accounts.miner, tmp_path, prefix) as mount:
        for name in NAMES:
            (mount.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (mount.folder / name).write_bytes(pattern(5000, name))
        arrive(target, prefix, list(NAMES))
        for name in NAMES:
            assert target.store.read(prefix + name) == pattern(5000, name)

        # What it kept for itself is not what the store has.
        (mount.folder / NAMES[0]).write_bytes(pattern(6000, "again"))
        wait_until(lambda: has(target, prefix + NAMES[0], pattern(6000, "again")), 20, "overwritten")

        (mount.folder / "large").write_bytes(large)
        wait_until(lambda: prefix + "large" in target.store.keys(prefix), 20, "the large file")
        assert target.store.read(prefix + "large") == large

        (mount.folder / NAMES[0]).rename(mount.folder / "renamed.parquet")
        (mount.folder / "large").unlink()
        arrive(target, prefix, ["renamed.parquet", *NAMES[1:]])
        assert target.store.read(prefix + "renamed.parquet") == pattern(6000, "again")


def test_rclone_mount_of_a_validator(
    target: Target, accounts: Accounts, unique: str, large_file: Path, tmp_path: Path
) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    for name in NAMES:
        target.store.write(prefix + name, pattern(5000, name))
    target.store.write(prefix + "large", large_file.read_bytes())
    with mounts.rclone_mount(accounts.validator, tmp_path, "data/") as mount:
        folder = mount.folder / prefix.removeprefix("data/")
        found = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
        assert sorted(found) == sorted(["large", *NAMES])
        for name in NAMES:
            assert (folder / name).read_bytes() == pattern(5000, name)
        assert digest(folder / "large") == digest(large_file)
        with (folder / "large").open("rb") as stream, large_file.open("rb") as local:
            for position in (40 * MIB, 17, 63 * MIB):
                stream.seek(position)
                local.seek(position)
                assert stream.read(5000) == local.read(5000)

        # The upload is later than the write: only the log can say that it was refused.
        (folder / "evil").write_bytes(pattern(5000))
        wait_until(lambda: "evil: Failed to copy" in mount.log(), 20, "a refusal in the log")
        assert "AccessDenied" in mount.log()
        with pytest.raises(OSError):
            (folder / NAMES[0]).unlink()
    assert sorted(target.store.keys(prefix)) == sorted(prefix + name for name in ["large", *NAMES])


@pytest.mark.matrix
def test_s3fs_fuse_of_a_validator(target: Target, accounts: Accounts, unique: str, tmp_path: Path) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    for name in NAMES:
        target.store.write(prefix + name, pattern(50_000, name))
    with mounts.s3fs_mount(accounts.validator, tmp_path) as mount:
        folder = mount.folder / prefix.removeprefix("data/")
        found = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
        assert sorted(found) == sorted(NAMES)
        for name in NAMES:
            with (folder / name).open("rb") as stream:
                assert stream.read() == pattern(50_000, name)
                stream.seek(20_000)
                assert stream.read(100) == pattern(50_000, name)[20_000:20_100]
        with pytest.raises(PermissionError):
            (folder / "evil").write_bytes(pattern(5000))
        with pytest.raises(PermissionError):
            (folder / NAMES[0]).unlink()
    assert sorted(target.store.keys(prefix)) == sorted(prefix + name for name in NAMES)
