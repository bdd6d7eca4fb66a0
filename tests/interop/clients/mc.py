"""mc, the MinIO client."""

from __future__ import annotations

from pathlib import Path

from clients.base import Client, shell_bytes


class Mc(Client):
    name = "mc"
    lacks = frozenset({"presign_put"})

    def mc(self, *words: str | Path) -> str:
        return self.mc_bytes(*words).decode()

    def mc_bytes(self, *words: str | Path) -> bytes:
        return shell_bytes(self.account, "mc", ["mc", "--quiet", *words])

    def remote(self, key: str) -> str:
        return f"subgate/{self.bucket}/{key}"

    def put(self, file: Path, key: str) -> None:
        self.mc("cp", file, self.remote(key))

    def get(self, key: str, file: Path) -> None:
        self.mc("cp", self.remote(key), file)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        # It knows where to begin, and reads to the end.
        return self.mc_bytes("cat", "--offset", str(first), self.remote(key))[:length]

    def list(self, prefix: str) -> list[str]:
        lines = self.mc("find", self.remote(prefix)).splitlines()
        return [line.removeprefix(self.remote("")) for line in lines]

    def copy(self, source: str, key: str) -> None:
        self.mc("cp", self.remote(source), self.remote(key))

    def move(self, source: str, key: str) -> None:
        self.mc("mv", self.remote(source), self.remote(key))

    def delete(self, key: str) -> None:
        self.mc("rm", self.remote(key))

    def delete_below(self, prefix: str) -> None:
        self.mc("rm", "--recursive", "--force", self.remote(prefix))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        lines = self.mc("mirror", "--overwrite", "--remove", folder, self.remote(prefix)).splitlines()
        return [line for line in lines if "->" in line or line.startswith("Removed")]

    def presign_get(self, key: str) -> str:
        lines = self.mc("share", "download", "--expire", "10m", self.remote(key)).splitlines()
        return next(line.removeprefix("Share: ") for line in lines if line.startswith("Share: "))
