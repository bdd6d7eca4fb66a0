"""Clients that put the bucket into the host name: aws-sdk-go-v2 and the AWS SDK for JavaScript 3.

They do so by default, but never with an address: only by name does the suite see what their users send.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from clients import Account, Refused, run
from conftest import Accounts
from files import MIB, digest, pattern
from servers import BIN, Target

pytestmark = pytest.mark.targets("tls")

every_sdk = pytest.mark.parametrize("sdk", ["go-sdk", "js-sdk"])
# Percent-encoding has to agree on both sides of the signature.
NAMES = ("data_20261121_074500_1234.parquet", "a b+c=d&e;f,g@h(1)!'*~.parquet", "größe-数据 100%.parquet")


def call(sdk: str, account: Account, *words: str | Path, bucket: str = "") -> list[str]:
    target, session = account.target, account.session
    environment = target.environment(
        S3_ENDPOINT=target.named_endpoint,
        S3_BUCKET=bucket or target.bucket,
        AWS_REGION=target.region,
        AWS_ACCESS_KEY_ID=session["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=session["SecretAccessKey"],
        AWS_SESSION_TOKEN=session["SessionToken"],
        # Go reads SSL_CERT_FILE, which is there already.
        NODE_EXTRA_CA_CERTS=str(target.ca),
        # That a release of next year wants a newer Node.js.
        NODE_NO_WARNINGS="1",
    )
    return run([BIN / sdk, *words], environment).splitlines()


class Loopback(HTTPAdapter):
    """Reaches every host on loopback, and believes its certificate only under the host's own name."""

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
        host, _, port = request.url.removeprefix("https://").split("/", 1)[0].partition(":")
        self.poolmanager.connection_pool_kw |= {"server_hostname": host, "assert_hostname": host}
        request.headers["Host"] = f"{host}:{port}"
        request.url = request.url.replace(f"//{host}:", "//127.0.0.1:", 1)
        return super().send(request, **options)


def fetch(target: Target, method: str, url: str, body: bytes | None = None) -> requests.Response:
    with requests.Session() as session:
        session.mount("https://", Loopback())
        return session.request(method, url, data=body, verify=str(target.ca), timeout=30)


@every_sdk
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", ["put", "stream"])
def test_put_and_get(
    target: Target, accounts: Accounts, unique: str, tmp_path: Path, sdk: str, name: str, verb: str
) -> None:
    key = f"{accounts.miner.folder}{unique}/{name}"
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(os.urandom(3 * MIB + 5))
    call(sdk, accounts.miner, verb, key, file)
    assert target.store.read(key) == file.read_bytes()
    stored = target.store.client.head_object(Bucket=target.store.bucket, Key=key)
    assert "aws-chunked" not in stored.get("ContentEncoding", "")
    assert call(sdk, accounts.miner, "head", key) == [str(3 * MIB + 5)]
    call(sdk, accounts.miner, "get", key, back)
    assert back.read_bytes() == file.read_bytes()


@every_sdk
def test_parts_copies_lists_and_deletes(
    target: Target, accounts: Accounts, unique: str, large_file: Path, tmp_path: Path, sdk: str
) -> None:
    miner, prefix = accounts.miner, f"{accounts.miner.folder}{unique}/"
    large, copy, back = f"{prefix}large file", f"{prefix}copy+of", tmp_path / "back"
    call(sdk, miner, "multipart", large, large_file, str(8 * MIB))
    call(sdk, miner, "copy", large, copy)
    assert call(sdk, miner, "list", prefix) == [copy, large]
    call(sdk, miner, "get", copy, back)
    assert digest(back) == digest(large_file)
    call(sdk, miner, "delete", copy)
    assert target.store.keys(prefix) == [large]
    few = [f"{prefix}{number:03}" for number in range(3)]
    for key in few:
        target.store.write(key, pattern(1024))
    call(sdk, miner, "delete", large, *few)
    assert target.store.keys(prefix) == []


@every_sdk
def test_lists_have_pages(target: Target, accounts: Accounts, unique: str, sdk: str) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    keys = [f"{prefix}{number:03} &+%.parquet" for number in range(205)]
    for key in keys:
        target.store.write(key, pattern(1024))
    assert call(sdk, accounts.miner, "list", prefix) == keys


@every_sdk
def test_presigned_urls(target: Target, accounts: Accounts, unique: str, sdk: str) -> None:
    key = f"{accounts.miner.folder}{unique}/a b+c.parquet"
    [put] = call(sdk, accounts.miner, "presign-put", key)
    assert put.startswith(target.named_endpoint.replace("https://", f"https://{target.bucket}."))
    answer = fetch(target, "PUT", put, pattern(5000))
    assert answer.status_code == 200, answer.text
    assert target.store.read(key) == pattern(5000)
    [get] = call(sdk, accounts.validator, "presign-get", key)
    assert fetch(target, "GET", get).content == pattern(5000)
    # What was signed for one host holds at no other.
    path_style = get.replace(f"//{target.bucket}.", "//").replace(".localhost:", ".localhost:", 1)
    path_style = path_style.replace("/data/", f"/{target.bucket}/data/", 1)
    assert fetch(target, "GET", path_style).status_code == 403


@every_sdk
def test_a_validator_reads_what_a_miner_wrote(
    target: Target, accounts: Accounts, unique: str, tmp_path: Path, sdk: str
) -> None:
    prefix, back = f"{accounts.other_miner.folder}{unique}/", tmp_path / "back"
    target.store.write(f"{prefix}file", pattern(70_000))
    assert call(sdk, accounts.validator, "list", prefix) == [f"{prefix}file"]
    call(sdk, accounts.validator, "get", f"{prefix}file", back)
    assert back.read_bytes() == pattern(70_000)


@every_sdk
def test_refusals(target: Target, accounts: Accounts, unique: str, tmp_path: Path, sdk: str) -> None:
    victim, file = f"{accounts.miner.folder}{unique}/victim", tmp_path / "file"
    target.store.write(victim, pattern(2000))
    file.write_bytes(pattern(MIB))
    own = f"{accounts.other_miner.folder}{unique}"
    for words in (
        ("put", victim, file),
        ("stream", victim, file),
        ("get", victim, tmp_path / "back"),
        ("list", "data/x/"),
        ("copy", victim, own),
        ("delete", victim),
    ):
        with pytest.raises(Refused, match="AccessDenied: "):
            call(sdk, accounts.other_miner, *words)
    file.write_bytes(pattern(100))
    with pytest.raises(Refused, match="EntityTooSmall: "):
        call(sdk, accounts.other_miner, "put", own, file)
    assert target.store.read(victim) == pattern(2000) and target.store.keys(own) == []


@every_sdk
def test_another_bucket_in_the_host_name(accounts: Accounts, unique: str, sdk: str) -> None:
    with pytest.raises(Refused, match="NoSuchBucket: "):
        call(sdk, accounts.miner, "list", f"{accounts.miner.folder}{unique}/", bucket="another")
