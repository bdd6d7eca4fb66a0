"""boto3."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NoReturn

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from clients.base import Client, Refused
from files import MIB


class Boto3(Client):
    name = "boto3"
    lacks = frozenset({"sync", "move"})

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
