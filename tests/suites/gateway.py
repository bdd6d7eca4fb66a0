"""A gateway that lets a suite which wants buckets and users of its own run against one bucket.

The suite's buckets are folders, its users are identities of the server (`mapping.py`); each request is signed
again with what its new names and the identity ask for. It judges nothing: what the suite signed wrongly goes
on signed wrongly, in the same way, so that every refusal is the server's own. Buckets are made, deleted and
counted here, because the one bucket must stay.

    python gateway.py CONFIG.json

The configuration: `{"ports", "upstream", "bucket", "users": [{…}], "lists_buckets"}`, see `mapping.User`.
Where `lists_buckets` is false, a list of buckets is empty: a suite that tidies up by it has then nothing to
tidy, which it would do by a list of versions. Behind each port is a gateway of its own, with no bucket at
first. `RESET / HTTP/1.1` is a request to begin anew: the buckets are forgotten, and later ones lie in other
folders."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import json
import re
import sys
import zlib
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit
from xml.sax.saxutils import escape as escape_xml

import form
import sigv4
from mapping import Names, User, split_path
from sigv4 import ChunkSigner, Credential, Query, Scope
from wire import HEAD_BYTES_MAX, Message, Upstream, read_body, read_head

# What a bucket's address with one of these parameters is: a list, and no setting of the bucket.
LISTS = ("uploads", "versions")
# Parameters that make a bucket's address another resource than the bucket itself.
SETTINGS = (
    "accelerate acl analytics cors encryption intelligent-tiering inventory lifecycle location logging "
    "metrics notification object-lock ownershipControls policy policyStatus publicAccessBlock replication "
    "requestPayment tagging versioning website metadataConfiguration metadataTable session abac "
    "metadataInventoryTable metadataJournalTable"
).split()


# versitygw's suite tidies up with this header on every delete. No bucket here has locks to bypass, and to
# drop it is to change nothing at the store, where to send it would make every test end in Subgate's refusal.
DROPPED = "x-amz-bypass-governance-retention"


class Gateway:
    def __init__(self, config: dict, place: int) -> None:
        self.upstream = urlsplit(config["upstream"])
        self.port = config["ports"][place]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.names = Names(config["bucket"])
        self.users: dict[str, User] = {}
        self.lists_buckets = config["lists_buckets"]
        self._config, self._place, self._beginnings = config["users"], place, 0
        self.begin_anew()

    def begin_anew(self) -> None:
        # As long for each number, so that what depends on a key's length is the same in every run.
        folder = f"{self._place:02}{self._beginnings:04}/"
        self._beginnings += 1
        self.names.buckets.clear()
        for item in self._config:
            self.users[item["access"]] = User(**{**item, "folder": item["folder"] + folder})

    async def serve(self) -> None:
        server = await asyncio.start_server(self.client, "127.0.0.1", self.port, limit=HEAD_BYTES_MAX)
        async with server:
            await server.serve_forever()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection; the server gets a connection of its own for it."""
        upstream = Upstream(self.upstream.hostname, self.upstream.port)
        with contextlib.suppress(ConnectionError):
            while request := await read_head(reader):
                if "100-continue" in (request.header("expect") or "").lower():
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await read_body(reader, request, until_end=False)
                if request.method == "RESET":
                    self.begin_anew()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    continue
                answer = await self.answer(request, upstream)
                if answer is None:
                    break
                writer.write(answer.head() + answer.body)
                await writer.drain()
                if not (request.complete and answer.complete):
                    break
        upstream.close()
        writer.close()

    async def answer(self, request: Message, upstream: Upstream) -> Message | None:
        path, _, raw_query = request.target.partition("?")
        bucket, key = split_path(path)
        query = sigv4.parse_query(raw_query)
        signature = Signature.of(request, path, query, self.users)
        if signature.is_right:
            own = await self.bookkeeping(request, signature.user, bucket, key, query, upstream)
            if own is not None:
                return finished(own, request)
        answer = await upstream.exchange(self.translated(request, signature, bucket, key, path, query))
        if answer is None:
            return None
        return finished(self.answer_back(answer, request, bucket, key, query), request)

    def translated(
        self, request: Message, signature: Signature, bucket: str, key: str, path: str, query: Query
    ) -> Message:
        """The request as the server shall see it."""
        sent = Message(request.start, list(request.headers), request.body, request.chunked, request.complete)
        sent.trailers = request.trailers
        names = {name for name, _ in query}
        if bucket in self.names.buckets:
            if key:
                path = self.names.path(bucket, key)
            else:
                path = f"/{self.names.bucket}" + ("/" if path.endswith("/") else "")
                if request.method in ("GET", "HEAD") and not names & set(SETTINGS):
                    query = self.names.list_query(bucket, query)
                elif request.method == "POST" and "delete" in names:
                    replace_body(sent, self.names.keys_in_xml(bucket, request.body))
        if source := request.header("x-amz-copy-source"):
            sent.replace("x-amz-copy-source", self.names.copy_source(source))
        if not key and "multipart/form-data" in (request.header("content-type") or ""):
            form.translate(sent, bucket, self.names, self.users.get)
            if sent.header("content-length") is not None and request.complete:
                sent.replace("content-length", str(len(sent.body)))
        sent.replace("host", self.upstream.netloc)
        sent.replace("connection", None)
        sent.replace(DROPPED, None)
        query = signature.again(sent, path, query)
        target = path + (f"?{sigv4.write_query(query)}" if query or "?" in request.target else "")
        sent.start = f"{request.method} {target} HTTP/1.1"
        return sent

    def answer_back(self, answer: Message, request: Message, bucket: str, key: str, query: Query) -> Message:
        """The answer in the suite's names; an object's content is left alone."""
        is_content = (
            request.method == "GET"
            and key
            and answer.status < 300
            and not any(name in ("uploadId", "acl", "tagging", "attributes") for name, _ in query)
        )
        server = f"{self.upstream.scheme}://{self.upstream.netloc}"
        if answer.body.lstrip().startswith(b"<") and not is_content:
            answer.body = self.names.back(bucket, answer.body, server, self.endpoint)
        if location := answer.header("location"):
            answer.replace("location", self.names.header_back(bucket, location, server, self.endpoint))
        return answer

    async def bookkeeping(
        self, request: Message, user: User, bucket: str, key: str, query: Query, upstream: Upstream
    ) -> Message | None:
        """What concerns buckets as such; nothing where the server shall answer."""
        names = {name for name, _ in query if not name.lower().startswith("x-amz-")} - {"x-id"}
        owner = self.names.buckets.get(bucket)
        if not bucket:
            return self.list_buckets(user) if request.method == "GET" and not names else None
        if key or (owner is None and request.method != "PUT"):
            return None
        match request.method:
            case "PUT" if not names:
                return self.create_bucket(bucket, user)
            case "HEAD" if owner is not user:
                return error(403, "AccessDenied", bucket)
            case "HEAD":
                return Message("HTTP/1.1 200 OK", [("x-amz-bucket-region", "us-east-1")])
            case "DELETE" if not names and owner is not user:
                return error(403, "AccessDenied", bucket)
            case "DELETE" if not names:
                return await self.delete_bucket(bucket, upstream)
            case "PUT" | "DELETE" if owner is not None:
                # A setting of the one bucket, which all tests share.
                return error(501, "NotImplemented", bucket)
        return None

    def create_bucket(self, bucket: str, user: User) -> Message:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) or ".." in bucket:
            return error(400, "InvalidBucketName", bucket)
        if owner := self.names.buckets.get(bucket):
            code = "BucketAlreadyOwnedByYou" if owner is user else "BucketAlreadyExists"
            return error(409, code, bucket)
        self.names.buckets[bucket] = user
        return Message("HTTP/1.1 200 OK", [("Location", f"/{bucket}")])

    async def delete_bucket(self, bucket: str, upstream: Upstream) -> Message:
        """Asks the server whether the bucket's folder is empty."""
        user = self.names.buckets[bucket]
        query: Query = [("list-type", "2"), ("max-keys", "1"), ("prefix", self.names.folder(bucket))]
        target = f"/{self.names.bucket}?{sigv4.write_query(query)}"
        listing = Message(f"GET {target} HTTP/1.1", [])
        sign_own(listing, user, self.upstream.netloc, f"/{self.names.bucket}", query)
        answer = await upstream.exchange(listing)
        if answer is None or answer.status != 200:
            return error(503, "ServiceUnavailable", bucket)
        if b"<Key>" in answer.body:
            return error(409, "BucketNotEmpty", bucket)
        del self.names.buckets[bucket]
        return Message("HTTP/1.1 204 No Content", [])

    def list_buckets(self, user: User) -> Message:
        own = sorted(
            name for name, owner in self.names.buckets.items() if owner is user and self.lists_buckets
        )
        items = "".join(
            f"<Bucket><Name>{escape_xml(name)}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate>"
            "</Bucket>"
            for name in own
        )
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Owner><ID>{escape_xml(user.access)}</ID></Owner><Buckets>{items}</Buckets>"
            "</ListAllMyBucketsResult>"
        )
        return Message("HTTP/1.1 200 OK", [("Content-Type", "application/xml")], body.encode())


class Signature:
    """What a request says of who sent it: read from what the suite sent, written for the server."""

    def __init__(self, user: User | None = None, is_right: bool = False) -> None:
        self.user, self.is_right = user, is_right

    @staticmethod
    def of(request: Message, path: str, query: Query, users: dict[str, User]) -> Signature:
        authorization = request.header("authorization")
        if authorization is not None:
            return HeaderSignature(authorization, request, path, query, users)
        if any(name.lower() == "x-amz-algorithm" for name, _ in query):
            return QuerySignature(request, path, query, users)
        return Signature()

    def again(self, sent: Message, path: str, query: Query) -> Query:
        """Signs the request for the server and gives its query."""
        return query


class HeaderSignature(Signature):
    def __init__(
        self, authorization: str, request: Message, path: str, query: Query, users: dict[str, User]
    ) -> None:
        super().__init__()
        self._authorization = authorization
        _, _, rest = authorization.partition(" ")
        self._parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        self._credential = Credential.parse(self._parts.get("Credential", ""))
        self._date = request.header("x-amz-date") or ""
        access = (self._credential.access if self._credential else None) or next(
            (access for access in users if access in authorization), None
        )
        self.user = users.get(access) if access else None
        self._is_whole = (
            authorization.startswith(f"{sigv4.ALGORITHM} ")
            and self._credential is not None
            and self.user is not None
            and {"SignedHeaders", "Signature"} <= set(self._parts)
        )
        if self._is_whole:
            sent = self._parts["Signature"]
            # Signers differ in whether, and how often, they escape the path.
            paths = (path, sigv4.canonical_path(path), quote(sigv4.canonical_path(path), safe="/-_.~"))
            self.is_right = any(
                sent == self._signature(request, form, query, self.user.secret) for form in paths
            )
            self._sent_chunks = ChunkSigner(self._scope(self.user.secret), self._date, sent)

    def _scope(self, secret: str) -> Scope:
        return Scope(self._credential.scope, secret)

    def _signature(self, message: Message, path: str, query: Query, secret: str) -> str:
        payload = message.header("x-amz-content-sha256") or hashlib.sha256(message.body).hexdigest()
        signed = self._parts["SignedHeaders"].split(";")
        canonical = sigv4.canonical_request(message.method, path, query, message.headers, signed, payload)
        text = sigv4.string_to_sign(self._date, self._credential.scope, canonical)
        return self._scope(secret).sign(text)

    def again(self, sent: Message, path: str, query: Query) -> Query:
        if self.user is None:
            return query
        if self.user.server_token:
            sent.replace("x-amz-security-token", self.user.server_token)
        if not self._is_whole:
            # The form is wrong, and stays so; only the name of the sender is another.
            text = self._authorization.replace(self.user.access, self.user.server_access)
            sent.replace("authorization", text)
            return query
        names = {*self._parts["SignedHeaders"].split(";")} - {DROPPED}
        if self.user.server_token:
            names.add("x-amz-security-token")
        self._parts["SignedHeaders"] = ";".join(sorted(names))
        made = self._signature(sent, sigv4.canonical_path(path), query, self.user.server_secret)
        if not self.is_right:
            made = sigv4.damaged(made)
        credential = f"{self.user.server_access}/{self._credential.scope}"
        sent.replace(
            "authorization",
            f"{sigv4.ALGORITHM} Credential={credential}, SignedHeaders={self._parts['SignedHeaders']}, "
            f"Signature={made}",
        )
        if (sent.header("x-amz-content-sha256") or "").startswith("STREAMING-AWS4-HMAC-SHA256-"):
            again = ChunkSigner(self._scope(self.user.server_secret), self._date, made)
            sent.body = sigv4.sign_chunks_again(sent.body, self._sent_chunks, again)
        return query


class QuerySignature(Signature):
    """A presigned URL."""

    def __init__(self, request: Message, path: str, query: Query, users: dict[str, User]) -> None:
        super().__init__()
        values = {name.lower(): unquote_to_bytes(value or "").decode("latin-1") for name, value in query}
        self._values = values
        self._credential = Credential.parse(values.get("x-amz-credential", ""))
        self.user = users.get(self._credential.access) if self._credential else None
        self._is_whole = self.user is not None and {
            "x-amz-date",
            "x-amz-signedheaders",
            "x-amz-signature",
        } <= set(values)
        if self._is_whole:
            made = self._signature(request, sigv4.canonical_path(path), query, self.user.secret)
            self.is_right = values["x-amz-signature"] == made

    def _signature(self, message: Message, path: str, query: Query, secret: str) -> str:
        rest = [(name, value) for name, value in query if name.lower() != "x-amz-signature"]
        signed = self._values["x-amz-signedheaders"].split(";")
        payload = message.header("x-amz-content-sha256") or sigv4.UNSIGNED
        canonical = sigv4.canonical_request(message.method, path, rest, message.headers, signed, payload)
        text = sigv4.string_to_sign(self._values["x-amz-date"], self._credential.scope, canonical)
        return Scope(self._credential.scope, secret).sign(text)

    def again(self, sent: Message, path: str, query: Query) -> Query:
        if self.user is None or self._credential is None:
            return query
        credential = quote(f"{self.user.server_access}/{self._credential.scope}", safe="")
        mapped: Query = []
        for name, value in query:
            mapped.append((name, credential if name.lower() == "x-amz-credential" else value))
        if self.user.server_token and "x-amz-security-token" not in self._values:
            mapped.append(("X-Amz-Security-Token", quote(self.user.server_token, safe="")))
        if not self._is_whole:
            return mapped
        made = self._signature(sent, sigv4.canonical_path(path), mapped, self.user.server_secret)
        if not self.is_right:
            made = sigv4.damaged(made)
        return [(name, made if name.lower() == "x-amz-signature" else value) for name, value in mapped]


def sign_own(request: Message, user: User, host: str, path: str, query: Query) -> None:
    """Signs a request of the gateway's own."""
    date = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    request.headers += [("host", host), ("x-amz-content-sha256", sigv4.EMPTY_SHA256), ("x-amz-date", date)]
    if user.server_token:
        request.headers.append(("x-amz-security-token", user.server_token))
    signed = [name for name, _ in request.headers]
    scope = Scope(f"{date[:8]}/us-east-1/s3/aws4_request", user.server_secret)
    canonical = sigv4.canonical_request("GET", path, query, request.headers, signed, sigv4.EMPTY_SHA256)
    made = scope.sign(sigv4.string_to_sign(date, scope.text, canonical))
    request.headers.append(
        (
            "authorization",
            f"{sigv4.ALGORITHM} Credential={user.server_access}/{scope.text}, "
            f"SignedHeaders={';'.join(signed)}, Signature={made}",
        )
    )


def replace_body(message: Message, body: bytes) -> None:
    """Another body, with what the head says of it: right digests are made again, wrong ones stay."""
    digests = {
        "x-amz-content-sha256": lambda data: hashlib.sha256(data).hexdigest(),
        "content-md5": lambda data: encoded(hashlib.md5(data).digest()),
        "x-amz-checksum-sha256": lambda data: encoded(hashlib.sha256(data).digest()),
        "x-amz-checksum-sha1": lambda data: encoded(hashlib.sha1(data).digest()),
        "x-amz-checksum-crc32": lambda data: encoded(zlib.crc32(data).to_bytes(4, "big")),
    }
    for name, digest in digests.items():
        if message.header(name) == digest(message.body):
            message.replace(name, digest(body))
    if message.header("content-length") is not None and message.complete:
        message.replace("content-length", str(len(body)))
    message.body = body


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def error(status: int, code: str, bucket: str) -> Message:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{code}</Code><Message>Answered by the suite's gateway.</Message>"
        f"<BucketName>{escape_xml(bucket)}</BucketName></Error>"
    )
    return Message(f"HTTP/1.1 {status} {code}", [("Content-Type", "application/xml")], body.encode())


def finished(answer: Message, request: Message) -> Message:
    """The framing towards the suite: always a length, which a HEAD's answer has from the server."""
    answer.replace("transfer-encoding", None)
    answer.replace("connection", None)
    if request.method == "HEAD":
        answer.body = b""
    elif answer.complete and answer.status not in (204, 304):
        answer.replace("content-length", str(len(answer.body)))
    return answer


async def main(config: dict) -> None:
    await asyncio.gather(*(Gateway(config, place).serve() for place in range(len(config["ports"]))))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
