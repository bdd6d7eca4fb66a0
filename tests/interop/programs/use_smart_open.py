"""smart_open: `open` for URLs. It opens objects, and has no word for the rest of S3."""

from __future__ import annotations

import shutil

import smart_open
from verbs import BUCKET, main


class SmartOpen:
    def __init__(self, names: dict) -> None:
        self.params: dict = names["transport_params"]

    def open(self, key: str, mode: str, **more: int):
        return smart_open.open(f"s3://{BUCKET}/{key}", mode, transport_params=self.params | more)

    def put(self, file: str, key: str) -> None:
        with open(file, "rb") as source, self.open(key, "wb", min_part_size=8 * 1024 * 1024) as sink:
            shutil.copyfileobj(source, sink)

    def get(self, key: str, file: str) -> None:
        with self.open(key, "rb") as source, open(file, "wb") as sink:
            shutil.copyfileobj(source, sink)

    def get_range(self, key: str, first: str, length: str) -> bytes:
        with self.open(key, "rb") as source:
            source.seek(int(first))
            return source.read(int(length))


main(SmartOpen)
