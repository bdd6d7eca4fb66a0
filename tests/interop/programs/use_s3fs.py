"""s3fs, the file system of fsspec."""

from __future__ import annotations

import s3fs
from verbs import BUCKET, main


class S3Fs:
    def __init__(self, names: dict) -> None:
        self.fs: s3fs.S3FileSystem = names["fs"]

    def put(self, file: str, key: str) -> None:
        self.fs.put_file(file, f"{BUCKET}/{key}", chunksize=8 * 1024 * 1024)

    def get(self, key: str, file: str) -> None:
        self.fs.get_file(f"{BUCKET}/{key}", file)

    def get_range(self, key: str, first: str, length: str) -> bytes:
        return self.fs.cat_file(f"{BUCKET}/{key}", start=int(first), end=int(first) + int(length))

    def list(self, prefix: str) -> list[str]:
        return [path.removeprefix(f"{BUCKET}/") for path in self.fs.find(f"{BUCKET}/{prefix}")]

    def copy(self, source: str, key: str) -> None:
        self.fs.copy(f"{BUCKET}/{source}", f"{BUCKET}/{key}")

    def move(self, source: str, key: str) -> None:
        self.fs.mv(f"{BUCKET}/{source}", f"{BUCKET}/{key}")

    def delete(self, key: str) -> None:
        self.fs.rm_file(f"{BUCKET}/{key}")

    def delete_below(self, prefix: str) -> None:
        self.fs.rm(f"{BUCKET}/{prefix}", recursive=True)

    def presign_get(self, key: str) -> list[str]:
        return [self.fs.url(f"{BUCKET}/{key}", expires=600)]


main(S3Fs)
