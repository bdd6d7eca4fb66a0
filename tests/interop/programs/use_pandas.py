"""pandas: data frames, by way of s3fs."""

from __future__ import annotations

import pandas
from verbs import BUCKET, main


class Pandas:
    def __init__(self, names: dict) -> None:
        self.options = {"storage_options": names["storage_options"]}

    def write_table(self, file: str, key: str) -> None:
        pandas.read_parquet(file).to_parquet(f"s3://{BUCKET}/{key}", index=False, **self.options)

    def read_table(self, key: str, file: str) -> None:
        frame = pandas.read_parquet(f"s3://{BUCKET}/{key}", partitioning=None, **self.options)
        frame.to_parquet(file, index=False)

    def write_partitioned(self, file: str, prefix: str, *columns: str) -> None:
        frame = pandas.read_parquet(file)
        where = f"s3://{BUCKET}/{prefix.rstrip('/')}"
        frame.to_parquet(where, partition_cols=list(columns), index=False, **self.options)

    def read_partitioned(self, prefix: str, file: str, *where: str) -> None:
        filters = [(where[0], "==", where[1])] if where else None
        frame = pandas.read_parquet(f"s3://{BUCKET}/{prefix.rstrip('/')}", filters=filters, **self.options)
        frame.to_parquet(file, index=False)


main(Pandas)
