"""Tables as data people keep them: Parquet files, partitioned by folders such as `hotkey=…`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from checks import DENIED
from clients import TABLE_CLIENTS, Account, Client, DuckDb, DuckDbKeys, Polars, PyArrow, Refused
from conftest import Accounts
from files import MIB
from servers import Target

Connect = Callable[[type[Client], Account], Client]

everywhere = pytest.mark.targets("dev", "dev-tls", "minio", "tls")
# With every test run: one that goes by Arrow's own file system, one by object_store, one by httpfs.
ALWAYS = (PyArrow, Polars, DuckDb)
PARTITIONS = ("hotkey", "day")


def every_table_client_that_can(verb: str) -> pytest.MarkDecorator:
    kinds = [
        pytest.param(kind, id=kind.name, marks=() if kind in ALWAYS else pytest.mark.matrix)
        for kind in TABLE_CLIENTS
        if verb not in kind.lacks
    ]
    return pytest.mark.parametrize("kind", kinds)


def rows(count: int) -> pa.Table:
    """Rows in no order of their partitions, with what a file's name and a column's text can be hard with."""
    chance = random.Random(count)
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "text": [chance.randbytes(40).hex() + " größe 数据" for _ in range(count)],
            "score": [chance.random() for _ in range(count)],
            "hotkey": [f"5Hotkey{number % 3}" for number in range(count)],
            "day": [f"2026-11-{1 + number % 2:02} é" for number in range(count)],
        }
    )


def sorted_rows(file: Path) -> list[dict]:
    """Whatever the order of rows and columns, and whichever of Arrow's types of text a library prefers."""
    return sorted(pa.parquet.read_table(file, partitioning=None).to_pylist(), key=lambda row: row["id"])


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "table.parquet"
    pa.parquet.write_table(rows(3000), file)
    return file


@pytest.fixture(scope="session")
def large_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "large.parquet"
    pa.parquet.write_table(rows(400_000), file)
    assert file.stat().st_size > 16 * MIB
    return file


@everywhere
@every_table_client_that_can("write_table")
@pytest.mark.parametrize(
    "name", ["a b/größe 数据.parquet", pytest.param("hotkey=5Abc/one.parquet", marks=pytest.mark.matrix)]
)
def test_write_overwrite_and_read(
    target: Target,
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    name: str,
    unique: str,
    table: Path,
    tmp_path: Path,
) -> None:
    key, other = f"{accounts.miner.folder}{unique}/{name}", tmp_path / "other.parquet"
    pa.parquet.write_table(rows(500), other)
    miner = connect(kind, accounts.miner)
    for file in (other, table):
        miner.write_table(file, key)
    assert target.store.keys(f"{accounts.miner.folder}{unique}/") == [key]
    for reader in (accounts.miner, accounts.validator):
        back = tmp_path / f"{reader.identity.name}.parquet"
        connect(kind, reader).read_table(key, back)
        assert sorted_rows(back) == sorted_rows(table)


@everywhere
@pytest.mark.matrix
@every_table_client_that_can("write_table")
def test_a_large_table(
    accounts: Accounts, connect: Connect, kind: type[Client], unique: str, large_table: Path, tmp_path: Path
) -> None:
    key, back = f"{accounts.miner.folder}{unique}/large.parquet", tmp_path / "back.parquet"
    connect(kind, accounts.miner).write_table(large_table, key)
    connect(kind, accounts.validator).read_table(key, back)
    found, sent = (pa.parquet.read_table(file, columns=["id", "text"]) for file in (back, large_table))
    assert found.sort_by("id").to_pydict() == sent.to_pydict()


@everywhere
@every_table_client_that_can("write_partitioned")
def test_write_partitions_and_read_one(
    target: Target,
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    unique: str,
    table: Path,
    tmp_path: Path,
) -> None:
    prefix, back = f"{accounts.miner.folder}{unique}/", tmp_path / "back.parquet"
    connect(kind, accounts.miner).write_partitioned(table, prefix, *PARTITIONS)
    folders = {key.removeprefix(prefix).split("/")[0] for key in target.store.keys(prefix)}
    assert folders == {f"hotkey=5Hotkey{number}" for number in range(3)}
    connect(kind, accounts.validator).read_partitioned(prefix, back, "hotkey", "5Hotkey1")
    assert sorted_rows(back) == [row for row in sorted_rows(table) if row["hotkey"] == "5Hotkey1"]


@everywhere
@every_table_client_that_can("write_table")
@pytest.mark.parametrize("outsider", [pytest.param("miner-b", marks=pytest.mark.matrix), "validator"])
def test_write_into_a_foreign_folder(
    target: Target,
    accounts: Accounts,
    connect: Connect,
    kind: type[Client],
    outsider: str,
    unique: str,
    table: Path,
) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    with pytest.raises(Refused, match=DENIED):
        connect(kind, accounts[outsider]).write_table(table, f"{prefix}evil.parquet")
    assert target.store.keys(prefix) == []


@everywhere
def test_a_data_set_by_pyarrow_is_read_by_all_others(
    target: Target, accounts: Accounts, connect: Connect, unique: str, table: Path, tmp_path: Path
) -> None:
    """Partitions, written by the miner; Polars and DuckDB read them as a validator, row for row."""
    prefix = f"{accounts.miner.folder}{unique}/"
    connect(PyArrow, accounts.miner).write_partitioned(table, prefix, *PARTITIONS)
    assert len(target.store.keys(prefix)) == 6
    for kind in (Polars, DuckDb, DuckDbKeys, PyArrow):
        back = tmp_path / f"{kind.name}.parquet"
        connect(kind, accounts.validator).read_partitioned(prefix, back)
        assert sorted_rows(back) == sorted_rows(table), kind.name


@everywhere
@pytest.mark.matrix
@every_table_client_that_can("read_partitioned")
def test_every_reader_of_a_data_set_by_pyarrow(
    accounts: Accounts, connect: Connect, kind: type[Client], unique: str, table: Path, tmp_path: Path
) -> None:
    prefix, back = f"{accounts.miner.folder}{unique}/", tmp_path / "back.parquet"
    connect(PyArrow, accounts.miner).write_partitioned(table, prefix, "hotkey")
    connect(kind, accounts.validator).read_partitioned(prefix, back)
    assert sorted_rows(back) == sorted_rows(table)


@everywhere
def test_pyarrow_moves_and_deletes_a_data_set(
    target: Target, accounts: Accounts, connect: Connect, unique: str, table: Path
) -> None:
    prefix = f"{accounts.miner.folder}{unique}/"
    client = connect(PyArrow, accounts.miner)
    client.write_partitioned(table, f"{prefix}set/", "hotkey")
    [first, *rest] = target.store.keys(f"{prefix}set/")
    body = target.store.read(first)
    client.move(first, f"{prefix}moved to/hotkey=x/part.parquet")
    assert target.store.read(f"{prefix}moved to/hotkey=x/part.parquet") == body
    assert target.store.keys(f"{prefix}set/") == rest
    client.delete_below(f"{prefix}set/")
    assert target.store.keys(f"{prefix}set/") == []
    with pytest.raises(Refused, match=DENIED):
        connect(PyArrow, accounts.validator).delete_below(f"{prefix}moved to/")
    assert target.store.keys(f"{prefix}moved to/") != []
