"""Clients of the vending server, written by its protocol: its endpoints and forms, with boto3 beside them."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import boto3
import pytest
import requests
from botocore.config import Config

from clients import Account
from conftest import Accounts
from servers import Target
from signing import SR25519, hotkey_of

DAY = 86_400


def ask(account: Account, path: str, string: str, **fields) -> requests.Response:
    """POSTs a request as the vending server's clients sign it: sr25519 over the string, as hex.

    The string has `{timestamp}` where the time goes.
    """
    timestamp = int(time.time())
    signature = hotkey_of(account).sign(string.format(timestamp=timestamp).encode()).hex()
    body = {
        "hotkey": account.identity.hotkey,
        "timestamp": timestamp,
        "expiry": timestamp + DAY,
        "signature": signature,
        **fields,
    }
    return requests.post(account.target.endpoint + path, json=body, timeout=60)


def folder_access(account: Account, source: str = "x") -> dict:
    coldkey = account.identity.coldkey
    answer = ask(
        account,
        "/get-folder-access",
        f"s3:access:{coldkey}:{source}:{{timestamp}}",
        coldkey=coldkey,
        source=source,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def post_form(access: dict, key: str, data: bytes) -> requests.Response:
    """The upload as the vending server's client does it: the key overwritten, the file last."""
    fields = {**access["fields"], "key": key}
    return requests.post(access["url"], data=fields, files={"file": data}, timeout=60)


def boto3_of(account: Account):
    session = account.session
    return boto3.client(
        "s3",
        endpoint_url=account.target.endpoint,
        region_name=account.target.region,
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
        ),
    )


def test_folder_access_uploads_and_lists(target: Target, accounts: Accounts, unique: str) -> None:
    miner = accounts.miner
    access = folder_access(miner)
    assert set(access) == {"folder", "url", "fields", "expiry", "list_url", "structure_info"}
    assert access["folder"] == f"data/x/{miner.identity.coldkey}/"
    assert access["url"].startswith(target.endpoint)
    assert access["fields"]["key"] == access["folder"] + "${filename}"
    data = os.urandom(50_000)
    key = f"{access['folder']}{unique}/form.parquet"
    answer = post_form(access, key, data)
    assert answer.status_code == 204, answer.text
    assert boto3_of(miner).get_object(Bucket=target.bucket, Key=key)["Body"].read() == data
    listed = requests.get(access["list_url"] + "&prefix=" + quote(f"{access['folder']}{unique}/"), timeout=60)
    assert listed.status_code == 200 and "form.parquet" in listed.text
    assert 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' in listed.text


def test_the_form_opens_no_other_folder(target: Target, accounts: Accounts, unique: str) -> None:
    access = folder_access(accounts.miner)
    foreign = f"data/x/{accounts.other_miner.identity.coldkey}/{unique}"
    folder = access["folder"]
    for key in (foreign, f"{folder}../../x/{unique}", f"{folder}%2e%2e/../{unique}", f"data/{unique}"):
        answer = post_form(access, key, os.urandom(2000))
        assert answer.status_code in (400, 403), (key, answer.text)
    assert post_form(access, f"{folder}{unique}", os.urandom(1023)).status_code == 400


def test_the_coldkey_is_the_chains(target: Target, accounts: Accounts) -> None:
    coldkey = accounts.other_miner.identity.coldkey
    string = f"s3:access:{coldkey}:x:{{timestamp}}"
    answer = ask(accounts.miner, "/get-folder-access", string, coldkey=coldkey, source="x")
    assert answer.status_code == 403 and set(answer.json()) == {"detail"}
    answer = ask(accounts.miner, "/get-folder-access", "else:{timestamp}", coldkey=coldkey, source="x")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid signature"})
    old = int(time.time()) - 400
    answer = ask(accounts.miner, "/get-folder-access", string, coldkey=coldkey, source="x", timestamp=old)
    assert (answer.status_code, answer.json()) == (400, {"detail": "Invalid timestamp"})


def test_a_list_url_pages_to_its_end(target: Target, accounts: Accounts, unique: str) -> None:
    """3,500 keys through one presigned URL: what validators never saw beyond the first 1000."""
    miner = accounts.miner
    s3 = boto3_of(miner)
    access = folder_access(miner)
    prefix = f"{access['folder']}{unique}/"
    body = os.urandom(1024)
    names = {f"{prefix}{index:05}" for index in range(3500)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=target.bucket, Key=key, Body=body), sorted(names)))
    seen: list[str] = []
    token, pages = None, 0
    while True:
        params = {"prefix": prefix} | ({"continuation-token": token} if token else {})
        answer = requests.get(access["list_url"], params=params, timeout=60)
        assert answer.status_code == 200, answer.text
        seen += [unquote(key) for key in re.findall(r"<Key>([^<]*)</Key>", answer.text)]
        pages += 1
        found = re.search(r"<NextContinuationToken>([^<]*)</NextContinuationToken>", answer.text)
        if found is None:
            break
        token = found.group(1)
    assert pages == 4 and len(seen) == 3500 and set(seen) == names
    answer = requests.get(access["list_url"], params={"prefix": "data/"}, timeout=60)
    assert answer.status_code == 403


def test_a_validator_sees_every_miner(target: Target, accounts: Accounts, unique: str) -> None:
    access = folder_access(accounts.miner)
    key = f"{access['folder']}{unique}"
    data = os.urandom(3000)
    assert post_form(access, key, data).status_code == 204
    validator = accounts.validator
    # The list of miners may be some seconds old.
    deadline = time.monotonic() + 30
    while True:
        answer = ask(validator, "/get-validator-access", "s3:validator:access:{timestamp}")
        assert answer.status_code == 200, answer.text
        urls = answer.json()["urls"]
        if accounts.miner.identity.coldkey in urls["miners"] or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert set(urls) == {"global", "sources", "miners"}
    assert requests.get(urls["global"]["list_all_data"], timeout=60).status_code == 200
    folder = urls["miners"][accounts.miner.identity.coldkey]["x"]
    assert folder["prefix"] == access["folder"]
    listed = requests.get(folder["list_files"], params={"prefix": key}, timeout=60)
    assert key in unquote(listed.text)

    hotkey = accounts.miner.identity.hotkey
    string = f"s3:validator:files:{hotkey}:{validator.identity.hotkey}:{{timestamp}}"
    answer = ask(
        validator,
        "/get-file-presigned-urls",
        string,
        miner_hotkey=hotkey,
        file_keys=[key, "data/else"],
        expiry_hours=1,
    )
    files = answer.json()
    assert (files["valid_files_count"], files["invalid_files"]) == (1, ["data/else"])
    assert requests.get(files["file_urls"][key]["presigned_url"], timeout=60).content == data

    answer = ask(accounts.miner, "/get-validator-access", "s3:validator:access:{timestamp}")
    assert (answer.status_code, answer.json()) == (401, {"detail": "You are not validator"})


def test_boto3s_presigned_post(target: Target, accounts: Accounts, unique: str) -> None:
    miner = accounts.miner
    key = f"{miner.folder}{unique}/${{filename}}"
    form = boto3_of(miner).generate_presigned_post(
        target.bucket,
        key,
        Fields={"success_action_status": "201", "Content-Type": "application/x-parquet"},
        Conditions=[
            {"success_action_status": "201"},
            ["starts-with", "$Content-Type", "application/"],
            ["content-length-range", 1024, 10_000_000],
        ],
        ExpiresIn=600,
    )
    data = os.urandom(2_000_000)
    answer = requests.post(
        form["url"], data=form["fields"], files={"file": ("part.parquet", data)}, timeout=60
    )
    assert answer.status_code == 201, answer.text
    assert "<PostResponse>" in answer.text
    stored = boto3_of(miner).get_object(Bucket=target.bucket, Key=f"{miner.folder}{unique}/part.parquet")
    assert stored["Body"].read() == data
    assert stored["ContentType"] == "application/x-parquet"


def test_a_form_signed_by_the_hotkey(target: Target, accounts: Accounts, unique: str) -> None:
    miner = accounts.miner
    now = datetime.now(UTC)
    date = now.strftime("%Y%m%dT%H%M%SZ")
    fields = {
        "key": f"{miner.folder}{unique}",
        "x-amz-algorithm": SR25519,
        "x-amz-credential": f"{miner.identity.hotkey}/{date[:8]}/{target.region}/s3/aws4_request",
        "x-amz-date": date,
    }
    for host, status in ((target.host, 204), ("s3.elsewhere.example", 403)):
        conditions = [{name: value} for name, value in fields.items()] + [
            {"host": host},
            {"bucket": target.bucket},
        ]
        expiration = (now + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        policy = base64.b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode())
        signed = {**fields, "policy": policy.decode(), "x-amz-signature": hotkey_of(miner).sign(policy).hex()}
        url = f"{target.endpoint}/{target.bucket}"
        answer = requests.post(url, data=signed, files={"file": os.urandom(2000)}, timeout=60)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/healthcheck", "/commitment-formats", "/structure-info"]
)
def test_anybody_may_ask(target: Target, path: str) -> None:
    answer = requests.get(target.endpoint + path, timeout=30)
    assert answer.status_code == 200 and answer.json()


def test_the_document(target: Target) -> None:
    document = requests.get(target.endpoint + "/openapi.json", timeout=30).json()
    assert document["openapi"].startswith("3.1.") and "/get-folder-access" in document["paths"]
