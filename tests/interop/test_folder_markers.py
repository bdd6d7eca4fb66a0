"""Folder markers: what pyarrow and boto3 put beside their files is taken, and by default not stored."""

from __future__ import annotations

import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pytest
from botocore.exceptions import ClientError

from clients import Account
from conftest import Accounts
from servers import Target

ETAG_OF_NOTHING = '"d41d8cd98f00b204e9800998ecf8427e"'


def file_system(account: Account) -> pyarrow.fs.S3FileSystem:
    session = account.session
    return pyarrow.fs.S3FileSystem(
        access_key=session["AccessKeyId"],
        secret_key=session["SecretAccessKey"],
        session_token=session["SessionToken"],
        region=account.target.region,
        scheme="http",
        endpoint_override=account.target.host,
    )


def test_boto3_puts_markers_in_its_folder_and_above_it(
    target: Target, accounts: Accounts, unique: str
) -> None:
    miner = accounts.miner
    folder = f"{miner.folder}{unique}/"
    s3, bucket = miner.boto3(), target.bucket
    for key in ["data/", "data/x/", miner.folder, folder, folder + "dir/"]:
        assert s3.put_object(Bucket=bucket, Key=key)["ETag"] == ETAG_OF_NOTHING
        assert s3.put_object(Bucket=bucket, Key=key, Body=b"")["ETag"] == ETAG_OF_NOTHING
    other = accounts.other_miner.folder
    for key in [other, other + "dir/", "data/web/", "elsewhere/"]:
        with pytest.raises(ClientError, match="FolderDenied"):
            s3.put_object(Bucket=bucket, Key=key)
    for key in ["data/", "data/x/"]:
        with pytest.raises(ClientError, match="FolderDenied"):
            s3.delete_object(Bucket=bucket, Key=key)
    assert not [key for key in target.store.keys("") if key.endswith("/")]


def test_pyarrow_writes_a_data_set_with_its_folders(
    target: Target, accounts: Accounts, unique: str
) -> None:
    miner = accounts.miner
    folder = f"{miner.folder}{unique}/"
    files = file_system(miner)
    base = f"{target.bucket}/{folder}table"
    files.create_dir(f"{base}/empty/deeper", recursive=True)
    table = pyarrow.table({"part": ["a", "b"] * 5000, "number": list(range(10_000))})
    pyarrow.dataset.write_dataset(
        table,
        base,
        filesystem=files,
        format="parquet",
        partitioning=["part"],
        existing_data_behavior="overwrite_or_ignore",
    )
    read = pyarrow.dataset.dataset(base, filesystem=files, partitioning=["part"]).to_table()
    assert sorted(read["number"].to_pylist()) == list(range(10_000))
    found = files.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
    assert sum(info.type == pyarrow.fs.FileType.File for info in found) == 2
    stored = target.store.keys(folder)
    assert len(stored) == 2 and not [key for key in stored if key.endswith("/")]
    with pytest.raises(OSError, match="FolderDenied|ACCESS_DENIED"):
        files.create_dir(f"{target.bucket}/{accounts.other_miner.folder}dir", recursive=True)
