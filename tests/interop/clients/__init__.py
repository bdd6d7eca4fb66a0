"""The stock S3 clients, each behind the same few verbs: a test is written once and runs with all of them.

A refusal by the server is `Refused`, with whatever text the client shows to its user.
"""

from __future__ import annotations

import pytest

from clients.aws import AwsCli, AwsCli1, AwsCli2
from clients.base import Account, Client, Refused, run
from clients.boto import Boto3
from clients.curl import Curl
from clients.mc import Mc
from clients.minio_py import MinioPy
from clients.programs import (
    Datasets,
    DuckDb,
    DuckDbKeys,
    ObStore,
    Pandas,
    Polars,
    PyArrow,
    S3Fs,
    SmartOpen,
    TableClient,
)
from clients.rclone import Rclone
from clients.s3cmd import S3cmd
from clients.s5cmd import S5cmd
from clients.sdks import GoSdk, JsSdk

__all__ = [
    "BESIDE",
    "TABLE_CLIENTS",
    "Account",
    "AwsCli",
    "AwsCli1",
    "AwsCli2",
    "Boto3",
    "Client",
    "DuckDb",
    "DuckDbKeys",
    "MinioPy",
    "Polars",
    "PyArrow",
    "Rclone",
    "Refused",
    "every_client_that_can",
    "run",
]

# These run with every test on every target; those beside them, which are alike, have a day of their own, and
# the rest with `--matrix`.
ALWAYS: tuple[type[Client], ...] = (AwsCli1, AwsCli2, Boto3, Rclone, S3cmd, MinioPy, S5cmd)
BESIDE: tuple[type[Client], ...] = (PyArrow, S3Fs, ObStore, SmartOpen, Mc, Curl, GoSdk, JsSdk)
CLIENTS = ALWAYS + BESIDE
# What reads and writes tables, and no other files.
TABLE_CLIENTS: tuple[type[TableClient], ...] = (PyArrow, Polars, DuckDb, DuckDbKeys, Pandas, Datasets)


def every_client_that_can(*verbs: str) -> pytest.MarkDecorator:
    """Runs a test with each client that has these verbs."""
    kinds = [
        pytest.param(kind, id=kind.name, marks=[pytest.mark.matrix] if kind in BESIDE else [])
        for kind in CLIENTS
        if not kind.lacks.intersection(verbs)
    ]
    return pytest.mark.parametrize("kind", kinds)
