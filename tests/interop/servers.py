"""The servers of the suite, all on loopback and free ports: Subgate, MinIO and nginx."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import random
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("SUBGATE_INTEROP_DIR", HERE.parents[1] / "target" / "interop")).resolve()
BIN = CACHE / "bin"
SUBGATE = Path(os.environ.get("SUBGATE_BIN", HERE.parents[1] / "target" / "release" / "subgate")).resolve()

REGION = "us-east-1"
# Not the name that the store knows: the client's bucket is an alias, and must hold in every answer.
BUCKET = "data-universe"
STORE_BUCKET = "subgate-store"
# The address that `subgate serve` goes by in session requests: the development key //Alice.
RECEIVER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
START_SECONDS_MAX = 30


def free_port() -> int:
    """Below those that the system gives to whoever connects, who might have it before the server does."""
    while True:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(true: Callable[[], bool], seconds_max: float, what: str) -> None:
    """Polls until `true()`; a server's own failure is raised by `true` itself."""
    deadline = time.monotonic() + seconds_max
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} not within {seconds_max} s")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A child process with its log in a file."""

    # Every server of this run, so that none outlives it, whatever failed after its start.
    started: ClassVar[list[Server]] = []

    def __init__(self, command: list[str | Path], log: Path, environment: dict[str, str]) -> None:
        self.name = Path(command[0]).name
        self.log = log
        self._command, self._environment = command, environment
        self._output = log.open("wb")
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        Server.started.append(self)

    def wait_until(self, ready: Callable[[], bool]) -> Server:
        def ready_or_dead() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
            return ready()

        try:
            wait_until(ready_or_dead, START_SECONDS_MAX, f"{self.name} ready")
        except BaseException:
            self.stop()
            raise
        return self

    def restart(self) -> Server:
        """Ends it and starts the same anew, with a log beside the one before."""
        self.stop()
        return Server(self._command, self.log.with_name(f"again-{self.log.name}"), self._environment)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def stop(self) -> int:
        """Asks by SIGTERM; a server that drains for too long is killed, and that shows in the answer."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()
        return self._process.returncode


@dataclass(frozen=True)
class Store:
    """The store behind Subgate, reached directly, to arrange objects and to see what really arrived."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    @property
    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def keys(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def write(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)


@dataclass(frozen=True)
class Identity:
    name: str
    role: str
    hotkey: str
    coldkey: str
    folders: tuple[str, ...]

    def folder(self, source: str = "x") -> str:
        """This identity's folder of a source, by the default template, with its slash."""
        return f"data/{source}/{self.coldkey}/"


@dataclass
class Target:
    """One way to reach Subgate: an endpoint, the identities it knows, and the store behind it."""

    name: str
    endpoint: str
    bucket: str
    data: Path
    identities: dict[str, Identity]
    store: Store
    ca: Path | None = None
    region: str = REGION
    access_log: Path | None = None
    # The same server by a name below which buckets are host names, where it has one.
    named_endpoint: str = ""
    # The URL of its admin listener, where it has one.
    admin: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).netloc

    @property
    def registry(self) -> Path:
        return self.data / "registry.json"

    @property
    def wallets(self) -> Path:
        return self.data / "wallets"

    @property
    def aws_config(self) -> Path:
        return self.data / "aws" / "config"

    @property
    def home(self) -> Path:
        """A home directory of its own, so that nothing of the person who runs the suite gets in."""
        home = self.data / "home"
        home.mkdir(exist_ok=True)
        return home

    def environment(self, **more: str) -> dict[str, str]:
        """The whole environment of a client: explicit, and without retries that would hide a fault."""
        environment = {
            "PATH": f"{CACHE / 'venv' / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }
        if self.ca:
            environment |= {"AWS_CA_BUNDLE": str(self.ca), "SSL_CERT_FILE": str(self.ca)}
        return environment | more


def start_dev(data: Path, *options: str, listen: str = "127.0.0.1:0") -> tuple[Server, dict]:
    """`subgate dev` with an embedded store, and its dev.json."""
    description = data / "dev.json"
    description.unlink(missing_ok=True)
    server = Server(
        [SUBGATE, "dev", "--listen", listen, "--data", data, *options],
        log_in(data, "dev.log"),
        bare_environment(data),
    )

    def ready() -> bool:
        return description.exists() and any(
            line.startswith(b"ready") for line in server.log.read_bytes().splitlines()
        )

    server.wait_until(ready)
    return server, json.loads(description.read_text())


def dev_tls_target(data: Path) -> Target:
    """`subgate dev --tls`, by the name that its certificate has beside the addresses."""
    target = dev_target(data, "--tls")
    target.name, target.ca = "dev-tls", data / "certs" / "ca.pem"
    target.endpoint = f"https://localhost:{urlsplit(target.endpoint).port}"
    write_aws_config(target)
    return target


def dev_target(data: Path, *options: str) -> Target:
    _, dev = start_dev(data, *options)
    store = json.loads((data / "store.json").read_text())
    return Target(
        name="dev",
        endpoint=dev["endpoint"],
        bucket=dev["bucket"],
        region=dev["region"],
        data=data,
        identities=identities_of(dev),
        store=Store(
            dev["store_endpoint"],
            store.get("bucket", dev["bucket"]),
            store["access_key"],
            store["secret_key"],
        ),
    )


def start_minio(data: Path) -> tuple[Server, Store]:
    """A real MinIO with an empty bucket; its root credentials are made here and live as long as it does."""
    port = free_port()
    store = Store(
        f"http://127.0.0.1:{port}", STORE_BUCKET, "root-" + secrets.token_hex(8), secrets.token_hex(24)
    )
    environment = bare_environment(data) | {
        "MINIO_ROOT_USER": store.access_key,
        "MINIO_ROOT_PASSWORD": store.secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    command = [BIN / "minio", "server", "--quiet", "--address", f"127.0.0.1:{port}", data / "minio"]
    server = Server(command, log_in(data, "minio.log"), environment)

    def ready() -> bool:
        if not accepts(port):
            return False
        try:
            store.client.create_bucket(Bucket=store.bucket)
        except store.client.exceptions.BucketAlreadyOwnedByYou:
            return True
        except Exception:
            # It listens before it can answer; the deadline of `wait_until` bounds this.
            return False
        return True

    return server.wait_until(ready), store


def serve_config(port: int, store: Store, data: Path, hosts: Iterable[str]) -> str:
    """The configuration of `subgate serve`; the one place of the suite that knows its format."""
    session_key = data / "session.key"
    session_key.touch(mode=0o600)
    session_key.write_text(secrets.token_hex(32))
    return f"""
[server]
listen = "127.0.0.1:{port}"
drain_announce_seconds = 0
hosts = {json.dumps(list(hosts))}

[bucket]
name = "{BUCKET}"
region = "{REGION}"

[store]
endpoint = "{store.endpoint}"
bucket = "{store.bucket}"
credentials = "environment"

[session]
issue_with = "interop"
receiver = "{RECEIVER}"
allow_no_receiver = true

[[session.keys]]
id = "interop"
file = "session.key"

[chain]
file = "registry.json"

[policy]
folders = ["data/{{source}}/{{coldkey}}/", "data/hotkey={{hotkey}}/job_id={{job_id}}/"]

[policy.variables]
source = ["x", "reddit"]
job_id = {{ pattern = "[A-Za-z0-9_-]{{1,64}}" }}
"""


def serve_target(
    data: Path,
    hosts: Iterable[str] = (),
    change: Callable[[str], str] = lambda text: text,
    port: int | None = None,
    credentials: Callable[[Store, Path], tuple[str, str]] | None = None,
) -> Target:
    """`subgate serve` in front of MinIO, with identities that a short run of `subgate dev` made.

    `change` gives another configuration for the usual one; `credentials`, which is told the configuration's
    file, gives another access key and secret than MinIO's root.
    """
    dev_server, dev = start_dev(data)
    dev_server.stop()
    _, store = start_minio(data)
    port = port or free_port()
    endpoint = f"http://127.0.0.1:{port}"
    config = data / "serve.toml"
    config.write_text(change(serve_config(port, store, data, hosts)))
    # Whatever the umask is: the server believes no configuration that others can write.
    config.chmod(0o600)
    access_key, secret_key = store.access_key, store.secret_key
    if credentials:
        access_key, secret_key = credentials(store, config)
    environment = bare_environment(data) | {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }
    server = Server([SUBGATE, "serve", "--config", config], log_in(data, "serve.log"), environment)
    server.wait_until(lambda: accepts(port))
    target = Target("minio", endpoint, BUCKET, data, identities_of(dev), store)
    write_aws_config(target)
    return target


def tls_target(data: Path) -> Target:
    """`subgate serve` that ends TLS by itself, in front of MinIO."""
    port, admin_port = free_port(), free_port()
    ca = certificate_for_localhost(data / "tls.crt", data / "tls.key")
    (data / "tls.key").chmod(0o600)

    def change(text: str) -> str:
        text = text.replace("[server]", f'[server]\nadmin = "127.0.0.1:{admin_port}"', 1)
        return f"""{text}
[server.tls]
certificates = [{{ certificate = "tls.crt", key = "tls.key" }}]
"""

    target = serve_target(data, hosts=hosts_at(port), change=change, port=port)
    target.ca = ca
    target.admin = f"http://127.0.0.1:{admin_port}"
    return over_tls(target, "tls", port)


def nginx_target(data: Path) -> Target:
    """nginx as TLS terminator in front of `subgate serve` and MinIO."""
    port = free_port()
    target = serve_target(data, hosts=hosts_at(port))
    upstream = target.endpoint
    target.access_log = data / "nginx-access.log"
    target.ca = certificate_for_localhost(data / "tls.crt", data / "tls.key")
    config = data / "nginx.conf"
    config.write_text(nginx_config(data, port, upstream))
    nginx = Server(
        [BIN / "nginx", "-p", data, "-c", config], log_in(data, "nginx.log"), bare_environment(data)
    )
    nginx.wait_until(lambda: accepts(port))
    return over_tls(target, "nginx", port)


def hosts_at(port: int) -> tuple[str, str]:
    """The names of a server with TLS: that of its path-style clients, and that below which buckets are."""
    return f"localhost:{port}", f"s3.localhost:{port}"


def over_tls(target: Target, name: str, port: int) -> Target:
    target.name = name
    target.endpoint, target.named_endpoint = (f"https://{host}" for host in hosts_at(port))
    write_aws_config(target)
    return target


def nginx_config(data: Path, port: int, upstream: str) -> str:
    """Streams bodies through and logs how each arrived, so that a test sees whether HTTP chunks were sent."""
    return f"""
daemon off;
worker_processes 1;
pid {data}/nginx.pid;
error_log {data}/nginx-error.log warn;
events {{ worker_connections 256; }}
http {{
    log_format framing '$request_method $uri $status te=$http_transfer_encoding '
        'cl=$http_content_length sha=$http_x_amz_content_sha256';
    access_log {data}/nginx-access.log framing;
    client_body_temp_path {data}/nginx-body;
    proxy_temp_path {data}/nginx-proxy;
    fastcgi_temp_path {data}/nginx-fastcgi;
    uwsgi_temp_path {data}/nginx-uwsgi;
    scgi_temp_path {data}/nginx-scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {data}/tls.crt;
        ssl_certificate_key {data}/tls.key;
        location / {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def certificate_for_localhost(certificate_file: Path, key_file: Path) -> Path:
    """Makes a server's certificate and the authority that signed it, and gives the authority's file.

    There are two, because rustls takes no authority's certificate for a server's.
    """
    now = datetime.datetime.now(datetime.UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        for text in ("Subgate interop", "localhost")
    )

    def certificate(subject: x509.Name, subject_key: ec.EllipticCurvePrivateKey, is_authority: bool) -> bytes:
        names = x509.SubjectAlternativeName(
            [
                *map(x509.DNSName, ("localhost", "s3.localhost", "*.s3.localhost")),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(subject_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            # Python from 3.13 on wants both identifiers.
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        if not is_authority:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    certificate_file.write_bytes(certificate(name, key, False))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    authority_file = certificate_file.with_name("ca.crt")
    authority_file.write_bytes(certificate(authority_name, authority_key, True))
    return authority_file


def write_aws_config(target: Target) -> None:
    """What `subgate dev` writes for its own endpoint, for this one."""
    profiles = [
        f"""[profile {identity.name}]
region = {target.region}
endpoint_url = {target.endpoint}
credential_process = {" ".join(credentials_command(target, identity.name))}
s3 =
    addressing_style = path
    signature_version = s3v4
"""
        for identity in target.identities.values()
    ]
    target.aws_config.parent.mkdir(exist_ok=True)
    target.aws_config.write_text("\n".join(profiles))


def credentials_command(
    target: Target, name: str, hotkey: str = "default", wallets: Path | None = None
) -> list[str]:
    return [
        str(SUBGATE),
        "credentials",
        *("--wallet-path", str(wallets or target.wallets)),
        *("--wallet-name", name),
        *("--wallet-hotkey", hotkey),
        *("--endpoint", target.endpoint),
    ]


def identities_of(dev: dict) -> dict[str, Identity]:
    return {
        item["name"]: Identity(
            item["name"], item["role"], item["hotkey"], item["coldkey"], tuple(item["folders"])
        )
        for item in dev["identities"]
    }


def bare_environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"}


def log_in(data: Path, name: str) -> Path:
    data.mkdir(parents=True, exist_ok=True)
    return data / name
