"""s3cmd."""

from __future__ import annotations

from pathlib import Path

from clients.base import Client, run
from servers import BIN


class S3cmd(Client):
    # Its signurl knows SigV2 alone, and its get has no range but for resuming.
    name = "s3cmd"
    lacks = frozenset({"presign_get", "presign_put", "get_range"})

    def s3cmd(self, *words: str | Path) -> str:
        session = self.account.session
        host = self.target.host
        # Keys by environment: with a token in its file it would ask a cloud's metadata service for another.
        environment = self.target.environment(
            AWS_ACCESS_KEY_ID=session["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=session["SecretAccessKey"],
            AWS_SESSION_TOKEN=session["SessionToken"],
        )
        settings = {
            "host_base": host,
            # Without %(bucket)s this is path style.
            "host_bucket": host,
            "bucket_location": self.target.region,
            "use_https": str(bool(self.target.ca)),
            "ca_certs_file": str(self.target.ca or ""),
            "max_retries": "1",
            "multipart_chunk_size_mb": "8",
        }
        config = self.scratch / "s3cmd.cfg"
        config.write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        return run([BIN / "s3cmd", "--config", config, "--no-progress", *words], environment)

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

    def delete(self, key: str) -> None:
        self.s3cmd("del", self.uri(key))

    def delete_below(self, prefix: str) -> None:
        self.s3cmd("del", "--recursive", "--force", self.uri(prefix))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        lines = self.s3cmd("sync", "--delete-removed", f"{folder}/", self.uri(prefix)).splitlines()
        return [line for line in lines if line.startswith(("upload:", "delete:"))]
