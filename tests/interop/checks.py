"""What several tests assert or arrange in the same way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from servers import Target

# As the clients word it: a HEAD has no body, so all that is left of its refusal is the status.
# s5cmd shows of a refused batch the message alone; mc has words of its own, and of a source that it may not
# look at it says that it cannot guess the copy's type.
DENIED = (
    r"AccessDenied|Access Denied|ACCESS_DENIED|\b403\b|Forbidden|FolderDenied|PermissionError"
    r"|Insufficient permissions|Unable to guess the type of copy operation"
)


def refused(code: str, status: int, call: Callable[..., object], **parameters: object) -> ClientError:
    """boto3's call is refused with exactly this code and status, and has a request id to ask about."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), answer
    assert answer["ResponseMetadata"].get("RequestId"), answer
    return caught.value


@contextmanager
def registry_changed(target: Target, change: Callable[[dict], dict]) -> Iterator[None]:
    """Writes the registry as an operator's tool does (whole, by rename), and puts the old one back."""
    before = target.registry.read_text()
    try:
        write_registry(target, change(json.loads(before)))
        yield
    finally:
        write_registry(target, json.loads(before))


def write_registry(target: Target, registry: dict) -> None:
    beside = target.registry.with_suffix(".new")
    beside.write_text(json.dumps(registry))
    beside.chmod(0o600)
    os.replace(beside, target.registry)


def verify_by(target: Target) -> str | bool:
    """What `requests` verifies the target's certificate by."""
    return str(target.ca) if target.ca else True
