"""`subgate store policy` and `subgate store probe` at a real MinIO: the least policy is enough, and no more."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

import servers
from clients import Account
from servers import STORE_BUCKET, SUBGATE, Store, Target

KEY, SECRET = "subgate-least", secrets.token_hex(24)


def run(data: Path, key: tuple[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    environment = servers.bare_environment(data) | {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1]}
    command = [str(SUBGATE), "store", *words, "--config", str(data / "serve.toml")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def least_user(store: Store, config: Path) -> tuple[str, str]:
    """A user of MinIO with the policy that is printed, and no other right."""
    printed = run(config.parent, (KEY, SECRET), "policy", "--for", "minio")
    assert printed.returncode == 0, printed.stderr
    policy = config.parent / "policy.json"
    policy.write_text(printed.stdout)
    credentials = StaticProvider(store.access_key, store.secret_key)
    admin = MinioAdmin(endpoint=store.endpoint.removeprefix("http://"), credentials=credentials, secure=False)
    admin.user_add(KEY, SECRET)
    admin.policy_add("subgate", str(policy))
    admin.attach_policy(["subgate"], user=KEY)
    return KEY, SECRET


@pytest.fixture(scope="module")
def least(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return servers.serve_target(tmp_path_factory.mktemp("least"), credentials=least_user)


def test_the_least_policy_is_enough_for_a_days_work(least: Target) -> None:
    miner = Account(least, least.identities["miner-a"])
    validator = Account(least, least.identities["validator"])
    s3, folder = miner.boto3(), miner.identity.folder()
    bucket = least.bucket
    for name in ("one", "two", "three"):
        s3.put_object(Bucket=bucket, Key=f"{folder}{name}", Body=b"x" * 2000)
    s3.copy_object(Bucket=bucket, Key=f"{folder}copy", CopySource={"Bucket": bucket, "Key": f"{folder}one"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key=f"{folder}large")["UploadId"]
    where = {"Bucket": bucket, "Key": f"{folder}large", "UploadId": upload}
    bodies = [b"a" * (5 << 20), b"b" * 2000]
    etags = [s3.upload_part(**where, PartNumber=at, Body=body)["ETag"] for at, body in enumerate(bodies, 1)]
    assert len(s3.list_parts(**where)["Parts"]) == 2
    assert s3.list_multipart_uploads(Bucket=bucket, Prefix=folder)["ResponseMetadata"]["HTTPStatusCode"] == 200
    parts = [{"PartNumber": at, "ETag": etag} for at, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    aborted = s3.create_multipart_upload(Bucket=bucket, Key=f"{folder}aborted")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key=f"{folder}aborted", UploadId=aborted)
    # What is not there is not there, and no outage.
    with pytest.raises(ClientError) as missing:
        s3.get_object(Bucket=bucket, Key=f"{folder}missing")
    assert missing.value.response["Error"]["Code"] == "NoSuchKey"
    with pytest.raises(ClientError) as missing:
        s3.head_object(Bucket=bucket, Key=f"{folder}missing")
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404

    reader = validator.boto3()
    assert reader.get_object(Bucket=bucket, Key=f"{folder}large")["Body"].read() == b"".join(bodies)
    assert reader.get_object(Bucket=bucket, Key=f"{folder}one", Range="bytes=0-9")["Body"].read() == b"x" * 10
    listed = reader.list_objects_v2(Bucket=bucket, Prefix="data/")["Contents"]
    assert {f"{folder}{name}" for name in ("one", "copy", "large")} <= {item["Key"] for item in listed}
    reader.get_object_attributes(Bucket=bucket, Key=f"{folder}one", ObjectAttributes=["ObjectSize"])
    s3.delete_object(Bucket=bucket, Key=f"{folder}one")
    batch = {"Objects": [{"Key": f"{folder}two"}, {"Key": f"{folder}three"}]}
    assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete=batch)


def test_the_key_itself_reaches_nothing_else(least: Target) -> None:
    root = least.store
    root.write("other/secret", b"not Subgate's")
    root.client.create_bucket(Bucket="another-bucket")
    root.client.put_object(Bucket="another-bucket", Key="data/x", Body=b"x")
    own = Store(root.endpoint, STORE_BUCKET, KEY, SECRET).client
    for forbidden in (
        lambda: own.get_object(Bucket=STORE_BUCKET, Key="other/secret"),
        lambda: own.put_object(Bucket=STORE_BUCKET, Key="other/new", Body=b"x"),
        lambda: own.delete_object(Bucket=STORE_BUCKET, Key="other/secret"),
        lambda: own.list_objects_v2(Bucket=STORE_BUCKET, Prefix="other/"),
        lambda: own.list_objects_v2(Bucket=STORE_BUCKET),
        lambda: own.get_object(Bucket="another-bucket", Key="data/x"),
        lambda: own.list_objects_v2(Bucket="another-bucket", Prefix="data/"),
        lambda: own.put_bucket_policy(Bucket=STORE_BUCKET, Policy="{}"),
        lambda: own.create_bucket(Bucket="a-third-bucket"),
        lambda: own.put_object_tagging(Bucket=STORE_BUCKET, Key="data/y", Tagging={"TagSet": []}),
    ):
        with pytest.raises(ClientError) as refused:
            forbidden()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_the_probe_works_with_the_least_policy_and_leaves_nothing(least: Target) -> None:
    before = least.store.keys("")
    probed = run(least.data, (KEY, SECRET), "probe", "--json")
    report = json.loads(probed.stdout)
    found = {check["check"]: check["found"] for check in report["checks"]}
    assert probed.returncode in (0, 1), probed.stderr
    assert "failed" not in found.values(), report
    assert found["refuses torn uploads"] == found["conditional writes (If-None-Match: *)"] == "yes"
    assert (report["left"], least.store.keys("")) == ([], before)
    uploads = least.store.client.list_multipart_uploads(Bucket=STORE_BUCKET, Prefix="data/")
    assert uploads.get("Uploads", []) == []


def test_a_wrong_secret_is_told(least: Target) -> None:
    probed = run(least.data, (KEY, "another-secret"), "probe")
    assert probed.returncode == 77 and "secret key of store.credentials" in probed.stderr, probed.stderr
