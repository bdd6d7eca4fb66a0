"""aws-sdk-s3 for Rust, which over plain http signs each chunk and the trailer."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import Account, Refused, run
from conftest import Accounts
from files import MIB, pattern
from servers import BIN, Target


def rust_sdk(account: Account, *words: str | Path) -> list[str]:
    session = account.session
    environment = {
        "S3_ENDPOINT": account.target.endpoint,
        "S3_BUCKET": account.target.bucket,
        "AWS_REGION": account.target.region,
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    return run([BIN / "rust-sdk", *words], environment).splitlines()


# Around one chunk of 64 KiB and beyond: the last chunk may be of any size.
@pytest.mark.parametrize("size", [1024, 65_535, 65_536, 65_537, 3 * MIB + 5])
def test_signed_chunks(target: Target, accounts: Accounts, unique: str, tmp_path: Path, size: int) -> None:
    key = f"{accounts.miner.folder}{unique}/signed chunks.parquet"
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(pattern(size))
    rust_sdk(accounts.miner, "put", key, file)
    assert target.store.read(key) == pattern(size)
    rust_sdk(accounts.validator, "get", key, back)
    assert back.read_bytes() == pattern(size)
    stored = target.store.client.head_object(Bucket=target.store.bucket, Key=key)
    assert "aws-chunked" not in stored.get("ContentEncoding", "")


def test_signed_chunks_in_parts(target: Target, accounts: Accounts, unique: str, large_file: Path) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    rust_sdk(accounts.miner, "multipart", prefix + "large", large_file, str(16 * MIB))
    rust_sdk(accounts.miner, "copy", prefix + "large", prefix + "copy")
    assert rust_sdk(accounts.miner, "list", prefix) == [prefix + "copy", prefix + "large"]
    assert target.store.read(prefix + "copy") == large_file.read_bytes()
    rust_sdk(accounts.miner, "delete", prefix + "copy")
    assert target.store.keys(prefix) == [prefix + "large"]


def test_refusals(target: Target, accounts: Accounts, unique: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(pattern(2 * MIB))
    victim = f"{accounts.miner.folder}{unique}/victim"
    target.store.write(victim, pattern(2000))
    own = f"{accounts.other_miner.folder}{unique}"
    for words in (
        ("put", victim, file),
        ("get", victim, tmp_path / "back"),
        ("multipart", victim, file, str(MIB)),
        ("list", "data/x/"),
        ("copy", victim, own),
        ("delete", victim),
    ):
        with pytest.raises(Refused, match="AccessDenied: "):
            rust_sdk(accounts.other_miner, *words)
    file.write_bytes(pattern(100))
    with pytest.raises(Refused, match="EntityTooSmall: "):
        rust_sdk(accounts.other_miner, "put", own, file)
    assert target.store.read(victim) == pattern(2000) and target.store.keys(own) == []
