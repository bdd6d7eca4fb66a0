"""The registry is the truth of this moment: who leaves it is out, sessions and presigned URLs included."""

from __future__ import annotations

import pytest
import requests
from botocore.exceptions import ClientError

from checks import registry_changed
from conftest import Accounts
from files import pattern
from servers import Target, wait_until
from signing import hotkey_boto3

# The promise is "at the next request"; a file system's clock may need a moment to show the change.
CHANGE_SECONDS_MAX = 3


def without(name: str):
    return lambda registry: (
        registry | {"identities": [item for item in registry["identities"] if item["name"] != name]}
    )


def edited(name: str, **fields: object):
    return lambda registry: (
        registry
        | {"identities": [item | fields if item["name"] == name else item for item in registry["identities"]]}
    )


@pytest.mark.targets("dev", "minio")
def test_removal_ends_every_kind_of_access(target: Target, accounts: Accounts, unique: str) -> None:
    key = f"{accounts.miner.folder}{unique}/file"
    at = {"Bucket": target.bucket, "Key": key}
    session, hotkey = accounts.miner.boto3(), hotkey_boto3(accounts.miner)
    session.put_object(**at, Body=pattern(2000))
    session_url = session.generate_presigned_url("get_object", Params=at, ExpiresIn=600)
    hotkey_url = hotkey.generate_presigned_url("get_object", Params=at, ExpiresIn=600)

    def status(call) -> int:
        try:
            return call(**at)["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]

    def statuses() -> list[int]:
        urls = [requests.get(url, timeout=30).status_code for url in (session_url, hotkey_url)]
        return [status(session.get_object), status(hotkey.get_object), *urls]

    assert statuses() == [200, 200, 200, 200]
    with registry_changed(target, without("miner-a")):
        wait_until(lambda: status(session.get_object) == 403, CHANGE_SECONDS_MAX, "the removal seen")
        assert statuses() == [403, 403, 403, 403]
        with pytest.raises(ClientError, match="(?i)not ?registered"):
            session.get_object(**at)
        # The sibling of the same coldkey is registered still.
        assert status(accounts.sibling.boto3().get_object) == 200
    wait_until(lambda: status(session.get_object) == 200, CHANGE_SECONDS_MAX, "the return seen")
    assert statuses() == [200, 200, 200, 200]


@pytest.mark.targets("dev", "minio")
def test_another_coldkey_moves_the_folder(target: Target, accounts: Accounts, unique: str) -> None:
    old, new = accounts.miner.folder, accounts.other_miner.folder
    s3 = accounts.miner.boto3()
    target.store.write(f"{old}{unique}", pattern(2000))

    def may_write(folder: str) -> bool:
        try:
            s3.put_object(Bucket=target.bucket, Key=f"{folder}{unique}", Body=pattern(2000))
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            return False
        return True

    assert (may_write(old), may_write(new)) == (True, False)
    with registry_changed(target, edited("miner-a", coldkey=accounts.other_miner.identity.coldkey)):
        wait_until(lambda: may_write(new), CHANGE_SECONDS_MAX, "the new coldkey seen")
        assert not may_write(old)
    wait_until(lambda: may_write(old), CHANGE_SECONDS_MAX, "the old coldkey seen")
    assert not may_write(new)


@pytest.mark.targets("dev", "minio")
@pytest.mark.parametrize("lost", [{"validator_permit": False}, {"stake": 1}], ids=["permit", "stake"])
def test_validator_that_loses_its_standing(
    target: Target, accounts: Accounts, unique: str, lost: dict
) -> None:
    key = f"{accounts.miner.folder}{unique}/file"
    target.store.write(key, pattern(2000))
    s3 = accounts.validator.boto3()

    def may_read() -> bool:
        try:
            s3.get_object(Bucket=target.bucket, Key=key)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            return False
        return True

    assert may_read()
    with registry_changed(target, edited("validator", **lost)):
        wait_until(lambda: not may_read(), CHANGE_SECONDS_MAX, "the loss seen")
    wait_until(may_read, CHANGE_SECONDS_MAX, "the return seen")
