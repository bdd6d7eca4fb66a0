"""Polars: data frames, eager and lazy."""

from __future__ import annotations

import polars
from verbs import BUCKET, main


class Polars:
    def __init__(self, names: dict) -> None:
        self.options = {name: names[name] for name in ("storage_options", "credential_provider")}

    def write_table(self, file: str, key: str) -> None:
        polars.read_parquet(file).write_parquet(f"s3://{BUCKET}/{key}", **self.options)

    def read_table(self, key: str, file: str) -> None:
        source = f"s3://{BUCKET}/{key}"
        frame = polars.read_parquet(source, hive_partitioning=False, glob=False, **self.options)
        frame.write_parquet(file)

    def write_partitioned(self, file: str, prefix: str, *columns: str) -> None:
        where = polars.PartitionBy(f"s3://{BUCKET}/{prefix}", key=list(columns), include_key=False)
        polars.scan_parquet(file).sink_parquet(where, **self.options)

    def read_partitioned(self, prefix: str, file: str, *where: str) -> None:
        found = polars.scan_parquet(
            f"s3://{BUCKET}/{prefix}**/*.parquet", hive_partitioning=True, **self.options
        )
        if where:
            column, value = where
            found = found.filter(polars.col(column) == value)
        found.collect().write_parquet(file)


main(Polars)
