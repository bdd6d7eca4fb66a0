"""obstore, the Python side of object_store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import obstore
from verbs import main


class ObStore:
    def __init__(self, names: dict) -> None:
        self.store: obstore.store.S3Store = names["store"]

    def put(self, file: str, key: str) -> None:
        self.store.put(key, Path(file), chunk_size=8 * 1024 * 1024)

    def get(self, key: str, file: str) -> None:
        with open(file, "wb") as sink:
            for block in self.store.get(key):
                sink.write(block)

    def get_range(self, key: str, first: str, length: str) -> bytes:
        return bytes(self.store.get_range(key, start=int(first), length=int(length)))

    def list(self, prefix: str) -> list[str]:
        return [item["path"] for page in self.store.list(prefix) for item in page]

    def copy(self, source: str, key: str) -> None:
        self.store.copy(source, key)

    def move(self, source: str, key: str) -> None:
        self.store.rename(source, key)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def delete_below(self, prefix: str) -> None:
        self.store.delete(self.list(prefix))

    def presign_get(self, key: str) -> list[str]:
        return [obstore.sign(self.store, "GET", key, timedelta(minutes=10))]

    def presign_put(self, key: str) -> list[str]:
        return [obstore.sign(self.store, "PUT", key, timedelta(minutes=10))]


main(ObStore)
