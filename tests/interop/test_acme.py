"""Certificates by ACME: a real authority that validates the TLS listener by TLS-ALPN-01."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from bittensor import http_auth
from cryptography import x509

import servers
from acme import Pebble, start_pebble
from clients import Account
from files import MIB, pattern
from servers import Server, Target, accepts, free_port, serve_target, wait_until
from signing import hotkey_of

NAME = "s3.subgate.example"
OTHER_NAME = "data-universe.s3.subgate.example"
LOST_NAME = "lost.subgate.example"
# A certificate is renewed after two thirds of this.
SECONDS_VALID = 30


@dataclass
class Place:
    """A server that has its certificate from an authority, and what is needed to look at both."""

    pebble: Pebble
    target: Target
    server: Server
    port: int

    @property
    def log(self) -> str:
        return self.server.log.read_text()

    def serial(self, name: str = NAME) -> int | None:
        """The serial number of what a client is shown who asks for `name`; none where that is nothing."""
        context = ssl.create_default_context(cafile=self.pebble.root)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=name) as stream:
                    return x509.load_der_x509_certificate(stream.getpeercert(True)).serial_number
            except ssl.SSLError:
                return None

    def restart(self) -> None:
        self.server = self.server.restart().wait_until(lambda: accepts(self.port))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes places, and ends what they started."""
    before, names = len(Server.started), []

    def make(domains: list[str], known: set[str], seconds_valid: int, files: bool = False) -> Place:
        port = free_port()
        pebble = start_pebble(tmp_path / "pebble", port, known, seconds_valid)
        names.append(pebble.names)
        data = tmp_path / "subgate"
        data.mkdir()
        certificates = ""
        if files:
            servers.certificate_for_localhost(data / "tls.crt", data / "tls.key")
            (data / "tls.key").chmod(0o600)
            certificates = 'certificates = [{ certificate = "tls.crt", key = "tls.key" }]'

        def change(text: str) -> str:
            return f"""{text}
[server.tls]
{certificates}

[server.tls.acme]
domains = {json.dumps(domains)}
contact = ["mailto:ops@subgate.example"]
directory = "{pebble.directory}"
ca_file = "{pebble.ca}"
cache_dir = "acme"
terms_agreed = true
"""

        target = serve_target(data, hosts=[NAME, "localhost"], change=change, port=port)
        server = next(it for it in reversed(Server.started) if it.log == data / "serve.log")
        target.endpoint, target.ca = f"https://{NAME}:{port}", pebble.root
        return Place(pebble, target, server, port)

    yield make
    for server in reversed(Server.started[before:]):
        server.stop()
    for name_server in names:
        name_server.stop()


@pytest.fixture(autouse=True)
def names_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients in this process find the names on loopback."""
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *rest: object, **options: object) -> list:
        is_ours = isinstance(host, str) and host.endswith(".subgate.example")
        return resolve("127.0.0.1" if is_ours else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


def miner(place: Place) -> Account:
    """A miner with a session, which it opens at the server's own name."""
    account = Account(place.target, place.target.identities["miner-a"])
    headers = http_auth.sign(hotkey_of(account), method="POST", path="/v1/session", body=b"")
    answer = requests.post(
        f"{place.target.endpoint}/v1/session", headers=headers, verify=str(place.target.ca), timeout=30
    )
    assert answer.status_code == 200, answer.text
    account.__dict__["session"] = answer.json()
    return account


def test_a_certificate_is_had_kept_and_found_again(place: Callable[..., Place]) -> None:
    here = place([NAME, OTHER_NAME], {NAME, OTHER_NAME}, 90 * 86_400)
    wait_until(lambda: here.serial() is not None, 30, "a certificate")
    wait_until(lambda: "until the authority has validated them" in here.log, 10, "the log")
    serial = here.serial()
    assert here.serial(OTHER_NAME) == serial and here.pebble.orders() == 1
    # Of other names there is none, and no proof of a domain that nobody validates now.
    assert here.serial("unknown.subgate.example") is None
    challenge = ssl.create_default_context(cafile=here.pebble.root)
    challenge.set_alpn_protocols(["acme-tls/1"])
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        socket.create_connection(("127.0.0.1", here.port)) as plain,
    ):
        challenge.wrap_socket(plain, server_hostname=NAME)

    account, key = miner(here), "acme/file.parquet"
    body = pattern(9 * MIB)
    account.boto3().put_object(Bucket=here.target.bucket, Key=account.folder + key, Body=body)
    assert here.target.store.read(account.folder + key) == body
    # The bucket's own name is in the certificate, as clients by host name need it.
    virtual = account.boto3(s3={"addressing_style": "virtual"})
    answer = virtual.get_object(Bucket=here.target.bucket, Key=account.folder + key)
    assert answer["Body"].read() == body

    modes = {file.name: file.stat().st_mode & 0o777 for file in (here.target.data / "acme").iterdir()}
    assert set(modes.values()) == {0o600} and len(modes) == 3, modes
    here.restart()
    assert here.serial() == serial
    assert here.pebble.orders() == 1
    # The log is written behind what it tells.
    wait_until(lambda: "is at hand" in here.log, 10, "the log")
    assert "ordering" not in here.log


def test_a_certificate_is_renewed_and_no_connection_notices(place: Callable[..., Place]) -> None:
    here = place([NAME], {NAME}, SECONDS_VALID)
    wait_until(lambda: here.serial() is not None, 30, "a certificate")
    first = here.serial()
    context = ssl.create_default_context(cafile=here.pebble.root)
    with socket.create_connection(("127.0.0.1", here.port)) as plain:
        kept = context.wrap_socket(plain, server_hostname=NAME)

        def renewed() -> bool:
            kept.sendall(f"GET /healthz HTTP/1.1\r\nhost: {NAME}\r\n\r\n".encode())
            assert kept.recv(1000).startswith(b"HTTP/1.1 200 ")
            return here.serial() not in (None, first)

        wait_until(renewed, SECONDS_VALID, "another certificate")
        assert renewed()
    assert here.pebble.orders() == 2


def test_an_order_that_fails_is_told_and_stops_nothing(place: Callable[..., Place]) -> None:
    here = place([LOST_NAME], {NAME}, SECONDS_VALID, files=True)
    wait_until(lambda: "no certificate by server.tls.acme" in here.log, 30, "a refusal")
    why = "could not validate the domains; each must lead to this listener on port 443"
    assert f"{why}: {LOST_NAME}" in here.log
    assert here.serial(LOST_NAME) is None
    # With the certificate of a file the server goes on, at its own name and at others.
    ca = here.target.data / "ca.crt"
    answer = requests.get(f"https://localhost:{here.port}/healthz", verify=str(ca), timeout=10)
    assert answer.status_code == 200
