"""minio-py."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import minio
import minio.commonconfig
import minio.deleteobjects
import urllib3

from clients.base import Client, Refused
from files import MIB


class MinioPy(Client):
    name = "minio-py"
    lacks = frozenset({"sync", "move"})

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
