"""The AWS CLI, of both lines."""

from __future__ import annotations

import json
from pathlib import Path

from clients.base import Client, run, shell_bytes
from servers import BIN


class AwsCli(Client):
    lacks = frozenset({"presign_put"})

    def aws(self, *words: str | Path) -> str:
        raise NotImplementedError

    def put(self, file: Path, key: str) -> None:
        self.aws("s3", "cp", "--only-show-errors", file, self.uri(key))

    def get(self, key: str, file: Path) -> None:
        self.aws("s3", "cp", "--only-show-errors", self.uri(key), file)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        file = self.scratch / "range"
        interval = f"bytes={first}-{first + length - 1}"
        self.aws("s3api", "get-object", "--bucket", self.bucket, "--key", key, "--range", interval, file)
        return file.read_bytes()

    def list(self, prefix: str) -> list[str]:
        words = ("--bucket", self.bucket, "--prefix", prefix, "--page-size", "100")
        answer = self.aws("s3api", "list-objects-v2", *words, "--query", "Contents[].Key", "--output", "json")
        return json.loads(answer) or []

    def copy(self, source: str, key: str) -> None:
        self.aws("s3", "cp", "--only-show-errors", self.uri(source), self.uri(key))

    def move(self, source: str, key: str) -> None:
        self.aws("s3", "mv", "--only-show-errors", self.uri(source), self.uri(key))

    def delete(self, key: str) -> None:
        self.aws("s3", "rm", "--only-show-errors", self.uri(key))

    def delete_below(self, prefix: str) -> None:
        self.aws("s3", "rm", "--only-show-errors", "--recursive", self.uri(prefix))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        return self.aws("s3", "sync", "--no-progress", "--delete", folder, self.uri(prefix)).splitlines()

    def presign_get(self, key: str) -> str:
        return self.aws("s3", "presign", self.uri(key), "--expires-in", "600").strip()


class AwsCli1(AwsCli):
    name = "aws-cli-1"

    def aws(self, *words: str | Path) -> str:
        config = self.scratch / "aws1.config"
        config.write_text(self.account.setup("aws1"))
        environment = self.account.home_environment(AWS_CONFIG_FILE=str(config), AWS_PROFILE="subgate")
        return run([BIN / "aws1", *words], environment)


class AwsCli2(AwsCli):
    """Debian's, which does not read endpoint_url from the profile."""

    name = "aws-cli-2"

    def aws(self, *words: str | Path) -> str:
        return shell_bytes(self.account, "aws2-old", ["subgate_aws", *words], AWS_PAGER="").decode()
