"""Over TLS, default SDKs send HTTP chunks with a checksum trailer: nginx's log proves it.

All is asked of Subgate's own listener as well, whose clients see no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from clients import Account, AwsCli1, Boto3, Client, Refused, every_client_that_can
from conftest import Accounts
from files import MIB, digest, pattern
from servers import Target, wait_until

pytestmark = pytest.mark.targets("tls", "nginx")

Connect = Callable[[type[Client], Account], Client]
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def assert_framed(target: Target, key: str, count: int) -> None:
    """So many PUTs of a key (percent-decoded by nginx) succeeded, and all came in chunks with a trailer."""
    if target.access_log is None:
        return
    pattern_ = re.compile(rf"^PUT /{target.bucket}/{re.escape(key)} 200 (.*)$", re.MULTILINE)

    def found() -> list[str]:
        return pattern_.findall(target.access_log.read_text())

    wait_until(lambda: len(found()) >= count, 5, f"{count} PUTs in nginx's log")
    assert found() == [f"te=chunked cl=- sha={TRAILER}"] * count


@pytest.mark.targets("nginx")
@every_client_that_can("put", "get", "list")
def test_every_client_behind_a_terminator(
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    unique: str,
    small_file: Path,
    tmp_path: Path,
) -> None:
    client, key = connect(kind, accounts.miner), f"{accounts.miner.folder}{unique}/a b+c.parquet"
    client.put(small_file, key)
    client.get(key, tmp_path / "back")
    assert digest(tmp_path / "back") == digest(small_file)
    assert client.list(f"{accounts.miner.folder}{unique}/") == [key]
    with pytest.raises(Refused):
        connect(kind, accounts.other_miner).put(small_file, key + ".new")


@pytest.mark.parametrize("kind", [AwsCli1, Boto3], ids=lambda kind: kind.name)
def test_put_in_http_chunks_with_a_trailer(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str, small_file: Path
) -> None:
    key = f"{accounts.miner.folder}{unique}/put.parquet"
    connect(kind, accounts.miner).put(small_file, key)
    assert target.store.read(key) == small_file.read_bytes()
    assert_framed(target, key, 1)


@pytest.mark.parametrize("kind", [AwsCli1, Boto3], ids=lambda kind: kind.name)
def test_parts_in_http_chunks_with_a_trailer(
    target: Target,
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    unique: str,
    large_file: Path,
    tmp_path: Path,
) -> None:
    client = connect(kind, accounts.miner)
    key = f"{accounts.miner.folder}{unique}/parts.parquet"
    client.put(large_file, key)
    client.get(key, tmp_path / "back")
    assert digest(tmp_path / "back") == digest(large_file)
    # 64 MiB and a bit, in parts of 8 MiB.
    assert_framed(target, key, 9)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_every_trailer_checksum(target: Target, accounts: Accounts, unique: str, algorithm: str) -> None:
    key = f"{accounts.miner.folder}{unique}/{algorithm}"
    body = pattern(3 * MIB, algorithm)
    accounts.miner.boto3().put_object(Bucket=target.bucket, Key=key, Body=body, ChecksumAlgorithm=algorithm)
    assert target.store.read(key) == body
    assert_framed(target, key, 1)


def test_content_encoding_beside_aws_chunked(target: Target, accounts: Accounts, unique: str) -> None:
    """The store keeps the client's own encoding, and nothing of the transfer's."""
    keys = {f"{accounts.miner.folder}{unique}/{name}": name for name in ("gzip", "none")}
    s3 = accounts.miner.boto3()
    for key, encoding in keys.items():
        extra = {"ContentEncoding": "gzip"} if encoding == "gzip" else {}
        s3.put_object(Bucket=target.bucket, Key=key, Body=pattern(5000), **extra)
        stored = target.store.client.head_object(Bucket=target.store.bucket, Key=key)
        assert stored.get("ContentEncoding") == extra.get("ContentEncoding")
        assert_framed(target, key, 1)


@pytest.mark.parametrize("size", [100, 1023])
def test_too_small_in_http_chunks(target: Target, accounts: Accounts, unique: str, size: int) -> None:
    key = f"{accounts.miner.folder}{unique}/small"
    with pytest.raises(ClientError) as caught:
        accounts.miner.boto3().put_object(Bucket=target.bucket, Key=key, Body=pattern(size))
    assert caught.value.response["Error"]["Code"] == "EntityTooSmall"
    assert target.store.keys(key) == []
