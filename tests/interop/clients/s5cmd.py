"""s5cmd."""

from __future__ import annotations

from pathlib import Path

from clients.base import Client, shell_bytes


class S5cmd(Client):
    # Its get splits large objects into ranges by itself, but has no word for one range.
    name = "s5cmd"
    lacks = frozenset({"presign_put", "get_range"})

    def s5cmd(self, *words: str | Path) -> str:
        return shell_bytes(self.account, "s5cmd", ["s5cmd", "--retry-count", "0", *words]).decode()

    def put(self, file: Path, key: str) -> None:
        self.s5cmd("cp", "--part-size", "8", file, self.uri(key))

    def get(self, key: str, file: Path) -> None:
        self.s5cmd("cp", "--part-size", "8", self.uri(key), file)

    def list(self, prefix: str) -> list[str]:
        lines = self.s5cmd("ls", "--show-fullpath", self.uri(prefix + "*")).splitlines()
        return [line.removeprefix(self.uri("")) for line in lines]

    def copy(self, source: str, key: str) -> None:
        self.s5cmd("cp", self.uri(source), self.uri(key))

    def move(self, source: str, key: str) -> None:
        self.s5cmd("mv", self.uri(source), self.uri(key))

    def delete(self, key: str) -> None:
        self.s5cmd("rm", self.uri(key))

    def delete_below(self, prefix: str) -> None:
        self.s5cmd("rm", self.uri(prefix + "*"))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        return self.s5cmd("sync", "--delete", f"{folder}/", self.uri(prefix)).splitlines()

    def presign_get(self, key: str) -> str:
        return self.s5cmd("presign", "--expire", "10m", self.uri(key)).strip()
