"""A Hub of HuggingFace's kind, which the suite brings itself, and HuggingFace's own clients of two eras.

The Hub is `cargo run --example hub`: datasets in memory, with orders to fail.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from clients.base import run_bytes
from servers import CACHE, HERE, Server, bare_environment, log_in

BUILT = HERE.parents[1] / "target" / "debug" / "examples" / "hub"
PROGRAM = Path(os.environ.get("SUBGATE_HUB", BUILT)).resolve()
USER, TOKEN = "alice", "hf_alice"
# Environments below the cache directory, by what is asked for in a test's name.
ERAS = {"2024": "venv-hub-2024", "newest": "venv-fsspec"}


@dataclass(frozen=True)
class Hub:
    endpoint: str
    server: Server

    def order(self, **order: object) -> None:
        answer = requests.post(f"{self.endpoint}/-/order", json=order, timeout=60)
        assert answer.status_code == 200, answer.text

    def fail(self, on: str, failure: object, **more: object) -> None:
        self.order(fault={"on": on, "failure": failure, **more})

    def look_up(self, what: str, **names: str) -> requests.Response:
        return requests.get(f"{self.endpoint}/-/{what}", params=names, timeout=60)

    def paths(self, repository: str) -> list[str]:
        return self.look_up("dataset", id=repository).json()["paths"]

    def file(self, repository: str, path: str) -> bytes:
        return self.look_up("file", id=repository, path=path).content

    def seen(self, side: str, method: str) -> list[str]:
        """The targets of such requests since the Hub was last told to forget them."""
        seen = self.look_up("seen").json()
        return [one["target"] for one in seen if (one["side"], one["method"]) == (side, method)]

    def forget(self) -> None:
        self.order_word("forget")

    def order_word(self, word: str) -> None:
        assert requests.post(f"{self.endpoint}/-/order", json=word, timeout=60).status_code == 200

    def environment(self, token: str = TOKEN) -> dict[str, str]:
        """What leads a client of the Hub there."""
        return {"HF_ENDPOINT": self.endpoint} | ({"HF_TOKEN": token} if token else {})


def start_hub(scratch: Path) -> Iterator[Hub]:
    # On free ports that it takes itself, and says.
    command = [PROGRAM, "--user", f"{USER}={TOKEN}"]
    server = Server(command, log_in(scratch, "hub.log"), bare_environment(scratch))
    server.wait_until(lambda: server.tail().endswith("}\n"))
    hub = Hub(json.loads(server.tail())["endpoint"], server)
    yield hub
    assert hub.look_up("violations").json() == [], "a token came to the CDN"
    server.stop()


@dataclass(frozen=True)
class HubClient:
    """`huggingface_hub` and `datasets` of one era, with a cache of their own."""

    era: str
    hub: Hub
    home: Path

    def run(self, verb: str, repository: str, *words: str | Path) -> str:
        environment = bare_environment(self.home) | self.hub.environment()
        environment |= {
            "HF_HOME": str(self.home / self.era),
            # The suite's Hub has no Xet, and this client does not ask whether there is.
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        python = CACHE / ERAS[self.era] / "bin" / "python"
        return run_bytes(
            [python, HERE / "programs" / "use_hub.py", verb, repository, *words], environment
        ).decode()
