"""`subgate agent`: clients that ask a container's credential endpoint, each by its own provider."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests

from checks import registry_changed
from clients import Account, Refused, run
from conftest import Accounts
from servers import BIN, SUBGATE, Server, Target, bare_environment, free_port, log_in

pytestmark = pytest.mark.targets("minio")

# Each puts, lists and gets below `prefix`, and waits in between where it is told to. None names a key.
BOTO3 = """
import boto3
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
s3.put_object(Bucket=bucket, Key=prefix + "a", Body=body)
pause()
assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]] == [prefix + "a"]
assert s3.get_object(Bucket=bucket, Key=prefix + "a")["Body"].read() == body
"""
OBSTORE = """
from obstore.store import S3Store
store = S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True}, retry_config={"max_retries": 0})
store.put(prefix + "a", body)
pause()
assert [item["path"] for page in store.list(prefix) for item in page] == [prefix + "a"]
assert bytes(store.get(prefix + "a").bytes()) == body
"""
POLARS = """
import polars
options = {"aws_endpoint_url": endpoint, "aws_allow_http": "true", "max_retries": 0}
where = {"storage_options": options, "credential_provider": None}
frame = polars.DataFrame({"number": range(100_000)})
frame.write_parquet(f"s3://{bucket}/{prefix}a.parquet", **where)
pause()
assert polars.scan_parquet(f"s3://{bucket}/{prefix}*.parquet", **where).collect().equals(frame)
"""
DUCKDB = """
import duckdb, duckdb_extensions
from urllib.parse import urlsplit
database = duckdb.connect()
for extension in ("httpfs", "aws"):
    duckdb_extensions.import_extension(extension, con=database)
database.execute(f'''CREATE SECRET (TYPE s3, PROVIDER credential_chain, REFRESH auto, URL_STYLE 'path',
    USE_SSL false, ENDPOINT '{urlsplit(endpoint).netloc}', REGION 'us-east-1')''')
file = f"s3://{bucket}/{prefix}a.parquet"
database.execute(f"COPY (SELECT range AS number FROM range(100000)) TO '{file}'")
pause()
assert database.execute(f"SELECT count(*), max(number) FROM '{file}'").fetchone() == (100000, 99999)
"""
PROGRAMS = {"boto3": BOTO3, "obstore": OBSTORE, "polars": POLARS, "duckdb": DUCKDB}

every_library = pytest.mark.parametrize("library", PROGRAMS)


@dataclass(frozen=True)
class Agent:
    """A running agent, as its clients are told of it."""

    account: Account
    server: Server
    uri: str
    token_file: Path

    @property
    def token(self) -> str:
        return self.token_file.read_text()

    def ask(self, **headers: str) -> requests.Response:
        return requests.get(self.uri, headers={"Authorization": self.token} | headers, timeout=10)

    def environment(self, uri: str = "", **more: str) -> dict[str, str]:
        return self.account.target.environment(
            AWS_CONTAINER_CREDENTIALS_FULL_URI=uri or self.uri,
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(self.token_file),
            AWS_REGION=self.account.target.region,
            **more,
        )

    def run(self, program: str, prefix: str, uri: str = "", pause_seconds: float = 0) -> None:
        target = self.account.target
        names = f"endpoint, bucket, prefix = {target.endpoint!r}, {target.bucket!r}, {prefix!r}\n"
        helpers = f"import time\nbody, pause = bytes(5000), lambda: time.sleep({pause_seconds})\n"
        run([sys.executable, "-c", names + helpers + program], self.environment(uri))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    servers = []

    def start(account: Account, *options: str | Path) -> Agent:
        target, port = account.target, free_port()
        token_file = tmp_path / "agent-token"
        command = [
            *(SUBGATE, "agent", "--wallet-path", target.wallets, "--wallet-name", account.identity.name),
            *("--endpoint", target.endpoint, "--listen", f"127.0.0.1:{port}", "--token-file", token_file),
            *("--no-cache", *options),
        ]
        server = Server(command, log_in(tmp_path, f"agent-{port}.log"), bare_environment(tmp_path))
        servers.append(server)
        lines = (
            f"export AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:{port}/credentials",
            f"export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={token_file}",
        )
        server.wait_until(lambda: all(line in server.log.read_text().splitlines() for line in lines))
        return Agent(account, server, lines[0].split("=", 1)[1], token_file)

    yield start
    for server in servers:
        server.stop()


@every_library
def test_a_library_gets_its_session_by_itself(
    accounts: Accounts, start: Callable[..., Agent], unique: str, library: str
) -> None:
    agent = start(accounts.miner)
    agent.run(PROGRAMS[library], f"{accounts.miner.folder}{unique}/")
    with pytest.raises(Refused, match=r"AccessDenied|403|Forbidden|permission|denied"):
        agent.run(PROGRAMS[library], f"{accounts.other_miner.folder}{unique}/")
    assert agent.server.stop() == 0


@pytest.mark.parametrize("sdk", ["go-sdk", "js-sdk"])
def test_an_sdk_gets_its_session_by_itself(
    target: Target, accounts: Accounts, start: Callable[..., Agent], unique: str, small_file: Path, sdk: str
) -> None:
    agent = start(accounts.miner)
    environment = agent.environment(
        S3_ENDPOINT=target.endpoint, S3_BUCKET=target.bucket, S3_PATH_STYLE="true", NODE_NO_WARNINGS="1"
    )
    key = f"{accounts.miner.folder}{unique}/a.parquet"
    run([BIN / sdk, "put", key, small_file], environment)
    assert target.store.read(key) == small_file.read_bytes()
    # The credentials were the agent's: without its token there are none.
    agent.token_file.write_text("x" * 43)
    with pytest.raises(Refused):
        run([BIN / sdk, "head", key], environment)


@pytest.fixture
def hasty(start: Callable[..., Agent], accounts: Accounts) -> Iterator[tuple[Agent, str, list[str]]]:
    """A miner's agent, the URI of a relay that lets its sessions end after three seconds, and what it saw."""
    agent, seen = start(accounts.miner), []

    class Relay(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = agent.ask(Authorization=self.headers["Authorization"])
            session = answer.json()
            soon = datetime.now(UTC) + timedelta(seconds=3)
            body = answer.content.replace(
                session["Expiration"].encode(), soon.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
            )
            seen.append(session["AccessKeyId"])
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as relay:
        Thread(target=relay.serve_forever, daemon=True).start()
        yield agent, f"http://127.0.0.1:{relay.server_port}/credentials", seen
        relay.shutdown()


@pytest.mark.parametrize("library", ["boto3", "obstore", "polars"])
def test_a_library_asks_again_before_its_session_ends(
    accounts: Accounts, hasty: tuple[Agent, str, list[str]], unique: str, library: str
) -> None:
    agent, uri, seen = hasty
    agent.run(PROGRAMS[library], f"{accounts.miner.folder}{unique}/", uri=uri, pause_seconds=4)
    assert len(seen) > 1
    assert set(seen) == {accounts.miner.identity.hotkey}


def test_what_it_answers(accounts: Accounts, start: Callable[..., Agent]) -> None:
    agent = start(accounts.miner, "--ttl-seconds", "3600")
    answer = agent.ask()
    assert answer.status_code == 200, answer.text
    session = answer.json()
    assert set(session) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert session["AccessKeyId"] == accounts.miner.identity.hotkey
    left = datetime.strptime(session["Expiration"], "%Y-%m-%dT%H:%M:%S%z") - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert agent.ask(Authorization="x").status_code == 403
    assert agent.ask(Host="evil.example").status_code == 421
    assert agent.ask(Origin="http://evil.example").status_code == 403
    for secret in (session["SecretAccessKey"], session["Token"], agent.token):
        assert secret not in agent.server.log.read_text()


def test_a_stranger_is_told_why_and_gets_in_once_it_is_registered(
    target: Target, accounts: Accounts, start: Callable[..., Agent]
) -> None:
    stranger = accounts.stranger
    agent = start(stranger)
    answer = agent.ask()
    assert (answer.status_code, answer.json()["code"]) == (403, "SessionRefused")
    assert "egistered" in answer.json()["message"]

    def registered(registry: dict) -> dict:
        first = registry["identities"][0]
        mine = first | {"hotkey": stranger.identity.hotkey, "coldkey": stranger.identity.coldkey}
        return registry | {"identities": [*registry["identities"], mine]}

    with registry_changed(target, registered):
        agent.server.wait_until(lambda: agent.ask().status_code == 200)
