"""What each stock client does all day, as the owner of a folder and as a validator."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from boto3.s3.transfer import TransferConfig

from checks import DENIED, verify_by
from clients import (
    BESIDE,
    Account,
    AwsCli,
    AwsCli1,
    Boto3,
    Client,
    Rclone,
    Refused,
    every_client_that_can,
)
from conftest import Accounts
from files import LARGE_BYTES, MIB, digest, pattern
from servers import Target

Connect = Callable[[type[Client], Account], Client]

# Where TLS changes what a client sends, or how it frames it.
everywhere = pytest.mark.targets("dev", "dev-tls", "minio", "tls")
every_client = every_client_that_can("put", "get")


# The names that data has on the subnet, and what percent-encoding and sorting get wrong.
NAMES = (
    "hotkey=5Abc/job_id=job-1/data_20261121_074500_1234_0123456789abcdef.parquet",
    "a b+c=d&e;f,g@h(1)!.parquet",
    "größe-данные-数据.parquet",
    "100% real~.parquet",
)


@everywhere
@every_client
@pytest.mark.parametrize("name", NAMES)
def test_upload_and_download(
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    name: str,
    unique: str,
    small_file: Path,
    tmp_path: Path,
) -> None:
    client = connect(kind, accounts.miner)
    key = f"{accounts.miner.folder}{unique}/{name}"
    back = tmp_path / "back"

    client.put(small_file, key)
    client.get(key, back)

    assert digest(back) == digest(small_file)
    assert accounts.miner.target.store.keys(f"{accounts.miner.folder}{unique}/") == [key]


@pytest.mark.targets("dev", "dev-tls", "tls")
@pytest.mark.parametrize("kind", BESIDE, ids=lambda kind: kind.name)
def test_a_day_of_the_clients_that_the_matrix_tries_at_length(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str, tmp_path: Path
) -> None:
    prefix, back = f"{accounts.miner.folder}{unique}/", tmp_path / "back"
    key, body = f"{prefix}hotkey=5Abc/größe 1.parquet", pattern(40_000, kind.name)
    miner, validator = (connect(kind, account) for account in (accounts.miner, accounts.validator))
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_bytes(body)
    other.write_bytes(pattern(3000, "before"))
    miner.put(other, key)
    miner.put(file, key)
    validator.get(key, back)
    assert back.read_bytes() == body
    assert validator.get_range(key, 300, 20_000) == body[300:20_300]
    with pytest.raises(Refused, match=DENIED):
        validator.put(other, key)
    assert target.store.read(key) == body
    if "list" not in kind.lacks:
        assert validator.list(prefix) == [key]
    if "delete" not in kind.lacks:
        with pytest.raises(Refused, match=DENIED):
            validator.delete(key)
        miner.delete(key)
        assert target.store.keys(prefix) == []


@every_client
def test_overwrite_shows_the_new_bytes(
    accounts: Accounts, connect: Connect, kind: type[Client], unique: str, tmp_path: Path
) -> None:
    client = connect(kind, accounts.miner)
    key = f"{accounts.miner.folder}{unique}/again"
    file, back = tmp_path / "file", tmp_path / "back"
    for body in (pattern(2048, "first"), pattern(4096, "second")):
        file.write_bytes(body)
        client.put(file, key)
    client.get(key, back)
    assert back.read_bytes() == pattern(4096, "second")


@everywhere
@every_client_that_can("put", "get", "multipart")
def test_multipart_upload_and_download(
    target: Target,
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    unique: str,
    large_file: Path,
    tmp_path: Path,
) -> None:
    client = connect(kind, accounts.miner)
    key = f"{accounts.miner.folder}{unique}/large.parquet"
    back = tmp_path / "back"

    client.put(large_file, key)
    client.get(key, back)

    assert digest(back) == digest(large_file)
    head = target.store.client.head_object(Bucket=target.store.bucket, Key=key)
    assert head["ContentLength"] == LARGE_BYTES
    # The store's mark of an object made of parts.
    assert re.search(r'-\d+"$', head["ETag"]), head["ETag"]


@pytest.fixture(scope="session")
def many_objects(target: Target, accounts: Accounts) -> list[str]:
    """More objects than a page holds, put with boto3 through Subgate."""
    prefix = f"{accounts.miner.folder}many/"
    names = [f"{prefix}{number:04}/data={number}.bin" for number in range(1100)]
    s3 = accounts.miner.boto3()
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(lambda key: s3.put_object(Bucket=target.bucket, Key=key, Body=pattern(1024, key)), names)
        )
    return names


@everywhere
@every_client_that_can("list")
@pytest.mark.parametrize("reader", ["miner-a", "miner-a2", "validator"])
def test_list_beyond_one_page(
    accounts: Accounts, connect: Connect, kind: type[Client], reader: str, many_objects: list[str]
) -> None:
    listed = connect(kind, accounts[reader]).list(f"{accounts.miner.folder}many/")
    assert sorted(listed) == many_objects


def test_list_v1_and_v2_in_pages(target: Target, accounts: Accounts, many_objects: list[str]) -> None:
    s3 = accounts.validator.boto3()
    prefix = f"{accounts.miner.folder}many/"
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(
            Bucket=target.bucket, Prefix=prefix, PaginationConfig={"PageSize": 333}
        )
        sizes, keys = [], []
        for page in pages:
            # The document is the store's own, but for the name of the bucket: that is the one clients know.
            assert page["Name"] == target.bucket
            sizes.append(len(page["Contents"]))
            keys += [item["Key"] for item in page["Contents"]]
        assert sizes == [333, 333, 333, 101]
        assert keys == many_objects


@every_client_that_can("get_range")
@pytest.mark.parametrize("reader", ["miner-a", "validator"])
def test_range(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], reader: str, unique: str
) -> None:
    key = f"{accounts.miner.folder}{unique}/range"
    body = pattern(100_000)
    target.store.write(key, body)
    assert connect(kind, accounts[reader]).get_range(key, 5_000, 10_000) == body[5_000:15_000]


@everywhere
@every_client_that_can("sync")
def test_sync_twice(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str, tmp_path: Path
) -> None:
    client = connect(kind, accounts.miner)
    prefix = f"{accounts.miner.folder}{unique}/"
    folder = tmp_path / "folder"
    names = [f"job_id={job}/data_{number}.parquet" for job in range(3) for number in range(4)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pattern(2000, name))
        # S3 tells whole seconds: a file as young as its upload looks newer than it.
        os.utime(folder / name, (time.time() - 60, time.time() - 60))

    assert len(client.sync(folder, prefix)) >= len(names)
    assert sorted(target.store.keys(prefix)) == [prefix + name for name in names]
    assert client.sync(folder, prefix) == []

    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(pattern(3000, "changed"))
    assert client.sync(folder, prefix) != []
    assert sorted(target.store.keys(prefix)) == [prefix + name for name in names[1:]]
    assert target.store.read(prefix + names[1]) == pattern(3000, "changed")


@everywhere
@every_client_that_can("copy")
def test_copy_within_the_folder(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str
) -> None:
    # From one source's folder to the other's: both are the miner's own.
    source = f"{accounts.miner.identity.folder('x')}{unique}/source=file+1"
    copy = f"{accounts.miner.identity.folder('reddit')}{unique}/copy"
    target.store.write(source, pattern(5000, source))
    connect(kind, accounts.miner).copy(source, copy)
    assert target.store.read(copy) == pattern(5000, source)


@every_client_that_can("delete")
def test_delete(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str
) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    for name in ("doomed", "kept"):
        target.store.write(prefix + name, pattern(2000, name))
    connect(kind, accounts.miner).delete(prefix + "doomed")
    assert target.store.keys(prefix) == [prefix + "kept"]


@every_client_that_can("delete_below")
def test_delete_many(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str
) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    for number in range(25):
        target.store.write(f"{prefix}doomed/{number}", pattern(1024, str(number)))
    target.store.write(f"{prefix}kept", pattern(1024))
    connect(kind, accounts.miner).delete_below(f"{prefix}doomed/")
    assert target.store.keys(prefix) == [f"{prefix}kept"]


@everywhere
@every_client_that_can("presign_get")
@pytest.mark.parametrize("signer", ["miner-a", "validator"])
def test_presigned_get(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], signer: str, unique: str
) -> None:
    key = f"{accounts.miner.folder}{unique}/shared file.parquet"
    target.store.write(key, pattern(30_000, key))
    url = connect(kind, accounts[signer]).presign_get(key)
    answer = requests.get(url, timeout=30, verify=verify_by(target))
    assert (answer.status_code, answer.content) == (200, pattern(30_000, key))


@everywhere
@every_client_that_can("presign_put")
def test_presigned_put(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str
) -> None:
    key = f"{accounts.miner.folder}{unique}/handed in.parquet"
    url = connect(kind, accounts.miner).presign_put(key)
    answer = requests.put(url, data=pattern(30_000, key), timeout=30, verify=verify_by(target))
    assert answer.status_code == 200, answer.text
    assert target.store.read(key) == pattern(30_000, key)


@everywhere
@every_client_that_can("get", "list")
def test_validator_reads_every_folder(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str, tmp_path: Path
) -> None:
    client = connect(kind, accounts.validator)
    for owner in (accounts.miner, accounts.other_miner):
        key = f"{owner.folder}{unique}/scraped.parquet"
        target.store.write(key, pattern(9000, key))
        # A file of its own: rclone leaves a file alone that looks the same.
        back = tmp_path / owner.identity.name
        client.get(key, back)
        assert back.read_bytes() == pattern(9000, key)
        assert client.list(f"{owner.folder}{unique}/") == [key]


@every_client
def test_two_hotkeys_of_one_coldkey_share_the_folder(
    accounts: Accounts, connect: Connect, kind: type[Client], unique: str, small_file: Path, tmp_path: Path
) -> None:
    key = f"{accounts.miner.folder}{unique}/shared"
    assert accounts.sibling.folder == accounts.miner.folder
    connect(kind, accounts.miner).put(small_file, key)
    connect(kind, accounts.sibling).get(key, tmp_path / "back")
    assert digest(tmp_path / "back") == digest(small_file)


@every_client
def test_metadata_reaches_a_validator_unchanged(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], unique: str, small_file: Path
) -> None:
    """Validators take the newest file of a job: LastModified and ETag must be the store's own."""
    key = f"{accounts.miner.folder}{unique}/meta.parquet"
    connect(kind, accounts.miner).put(small_file, key)
    at_store = target.store.client.head_object(Bucket=target.store.bucket, Key=key)
    seen = accounts.validator.boto3().head_object(Bucket=target.bucket, Key=key)
    for name in ("ETag", "LastModified", "ContentLength", "ContentType", "Metadata"):
        assert seen.get(name) == at_store.get(name), name


# Walking down from the bucket, as people and S3 browsers do.


@pytest.fixture
def both_folders(target: Target, accounts: Accounts) -> None:
    for owner in (accounts.miner, accounts.other_miner):
        for source in ("x", "reddit"):
            target.store.write(f"{owner.identity.folder(source)}walk/file", pattern(1024))


def rclone_walk(client: Rclone, prefix: str) -> list[str]:
    return sorted(client.rclone("lsf", "--dirs-only", client.remote(prefix)).splitlines())


def aws_walk(client: AwsCli, prefix: str) -> list[str]:
    lines = client.aws("s3", "ls", client.uri(prefix)).splitlines()
    return sorted(line.split(maxsplit=1)[1] for line in lines if line.strip().startswith("PRE "))


def boto3_walk(client: Boto3, prefix: str) -> list[str]:
    answer = client.s3.list_objects_v2(Bucket=client.bucket, Prefix=prefix, Delimiter="/")
    assert "Contents" not in answer
    return sorted(item["Prefix"].removeprefix(prefix) for item in answer.get("CommonPrefixes", []))


WALKERS = [(AwsCli1, aws_walk), (Boto3, boto3_walk), (Rclone, rclone_walk)]
walkers = pytest.mark.parametrize(("kind", "walk"), WALKERS, ids=[kind.name for kind, _ in WALKERS])


@walkers
@pytest.mark.usefixtures("both_folders")
def test_miner_walks_down_to_its_own_folder_and_sees_no_other(
    accounts: Accounts, connect: Connect, kind: type[Client], walk: Callable
) -> None:
    client = connect(kind, accounts.miner)
    coldkey, hotkey = accounts.miner.identity.coldkey, accounts.miner.identity.hotkey
    assert walk(client, "") == ["data/"]
    assert walk(client, "data/") == [f"hotkey={hotkey}/", "reddit/", "x/"]
    assert walk(client, "data/x/") == [f"{coldkey}/"]
    assert "walk/" in walk(client, f"data/x/{coldkey}/")


@walkers
@pytest.mark.usefixtures("both_folders")
def test_validator_walks_down_to_every_folder(
    accounts: Accounts, connect: Connect, kind: type[Client], walk: Callable
) -> None:
    client = connect(kind, accounts.validator)
    assert walk(client, "") == ["data/"]
    assert {"reddit/", "x/"} <= set(walk(client, "data/"))
    everyone = {f"{owner.identity.coldkey}/" for owner in (accounts.miner, accounts.other_miner)}
    assert everyone <= set(walk(client, "data/x/"))
    assert "walk/" in walk(client, accounts.other_miner.folder)


def test_rclone_shows_the_bucket(target: Target, accounts: Accounts, connect: Connect) -> None:
    client = connect(Rclone, accounts.miner)
    assert client.rclone("lsf", "--dirs-only", "subgate:").splitlines() == [f"{target.bucket}/"]


def test_large_copy_in_parts(target: Target, accounts: Accounts, unique: str) -> None:
    """UploadPartCopy: boto3 splits a copy above its threshold."""
    source, copy = (f"{accounts.miner.folder}{unique}/{name}" for name in ("source", "copy"))
    body = os.urandom(12 * MIB)
    target.store.write(source, body)
    accounts.miner.boto3().copy(
        {"Bucket": target.bucket, "Key": source},
        target.bucket,
        copy,
        Config=TransferConfig(multipart_threshold=1, multipart_chunksize=5 * MIB),
    )
    assert target.store.read(copy) == body
