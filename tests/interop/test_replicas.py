"""Replicas that share their limits and nonces in Redis: together as one, and apart while it is away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from bittensor import http_auth

import servers
from clients import Account
from servers import BIN, SUBGATE, Server, Store, Target
from signing import Answer, HotkeySigner, hotkey_of, send

SESSION = "/v1/session"
PASSWORD = "of-this-test-alone"

READS_BURST = 20
LOCAL_SHARE = 0.5
REQUESTS_PER_DAY = 60
BYTES_PER_DAY = 1 << 20
# Generous, for a busy machine: a request that waits for ever would take `HANG_SECONDS`.
WAIT_SECONDS_MAX = 0.5
HANG_SECONDS = 10

LIMITS = f"""
[limits.miner]
reads_per_second = 1
reads_burst = {READS_BURST}
writes_per_second = 1000
requests_per_day_max = {REQUESTS_PER_DAY}

[limits.validator]
bytes_per_day_max = {BYTES_PER_DAY}

[limits.shared]
password_file = "redis.password"
wait_milliseconds_max = {int(WAIT_SECONDS_MAX * 1000)}
"""


class Redis:
    """A real server that keeps nothing; Debian's."""

    def __init__(self, data: Path) -> None:
        self.port, self._data, self._starts = servers.free_port(), data, 0
        password = data / "redis.password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD + "\n")
        self.start()

    def start(self) -> None:
        self._starts += 1
        command = [BIN / "redis-server", "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
        command += ["--port", str(self.port), "--requirepass", PASSWORD, "--dir", self._data]
        log = servers.log_in(self._data, f"redis-{self._starts}.log")
        self._server = Server(command, log, servers.bare_environment(self._data))
        self._server.wait_until(lambda: servers.accepts(self.port))

    def signal(self, number: int) -> None:
        os.kill(self._server._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._server.stop()

    def stop(self) -> None:
        if self._server._process.poll() is None:
            self.signal(signal.SIGCONT)
        self._server.stop()


class Replicas:
    """Two replicas that count alone at a share while Redis is away, and one that refuses."""

    def __init__(self, data: Path) -> None:
        self._dev, dev = servers.start_dev(data)
        credentials = json.loads((data / "store.json").read_text())
        keys = (credentials["access_key"], credentials["secret_key"])
        store = Store(dev["store_endpoint"], credentials.get("bucket", dev["bucket"]), *keys)
        self.redis = Redis(data)
        self._base = Target("replicas", "", servers.BUCKET, data, servers.identities_of(dev), store)
        self.servers: list[Server] = []
        on_outage = f'on_outage = "local"\nlocal_share = {LOCAL_SHARE}\n'
        self.a, self.b = self._start("a", on_outage), self._start("b", on_outage)
        self.strict = self._start("strict", 'on_outage = "refuse"\n')

    def _start(self, name: str, on_outage: str) -> Target:
        data, store, port = self._base.data, self._base.store, servers.free_port()
        config, key = data / f"{name}.toml", data / "session.key"
        before = key.read_text() if key.exists() else None
        text = servers.serve_config(port, store, data, [])
        if before:
            # All replicas have the key of the first.
            key.write_text(before)
        config.write_text(text + LIMITS + f'url = "redis://127.0.0.1:{self.redis.port}"\n' + on_outage)
        environment = servers.bare_environment(data) | {
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
        }
        log = servers.log_in(data, f"serve-{name}.log")
        server = Server([SUBGATE, "serve", "--config", config], log, environment)
        self.servers.append(server.wait_until(lambda: servers.accepts(port)))
        return replace(self._base, endpoint=f"http://127.0.0.1:{port}")

    def log(self, name: str) -> str:
        return (self._base.data / f"serve-{name}.log").read_text()

    def session(self, target: Target, headers: dict[str, str] | None = None) -> requests.Response:
        account = Account(target, target.identities["validator"])
        headers = headers or http_auth.sign(hotkey_of(account), method="POST", path=SESSION)
        return requests.post(target.endpoint + SESSION, headers=headers, timeout=HANG_SECONDS)

    def wait_until_shared(self) -> None:
        """Endpoints that spend nonces answer again exactly when what is shared can be reached."""
        for target in (self.a, self.b, self.strict):
            shared = lambda target=target: self.session(target).status_code == 200  # noqa: E731
            servers.wait_until(shared, 30, "sharing again")

    def stop(self) -> None:
        self.redis.stop()
        for server in reversed(self.servers):
            server.stop()
        self._dev.stop()


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    running = Replicas(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def asks(target: Target, name: str, method: str = "HEAD", key: str = "absent") -> Callable[[], Answer]:
    """One request by a hotkey's own signature, below its folder."""
    account = Account(target, target.identities[name])
    path = f"/{target.bucket}/{account.folder}{key}"
    return lambda: send(target, HotkeySigner(hotkey_of(account)), method, path)


def admitted(answers: list[Answer]) -> int:
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 204, 404, 503}, statuses
    return len(answers) - statuses[503]


def test_replicas_are_one(replicas: Replicas) -> None:
    # A rate: each of the two alone would admit all of these.
    both = [asks(replicas.a, "miner-a"), asks(replicas.b, "miner-a")]
    began = time.monotonic()
    answers = [ask() for _ in range(READS_BURST) for ask in both]
    came_back = time.monotonic() - began
    assert READS_BURST <= admitted(answers) <= READS_BURST + came_back + 1
    assert answers[-1].status == 503 and "retry-after" in answers[-1].headers

    # A day: its requests are counted exactly, however they come.
    both = [asks(replicas.a, "miner-b", "DELETE"), asks(replicas.b, "miner-b", "DELETE")]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda ask: ask(), both * REQUESTS_PER_DAY))
    assert admitted(answers) == REQUESTS_PER_DAY
    refused = both[0]()
    assert "limits.miner.requests_per_day_max" in refused.message

    # A nonce: once, wherever it is asked.
    validator = Account(replicas.a, replicas.a.identities["validator"])
    headers = http_auth.sign(hotkey_of(validator), method="POST", path=SESSION)
    assert replicas.session(replicas.a, headers).status_code == 200
    for target in (replicas.a, replicas.b, replicas.strict):
        assert replicas.session(target, headers).status_code == 401

    # A day's bytes: those that one replica passed on count at the other, about a second later.
    store = replicas.a.store
    folder = replicas.a.identities["validator"].folder()
    store.write(f"{folder}large", bytes(BYTES_PER_DAY))
    assert asks(replicas.a, "validator", "GET", "large")().status == 200
    other = asks(replicas.b, "validator")
    servers.wait_until(lambda: other().status == 503, 10, "the other replica has heard of the bytes")

    # Nothing of it stays for ever, and the password is in no log.
    cli = ["redis-cli", "-p", str(replicas.redis.port), "--no-auth-warning", "-a", PASSWORD]
    keys = subprocess.run([*cli, "keys", "*"], capture_output=True, text=True, check=True).stdout.split()
    assert any(key.startswith("subgate:nonce:") for key in keys), keys
    for key in keys:
        life = subprocess.run([*cli, "pttl", key], capture_output=True, text=True, check=True).stdout
        assert int(life) != -1, key
    assert all(PASSWORD not in replicas.log(name) for name in ("a", "b", "strict"))


@pytest.mark.parametrize("outage", ["killed", "paused"])
def test_an_outage_costs_one_bounded_wait(replicas: Replicas, outage: str) -> None:
    redis = replicas.redis
    load = [asks(target, "validator") for target in (replicas.a, replicas.b)]
    seconds: list[float] = []

    def timed(ask: Callable[[], Answer]) -> int:
        began = time.monotonic()
        status = ask().status
        seconds.append(time.monotonic() - began)
        return status

    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(timed, ask) for _ in range(150) for ask in load]
        time.sleep(0.5)
        redis.kill() if outage == "killed" else redis.signal(signal.SIGSTOP)
        statuses = Counter(future.result() for future in under_way)
    # A validator's share is large: nobody noticed, but for one wait.
    assert set(statuses) <= {404}, statuses
    assert max(seconds) < HANG_SECONDS / 2, max(seconds)

    # Each replica that may grants its share by itself.
    for target in (replicas.a, replicas.b):
        began = time.monotonic()
        answers = [asks(target, "miner-a2")() for _ in range(READS_BURST)]
        share = READS_BURST * LOCAL_SHARE
        assert share <= admitted(answers) <= share + time.monotonic() - began + 1
    # Where the choice is to refuse, it refuses.
    asks(replicas.strict, "validator")()
    began = time.monotonic()
    refusals = [asks(replicas.strict, "validator", "GET")() for _ in range(10)]
    assert {(answer.status, answer.code) for answer in refusals} == {(503, "SlowDown")}
    assert b"limits.shared.on_outage" in refusals[0].body and "retry-after" in refusals[0].headers
    assert time.monotonic() - began < 10 * WAIT_SECONDS_MAX
    # No nonce is spent alone, whatever the choice.
    for target in (replicas.a, replicas.b, replicas.strict):
        answer = replicas.session(target)
        assert answer.status_code == 503 and "retry-after" in answer.headers, answer.text

    redis.start() if outage == "killed" else redis.signal(signal.SIGCONT)
    replicas.wait_until_shared()
    both = [asks(replicas.a, "miner-a"), asks(replicas.b, "miner-a")]
    began = time.monotonic()
    answers = [ask() for _ in range(READS_BURST) for ask in both]
    assert READS_BURST <= admitted(answers) <= READS_BURST + time.monotonic() - began + 1
    for name in ("a", "b", "strict"):
        log = replicas.log(name)
        assert log.count("limits.shared cannot be reached") == 1, log
        assert log.count("limits.shared can be reached again") == 1, log


def test_check_says_what_is_wrong(tmp_path: Path) -> None:
    store = Store("http://127.0.0.1:1", "bucket", "key", "secret")
    config = tmp_path / "proxy.toml"
    text = servers.serve_config(servers.free_port(), store, tmp_path, [])
    config.write_text(text + '[limits.shared]\nurl = "redis://:hunter2@127.0.0.1"\nlocal_share = 2\n')
    done = subprocess.run([SUBGATE, "check", "--config", config], capture_output=True, text=True)
    assert done.returncode != 0
    assert "limits.shared.url: must hold no user and no password" in done.stderr
    assert "limits.shared.local_share: 2 is not a number from 0.001 to 1" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
