"""Requests signed by hand: paths that no stock client would send, and the hotkey's own signatures."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import re
import ssl
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes, urlsplit

import bittensor
import boto3
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth, S3SigV4QueryAuth
from botocore.config import Config

from clients import Account
from servers import Target

UNSIGNED = "UNSIGNED-PAYLOAD"
HMAC = "AWS4-HMAC-SHA256"
SR25519 = "AWS4-SR25519-SHA256"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The S3 error code in the body, if there is one."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found.group(1).decode() if found else None

    @property
    def message(self) -> str:
        found = re.search(rb"<Message>([^<]*)</Message>", self.body)
        return found.group(1).decode() if found else ""


class Signer(Protocol):
    algorithm: str
    access_key: str
    token: str | None

    def signature(self, scope: str, string_to_sign: str) -> str: ...


class SessionSigner:
    """Session credentials: SigV4 as every stock client does it."""

    algorithm = HMAC

    def __init__(self, session: dict) -> None:
        self.access_key, self.token = session["AccessKeyId"], session["SessionToken"]
        self._secret = session["SecretAccessKey"]

    def signature(self, scope: str, string_to_sign: str) -> str:
        key = f"AWS4{self._secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


class HotkeySigner:
    """The hotkey signs the string itself."""

    algorithm = SR25519
    token = None

    def __init__(self, keypair) -> None:
        self.access_key, self._keypair = keypair.ss58_address, keypair

    def signature(self, scope: str, string_to_sign: str) -> str:
        return self._keypair.sign(string_to_sign.encode()).hex()


def send(
    target: Target,
    signer: Signer,
    method: str,
    raw_path: str,
    query: list[tuple[str, str]] | None = None,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    payload: str | None = None,
) -> Answer:
    """Signs S3's canonical form of the path (decoded, encoded again) and sends the path exactly as given."""
    signed = dict(headers or {})
    signed["host"] = target.host
    signed["x-amz-date"] = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    signed["x-amz-content-sha256"] = payload or hashlib.sha256(body).hexdigest()
    if signer.token:
        signed["x-amz-security-token"] = signer.token
    query_string = "&".join(f"{strict(name)}={strict(value)}" for name, value in sorted(query or []))
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        [
            method,
            quote(unquote_to_bytes(raw_path), safe="/~"),
            query_string,
            *(f"{name}:{signed[name].strip()}" for name in sorted(signed)),
            "",
            names,
            signed["x-amz-content-sha256"],
        ]
    )
    scope = f"{signed['x-amz-date'][:8]}/{target.region}/s3/aws4_request"
    string_to_sign = "\n".join(
        [signer.algorithm, signed["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    signature = signer.signature(scope, string_to_sign)
    credential = f"{signer.access_key}/{scope}"
    signed["authorization"] = (
        f"{signer.algorithm} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return exchange(target, method, raw_path + (f"?{query_string}" if query_string else ""), signed, body)


def exchange(target: Target, method: str, raw_target: str, headers: dict[str, str], body: bytes) -> Answer:
    """One request whose target goes on the wire byte for byte."""
    place = urlsplit(target.endpoint)
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=str(target.ca))
        connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    try:
        connection.putrequest(method, raw_target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if "content-length" not in headers:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        )
    finally:
        connection.close()


def strict(text: str) -> str:
    return quote(text, safe="-_.~")


def hotkey_of(account: Account):
    """The wallet's hotkey, loaded by the bittensor SDK."""
    return bittensor.Wallet(account.identity.name, "default", str(account.target.wallets)).hotkey


def signs_with(keypair) -> tuple[type[S3SigV4Auth], type[S3SigV4QueryAuth]]:
    """What a user of boto3 writes to sign with a hotkey: botocore's own signers with another last step."""

    class HotkeySignature:
        def string_to_sign(self, request, canonical_request):
            return super().string_to_sign(request, canonical_request).replace(HMAC, SR25519, 1)

        def signature(self, string_to_sign, request):
            return keypair.sign(string_to_sign.encode()).hex()

    class HotkeyAuth(HotkeySignature, S3SigV4Auth):
        def _inject_signature_to_request(self, request, signature):
            super()._inject_signature_to_request(request, signature)
            authorization = request.headers["Authorization"]
            # Assignment would add a second one.
            del request.headers["Authorization"]
            request.headers["Authorization"] = authorization.replace(HMAC, SR25519, 1)

    class HotkeyQueryAuth(HotkeySignature, S3SigV4QueryAuth):
        def _modify_request_before_signing(self, request):
            super()._modify_request_before_signing(request)
            request.url = request.url.replace(HMAC, SR25519, 1)

    return HotkeyAuth, HotkeyQueryAuth


def hotkey_boto3(account: Account):
    """boto3 whose requests and presigned URLs are signed by the account's hotkey, without a session."""
    keypair = hotkey_of(account)
    scheme = f"sr25519-{keypair.ss58_address}"
    AUTH_TYPE_MAPS[scheme], AUTH_TYPE_MAPS[f"{scheme}-query"] = signs_with(keypair)
    return boto3.client(
        "s3",
        endpoint_url=account.target.endpoint,
        region_name=account.target.region,
        aws_access_key_id=keypair.ss58_address,
        aws_secret_access_key="unused",
        verify=str(account.target.ca) if account.target.ca else None,
        config=Config(
            signature_version=scheme, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
        ),
    )
