"""Every attempt to reach past one's own folder: refused with S3's error, and without effect in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import requests
from botocore.exceptions import ClientError

from checks import DENIED, refused, verify_by
from clients import (
    Account,
    AwsCli,
    AwsCli1,
    AwsCli2,
    Client,
    MinioPy,
    Rclone,
    Refused,
    every_client_that_can,
    run,
)
from conftest import Accounts
from files import pattern
from servers import Target, credentials_command
from signing import Answer, SessionSigner, exchange, send

Connect = Callable[[type[Client], Account], Client]

everywhere = pytest.mark.targets("dev", "dev-tls", "minio", "tls")
every_client = every_client_that_can("put", "get")
# Whoever may not write there: a miner with another coldkey, and the validator, who may read.
OUTSIDERS = ("miner-b", "validator")


@pytest.fixture
def victim(target: Target, accounts: Accounts, unique: str) -> str:
    """An object in the folder of miner-a, and the prefix that it is alone below."""
    key = f"{accounts.miner.folder}{unique}/secret.parquet"
    target.store.write(key, pattern(5000, key))
    return key


def untouched(target: Target, victim: str) -> bool:
    below = victim.rsplit("/", 1)[0] + "/"
    return target.store.keys(below) == [victim] and target.store.read(victim) == pattern(5000, victim)


# As each client shows it.


@everywhere
@every_client
@pytest.mark.parametrize("outsider", OUTSIDERS)
def test_put_into_a_foreign_folder(
    target: Target,
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    outsider: str,
    victim: str,
    small_file: Path,
) -> None:
    for key in (victim, victim + ".new"):
        with pytest.raises(Refused, match=DENIED):
            connect(kind, accounts[outsider]).put(small_file, key)
    assert untouched(target, victim)


@every_client_that_can("put", "multipart")
def test_put_in_parts_into_a_foreign_folder(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], victim: str, large_file: Path
) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(kind, accounts.other_miner).put(large_file, victim)
    assert untouched(target, victim)


@everywhere
@every_client
def test_get_from_a_foreign_folder(
    accounts: Accounts, connect: Connect, kind: type[Client], victim: str, tmp_path: Path
) -> None:
    back = tmp_path / "back"
    with pytest.raises(Refused, match=DENIED):
        connect(kind, accounts.other_miner).get(victim, back)
    # curl keeps the refusal itself there.
    assert not back.exists() or back.stat().st_size == 0 or b"<Code>AccessDenied</Code>" in back.read_bytes()


@every_client_that_can("list")
def test_list_of_a_foreign_folder(
    accounts: Accounts, connect: Connect, kind: type[Client], victim: str
) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(kind, accounts.other_miner).list(victim.rsplit("/", 1)[0] + "/")


@every_client_that_can("copy")
def test_copy_out_of_a_foreign_folder(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], victim: str, unique: str
) -> None:
    loot = f"{accounts.other_miner.folder}{unique}/loot"
    with pytest.raises(Refused, match=DENIED):
        connect(kind, accounts.other_miner).copy(victim, loot)
    assert target.store.keys(loot) == []


@every_client_that_can("copy")
def test_validator_cannot_copy_into_a_miners_folder(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], victim: str
) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(kind, accounts.validator).copy(victim, victim + ".copy")
    assert untouched(target, victim)


@every_client_that_can("delete")
@pytest.mark.parametrize("outsider", OUTSIDERS)
def test_delete_in_a_foreign_folder(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], outsider: str, victim: str
) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(kind, accounts[outsider]).delete(victim)
    assert untouched(target, victim)


@every_client_that_can("presign_get")
def test_presigning_gives_no_more_than_the_signer_has(
    target: Target, accounts: Accounts, connect: Connect, kind: type[Client], victim: str
) -> None:
    try:
        url = connect(kind, accounts.other_miner).presign_get(victim)
    except Refused as refusal:
        # rclone looks at the object first, and is refused there.
        assert kind is Rclone and "403" in str(refusal), refusal
        return
    answer = requests.get(url, timeout=30, verify=verify_by(target))
    assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True)


# Exactly, operation by operation.


def test_every_object_operation(target: Target, accounts: Accounts, victim: str) -> None:
    s3 = accounts.other_miner.boto3()
    at = {"Bucket": target.bucket, "Key": victim}
    own = {"Bucket": target.bucket, "Key": f"{accounts.other_miner.folder}own"}

    refused("AccessDenied", 403, s3.get_object, **at)
    refused("403", 403, s3.head_object, **at)
    refused("403", 403, s3.head_object, Bucket=target.bucket, Key=victim + ".absent")
    refused("AccessDenied", 403, s3.get_object, Bucket=target.bucket, Key=victim + ".absent")
    refused("AccessDenied", 403, s3.get_object, **at, Range="bytes=0-9")
    refused("AccessDenied", 403, s3.get_object_attributes, **at, ObjectAttributes=["ObjectSize"])
    refused("AccessDenied", 403, s3.put_object, **at, Body=pattern(2000))
    refused("AccessDenied", 403, s3.delete_object, **at)
    refused("AccessDenied", 403, s3.copy_object, **own, CopySource=at)
    refused("AccessDenied", 403, s3.copy_object, **at, CopySource=own)
    refused("AccessDenied", 403, s3.create_multipart_upload, **at)
    refused("AccessDenied", 403, s3.list_multipart_uploads, Bucket=target.bucket, Prefix=victim)
    assert untouched(target, victim)


def test_foreign_multipart_upload(target: Target, accounts: Accounts, victim: str) -> None:
    """The upload id is known to the attacker, and opens nothing."""
    at = {"Bucket": target.bucket, "Key": victim}
    owner, thief = accounts.miner.boto3(), accounts.other_miner.boto3()
    upload = at | {"UploadId": owner.create_multipart_upload(**at)["UploadId"]}
    part = {"PartNumber": 1, "ETag": owner.upload_part(**upload, PartNumber=1, Body=pattern(2000))["ETag"]}
    done = {"MultipartUpload": {"Parts": [part]}}

    refused("AccessDenied", 403, thief.upload_part, **upload, PartNumber=1, Body=pattern(3000))
    refused("AccessDenied", 403, thief.list_parts, **upload)
    refused("AccessDenied", 403, thief.complete_multipart_upload, **upload, **done)
    refused("AccessDenied", 403, thief.abort_multipart_upload, **upload)
    # With its own key and the other's upload id there is no such upload.
    moved = upload | {"Key": f"{accounts.other_miner.folder}moved"}
    refused("NoSuchUpload", 404, thief.complete_multipart_upload, **moved, **done)

    owner.complete_multipart_upload(**upload, **done)
    assert target.store.read(victim) == pattern(2000)


def test_upload_part_copy_from_a_foreign_folder(
    target: Target, accounts: Accounts, victim: str, unique: str
) -> None:
    s3 = accounts.other_miner.boto3()
    own = {"Bucket": target.bucket, "Key": f"{accounts.other_miner.folder}{unique}/parts"}
    upload = own | {"UploadId": s3.create_multipart_upload(**own)["UploadId"]}
    for source in (victim, victim + "?versionId=null"):
        copy_source = f"{target.bucket}/{source}"
        refused("AccessDenied", 403, s3.upload_part_copy, **upload, PartNumber=1, CopySource=copy_source)
    assert s3.list_parts(**upload).get("Parts", []) == []
    s3.abort_multipart_upload(**upload)


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2", "list_multipart_uploads"])
def test_listing_above_ones_folder(target: Target, accounts: Accounts, victim: str, operation: str) -> None:
    s3 = accounts.other_miner.boto3()
    call = getattr(s3, operation)
    coldkey = accounts.miner.identity.coldkey
    for prefix in (
        "",
        "data",
        "data/",
        "data/x",
        "data/x/",
        f"data/x/{coldkey}",
        f"data/x/{coldkey}/",
        victim,
    ):
        refused("AccessDenied", 403, call, Bucket=target.bucket, Prefix=prefix)
    # Another delimiter than "/" would show the siblings.
    for delimiter in ("a", "5", coldkey[:1]):
        refused("AccessDenied", 403, call, Bucket=target.bucket, Prefix="data/x/", Delimiter=delimiter)


def test_refused_listing_names_the_callers_folders(target: Target, accounts: Accounts) -> None:
    error = refused("AccessDenied", 403, accounts.other_miner.boto3().list_objects_v2, Bucket=target.bucket)
    assert accounts.other_miner.folder in error.response["Error"]["Message"]
    assert accounts.miner.identity.coldkey not in error.response["Error"]["Message"]


def test_own_folder_without_its_slash_lists_nothing_else(
    target: Target, accounts: Accounts, unique: str
) -> None:
    """A prefix that ends inside the coldkey's name must not match a longer name."""
    store = target.store
    neighbour = accounts.miner.folder.rstrip("/") + "x/" + unique
    store.write(neighbour, pattern(1024))
    own = accounts.miner.folder + unique
    store.write(own, pattern(1024))
    answer = accounts.miner.boto3().list_objects_v2(
        Bucket=target.bucket, Prefix=accounts.miner.folder.rstrip("/")
    )
    keys = [item["Key"] for item in answer["Contents"]]
    assert neighbour not in keys and all(key.startswith(accounts.miner.folder) for key in keys)
    refused("AccessDenied", 403, accounts.miner.boto3().get_object, Bucket=target.bucket, Key=neighbour)


def test_foreign_start_after_shows_nothing_foreign(target: Target, accounts: Accounts, victim: str) -> None:
    s3 = accounts.other_miner.boto3()
    try:
        answer = s3.list_objects_v2(
            Bucket=target.bucket, Prefix=accounts.other_miner.folder, StartAfter=victim
        )
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
    else:
        assert all(item["Key"].startswith(accounts.other_miner.folder) for item in answer.get("Contents", []))


def test_batch_delete_is_judged_key_by_key(
    target: Target, accounts: Accounts, victim: str, unique: str
) -> None:
    own = f"{accounts.other_miner.folder}{unique}/own"
    target.store.write(own, pattern(1024))
    doomed = {"Objects": [{"Key": own}, {"Key": victim}]}
    answer = accounts.other_miner.boto3().delete_objects(Bucket=target.bucket, Delete=doomed)
    assert [item["Key"] for item in answer["Deleted"]] == [own]
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [(victim, "AccessDenied")]
    assert untouched(target, victim) and target.store.keys(own) == []


def test_quiet_batch_delete_still_tells_the_errors(target: Target, accounts: Accounts, victim: str) -> None:
    doomed = {"Objects": [{"Key": victim}], "Quiet": True}
    answer = accounts.validator.boto3().delete_objects(Bucket=target.bucket, Delete=doomed)
    assert "Deleted" not in answer
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [(victim, "AccessDenied")]
    assert untouched(target, victim)


def test_batch_delete_of_the_stock_clients(
    target: Target, accounts: Accounts, connect: Connect, victim: str
) -> None:
    minio_py = connect(MinioPy, accounts.validator)
    with pytest.raises(Refused, match="AccessDenied"):
        minio_py.delete_below(victim.rsplit("/", 1)[0] + "/")
    for kind in (AwsCli1, AwsCli2):
        aws: AwsCli = connect(kind, accounts.validator)
        answer = aws.aws(
            "s3api", "delete-objects", "--bucket", target.bucket, "--delete", f"Objects=[{{Key={victim}}}]"
        )
        assert "AccessDenied" in answer
    assert untouched(target, victim)


def test_foreign_bucket(accounts: Accounts) -> None:
    s3 = accounts.miner.boto3()
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket="another-bucket", Prefix=accounts.miner.folder)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) in [
        ("AccessDenied", 403),
        ("NoSuchBucket", 404),
    ]


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("get_bucket_policy", {}),
        ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
        ("get_bucket_lifecycle_configuration", {}),
        ("put_bucket_acl", {"ACL": "public-read"}),
        ("list_object_versions", {"Prefix": "{folder}"}),
        ("put_object_acl", {"Key": "{folder}file", "ACL": "public-read"}),
        ("delete_bucket", {}),
    ],
)
def test_unclassified_operations_never_reach_the_store(
    target: Target, accounts: Accounts, operation: str, parameters: dict
) -> None:
    filled = {
        name: value.format(folder=accounts.miner.folder) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    refused("NotImplemented", 501, getattr(accounts.miner.boto3(), operation), Bucket=target.bucket, **filled)


# Raw requests: what a hostile client sends.

TRAVERSALS = ("..", "%2e%2e", "%2E%2E", ".%2e")
SLASHES = ("/", "%2f", "%2F")


@everywhere
@pytest.mark.parametrize("dots", TRAVERSALS)
@pytest.mark.parametrize("slash", SLASHES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_traversal(
    target: Target, accounts: Accounts, victim: str, method: str, slash: str, dots: str
) -> None:
    """Correctly signed, and refused for what it asks: a wrong signature would prove nothing here."""
    name = victim.removeprefix("data/x/")
    raw = f"/{target.bucket}/{accounts.other_miner.folder}{dots}{slash}{name}"
    body = pattern(2000) if method == "PUT" else b""
    answer = send(target, SessionSigner(accounts.other_miner.session), method, raw, body=body)
    assert answer.code != "SignatureDoesNotMatch", answer
    assert answer.status in (400, 403), answer
    assert untouched(target, victim)


def test_doubly_encoded_traversal_is_a_plain_name(target: Target, accounts: Accounts, victim: str) -> None:
    """Decoded once, `%252e%252e%252f` is text: stored below the own folder or refused, but nowhere else."""
    name = victim.removeprefix("data/x/").replace("/", "%252f")
    folder = accounts.other_miner.folder
    raw = f"/{target.bucket}/{folder}%252e%252e%252f{name}"
    answer = send(target, SessionSigner(accounts.other_miner.session), "PUT", raw, body=pattern(2000))
    stored = folder + "%2e%2e%2f" + victim.removeprefix("data/x/").replace("/", "%2f")
    assert (answer.status, target.store.keys(folder + "%2e")) in [(200, [stored]), (400, [])], answer
    assert untouched(target, victim)


@pytest.mark.parametrize(
    "source", ["{folder}../{victim}", "{folder}%2e%2e%2f{victim}", "{folder}..%2f{victim}"]
)
def test_traversal_in_a_copy_source(
    target: Target, accounts: Accounts, victim: str, unique: str, source: str
) -> None:
    folder = accounts.other_miner.folder
    path = source.format(folder=folder, victim=victim.removeprefix("data/x/"))
    loot = f"{folder}{unique}/loot"
    answer = send(
        target,
        SessionSigner(accounts.other_miner.session),
        "PUT",
        f"/{target.bucket}/{loot}",
        headers={"x-amz-copy-source": f"/{target.bucket}/{path}"},
    )
    assert answer.status in (400, 403) and answer.code != "SignatureDoesNotMatch", answer
    assert target.store.keys(loot) == []


@pytest.mark.parametrize("name", ["a//b", "a/./b", "./a", "a/..", "a%00b", "a%0ab", "a%7fb"])
def test_segments_that_stores_read_differently(
    target: Target, accounts: Accounts, unique: str, name: str
) -> None:
    folder = f"{accounts.miner.folder}{unique}/"
    raw = f"/{target.bucket}/{folder}{name}"
    answer = send(target, SessionSigner(accounts.miner.session), "PUT", raw, body=pattern(2000))
    assert answer.status == 400, answer
    assert target.store.keys(folder) == []


@everywhere
@pytest.mark.parametrize("change", ["folder", "name", "method", "expires", "date", "signature", "token"])
def test_presigned_url_tampered_with(target: Target, accounts: Accounts, victim: str, change: str) -> None:
    own = f"{accounts.other_miner.folder}presigned"
    target.store.write(own, pattern(3000, own))
    s3 = accounts.other_miner.boto3()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": target.bucket, "Key": own}, ExpiresIn=600)
    place = urlsplit(url)
    query = dict(parse_qsl(place.query))
    path, method = place.path, "GET"
    if change == "folder":
        path = f"/{target.bucket}/{victim}"
    elif change == "name":
        path += "2"
    elif change == "method":
        method = "DELETE"
    elif change == "expires":
        query["X-Amz-Expires"] = "604800"
    elif change == "date":
        query["X-Amz-Date"] = query["X-Amz-Date"][:-2] + ("0Z" if query["X-Amz-Date"][-2] != "0" else "1Z")
    elif change == "signature":
        query["X-Amz-Signature"] = query["X-Amz-Signature"][::-1]
    elif change == "token":
        query["X-Amz-Security-Token"] = accounts.validator.session["SessionToken"]
    tampered = urlunsplit(("", "", path, urlencode(query), ""))

    assert ask(target, "GET", f"{place.path}?{place.query}").status == 200
    answer = ask(target, method, tampered)
    # S3 answers 400 to a token that is not the key's.
    assert answer.status == (400 if change == "token" else 403), answer
    assert answer.code in ("SignatureDoesNotMatch", "AccessDenied", "InvalidAccessKeyId", "InvalidToken"), (
        answer
    )
    assert untouched(target, victim) and target.store.keys(own) == [own]


def test_anonymous_requests(target: Target, victim: str) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = ask(target, method, f"/{target.bucket}/{victim}")
        assert answer.status == 403, answer
    assert ask(target, "GET", f"/{target.bucket}?list-type=2").code == "AccessDenied"
    assert untouched(target, victim)


def test_credentials_of_two_identities_do_not_mix(target: Target, accounts: Accounts, victim: str) -> None:
    """The victim's key id with the attacker's secret and token, and the other way round."""
    thief, owner = accounts.other_miner.session, accounts.miner.session
    for field in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
        mixed = thief | {field: owner[field]}
        answer = send(target, SessionSigner(mixed), "GET", f"/{target.bucket}/{victim}")
        # S3 answers 400 to a token that is not the key's (InvalidToken), 403 to a false signature.
        assert answer.status in (400, 403) and answer.code in ("InvalidToken", "SignatureDoesNotMatch"), (
            field,
            answer,
        )


def ask(target: Target, method: str, raw_target: str) -> Answer:
    return exchange(target, method, raw_target, {"host": target.host}, b"")


# Whoever is not registered.


@everywhere
def test_stranger_is_told_why(target: Target, accounts: Accounts) -> None:
    command = credentials_command(target, "stranger")
    with pytest.raises(Refused, match="(?i)not ?registered") as caught:
        run(command, target.environment())
    # A person reads this: a sentence, no trace and no token.
    assert "panicked" not in str(caught.value) and len(str(caught.value)) < 1000


@every_client
def test_stranger_gets_nowhere(
    accounts: Accounts, connect: Connect, kind: type[Client], victim: str, tmp_path: Path
) -> None:
    with pytest.raises((Refused, ClientError)) as caught:
        connect(kind, accounts.stranger).get(victim, tmp_path / "back")
    assert "egistered" in str(caught.value)
