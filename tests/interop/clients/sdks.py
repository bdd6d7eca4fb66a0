"""The AWS SDKs for Go and JavaScript: ../go-sdk and ../js-sdk with what `subgate setup` prints."""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import cache
from pathlib import Path

from clients.base import Client, run
from files import MIB
from servers import BIN, CACHE, HERE


class Sdk(Client):
    lacks = frozenset({"sync", "move"})

    def call(self, *words: str | Path) -> list[str]:
        raise NotImplementedError

    def put(self, file: Path, key: str) -> None:
        if file.stat().st_size > 16 * MIB:
            self.call("multipart", key, file, str(8 * MIB))
        else:
            self.call("put", key, file)

    def get(self, key: str, file: Path) -> None:
        self.call("get", key, file)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        file = self.scratch / "range"
        self.call("range", key, str(first), str(first + length - 1), file)
        return file.read_bytes()

    def list(self, prefix: str) -> list[str]:
        return self.call("list", prefix)

    def copy(self, source: str, key: str) -> None:
        self.call("copy", source, key)

    def delete(self, key: str) -> None:
        self.call("delete", key)

    def delete_below(self, prefix: str) -> None:
        self.call("delete", *self.list(prefix))

    def presign_get(self, key: str) -> str:
        return self.call("presign-get", key)[0]

    def presign_put(self, key: str) -> str:
        return self.call("presign-put", key)[0]


class GoSdk(Sdk):
    name = "go-sdk"

    def call(self, *words: str | Path) -> list[str]:
        program = go_program(self.account.setup("go"))
        return run([program, *words], self.account.home_environment(S3_BUCKET=self.bucket)).splitlines()


@cache
def go_program(text: str) -> Path:
    """The program with this text compiled in; Go's cache has all but the last step."""
    source = CACHE / "go-sdk-setup" / hashlib.sha256(text.encode()).hexdigest()[:16]
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(HERE / "go-sdk", source)
    (source / "setup.go").write_text(text)
    # That of the person who runs the suite: Go's caches are there.
    environment = os.environ | {"GOFLAGS": "-p=2 -mod=readonly"}
    # Built as the installation builds it, or nothing in the cache would fit.
    build = ["go", "-C", source, "build", "-trimpath", "-tags", "setup"]
    run([*build, "-o", "program", "."], environment)
    return source / "program"


class JsSdk(Sdk):
    name = "js-sdk"

    def call(self, *words: str | Path) -> list[str]:
        # Node.js finds packages beside the module that imports them.
        text = self.account.setup("js")
        module = CACHE / "js-sdk" / f"setup-{hashlib.sha256(text.encode()).hexdigest()[:16]}.mjs"
        module.write_text(text)
        # That a release of next year wants a newer Node.js.
        more = {"S3_BUCKET": self.bucket, "S3_SETUP": str(module), "NODE_NO_WARNINGS": "1"}
        return run([BIN / "js-sdk", *words], self.account.home_environment(**more)).splitlines()
