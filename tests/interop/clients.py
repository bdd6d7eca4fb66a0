"""The stock S3 clients, each behind the same few verbs: a test is written once and runs with all of them.

A refusal by the server is `Refused`, with whatever text the client shows to its user.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import boto3
import minio
import minio.commonconfig
import minio.deleteobjects
import urllib3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from files import MIB
from servers import BIN, Identity, Target, credentials_command

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


class AwsCli(Client):
    lacks = frozenset({"presign_put"})
    program: str

    def aws(self, *words: str | Path) -> str:
        # v2 of Debian's age does not read endpoint_url from the profile.
        return run(
            [BIN / self.program, "--endpoint-url", self.target.endpoint, *words], self.account.environment()
        )

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
    program = "aws1"


class AwsCli2(AwsCli):
    name = "aws-cli-2"
    program = "aws2"


class Boto3(Client):
    name = "boto3"
    lacks = frozenset({"sync"})

    @cached_property
    def s3(self):
        return self.account.boto3()

    @staticmethod
    def refused(error: Exception) -> NoReturn:
        raise Refused(f"{type(error).__name__}: {error}") from error

    def put(self, file: Path, key: str) -> None:
        try:
            self.s3.upload_file(
                str(file), self.bucket, key, Config=TransferConfig(multipart_chunksize=8 * MIB)
            )
        except (ClientError, boto3.exceptions.S3UploadFailedError) as error:
            self.refused(error)

    def get(self, key: str, file: Path) -> None:
        try:
            self.s3.download_file(self.bucket, key, str(file))
        except ClientError as error:
            self.refused(error)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        interval = f"bytes={first}-{first + length - 1}"
        return self.s3.get_object(Bucket=self.bucket, Key=key, Range=interval)["Body"].read()

    def list(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": 100}
        )
        try:
            return [item["Key"] for page in pages for item in page.get("Contents", [])]
        except ClientError as error:
            self.refused(error)

    def copy(self, source: str, key: str) -> None:
        try:
            self.s3.copy_object(
                Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": source}
            )
        except ClientError as error:
            self.refused(error)

    def delete(self, key: str) -> None:
        try:
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            self.refused(error)

    def delete_below(self, prefix: str) -> None:
        keys = self.list(prefix)
        for start in range(0, len(keys), 1000):
            batch = {"Objects": [{"Key": key} for key in keys[start : start + 1000]], "Quiet": True}
            errors = self.s3.delete_objects(Bucket=self.bucket, Delete=batch).get("Errors", [])
            if errors:
                raise Refused(str(errors))

    def presign_get(self, key: str) -> str:
        return self.s3.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=600
        )

    def presign_put(self, key: str) -> str:
        return self.s3.generate_presigned_url(
            "put_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=600
        )


class Rclone(Client):
    name = "rclone"
    lacks = frozenset({"presign_put"})

    def rclone(self, *words: str | Path) -> str:
        return self.rclone_bytes(*words).decode()

    def rclone_bytes(self, *words: str | Path) -> bytes:
        options = ["--config", os.devnull, "--retries", "1", "--low-level-retries", "1"]
        if self.target.ca:
            options += ["--ca-cert", str(self.target.ca)]
        environment = self.account.environment(
            RCLONE_CONFIG_SUBGATE_TYPE="s3",
            RCLONE_CONFIG_SUBGATE_PROVIDER="Other",
            RCLONE_CONFIG_SUBGATE_ENV_AUTH="true",
            RCLONE_CONFIG_SUBGATE_ENDPOINT=self.target.endpoint,
            RCLONE_CONFIG_SUBGATE_REGION=self.target.region,
            # Else whole uploads up to 200 MiB are a single PUT.
            RCLONE_S3_UPLOAD_CUTOFF="16M",
        )
        return run_bytes([BIN / "rclone", *options, *words], environment)

    def remote(self, key: str) -> str:
        return f"subgate:{self.bucket}/{key}"

    def put(self, file: Path, key: str) -> None:
        self.rclone("copyto", file, self.remote(key))

    def get(self, key: str, file: Path) -> None:
        self.rclone("copyto", self.remote(key), file)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        return self.rclone_bytes("cat", "--offset", str(first), "--count", str(length), self.remote(key))

    def list(self, prefix: str) -> list[str]:
        answer = self.rclone(
            "lsf", "--recursive", "--files-only", "--s3-list-chunk", "100", self.remote(prefix)
        )
        return [prefix + line for line in answer.splitlines()]

    def copy(self, source: str, key: str) -> None:
        self.rclone("copyto", self.remote(source), self.remote(key))

    def delete(self, key: str) -> None:
        self.rclone("deletefile", self.remote(key))

    def delete_below(self, prefix: str) -> None:
        self.rclone("delete", self.remote(prefix))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        report = self.scratch / "rclone-sync.log"
        report.unlink(missing_ok=True)
        self.rclone("sync", "--log-file", report, "--log-level", "INFO", folder, self.remote(prefix))
        return [line for line in report.read_text().splitlines() if "Copied" in line or "Deleted" in line]

    def presign_get(self, key: str) -> str:
        return self.rclone("link", "--expire", "10m", self.remote(key)).strip()


class S3cmd(Client):
    # Its signurl knows SigV2 alone, and its get has no range but for resuming.
    name = "s3cmd"
    lacks = frozenset({"presign_get", "presign_put", "get_range"})

    def s3cmd(self, *words: str | Path) -> str:
        session = self.account.session
        host = self.target.host
        # Keys by environment: with a token in its file it would ask a cloud's metadata service for another.
        environment = self.target.environment(
            AWS_ACCESS_KEY_ID=session["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=session["SecretAccessKey"],
            AWS_SESSION_TOKEN=session["SessionToken"],
        )
        settings = {
            "host_base": host,
            # Without %(bucket)s this is path style.
            "host_bucket": host,
            "bucket_location": self.target.region,
            "use_https": str(bool(self.target.ca)),
            "ca_certs_file": str(self.target.ca or ""),
            "max_retries": "1",
            "multipart_chunk_size_mb": "8",
        }
        config = self.scratch / "s3cmd.cfg"
        config.write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        return run([BIN / "s3cmd", "--config", config, "--no-progress", *words], environment)

    def put(self, file: Path, key: str) -> None:
        self.s3cmd("put", file, self.uri(key))

    def get(self, key: str, file: Path) -> None:
        self.s3cmd("get", "--force", self.uri(key), file)

    def list(self, prefix: str) -> list[str]:
        lines = self.s3cmd("ls", "--recursive", self.uri(prefix)).splitlines()
        # Date, time, size, URI.
        return [line.split(maxsplit=3)[3].removeprefix(self.uri("")) for line in lines]

    def copy(self, source: str, key: str) -> None:
        self.s3cmd("cp", self.uri(source), self.uri(key))

    def delete(self, key: str) -> None:
        self.s3cmd("del", self.uri(key))

    def delete_below(self, prefix: str) -> None:
        self.s3cmd("del", "--recursive", "--force", self.uri(prefix))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        lines = self.s3cmd("sync", "--delete-removed", f"{folder}/", self.uri(prefix)).splitlines()
        return [line for line in lines if line.startswith(("upload:", "delete:"))]


class MinioPy(Client):
    name = "minio-py"
    lacks = frozenset({"sync"})

    @cached_property
    def s3(self) -> minio.Minio:
        session = self.account.session
        http = urllib3.PoolManager(
            retries=False, cert_reqs="CERT_REQUIRED", ca_certs=str(self.target.ca) if self.target.ca else None
        )
        return minio.Minio(
            endpoint=self.target.host,
            access_key=session["AccessKeyId"],
            secret_key=session["SecretAccessKey"],
            session_token=session["SessionToken"],
            secure=urlsplit(self.target.endpoint).scheme == "https",
            region=self.target.region,
            http_client=http,
        )

    @staticmethod
    def refused(error: minio.S3Error) -> NoReturn:
        raise Refused(f"{error.code}: {error.message}") from error

    def put(self, file: Path, key: str) -> None:
        try:
            self.s3.fput_object(
                bucket_name=self.bucket, object_name=key, file_path=str(file), part_size=8 * MIB
            )
        except minio.S3Error as error:
            self.refused(error)

    def get(self, key: str, file: Path) -> None:
        try:
            self.s3.fget_object(bucket_name=self.bucket, object_name=key, file_path=str(file))
        except minio.S3Error as error:
            self.refused(error)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        answer = self.s3.get_object(bucket_name=self.bucket, object_name=key, offset=first, length=length)
        try:
            return answer.read()
        finally:
            answer.close()
            answer.release_conn()

    def list(self, prefix: str) -> list[str]:
        try:
            found = self.s3.list_objects(bucket_name=self.bucket, prefix=prefix, recursive=True)
            return [item.object_name for item in found]
        except minio.S3Error as error:
            self.refused(error)

    def copy(self, source: str, key: str) -> None:
        origin = minio.commonconfig.CopySource(bucket_name=self.bucket, object_name=source)
        try:
            self.s3.copy_object(bucket_name=self.bucket, object_name=key, source=origin)
        except minio.S3Error as error:
            self.refused(error)

    def delete(self, key: str) -> None:
        try:
            self.s3.remove_object(bucket_name=self.bucket, object_name=key)
        except minio.S3Error as error:
            self.refused(error)

    def delete_below(self, prefix: str) -> None:
        doomed = [minio.deleteobjects.DeleteObject(key) for key in self.list(prefix)]
        errors = list(self.s3.remove_objects(bucket_name=self.bucket, delete_object_list=doomed))
        if errors:
            raise Refused("; ".join(f"{error.code}: {error.message}" for error in errors))

    def presign_get(self, key: str) -> str:
        return self.s3.presigned_get_object(bucket_name=self.bucket, object_name=key)

    def presign_put(self, key: str) -> str:
        return self.s3.presigned_put_object(bucket_name=self.bucket, object_name=key)


class S5cmd(Client):
    # Its get splits large objects into ranges by itself, but has no word for one range.
    name = "s5cmd"
    lacks = frozenset({"presign_put", "get_range"})

    def s5cmd(self, *words: str | Path) -> str:
        options = ["--endpoint-url", self.target.endpoint, "--retry-count", "0"]
        return run([BIN / "s5cmd", *options, *words], self.account.environment())

    def put(self, file: Path, key: str) -> None:
        self.s5cmd("cp", "--part-size", "8", file, self.uri(key))

    def get(self, key: str, file: Path) -> None:
        self.s5cmd("cp", "--part-size", "8", self.uri(key), file)

    def list(self, prefix: str) -> list[str]:
        lines = self.s5cmd("ls", "--show-fullpath", self.uri(prefix + "*")).splitlines()
        return [line.removeprefix(self.uri("")) for line in lines]

    def copy(self, source: str, key: str) -> None:
        self.s5cmd("cp", self.uri(source), self.uri(key))

    def delete(self, key: str) -> None:
        self.s5cmd("rm", self.uri(key))

    def delete_below(self, prefix: str) -> None:
        self.s5cmd("rm", self.uri(prefix + "*"))

    def sync(self, folder: Path, prefix: str) -> list[str]:
        return self.s5cmd("sync", "--delete", f"{folder}/", self.uri(prefix)).splitlines()

    def presign_get(self, key: str) -> str:
        return self.s5cmd("presign", "--expire", "10m", self.uri(key)).strip()


CLIENTS: tuple[type[Client], ...] = (AwsCli1, AwsCli2, Boto3, Rclone, S3cmd, MinioPy, S5cmd)


def clients_with(verb: str) -> list[type[Client]]:
    return [client for client in CLIENTS if verb not in client.lacks]
