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
from clients.programs import DuckDb, DuckDbKeys, ObStore, Pandas, Polars, PyArrow, S3Fs, SmartOpen, TableClient
from clients.programs import Datasets
from clients.rclone import Rclone
from clients.s3cmd import S3cmd
from clients.s5cmd import S5cmd
from clients.sdks import GoSdk, JsSdk

__all__ = [
    "CLIENTS",
    "TABLE_CLIENTS",
    "Account",
    "AwsCli",
    "AwsCli1",
    "AwsCli2",
    "Boto3",
    "Client",
    "DuckDb",
    "Polars",
    "PyArrow",
    "Rclone",
    "Refused",
    "MinioPy",
    "clients_with",
    "every_client_that_can",
    "run",
]

# These run with every test on every target; the others, which are alike, with `--matrix` alone.
ALWAYS: tuple[type[Client], ...] = (AwsCli1, AwsCli2, Boto3, Rclone, S3cmd, MinioPy, S5cmd)
MATRIX: tuple[type[Client], ...] = (PyArrow, S3Fs, ObStore, SmartOpen, Mc, Curl, GoSdk, JsSdk)
CLIENTS = ALWAYS + MATRIX
# What reads and writes tables, and no other files.
TABLE_CLIENTS: tuple[type[TableClient], ...] = (PyArrow, Polars, DuckDb, DuckDbKeys, Pandas, Datasets)


def clients_with(*verbs: str) -> list[type[Client]]:
    return [client for client in CLIENTS if not client.lacks.intersection(verbs)]


def every_client_that_can(*verbs: str) -> pytest.MarkDecorator:
    """Runs a test with each client that has these verbs."""
    kinds = [
        pytest.param(kind, id=kind.name, marks=[pytest.mark.matrix] if kind in MATRIX else [])
        for kind in clients_with(*verbs)
    ]
    return pytest.mark.parametrize("kind", kinds)
