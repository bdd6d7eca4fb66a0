"""AWS4-SR25519-SHA256: the hotkey signs each request itself, and no session is asked for."""

from __future__ import annotations

import hashlib

import pytest
import requests
from botocore.exceptions import ClientError

from checks import refused, verify_by
from conftest import Accounts
from files import MIB, pattern
from servers import Target
from signing import UNSIGNED, HotkeySigner, hotkey_boto3, hotkey_of, send

pytestmark = pytest.mark.targets("dev", "minio", "tls")


@pytest.fixture
def key(accounts: Accounts, unique: str) -> str:
    return f"{accounts.miner.folder}{unique}/hotkey signed+1.parquet"


def test_a_day_without_a_session(target: Target, accounts: Accounts, key: str) -> None:
    miner, validator = hotkey_boto3(accounts.miner), hotkey_boto3(accounts.validator)
    at = {"Bucket": target.bucket, "Key": key}
    miner.put_object(**at, Body=pattern(30_000))
    assert miner.get_object(**at)["Body"].read() == pattern(30_000)
    assert validator.get_object(**at, Range="bytes=10-19")["Body"].read() == pattern(30_000)[10:20]
    listed = validator.list_objects_v2(Bucket=target.bucket, Prefix=key.rsplit("/", 1)[0] + "/")
    assert [item["Key"] for item in listed["Contents"]] == [key]
    miner.delete_object(**at)
    assert target.store.keys(key) == []


def test_upload_in_parts(target: Target, accounts: Accounts, key: str) -> None:
    miner = hotkey_boto3(accounts.miner)
    upload = {"Bucket": target.bucket, "Key": key}
    upload["UploadId"] = miner.create_multipart_upload(**upload)["UploadId"]
    sizes = (5 * MIB, 2000)
    parts = [
        {
            "PartNumber": number,
            "ETag": miner.upload_part(**upload, PartNumber=number, Body=pattern(size))["ETag"],
        }
        for number, size in enumerate(sizes, 1)
    ]
    miner.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert target.store.read(key) == b"".join(pattern(size) for size in sizes)


def test_presigned(target: Target, accounts: Accounts, key: str) -> None:
    miner = hotkey_boto3(accounts.miner)
    at = {"Bucket": target.bucket, "Key": key}
    put = miner.generate_presigned_url("put_object", Params=at, ExpiresIn=600)
    get = miner.generate_presigned_url("get_object", Params=at, ExpiresIn=600)
    assert "X-Amz-Algorithm=AWS4-SR25519-SHA256" in get and "Security-Token" not in get

    assert requests.put(put, data=pattern(3000), timeout=30, verify=verify_by(target)).status_code == 200
    answer = requests.get(get, timeout=30, verify=verify_by(target))
    assert (answer.status_code, answer.content) == (200, pattern(3000))
    tampered = requests.get(
        get.replace("hotkey%20signed", "hotkey%20swiped"), timeout=30, verify=verify_by(target)
    )
    assert tampered.status_code == 403 and "SignatureDoesNotMatch" in tampered.text


def test_another_folder(target: Target, accounts: Accounts, key: str) -> None:
    target.store.write(key, pattern(2000))
    thief = hotkey_boto3(accounts.other_miner)
    at = {"Bucket": target.bucket, "Key": key}
    refused("AccessDenied", 403, thief.get_object, **at)
    refused("AccessDenied", 403, thief.put_object, **at, Body=pattern(3000))
    refused("AccessDenied", 403, hotkey_boto3(accounts.validator).put_object, **at, Body=pattern(3000))
    assert target.store.read(key) == pattern(2000)


def test_stranger_is_told_why(target: Target, accounts: Accounts, key: str) -> None:
    with pytest.raises(ClientError, match="(?i)not ?registered") as caught:
        hotkey_boto3(accounts.stranger).get_object(Bucket=target.bucket, Key=key)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_signature_by_another_hotkey(target: Target, accounts: Accounts, key: str) -> None:
    target.store.write(key, pattern(2000))
    forged = HotkeySigner(hotkey_of(accounts.other_miner))
    forged.access_key = accounts.miner.identity.hotkey
    answer = send(target, forged, "GET", f"/{target.bucket}/{key.replace(' ', '%20').replace('+', '%2B')}")
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("payload", ["real", UNSIGNED])
def test_payload_by_hash_or_unsigned(target: Target, accounts: Accounts, key: str, payload: str) -> None:
    body = pattern(4000)
    value = hashlib.sha256(body).hexdigest() if payload == "real" else payload
    answer = put_raw(target, accounts, key, body, value)
    assert answer.status == 200, answer
    assert target.store.read(key) == body


def test_false_hash(target: Target, accounts: Accounts, key: str) -> None:
    answer = put_raw(target, accounts, key, pattern(4000), hashlib.sha256(b"another body").hexdigest())
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert target.store.keys(key) == []


@pytest.mark.parametrize(
    "payload", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"]
)
def test_signed_chunks_need_a_secret(target: Target, accounts: Accounts, key: str, payload: str) -> None:
    """A chunk's signature is an HMAC, and a hotkey shares no secret with the server."""
    data = pattern(2000)
    chunks = (
        b"7d0;chunk-signature="
        + b"0" * 64
        + b"\r\n"
        + data
        + b"\r\n0;chunk-signature="
        + b"0" * 64
        + b"\r\n\r\n"
    )
    headers = {"x-amz-decoded-content-length": "2000", "content-encoding": "aws-chunked"}
    answer = put_raw(target, accounts, key, chunks, payload, headers)
    assert 400 <= answer.status < 500 and answer.code, answer
    assert target.store.keys(key) == []


def put_raw(
    target: Target,
    accounts: Accounts,
    key: str,
    body: bytes,
    payload: str,
    headers: dict[str, str] | None = None,
):
    path = f"/{target.bucket}/{key.replace(' ', '%20').replace('+', '%2B')}"
    signer = HotkeySigner(hotkey_of(accounts.miner))
    return send(target, signer, "PUT", path, headers=headers, body=body, payload=payload)


def test_the_zero_key_signs_nothing(target: Target, accounts: Accounts, key: str) -> None:
    """Under the all-zero public key any message has a valid signature: it is nobody, here and everywhere."""
    target.store.write(key, pattern(2000))

    class ZeroKey:
        algorithm = HotkeySigner.algorithm
        token = None
        access_key = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"

        def signature(self, scope: str, string_to_sign: str) -> str:
            # R and s zero, with schnorrkel's marker bit in the last byte.
            return "00" * 63 + "80"

    answer = send(target, ZeroKey(), "GET", f"/{target.bucket}/{key.replace(' ', '%20').replace('+', '%2B')}")
    assert answer.status == 403, answer
