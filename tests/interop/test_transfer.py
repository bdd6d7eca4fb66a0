"""`subgate upload` to a real MinIO and to the embedded store: others read back what it put, byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from clients import Account
from clients.aws import AwsCli1
from servers import SUBGATE, Target, wait_until

MIB = 1 << 20
PART_BYTES = 8 * MIB
RUN_SECONDS_MAX = 300


def command(account: Account, *words: str | Path) -> list[str]:
    target: Target = account.target
    common = ["--endpoint", target.endpoint, "--wallet-path", target.wallets]
    return [str(word) for word in [SUBGATE, *words, *common, "--wallet-name", account.identity.name]]


def upload(account: Account, *words: str | Path) -> dict:
    """Runs it to its end; gives its result."""
    done = subprocess.run(
        command(account, "upload", *words, "--json"),
        env=account.target.environment(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(result: dict, outcome: str) -> int:
    return result["totals"].get(outcome, {"files": 0})["files"]


def tree(root: Path) -> dict[str, bytes]:
    contents = {
        "small.parquet": os.urandom(5_000),
        "sub/b c+d ä=1.parquet": os.urandom(20_000),
        "sub/deeper/exact.parquet": os.urandom(PART_BYTES),
        "large.parquet": os.urandom(2 * PART_BYTES + 12_345),
    }
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return contents


def test_others_read_what_was_uploaded(accounts, connect, target, unique, tmp_path) -> None:
    contents = tree(tmp_path / "d")
    prefix = f"{accounts.miner.identity.folder()}{unique}/"
    assert files(upload(accounts.miner, tmp_path / "d", "--to", prefix), "sent") == len(contents)

    s3 = accounts.validator.boto3()
    listed = s3.list_objects_v2(Bucket=target.bucket, Prefix=prefix)["Contents"]
    assert {item["Key"].removeprefix(prefix) for item in listed} == set(contents)
    aws = connect(AwsCli1, accounts.validator)
    for name, content in contents.items():
        answer = s3.get_object(Bucket=target.bucket, Key=prefix + name)
        assert answer["Body"].read() == content, name
        assert answer["Metadata"]["sha256"] == hashlib.sha256(content).hexdigest()
        aws.get(prefix + name, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content, name
    # No part and no mark of an upload is left at the store.
    uploads = target.store.client.list_multipart_uploads(Bucket=target.store.bucket, Prefix=prefix)
    assert not uploads.get("Uploads")

    again = upload(accounts.miner, tmp_path / "d", "--to", prefix)
    assert (files(again, "same"), files(again, "sent")) == (len(contents), 0)
    (tmp_path / "d" / "small.parquet").write_bytes(os.urandom(5_000))
    changed = upload(accounts.miner, tmp_path / "d", "--to", prefix)
    assert (files(changed, "same"), files(changed, "sent")) == (len(contents) - 1, 1)


def test_what_stock_clients_uploaded_is_the_same(accounts, connect, target, unique, tmp_path) -> None:
    contents = tree(tmp_path / "d")
    prefix = f"{accounts.miner.identity.folder()}{unique}/"
    aws, s3 = connect(AwsCli1, accounts.miner), accounts.miner.boto3()
    for index, name in enumerate(contents):
        if index % 2:
            aws.put(tmp_path / "d" / name, prefix + name)
        else:
            s3.upload_file(str(tmp_path / "d" / name), target.bucket, prefix + name)
    # And one in other parts than the clients' own.
    key = prefix + "large.parquet"
    upload_id = s3.create_multipart_upload(Bucket=target.bucket, Key=key)["UploadId"]
    where = {"Bucket": target.bucket, "Key": key, "UploadId": upload_id}
    content, parts = contents["large.parquet"], []
    for number, start in enumerate(range(0, len(content), 5 * MIB), 1):
        part = s3.upload_part(**where, PartNumber=number, Body=content[start : start + 5 * MIB])
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    result = upload(accounts.miner, tmp_path / "d", "--to", prefix)
    assert (files(result, "same"), files(result, "sent")) == (len(contents), 0)


def test_a_killed_upload_is_gone_on_with(accounts, target, unique, tmp_path) -> None:
    content = os.urandom(40 * PART_BYTES + 7)
    (tmp_path / "large.parquet").write_bytes(content)
    prefix = f"{accounts.miner.identity.folder()}{unique}/"
    store = target.store.client

    def parts() -> list[dict]:
        where = {"Bucket": target.store.bucket, "Key": f"{prefix}large.parquet"}
        uploads = store.list_multipart_uploads(Bucket=target.store.bucket, Prefix=where["Key"]).get("Uploads", [])
        if not uploads:
            return []
        return store.list_parts(**where, UploadId=uploads[0]["UploadId"]).get("Parts", [])

    words = ["upload", tmp_path / "large.parquet", "--to", prefix, "--parallel", "1", "--quiet"]
    process = subprocess.Popen(command(accounts.miner, *words), env=target.environment())
    try:
        wait_until(lambda: len(parts()) >= 4, RUN_SECONDS_MAX, "some parts")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What was under way may arrive yet.
    time.sleep(1)
    standing = [part for part in parts() if part["PartNumber"] < 10_000]
    assert 3 <= len(standing) < 41
    result = upload(accounts.miner, tmp_path / "large.parquet", "--to", prefix)
    bytes_standing = sum(part["Size"] for part in standing)
    assert result["files"][0]["detail"] == f"{bytes_standing} bytes stood there from an earlier run"
    assert target.store.read(f"{prefix}large.parquet") == content
    assert parts() == []


def test_another_folder_is_refused_before_anything_is_sent(accounts, target, small_file) -> None:
    other = accounts.other_miner.identity.folder()
    words = command(accounts.miner, "upload", small_file, "--to", other)
    done = subprocess.run(words, env=target.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 64 and "is not in a folder of yours" in done.stderr, done.stderr
    assert target.store.keys(f"{other}{small_file.name}") == []
