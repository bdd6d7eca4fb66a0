"""DuckDB: SQL over files."""

from __future__ import annotations

from pathlib import Path

import duckdb
import duckdb_extensions
from verbs import BUCKET, main

# DuckDB would fetch them at INSTALL, which is no work where they are.
if not (Path.home() / ".duckdb").exists():
    for extension in ("httpfs", "aws"):
        duckdb_extensions.import_extension(extension)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class DuckDb:
    def __init__(self, names: dict) -> None:
        self.db: duckdb.DuckDBPyConnection = names["db"]

    def write_table(self, file: str, key: str) -> None:
        target = quoted(f"s3://{BUCKET}/{key}")
        self.db.sql(f"COPY (FROM read_parquet({quoted(file)})) TO {target} (FORMAT parquet)")

    def read_table(self, key: str, file: str) -> None:
        source = quoted(f"s3://{BUCKET}/{key}")
        rows = f"FROM read_parquet({source}, hive_partitioning = false)"
        self.db.sql(f"COPY ({rows}) TO {quoted(file)} (FORMAT parquet)")

    def list(self, prefix: str) -> list[str]:
        found = self.db.sql(f"FROM glob({quoted(f's3://{BUCKET}/{prefix}**')})").fetchall()
        return [path.removeprefix(f"s3://{BUCKET}/") for (path, *_) in found]

    def write_partitioned(self, file: str, prefix: str, *columns: str) -> None:
        target = quoted(f"s3://{BUCKET}/{prefix.rstrip('/')}")
        names = ", ".join(f'"{column}"' for column in columns)
        self.db.sql(
            f"COPY (FROM read_parquet({quoted(file)})) TO {target} "
            f"(FORMAT parquet, PARTITION_BY ({names}), OVERWRITE_OR_IGNORE)"
        )

    def read_partitioned(self, prefix: str, file: str, *where: str) -> None:
        source = quoted(f"s3://{BUCKET}/{prefix}**/*.parquet")
        chosen = f'WHERE "{where[0]}" = {quoted(where[1])}' if where else ""
        self.db.sql(
            f"COPY (FROM read_parquet({source}, hive_partitioning = true) {chosen}) "
            f"TO {quoted(file)} (FORMAT parquet)"
        )


main(DuckDb)
