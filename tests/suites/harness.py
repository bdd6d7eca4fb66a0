"""What a suite runs against: MinIO, Subgate before it, and a gateway before each of the two."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import servers  # noqa: E402
from clients import Account  # noqa: E402
from mapping import User  # noqa: E402
from servers import CACHE, Server, Target  # noqa: E402


def configuration(usual: str) -> str:
    """For suites that write objects of a few bytes, and folder markers, as quickly as they can: that such are
    refused has its own tests."""
    return usual.replace("[policy]\n", '[policy]\nfolder_markers = "store"\n') + (
        "\n[limits]\nobject_bytes_min = 0\n"
        '[limits.miner]\nreads_per_second = "none"\nwrites_per_second = "none"\nlists_per_second = "none"\n'
    )


SIDES = ("direct", "through")
# Identities at Subgate for a suite's users, in their order.
IDENTITIES = ("miner-a", "miner-b", "miner-a2")


@dataclass(frozen=True)
class Side:
    """One of the two ways to the store."""

    name: str
    endpoints: list[str]
    users: list[User]


@dataclass(frozen=True)
class Lab:
    target: Target
    data: Path

    def users(self, side: str, count: int) -> list[User]:
        """The suite's users, with the same keys on both sides; their folders' names are of one length."""
        users = []
        for number, name in enumerate(IDENTITIES[:count]):
            account = Account(self.target, self.target.identities[name])
            if side == "through":
                session = account.session
                at_server = (session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
                folder = account.folder
            else:
                at_server = (self.target.store.access_key, self.target.store.secret_key, None)
                owner = f"direct{number}".ljust(len(account.identity.coldkey), "x")
                folder = f"data/x/{owner}/"
            users.append(User(f"SUITEUSER{number:011}", f"secret-of-the-suite-{number}", *at_server, folder))
        return users

    def side(
        self, name: str, users_count: int = 1, endpoints_count: int = 1, lists_buckets: bool = True
    ) -> Side:
        """Starts the gateway of a side; behind each endpoint are buckets of its own."""
        ports = [servers.free_port() for _ in range(endpoints_count)]
        users = self.users(name, users_count)
        through = name == "through"
        config = self.data / f"gateway-{name}.json"
        config.touch(mode=0o600)
        config.write_text(
            json.dumps(
                {
                    "ports": ports,
                    "upstream": self.target.endpoint if through else self.target.store.endpoint,
                    "bucket": self.target.bucket if through else self.target.store.bucket,
                    "users": [asdict(user) for user in users],
                    "lists_buckets": lists_buckets,
                }
            )
        )
        log = self.data / f"gateway-{name}.log"
        command = [sys.executable, HERE / "gateway.py", config]
        Server(command, log, servers.bare_environment(self.data)).wait_until(
            lambda: all(map(servers.accepts, ports))
        )
        return Side(name, [f"http://127.0.0.1:{port}" for port in ports], users)


def begin_anew(endpoint: str) -> None:
    """Makes a gateway forget its buckets."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=30)
    connection.request("RESET", "/")
    connection.getresponse().read()
    connection.close()


@contextmanager
def lab(name: str) -> Iterator[Lab]:
    """Starts MinIO and Subgate, and ends all that was started since; the logs are kept."""
    data = Path(tempfile.mkdtemp(prefix=f"subgate-suite-{secrets.token_hex(4)}-"))
    try:
        yield Lab(servers.serve_target(data, change=configuration), data)
    finally:
        logs = CACHE / "suites" / name
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        for server in reversed(Server.started):
            server.stop()
        for log in data.glob("*.log"):
            shutil.copy(log, logs)
        shutil.rmtree(data, ignore_errors=True)
