"""A suite's buckets as folders of the one bucket: the names in requests, and the way back in answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape as escape_xml

from sigv4 import Query

# Elements of answers whose text may begin with a folder.
KEY_ELEMENTS = (
    "Key|Prefix|Marker|NextMarker|StartAfter|KeyMarker|NextKeyMarker|Resource|Location|Bucket|BucketName|Name"
)
# Parameters of a list that name keys.
KEY_PARAMETERS = ("prefix", "marker", "start-after", "key-marker")


@dataclass(frozen=True)
class User:
    """Somebody of the suite, and who that is at the server."""

    access: str
    secret: str
    server_access: str
    server_secret: str
    server_token: str | None
    # The folder that holds this user's buckets, with its slash.
    folder: str


@dataclass
class Names:
    """The suite's buckets and where they are."""

    bucket: str
    buckets: dict[str, User] = field(default_factory=dict)

    def folder(self, bucket: str) -> str:
        return f"{self.buckets[bucket].folder}{bucket}/"

    def path(self, bucket: str, raw_key: str) -> str:
        return f"/{self.bucket}/{self.folder(bucket)}{raw_key}"

    def copy_source(self, raw: str) -> str:
        """`bucket/key` or `/bucket/key`, escaped or not; an unknown bucket's stays as it is."""
        parts = re.fullmatch(r"(/|%2[fF])?([^/%?]+)(/|%2[fF])(.*)", raw)
        if parts is None or parts[2] not in self.buckets:
            return raw
        return f"{parts[1] or ''}{self.bucket}{parts[3]}{self.folder(parts[2])}{parts[4]}"

    def list_query(self, bucket: str, query: Query) -> Query:
        """A list of the bucket as a list of its folder: an empty marker stays empty, a prefix is needed."""
        folder = self.folder(bucket)
        mapped: Query = []
        for name, value in query:
            if name in KEY_PARAMETERS and (value or name == "prefix"):
                value = folder + (value or "")
            mapped.append((name, value))
        if not any(name == "prefix" for name, _ in mapped):
            mapped.append(("prefix", folder))
        return mapped

    def keys_in_xml(self, bucket: str, body: bytes) -> bytes:
        """The keys of a DeleteObjects request."""
        folder = self.folder(bucket).encode()
        return re.sub(rb"<Key>", rb"<Key>" + folder, body)

    def back(self, bucket: str | None, body: bytes, server: str, endpoint: str) -> bytes:
        """An XML answer in the suite's names."""
        text = body.decode("utf-8", "surrogateescape")
        folder = self.folder(bucket) if bucket in self.buckets else None

        def element(found: re.Match[str]) -> str:
            return f"<{found[1]}>{self.text_back(bucket, folder, found[2], server, endpoint)}</{found[1]}>"

        text = re.sub(rf"<({KEY_ELEMENTS})>([^<]*)</\1>", element, text)
        return text.encode("utf-8", "surrogateescape")

    def text_back(self, bucket: str | None, folder: str | None, text: str, server: str, endpoint: str) -> str:
        """One name, path or address in an answer."""
        if bucket is None or folder is None:
            return text
        if text == self.bucket:
            return escape_xml(bucket)
        text = text.replace(server, endpoint)
        for form in (folder, quote(folder, safe=""), quote(folder, safe="/")):
            if text.startswith(form):
                return text[len(form) :]
            for slash in ("/", "%2F"):
                whole = f"{slash}{self.bucket}{slash}{form}"
                if whole in text:
                    return text.replace(whole, f"{slash}{bucket}{slash}")
        return text

    def header_back(self, bucket: str | None, value: str, server: str, endpoint: str) -> str:
        """A Location; of a redirected form's, the query names bucket and key."""
        if bucket not in self.buckets:
            return value
        folder = self.folder(bucket)
        value = self.text_back(bucket, folder, value, server, endpoint)
        for form in (folder, quote(folder, safe="")):
            value = value.replace(f"key={form}", "key=")
        return value.replace(f"bucket={self.bucket}", f"bucket={bucket}")


def split_path(raw: str) -> tuple[str, str]:
    """Bucket (plain) and key (still escaped) of a request's path."""
    bucket, _, key = raw.removeprefix("/").partition("/")
    return unquote(bucket), key
