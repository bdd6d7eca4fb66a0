"""curl, which signs by `--aws-sigv4`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import quote, unquote_plus

from clients.base import Client, shell_bytes

XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Curl(Client):
    name = "curl"
    # One request each: what takes several is for scripts.
    lacks = frozenset({"delete_below", "sync", "presign_get", "presign_put", "multipart", "move"})

    def curl(self, *words: str | Path) -> bytes:
        return shell_bytes(self.account, "curl", ["subgate_curl", *words])

    def url(self, key: str) -> str:
        return f"{self.target.endpoint}/{self.bucket}/{quote(key)}"

    def put(self, file: Path, key: str) -> None:
        self.curl("--upload-file", file, self.url(key))

    def get(self, key: str, file: Path) -> None:
        self.curl("--output", file, self.url(key))

    def get_range(self, key: str, first: int, length: int) -> bytes:
        return self.curl("--range", f"{first}-{first + length - 1}", self.url(key))

    def list(self, prefix: str) -> list[str]:
        keys, token = [], ""
        while True:
            # In the order of their names: curl signs a query as it stands.
            query = f"encoding-type=url&list-type=2&prefix={quote(prefix, safe='')}"
            if token:
                query = f"continuation-token={quote(token, safe='')}&{query}"
            page = ElementTree.fromstring(self.curl(f"{self.target.endpoint}/{self.bucket}?{query}"))
            keys += [unquote_plus(item.text) for item in page.iterfind(f"{XML}Contents/{XML}Key")]
            token = page.findtext(f"{XML}NextContinuationToken")
            if not token:
                return keys

    def copy(self, source: str, key: str) -> None:
        origin = f"x-amz-copy-source: /{self.bucket}/{quote(source)}"
        self.curl("--request", "PUT", "--header", origin, self.url(key))

    def delete(self, key: str) -> None:
        self.curl("--request", "DELETE", self.url(key))
