"""One request, signed by hand and sent as it is written; of the answer every header, in its order."""

from __future__ import annotations

import datetime
import hashlib
import http.client
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import sigv4
from sigv4 import ChunkSigner, Scope
from wire import Headers

REGION = "us-east-1"
CHUNKED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


@dataclass(frozen=True)
class Caller:
    """Who sends, and where to."""

    endpoint: str
    bucket: str
    access: str
    secret: str
    token: str | None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes


def send(
    caller: Caller,
    method: str,
    path: str,
    query: str = "",
    headers: Headers = (),
    body: bytes = b"",
    payload: str | None = None,
    signing: str = "header",
    chunks: list[bytes] | None = None,
) -> Answer:
    """Sends a request to `path` in the caller's bucket.

    `signing` is "header", "query" (presigned for 60 s), "expired", "damaged" or "none". With `chunks` the
    body is aws-chunked with a signature for each.
    """
    place = urlsplit(caller.endpoint)
    now = datetime.datetime.now(datetime.UTC)
    if signing == "expired":
        now -= datetime.timedelta(hours=2)
    date = now.strftime("%Y%m%dT%H%M%SZ")
    scope = Scope(f"{date[:8]}/{REGION}/s3/aws4_request", caller.secret)
    target = f"/{caller.bucket}{path}"
    sent: Headers = [("host", place.netloc), *headers]
    pairs = sigv4.parse_query(query)
    if signing in ("query", "expired"):
        pairs += [
            ("X-Amz-Algorithm", sigv4.ALGORITHM),
            ("X-Amz-Credential", quote(f"{caller.access}/{scope.text}", safe="")),
            ("X-Amz-Date", date),
            ("X-Amz-Expires", "60"),
            ("X-Amz-SignedHeaders", "%3B".join(sorted(name.lower() for name, _ in sent))),
        ]
        if caller.token:
            pairs.append(("X-Amz-Security-Token", quote(caller.token, safe="")))
        signature = sign(method, target, pairs, sent, payload or sigv4.UNSIGNED, date, scope)
        pairs.append(("X-Amz-Signature", signature))
    elif signing != "none":
        sent += [
            ("x-amz-content-sha256", payload or (CHUNKED if chunks else hashlib.sha256(body).hexdigest())),
            ("x-amz-date", date),
        ]
        if caller.token:
            sent.append(("x-amz-security-token", caller.token))
        if chunks:
            sent.append(("x-amz-decoded-content-length", str(sum(map(len, chunks)))))
        signature = sign(method, target, pairs, sent, dict(sent)["x-amz-content-sha256"], date, scope)
        if signing == "damaged":
            signature = sigv4.damaged(signature)
        names = ";".join(sorted({name.lower() for name, _ in sent}))
        sent.append(
            (
                "authorization",
                f"{sigv4.ALGORITHM} Credential={caller.access}/{scope.text}, SignedHeaders={names}, "
                f"Signature={signature}",
            )
        )
        if chunks:
            chain = ChunkSigner(scope, date, signature)
            body = b""
            for chunk in [*chunks, b""]:
                chain.previous = chain.chunk(chunk)
                body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(chunk), chain.previous.encode(), chunk)
    query = sigv4.write_query(pairs)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    try:
        connection.putrequest(
            method, target + (f"?{query}" if query else ""), skip_host=True, skip_accept_encoding=True
        )
        for name, value in sent:
            connection.putheader(name, value)
        if (body or method in ("PUT", "POST")) and "content-length" not in {name for name, _ in sent}:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def sign(
    method: str, path: str, query: sigv4.Query, headers: Headers, payload: str, date: str, scope: Scope
) -> str:
    signed = sorted({name.lower() for name, _ in headers})
    canonical = sigv4.canonical_request(method, sigv4.canonical_path(path), query, headers, signed, payload)
    return scope.sign(sigv4.string_to_sign(date, scope.text, canonical))
