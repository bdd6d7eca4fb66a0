"""AWS Signature Version 4, to check what a suite signed and to sign it again.

Specification: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from wire import Headers

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
Query = list[tuple[str, str | None]]


def parse_query(raw: str) -> Query:
    """Names and values, still escaped; a name without `=` has no value."""
    pairs: Query = []
    for part in raw.split("&") if raw else []:
        name, equals, value = part.partition("=")
        pairs.append((name, value if equals else None))
    return pairs


def write_query(query: Query) -> str:
    return "&".join(name if value is None else f"{name}={value}" for name, value in query)


def escape(text: str, safe: str = "") -> str:
    """S3's escaping of what is escaped already, in whichever way."""
    return quote(unquote_to_bytes(text.replace("+", "%20")), safe=safe + "-_.~")


def canonical_path(raw: str) -> str:
    return quote(unquote_to_bytes(raw), safe="/-_.~")


@dataclass(frozen=True)
class Scope:
    """What a signature is for; `text` is everything behind the access key in a credential."""

    text: str
    secret: str

    def key(self) -> bytes:
        key = f"AWS4{self.secret}".encode()
        for part in self.text.split("/"):
            key = hmac.digest(key, part.encode("latin-1"), "sha256")
        return key

    def sign(self, text: str) -> str:
        return hmac.digest(self.key(), text.encode("latin-1"), "sha256").hex()


def string_to_sign(date: str, scope: str, canonical_request: str) -> str:
    digest = hashlib.sha256(canonical_request.encode("latin-1")).hexdigest()
    return "\n".join([ALGORITHM, date, scope, digest])


def canonical_request(
    method: str, path: str, query: Query, headers: Headers, signed: list[str], payload: str
) -> str:
    pairs = sorted((escape(name), escape(value or "")) for name, value in query)
    lines = []
    for name in signed:
        values = [re.sub(" +", " ", value.strip()) for other, value in headers if other.lower() == name]
        lines.append(f"{name}:{','.join(values)}")
    return "\n".join(
        [
            method,
            path,
            "&".join(f"{name}={value}" for name, value in pairs),
            *lines,
            "",
            ";".join(signed),
            payload,
        ]
    )


@dataclass(frozen=True)
class Credential:
    """`Credential=ACCESS/DATE/REGION/SERVICE/aws4_request`."""

    access: str
    scope: str

    @classmethod
    def parse(cls, text: str) -> Credential | None:
        access, slash, scope = text.partition("/")
        return cls(access, scope) if slash and scope.count("/") == 3 else None


def damaged(signature: str) -> str:
    """Another signature of the same form: what was wrong stays wrong, in the way it was."""
    return signature.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))


@dataclass
class ChunkSigner:
    """The chain of chunk signatures: each covers the one before it."""

    scope: Scope
    date: str
    previous: str

    def chunk(self, data: bytes) -> str:
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", [EMPTY_SHA256, hashlib.sha256(data).hexdigest()])

    def trailer(self, lines: list[str]) -> str:
        text = "".join(f"{line}\n" for line in lines)
        return self._sign("AWS4-HMAC-SHA256-TRAILER", [hashlib.sha256(text.encode("latin-1")).hexdigest()])

    def _sign(self, algorithm: str, ends: list[str]) -> str:
        return self.scope.sign("\n".join([algorithm, self.date, self.scope.text, self.previous, *ends]))


def sign_chunks_again(body: bytes, sent: ChunkSigner, again: ChunkSigner) -> bytes:
    """An aws-chunked body with its signatures made again: right ones right, wrong ones wrong.

    What has not the form of a chunk goes on as it is, with all that follows.
    """
    written, at = [], 0
    while line := re.compile(rb"([0-9a-fA-F]+);chunk-signature=([0-9a-f]{64})\r\n").match(body, at):
        size, signature = int(line[1], 16), line[2].decode()
        data = body[line.end() : line.end() + size]
        if len(data) < size:
            break
        is_right = sent.chunk(data) == signature
        made = again.chunk(data)
        sent.previous, again.previous = signature, made if is_right else damaged(made)
        written += [line[1], b";chunk-signature=", again.previous.encode(), b"\r\n", data]
        at = line.end() + size
        if size and body[at : at + 2] == b"\r\n":
            written.append(b"\r\n")
            at += 2
        elif not size:
            break
    end = body[at:].decode("latin-1")
    trailer = re.fullmatch(r"(.*?)x-amz-trailer-signature:([0-9a-f]{64})(\s*)", end, re.DOTALL)
    if trailer:
        lines = [line for line in trailer[1].split("\r\n") if line]
        made = again.trailer(lines)
        made = made if sent.trailer(lines) == trailer[2] else damaged(made)
        end = f"{trailer[1]}x-amz-trailer-signature:{made}{trailer[3]}"
    return b"".join(written) + end.encode("latin-1")
