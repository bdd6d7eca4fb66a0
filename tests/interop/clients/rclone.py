"""rclone."""

from __future__ import annotations

import os
from pathlib import Path

from clients.base import Client, run_bytes
from servers import BIN


class Rclone(Client):
    name = "rclone"
    lacks = frozenset({"presign_put"})

    def rclone(self, *words: str | Path) -> str:
        return self.rclone_bytes(*words).decode()

    def rclone_bytes(self, *words: str | Path) -> bytes:
        options = ["--config", os.devnull, "--retries", "1", "--low-level-retries", "1"]
        if self.target.ca:
            options += ["--ca-cert", str(self.target.ca)]
        environment = self.account.environment(
            RCLONE_CONFIG_SUBGATE_TYPE="s3",
            RCLONE_CONFIG_SUBGATE_PROVIDER="Other",
            RCLONE_CONFIG_SUBGATE_ENV_AUTH="true",
            RCLONE_CONFIG_SUBGATE_ENDPOINT=self.target.endpoint,
            RCLONE_CONFIG_SUBGATE_REGION=self.target.region,
            # Else whole uploads up to 200 MiB are a single PUT.
            RCLONE_S3_UPLOAD_CUTOFF="16M",
        )
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
