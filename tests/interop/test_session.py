"""POST /v1/session, signed by the bittensor SDK's own HTTP authentication."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import bittensor
import boto3
import pytest
import requests
from bittensor import http_auth
from botocore.config import Config

from clients import Account
from conftest import Accounts
from servers import RECEIVER, Target
from signing import hotkey_of

PATH = "/v1/session"
ANSWER_FIELDS = {
    *("Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"),
    *("endpoint", "region", "bucket", "role", "folders", "roots"),
}


def ask(
    account: Account, body: bytes = b"", signed_body: bytes | None = None, signed_path: str = PATH, **more
) -> requests.Response:
    """Asks for a session; what is signed may differ from what is sent."""
    headers = http_auth.sign(
        hotkey_of(account),
        method="POST",
        path=signed_path,
        body=body if signed_body is None else signed_body,
        **more,
    )
    return post(account.target, headers, body)


def post(target: Target, headers: dict[str, str], body: bytes = b"") -> requests.Response:
    return requests.post(target.endpoint + PATH, data=body, headers=headers, timeout=30)


@pytest.mark.parametrize("name", ["miner-a", "miner-a2", "miner-b", "validator"])
def test_session_opens_the_folder(target: Target, accounts: Accounts, name: str) -> None:
    account = accounts[name]
    answer = ask(account)
    assert answer.status_code == 200, answer.text
    session = answer.json()
    assert set(session) == ANSWER_FIELDS
    assert (session["Version"], session["AccessKeyId"]) == (1, account.identity.hotkey)
    assert (session["role"], session["bucket"], session["region"]) == (
        account.identity.role,
        target.bucket,
        target.region,
    )
    assert session["folders"] == list(account.identity.folders)
    # Where every folder is, for those who read all of them.
    assert session["roots"] == ["data/"]
    assert "no-store" in answer.headers.get("cache-control", "")

    s3 = boto3.client(
        "s3",
        endpoint_url=session["endpoint"],
        region_name=session["region"],
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
        config=Config(s3={"addressing_style": "path"}),
    )
    listed = s3.list_objects_v2(Bucket=session["bucket"], Prefix=account.folder, MaxKeys=1)
    assert listed["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("ttl_seconds", [1200, 3600, 86400])
def test_lifetime_as_asked(target: Target, accounts: Accounts, ttl_seconds: int) -> None:
    before = datetime.now(UTC)
    session = ask(accounts.miner, json.dumps({"ttl_seconds": ttl_seconds}).encode()).json()
    expiry = datetime.fromisoformat(session["Expiration"])
    assert abs(expiry - before - timedelta(seconds=ttl_seconds)) < timedelta(seconds=10)


def test_lifetime_by_default_is_a_day(target: Target, accounts: Accounts) -> None:
    before = datetime.now(UTC)
    expiry = datetime.fromisoformat(ask(accounts.miner).json()["Expiration"])
    assert abs(expiry - before - timedelta(days=1)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    "body", [b'{"ttl_seconds": 1199}', b'{"ttl_seconds": 86401}', b'{"ttl_seconds": -1}', b"{", b"[]"]
)
def test_lifetime_out_of_bounds(target: Target, accounts: Accounts, body: bytes) -> None:
    assert ask(accounts.miner, body).status_code == 400


def test_replay(target: Target, accounts: Accounts) -> None:
    headers = http_auth.sign(hotkey_of(accounts.miner), method="POST", path=PATH)
    assert post(target, headers).status_code == 200
    assert post(target, headers).status_code in (401, 403)


@pytest.mark.parametrize("offset_seconds", [-12, -3600, 5, 3600])
def test_stale_or_future_nonce(target: Target, accounts: Accounts, offset_seconds: int) -> None:
    nonce = time.time_ns() + offset_seconds * 1_000_000_000
    assert ask(accounts.miner, nonce_ns=nonce).status_code in (401, 403)


def test_what_was_signed_is_what_is_sent(target: Target, accounts: Accounts) -> None:
    body = b'{"ttl_seconds": 86400}'
    assert ask(accounts.miner, body, signed_body=b'{"ttl_seconds": 1200}').status_code in (401, 403)
    assert ask(accounts.miner, signed_path="/v1/other").status_code in (401, 403)
    assert ask(accounts.miner, signed_path=PATH + "?a=b").status_code in (401, 403)


@pytest.mark.targets("minio")
def test_addressed_to_this_server(target: Target, accounts: Accounts) -> None:
    assert ask(accounts.miner, receiver_ss58=RECEIVER).status_code == 200


def test_signed_for_another_server(target: Target, accounts: Accounts) -> None:
    other = bittensor.sp_core.Keypair.create_from_uri("//Bob").ss58_address
    assert ask(accounts.miner, receiver_ss58=other).status_code in (401, 403)


def test_hotkey_of_another(target: Target, accounts: Accounts) -> None:
    headers = http_auth.sign(hotkey_of(accounts.other_miner), method="POST", path=PATH)
    headers[http_auth.HEADER_HOTKEY] = accounts.miner.identity.hotkey
    assert post(target, headers).status_code in (401, 403)


def test_unregistered_hotkey(target: Target, accounts: Accounts) -> None:
    answer = ask(accounts.stranger)
    assert answer.status_code == 403
    assert "egistered" in answer.text


@pytest.mark.parametrize(
    "missing",
    [http_auth.HEADER_HOTKEY, http_auth.HEADER_NONCE, http_auth.HEADER_SIGNATURE, http_auth.HEADER_VERSION],
)
def test_missing_header(target: Target, accounts: Accounts, missing: str) -> None:
    headers = http_auth.sign(hotkey_of(accounts.miner), method="POST", path=PATH)
    del headers[missing]
    assert post(target, headers).status_code in (400, 401, 403)
