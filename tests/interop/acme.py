"""A real ACME server on loopback: pebble, with a name server of the suite's own."""

from __future__ import annotations

import json
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

import requests

from servers import (
    BIN,
    Server,
    accepts,
    bare_environment,
    certificate_for_localhost,
    free_port,
    log_in,
)


class NameServer:
    """DNS over TCP, as pebble asks: the names it knows are this machine's, and there are no others."""

    def __init__(self, names: set[str]) -> None:
        self.names = names
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while len(length := stream.read(2)) == 2:
                answer = self._answer(stream.read(int.from_bytes(length)))
                connection.sendall(len(answer).to_bytes(2) + answer)

    def _answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        is_known = ".".join(labels).lower() in self.names
        # An A record of 127.0.0.1, with the name of the question.
        record = bytes.fromhex("c00c 0001 0001 0000003c 0004 7f000001")
        records = [record] if is_known and question[-4:-2] == b"\0\1" else []
        flags = 0x8580 | (0 if is_known else 3)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)


@dataclass
class Pebble:
    """An authority whose certificates live for a set time, and which validates at one port."""

    server: Server
    names: NameServer
    directory: str
    # What its own HTTPS is believed by.
    ca: Path
    # What the certificates that it issues are believed by.
    root: Path

    def orders(self) -> int:
        """How many orders have been placed."""
        return self.server.log.read_text().count("Added order ")


def start_pebble(data: Path, tls_port: int, names: set[str], seconds_valid: int) -> Pebble:
    data.mkdir(parents=True, exist_ok=True)
    ca = certificate_for_localhost(data / "pebble.crt", data / "pebble.key")
    port, management_port, name_server = free_port(), free_port(), NameServer(names)
    config = data / "pebble.json"
    config.write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"127.0.0.1:{port}",
                    "managementListenAddress": f"127.0.0.1:{management_port}",
                    "certificate": str(data / "pebble.crt"),
                    "privateKey": str(data / "pebble.key"),
                    "httpPort": free_port(),
                    "tlsPort": tls_port,
                    "keyAlgorithm": "ecdsa",
                    "retryAfter": {"authz": 1, "order": 1},
                    "profiles": {"default": {"description": "", "validityPeriod": seconds_valid}},
                }
            }
        )
    )
    # It validates for real, at once, and never takes an old validation for a new one.
    environment = bare_environment(data) | {
        "PEBBLE_VA_ALWAYS_VALID": "0",
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_AUTHZREUSE": "0",
    }
    command = [BIN / "pebble", "-config", config, "-dnsserver", f"127.0.0.1:{name_server.port}"]
    server = Server(command, log_in(data, "pebble.log"), environment)
    server.wait_until(lambda: accepts(port) and accepts(management_port))
    answer = requests.get(f"https://localhost:{management_port}/roots/0", verify=str(ca), timeout=10)
    root = data / "pebble-root.pem"
    root.write_text(answer.text)
    return Pebble(server, name_server, f"https://localhost:{port}/dir", ca, root)
