"""rclone."""

from __future__ import annotations

from pathlib import Path

from clients.base import Account, Client, run_bytes
from servers import BIN


def printed_config(account: Account, scratch: Path) -> Path:
    """The file that `subgate setup rclone` prints; rclone may write to it."""
    config = scratch / "rclone.conf"
    if not config.exists():
        config.write_text(account.setup("rclone"))
    return config


class Rclone(Client):
    name = "rclone"
    lacks = frozenset({"presign_put"})

    def rclone(self, *words: str | Path) -> str:
        return self.rclone_bytes(*words).decode()

    def rclone_bytes(self, *words: str | Path) -> bytes:
        config = printed_config(self.account, self.scratch)
        options = ["--config", config, "--retries", "1", "--low-level-retries", "1"]
        # Else whole uploads up to 200 MiB are a single PUT.
        environment = self.account.home_environment(RCLONE_S3_UPLOAD_CUTOFF="16M")
        return run_bytes([BIN / "rclone", *options, *words], environment)

    def remote(self, key: str) -> str:
        return f"subgate:{self.bucket}/{key}"

    def put(self, file: Path, key: str) -> None:
        self.rclone("copyto", file, self.remote(key))

    def get(self, key: str, file: Path) -> None:
        self.rclone("copyto", self.remote(key), file)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        return self.rclone_bytes("cat", "--offset", str(first), "--count", str(length), self.remote(key))

    def list(self, prefix: str) -> list[str]:
        answer = self.rclone(
            "lsf", "--recursive", "--files-only", "--s3-list-chunk", "100", self.remote(prefix)
        )
        return [prefix + line for line in answer.splitlines()]

    def copy(self, source: str, key: str) -> None:
        self.rclone("copyto", self.remote(source), self.remote(key))

    def move(self, source: str, key: str) -> None:
        self.rclone("moveto", self.remote(source), self.remote(key))

    def delete(self, key: str) -> None:
        self.rclone("deletefile", self.remote(key))

    def delete_below(self, prefix: str) -> None:
        self.rclone("delete", self.remote(prefix))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        report = self.scratch / "rclone-sync.log"
        report.unlink(missing_ok=True)
        self.rclone("sync", "--log-file", report, "--log-level", "INFO", folder, self.remote(prefix))
        return [line for line in report.read_text().splitlines() if "Copied" in line or "Deleted" in line]

    def presign_get(self, key: str) -> str:
        return self.rclone("link", "--expire", "10m", self.remote(key)).strip()
