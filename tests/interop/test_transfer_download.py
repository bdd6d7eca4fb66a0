"""`subgate download` and `subgate usage`: what stock clients put, byte for byte, counted as boto3 counts."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from clients import Account, AwsCli1, AwsCli2, Rclone
from conftest import Accounts
from files import MIB, pattern
from servers import SUBGATE, Target

WORK_DIR = ".subgate-download"
COMMAND_SECONDS_MAX = 180


def command(account: Account, *words: str | Path) -> list[str]:
    target = account.target
    more = [*("--endpoint", target.endpoint), *("--wallet-path", target.wallets)]
    more += [*("--wallet-name", account.identity.name), *(("--ca-file", target.ca) if target.ca else ())]
    return [str(word) for word in [SUBGATE, *words, *more]]


def subgate(account: Account, *words: str | Path, code: int = 0) -> dict:
    """The command's JSON."""
    environment = account.target.environment()
    done = subprocess.run(
        command(account, *words, "--json"), env=environment, capture_output=True, timeout=COMMAND_SECONDS_MAX
    )
    assert done.returncode == code, (done.stdout[-2000:], done.stderr[-2000:])
    return json.loads(done.stdout)


def files_below(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and WORK_DIR not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def outcomes(report: dict) -> dict[str, int]:
    return {outcome: total["files"] for outcome, total in report["totals"].items()}


@pytest.mark.targets("dev", "minio", "tls")
def test_what_boto3_puts_comes_whole(target: Target, accounts: Accounts, unique: str, tmp_path: Path) -> None:
    s3, prefix = accounts.miner.boto3(), f"{accounts.miner.folder}{unique}/"
    objects = {f"2026/{at:03}.parquet": pattern(1024 + at, str(at)) for at in range(60)}
    objects |= {"a b+c%20é.bin": pattern(5000, unique), "ranges.bin": pattern(40 * MIB + 17, unique)}
    for name, body in objects.items():
        s3.put_object(Bucket=target.bucket, Key=prefix + name, Body=body)
    # In parts: the ETag is that of the parts, and boto3's checksum too.
    (source := tmp_path / "parts.bin").write_bytes(body := pattern(21 * MIB + 5, unique))
    parts = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    s3.upload_file(str(source), target.bucket, f"{prefix}parts.bin", Config=parts)
    objects["parts.bin"] = body

    report = subgate(accounts.validator, "download", prefix, "--to", to := tmp_path / "to")
    assert files_below(to) == objects
    # MinIO says how large the parts are, so that their ETag proves them.
    by_size = [row["key"] for row in report["files"] if row["outcome"] == "received-by-size"]
    assert by_size == ([] if target.name != "dev" else by_size[:1]), by_size
    for item in s3.list_objects_v2(Bucket=target.bucket, Prefix=prefix)["Contents"]:
        name = item["Key"].removeprefix(prefix)
        assert (to / name).stat().st_mtime == pytest.approx(item["LastModified"].timestamp(), abs=1), name

    again = subgate(accounts.validator, "download", prefix, "--to", to)
    # What was taken by its size is never called more than that.
    expected = {"same": len(objects) - len(by_size)} | ({"same-by-size": len(by_size)} if by_size else {})
    assert outcomes(again) == expected
    own = subgate(accounts.miner, "download", prefix, "--to", tmp_path / "own", "--verify-all")
    assert own["complete"] and files_below(tmp_path / "own") == objects


@pytest.mark.targets("minio")
@pytest.mark.parametrize("kind", [AwsCli1, AwsCli2, Rclone])
def test_what_other_clients_put_in_parts_is_proved(
    target: Target, accounts: Accounts, connect, large_file: Path, unique: str, tmp_path: Path, kind: type
) -> None:
    key = f"{accounts.miner.folder}{unique}/large.parquet"
    connect(kind, accounts.miner).put(large_file, key)
    report = subgate(accounts.validator, "download", key, "--to", tmp_path / "to")
    assert outcomes(report) == {"received": 1}, report["files"]
    assert (tmp_path / "to" / "large.parquet").read_bytes() == large_file.read_bytes()
    # Compared by its parts, and not fetched again, without what was remembered.
    (tmp_path / "to" / WORK_DIR / "verified.jsonl").unlink()
    assert outcomes(subgate(accounts.validator, "download", key, "--to", tmp_path / "to")) == {"same": 1}


@pytest.mark.targets("minio")
def test_a_killed_download_goes_on(target: Target, accounts: Accounts, unique: str, tmp_path: Path) -> None:
    s3, prefix = accounts.miner.boto3(), f"{accounts.miner.folder}{unique}/"
    objects = {f"{at:03}": pattern(2000 + at, str(at)) for at in range(200)} | {"z.bin": os.urandom(96 * MIB)}
    for name, body in objects.items():
        s3.put_object(Bucket=target.bucket, Key=prefix + name, Body=body)
    words = command(accounts.validator, "download", prefix, "--to", to := tmp_path / "to")
    for seconds in (0.2, 0.5, 0.9, 1.4):
        quiet = subprocess.DEVNULL
        running = subprocess.Popen(words, env=target.environment(), stdout=quiet, stderr=quiet)
        try:
            running.wait(seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        # What has its name is whole.
        here = files_below(to)
        assert here == {name: objects[name] for name in here}
    report = subgate(accounts.validator, "download", prefix, "--to", to)
    assert report["complete"] and files_below(to) == objects


def test_usage_counts_as_boto3_does(target: Target, accounts: Accounts, unique: str) -> None:
    s3 = accounts.miner.boto3()
    for source in ("x", "reddit"):
        for at in range(3):
            key = f"{accounts.miner.identity.folder(source)}{unique}/{at}"
            s3.put_object(Bucket=target.bucket, Key=key, Body=pattern(2000 + at))

    def listed(account: Account, prefix: str) -> tuple[int, int]:
        pages = account.boto3().get_paginator("list_objects_v2").paginate(Bucket=target.bucket, Prefix=prefix)
        sizes = [item["Size"] for page in pages for item in page.get("Contents", [])]
        return len(sizes), sum(sizes)

    mine = {row["folder"]: (row["files"], row["bytes"]) for row in subgate(accounts.miner, "usage")["rows"]}
    for source in ("x", "reddit"):
        folder = accounts.miner.identity.folder(source)
        assert mine[folder] == listed(accounts.miner, folder)
    everybody = subgate(accounts.validator, "usage")
    rows = {row["folder"]: (row["files"], row["bytes"]) for row in everybody["rows"]}
    assert {folder: rows[folder] for folder in mine if folder in rows} == {
        folder: count for folder, count in mine.items() if count != (0, 0)
    }
    total = everybody["total"]
    assert (total["files"], total["bytes"]) == listed(accounts.validator, "data/")
    coldkey = accounts.miner.identity.coldkey
    by_miner = subgate(accounts.validator, "usage", "--by", "miner", "--miner", coldkey)["rows"]
    assert [row["owner"] for row in by_miner] == [coldkey]
