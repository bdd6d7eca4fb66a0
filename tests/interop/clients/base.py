"""The verbs that every client has, and the identity it acts for."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import boto3
from botocore.config import Config

from servers import BIN, SUBGATE, Identity, Target, credentials_command

COMMAND_SECONDS_MAX = 180


class Refused(Exception):
    """The client failed, and this is what it said."""


@dataclass(frozen=True)
class Account:
    """One identity at one target: all that a client needs to know."""

    target: Target
    identity: Identity

    @property
    def folder(self) -> str:
        return self.identity.folder()

    @cached_property
    def session(self) -> dict:
        """What `subgate credentials` prints, for clients without credential_process."""
        command = credentials_command(self.target, self.identity.name)
        return json.loads(run(command, self.target.environment()))

    def environment(self, **more: str) -> dict[str, str]:
        """For the clients that read AWS profiles: the profile's credential_process gets the session."""
        return self.target.environment(
            AWS_CONFIG_FILE=str(self.target.aws_config),
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_PROFILE=self.identity.name,
            AWS_REGION=self.target.region,
            AWS_SDK_LOAD_CONFIG="1",
            AWS_PAGER="",
            **more,
        )

    def setup(self, client: str) -> str:
        """What `subgate setup CLIENT` prints for this identity."""
        target = self.target
        return printed_setup(target.endpoint, target.wallets, self.identity.name, target.ca, client)

    @property
    def home(self) -> Path:
        """A home directory with the AWS profile that `subgate setup` prints, for the clients that read it."""
        home = self.target.data / "homes" / self.identity.name
        profile = home / ".aws" / "config"
        if not profile.exists():
            text = self.setup("aws2")
            profile.parent.mkdir(parents=True)
            profile.write_text(text)
        return home

    def home_environment(self, **more: str) -> dict[str, str]:
        """Nothing but that home: address, credentials and CA come from the printed configurations."""
        return {
            "PATH": f"{SUBGATE.parent}:{BIN}:/usr/bin:/bin",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "AWS_EC2_METADATA_DISABLED": "true",
            # Retries would hide a fault.
            "AWS_MAX_ATTEMPTS": "1",
        } | more

    def boto3(self, **config):
        """boto3 as it comes: default checksums, credentials from the wallet's session."""
        session = self.session
        config.setdefault("s3", {"addressing_style": "path"})
        return boto3.client(
            "s3",
            endpoint_url=self.target.endpoint,
            region_name=self.target.region,
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
            verify=str(self.target.ca) if self.target.ca else None,
            config=Config(
                signature_version="s3v4", retries={"total_max_attempts": 1}, max_pool_connections=32, **config
            ),
        )


@cache
def printed_setup(endpoint: str, wallets: Path, name: str, ca: Path | None, client: str) -> str:
    command = [SUBGATE, "setup", client, "--wallet-path", wallets, "--wallet-name", name]
    command += ["--endpoint", endpoint, *(("--ca-file", ca) if ca else ())]
    environment = {"PATH": f"{SUBGATE.parent}:/usr/bin:/bin", "HOME": os.devnull, "LC_ALL": "C.UTF-8"}
    return run(command, environment | {"SUBGATE_CACHE_DIR": str(wallets.parent / "setup-cache")})


def run(command: list[str | Path], environment: dict[str, str]) -> str:
    return run_bytes(command, environment).decode()


def run_bytes(command: list[str | Path], environment: dict[str, str]) -> bytes:
    """Runs a client to its end and gives its standard output; a failure is `Refused` with all it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS_MAX
    )
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace")
        raise Refused(f"{Path(words[0]).name} exited {done.returncode}: {said}")
    return done.stdout


def shell_bytes(account: Account, setup: str, words: list[str | Path], **more: str) -> bytes:
    """Runs a command in a shell that has read what `subgate setup` prints for it."""
    script = account.setup(setup) + '"$@"\n'
    return run_bytes(["/bin/bash", "-euc", script, setup, *words], account.home_environment(**more))


class Client:
    """The verbs. A client without one of them names it in `lacks`, and the suite leaves that case out."""

    name: str
    lacks: frozenset[str] = frozenset()

    def __init__(self, account: Account, scratch: Path) -> None:
        self.account = account
        self.target = account.target
        self.bucket = account.target.bucket
        self.scratch = scratch

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def put(self, file: Path, key: str) -> None:
        raise NotImplementedError

    def get(self, key: str, file: Path) -> None:
        raise NotImplementedError

    def get_range(self, key: str, first: int, length: int) -> bytes:
        raise NotImplementedError

    def list(self, prefix: str) -> list[str]:
        """All keys below a prefix that ends in a slash, through as many pages as it takes."""
        raise NotImplementedError

    def copy(self, source: str, key: str) -> None:
        raise NotImplementedError

    def move(self, source: str, key: str) -> None:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError

    def delete_below(self, prefix: str) -> None:
        raise NotImplementedError

    def sync(self, folder: Path, prefix: str) -> list[str]:
        """Makes the prefix like the folder; what the client says it transferred or deleted, one line each."""
        raise NotImplementedError

    def presign_get(self, key: str) -> str:
        raise NotImplementedError

    def presign_put(self, key: str) -> str:
        raise NotImplementedError
