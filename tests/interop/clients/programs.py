"""The clients that are Python libraries: each is a program of ../programs, in a process of its own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from clients.base import Client, run_bytes
from servers import CACHE, HERE

# What a library without words for the rest of S3 has.
FILE_VERBS = frozenset(
    "put get get_range list copy move delete delete_below sync presign_get presign_put multipart".split()
)


class Program(Client):
    # The environment below the cache directory.
    venv = "venv"
    # Of `subgate setup`.
    setup: str
    program: str

    @cached_property
    def setup_file(self) -> Path:
        file = self.scratch / f"{self.name}.py"
        file.write_text(self.setup_text())
        return file

    def setup_text(self) -> str:
        return self.account.setup(self.setup)

    def call_bytes(self, verb: str, *words: str | Path | int) -> bytes:
        module = HERE / "programs" / f"use_{self.program}.py"
        environment = self.account.home_environment(S3_BUCKET=self.bucket)
        python = CACHE / self.venv / "bin" / "python"
        return run_bytes([python, module, self.setup_file, verb, *words], environment)


    def call(self, verb: str, *words: str | Path | int) -> list[str]:
        return self.call_bytes(verb, *words).decode().splitlines()

    def put(self, file: Path, key: str) -> None:
        self.call("put", file, key)

    def get(self, key: str, file: Path) -> None:
        self.call("get", key, file)

    def get_range(self, key: str, first: int, length: int) -> bytes:
        return self.call_bytes("get_range", key, first, length)

    def list(self, prefix: str) -> list[str]:
        return self.call("list", prefix)

    def copy(self, source: str, key: str) -> None:
        self.call("copy", source, key)

    def move(self, source: str, key: str) -> None:
        self.call("move", source, key)

    def delete(self, key: str) -> None:
        self.call("delete", key)

    def delete_below(self, prefix: str) -> None:
        self.call("delete_below", prefix)

    def presign_get(self, key: str) -> str:
        return self.call("presign_get", key)[0]

    def presign_put(self, key: str) -> str:
        return self.call("presign_put", key)[0]


class TableClient(Program):
    """What reads and writes tables: the local side of each verb is a Parquet file."""

    lacks = FILE_VERBS

    def write_table(self, file: Path, key: str) -> None:
        self.call("write_table", file, key)

    def read_table(self, key: str, file: Path) -> None:
        self.call("read_table", key, file)

    def write_partitioned(self, file: Path, prefix: str, *columns: str) -> None:
        self.call("write_partitioned", file, prefix, *columns)

    def read_partitioned(self, prefix: str, file: Path, *where: str) -> None:
        """All rows below a prefix with the columns of its partitions, or those where a column has a value."""
        self.call("read_partitioned", prefix, file, *where)


class PyArrow(TableClient):
    name = setup = program = "pyarrow"
    lacks = frozenset({"sync", "presign_get", "presign_put"})


class Polars(TableClient):
    name = setup = program = "polars"


class DuckDbKeys(TableClient):
    name = setup = "duckdb-keys"
    program = "duckdb"


class DuckDb(TableClient):
    """By the AWS profile."""

    name = setup = program = "duckdb"

    def setup_text(self) -> str:
        # SQL, as a program that embeds DuckDB runs it.
        return f"import duckdb\n\ndb = duckdb.connect()\ndb.execute({self.account.setup(self.setup)!r})\n"


class Pandas(TableClient):
    name = setup = program = "pandas"
    venv = "venv-fsspec"


class Datasets(TableClient):
    name = setup = program = "datasets"
    venv = "venv-fsspec"
    # It reads files of a partitioned set, but no column from the name of a folder.
    lacks = FILE_VERBS | {"write_partitioned", "read_partitioned"}


class S3Fs(Program):
    name = setup = program = "s3fs"
    venv = "venv-fsspec"
    lacks = frozenset({"sync", "presign_put"})


class ObStore(Program):
    name = setup = program = "obstore"
    lacks = frozenset({"sync"})


class SmartOpen(Program):
    name = setup = program = "smart_open"
    lacks = FILE_VERBS - {"put", "get", "get_range", "multipart"}
