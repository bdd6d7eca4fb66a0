"""s3cmd."""

from __future__ import annotations

from pathlib import Path

from clients.base import Client, shell_bytes


class S3cmd(Client):
    # Its signurl knows SigV2 alone, and its get has no range but for resuming.
    name = "s3cmd"
    lacks = frozenset({"presign_get", "presign_put", "get_range"})

    def s3cmd(self, *words: str | Path) -> str:
        options = ("--no-progress", "--multipart-chunk-size-mb", "8")
        return shell_bytes(self.account, "s3cmd", ["subgate_s3cmd", *options, *words]).decode()

    def put(self, file: Path, key: str) -> None:
        self.s3cmd("put", file, self.uri(key))

    def get(self, key: str, file: Path) -> None:
        self.s3cmd("get", "--force", self.uri(key), file)

    def list(self, prefix: str) -> list[str]:
        lines = self.s3cmd("ls", "--recursive", self.uri(prefix)).splitlines()
        # Date, time, size, URI.
        return [line.split(maxsplit=3)[3].removeprefix(self.uri("")) for line in lines]

    def copy(self, source: str, key: str) -> None:
        self.s3cmd("cp", self.uri(source), self.uri(key))

    def move(self, source: str, key: str) -> None:
        self.s3cmd("mv", self.uri(source), self.uri(key))

    def delete(self, key: str) -> None:
        self.s3cmd("del", self.uri(key))

    def delete_below(self, prefix: str) -> None:
        self.s3cmd("del", "--recursive", "--force", self.uri(prefix))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        lines = self.s3cmd("sync", "--delete-removed", f"{folder}/", self.uri(prefix)).splitlines()
        return [line for line in lines if line.startswith(("upload:", "delete:"))]
