"""A form's upload (POST Object) in the names and with the signature of the server that it goes to.

Specification: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable

from mapping import Names, User
from sigv4 import Credential, Scope, damaged
from wire import Message

# Head and content of one part, with what stands around them.
Part = tuple[bytes, bytes]


def translate(request: Message, bucket: str, names: Names, user_of: Callable[[str], User | None]) -> None:
    """Changes the form's key, bucket, policy, credential and signature; all else stays byte for byte."""
    boundary = re.search(r'boundary="?([^";]+)', request.header("content-type") or "")
    if boundary is None:
        return
    mark = b"--" + boundary[1].encode("latin-1")
    first, *parts = request.body.split(mark)
    fields = {name: value for name, value in map(field, parts) if name and name != "file"}
    folder = names.folder(bucket) if bucket in names.buckets else ""
    new = dict(fields)
    if "key" in fields:
        new["key"] = folder.encode() + fields["key"]
    if fields.get("bucket") == bucket.encode():
        new["bucket"] = names.bucket.encode()
    credential = Credential.parse(fields.get("x-amz-credential", b"").decode("latin-1"))
    user = user_of(credential.access) if credential else None
    token = None
    if user is not None and credential is not None:
        new["x-amz-credential"] = f"{user.server_access}/{credential.scope}".encode()
        token = user.server_token
        if "policy" in fields:
            new["policy"] = policy_again(fields, new, folder, bucket, names.bucket, user)
            old_text, new_text = fields["policy"].decode("latin-1"), new["policy"].decode("latin-1")
            sent = fields.get("x-amz-signature", b"").decode("latin-1")
            is_right = sent == Scope(credential.scope, user.secret).sign(old_text)
            made = Scope(credential.scope, user.server_secret).sign(new_text)
            if "x-amz-signature" in fields:
                new["x-amz-signature"] = (made if is_right else damaged(made)).encode()
    written = [first]
    for part in parts:
        name, value = field(part)
        if token and name == "file":
            head = b'\r\nContent-Disposition: form-data; name="x-amz-security-token"\r\n\r\n'
            written += [mark, head, token.encode(), b"\r\n"]
            token = None
        if name in new and name != "file":
            head, _, _ = part.partition(b"\r\n\r\n")
            part = head + b"\r\n\r\n" + new[name] + b"\r\n"
        written += [mark, part]
    request.body = b"".join(written)


def field(part: bytes) -> tuple[str, bytes]:
    """Name and content of a part; no name where it has none."""
    head, _, content = part.partition(b"\r\n\r\n")
    name = re.search(rb'name="([^"]*)"', head)
    return (name[1].decode("latin-1").lower() if name else "", content.removesuffix(b"\r\n"))


def policy_again(
    old: dict[str, bytes], new: dict[str, bytes], folder: str, bucket: str, server_bucket: str, user: User
) -> bytes:
    """The policy with the names that the form now has; one that cannot be read stays as it is."""
    try:
        policy = json.loads(base64.b64decode(old["policy"], validate=True))
        conditions = policy["conditions"]
        mapped = [condition_again(item, old, new, folder, bucket, server_bucket) for item in conditions]
    except (ValueError, binascii.Error, KeyError, TypeError):
        return old["policy"]
    if user.server_token:
        mapped.append({"x-amz-security-token": user.server_token})
    policy["conditions"] = mapped
    return base64.b64encode(json.dumps(policy).encode())


def condition_again(
    condition: object,
    old: dict[str, bytes],
    new: dict[str, bytes],
    folder: str,
    bucket: str,
    server_bucket: str,
) -> object:
    """`{"name": value}` or `["eq" or "starts-with", "$name", value]`, in the server's names."""

    def again(name: str, value: object) -> object:
        if name == "key" and isinstance(value, str):
            return folder + value
        if name == "bucket" and value == bucket:
            return server_bucket
        if name == "x-amz-credential" and str(value).encode() == old.get("x-amz-credential"):
            return new["x-amz-credential"].decode()
        return value

    if isinstance(condition, dict):
        return {name: again(name.lower(), value) for name, value in condition.items()}
    if isinstance(condition, list) and len(condition) == 3 and str(condition[1]).startswith("$"):
        return [condition[0], condition[1], again(str(condition[1])[1:].lower(), condition[2])]
    return condition
