"""Objects hold 1024 to 5368709120 bytes, whatever way they come in by."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import pytest
import requests

from checks import refused, verify_by
from clients import Account
from conftest import Accounts
from files import MIB, pattern
from servers import Target
from signing import UNSIGNED, SessionSigner, send

SIZE_MIN = 1024
SIZE_MAX = 5_368_709_120


@pytest.fixture
def key(accounts: Accounts, unique: str) -> str:
    return f"{accounts.miner.folder}{unique}/sized"


@pytest.mark.parametrize("size", [0, 1, 100, SIZE_MIN - 1])
def test_too_small(target: Target, accounts: Accounts, key: str, size: int) -> None:
    s3 = accounts.miner.boto3()
    refused("EntityTooSmall", 400, s3.put_object, Bucket=target.bucket, Key=key, Body=pattern(size))
    assert target.store.keys(key) == []


@pytest.mark.parametrize("size", [SIZE_MIN, SIZE_MIN + 1])
def test_just_large_enough(target: Target, accounts: Accounts, key: str, size: int) -> None:
    accounts.miner.boto3().put_object(Bucket=target.bucket, Key=key, Body=pattern(size))
    assert target.store.read(key) == pattern(size)


def test_content_under_a_folders_name_is_too_small(target: Target, accounts: Accounts, key: str) -> None:
    s3 = accounts.miner.boto3()
    refused("EntityTooSmall", 400, s3.put_object, Bucket=target.bucket, Key=f"{key}/", Body=b"x")
    assert target.store.keys(key) == []


@pytest.mark.parametrize(("size", "status"), [(100, 400), (SIZE_MIN, 200)])
def test_presigned_put(target: Target, accounts: Accounts, key: str, size: int, status: int) -> None:
    url = accounts.miner.boto3().generate_presigned_url(
        "put_object", Params={"Bucket": target.bucket, "Key": key}
    )
    answer = requests.put(url, data=pattern(size), timeout=30, verify=verify_by(target))
    assert answer.status_code == status, answer.text
    assert ("<Code>EntityTooSmall</Code>" in answer.text) == (status == 400)
    assert target.store.keys(key) == ([key] if status == 200 else [])


@pytest.mark.parametrize("parts", [[100], [SIZE_MIN - 1]])
def test_multipart_total_too_small(target: Target, accounts: Accounts, key: str, parts: list[int]) -> None:
    s3, upload, done = upload_parts(target, accounts.miner, key, parts)
    refused("EntityTooSmall", 400, s3.complete_multipart_upload, **upload, MultipartUpload=done)
    # It can never become an object, so it is aborted, not left to be paid for.
    refused("NoSuchUpload", 404, s3.list_parts, **upload)
    assert target.store.keys(key) == []


@pytest.mark.parametrize("parts", [[SIZE_MIN], [5 * MIB, 100]])
def test_multipart_total_large_enough(target: Target, accounts: Accounts, key: str, parts: list[int]) -> None:
    """A last part below the minimum is the store's matter; the sum is what counts."""
    s3, upload, done = upload_parts(target, accounts.miner, key, parts)
    s3.complete_multipart_upload(**upload, MultipartUpload=done)
    assert len(target.store.read(key)) == sum(parts)


def upload_parts(target: Target, account: Account, key: str, sizes: list[int]) -> tuple:
    s3 = account.boto3()
    at = {"Bucket": target.bucket, "Key": key}
    upload = at | {"UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    parts = []
    for number, size in enumerate(sizes, 1):
        answer = s3.upload_part(**upload, PartNumber=number, Body=pattern(size, str(number)))
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    return s3, upload, {"Parts": parts}


def test_a_copy_is_judged_by_its_source(target: Target, accounts: Accounts, key: str) -> None:
    small = f"{key}-small"
    target.store.write(small, pattern(100))
    source = {"Bucket": target.bucket, "Key": small}
    refused(
        "EntityTooSmall",
        400,
        accounts.miner.boto3().copy_object,
        Bucket=target.bucket,
        Key=key,
        CopySource=source,
    )
    assert target.store.keys(key) == [small]


@pytest.mark.parametrize("declared_by", ["content-length", "x-amz-decoded-content-length"])
def test_declared_too_large_is_refused_before_the_body(
    target: Target, accounts: Accounts, key: str, declared_by: str
) -> None:
    """The answer comes before any byte of the body, and without the 100 that would ask for it."""
    headers = {"expect": "100-continue", "content-length": str(SIZE_MAX + 1)}
    payload = UNSIGNED
    if declared_by == "x-amz-decoded-content-length":
        payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        headers |= {
            "content-length": str(SIZE_MAX + 100_000),
            "content-encoding": "aws-chunked",
            "x-amz-trailer": "x-amz-checksum-crc32",
            declared_by: str(SIZE_MAX + 1),
        }
    answer = send(
        target,
        SessionSigner(accounts.miner.session),
        "PUT",
        f"/{target.bucket}/{key}",
        headers=headers,
        payload=payload,
    )
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    assert target.store.keys(key) == []


def test_largest_size_is_asked_to_go_on(target: Target, accounts: Accounts, key: str) -> None:
    """The bound itself is allowed: the server says 100 Continue, and the test leaves it at that."""
    place = urlsplit(target.endpoint)
    url = accounts.miner.boto3().generate_presigned_url(
        "put_object", Params={"Bucket": target.bucket, "Key": key}
    )
    presigned = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as plain:
        stream = plain
        if target.ca:
            stream = ssl.create_default_context(cafile=str(target.ca)).wrap_socket(
                plain, server_hostname=place.hostname
            )
        head = (
            f"PUT {presigned.path}?{presigned.query} HTTP/1.1\r\nHost: {target.host}\r\n"
            f"Content-Length: {SIZE_MAX}\r\nExpect: 100-continue\r\n\r\n"
        )
        stream.sendall(head.encode())
        assert stream.recv(64).startswith(b"HTTP/1.1 100 ")
    assert target.store.keys(key) == []
