"""PyArrow: its file system, and its data sets."""

from __future__ import annotations

import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
from verbs import BUCKET, main


class PyArrow:
    def __init__(self, names: dict) -> None:
        self.s3: pyarrow.fs.S3FileSystem = names["s3"]

    def put(self, file: str, key: str) -> None:
        with self.s3.open_output_stream(f"{BUCKET}/{key}") as sink, open(file, "rb") as source:
            while block := source.read(8 * 1024 * 1024):
                sink.write(block)

    def get(self, key: str, file: str) -> None:
        with self.s3.open_input_stream(f"{BUCKET}/{key}") as source, open(file, "wb") as sink:
            while block := source.read(8 * 1024 * 1024):
                sink.write(block)

    def get_range(self, key: str, first: str, length: str) -> bytes:
        with self.s3.open_input_file(f"{BUCKET}/{key}") as source:
            return source.read_at(int(length), int(first))

    def list(self, prefix: str) -> list[str]:
        selector = pyarrow.fs.FileSelector(f"{BUCKET}/{prefix.rstrip('/')}", recursive=True)
        found = self.s3.get_file_info(selector)
        return [item.path.removeprefix(f"{BUCKET}/") for item in found if item.is_file]

    def copy(self, source: str, key: str) -> None:
        self.s3.copy_file(f"{BUCKET}/{source}", f"{BUCKET}/{key}")

    def move(self, source: str, key: str) -> None:
        self.s3.move(f"{BUCKET}/{source}", f"{BUCKET}/{key}")

    def delete(self, key: str) -> None:
        self.s3.delete_file(f"{BUCKET}/{key}")

    def delete_below(self, prefix: str) -> None:
        self.s3.delete_dir(f"{BUCKET}/{prefix.rstrip('/')}")

    def write_table(self, file: str, key: str) -> None:
        table = pyarrow.parquet.read_table(file)
        pyarrow.parquet.write_table(table, f"{BUCKET}/{key}", filesystem=self.s3)

    def read_table(self, key: str, file: str) -> None:
        table = pyarrow.parquet.read_table(f"{BUCKET}/{key}", filesystem=self.s3, partitioning=None)
        pyarrow.parquet.write_table(table, file)

    def write_partitioned(self, file: str, prefix: str, *columns: str) -> None:
        pyarrow.dataset.write_dataset(
            pyarrow.parquet.read_table(file),
            f"{BUCKET}/{prefix.rstrip('/')}",
            filesystem=self.s3,
            format="parquet",
            partitioning=list(columns),
            partitioning_flavor="hive",
        )

    def read_partitioned(self, prefix: str, file: str, *where: str) -> None:
        found = pyarrow.dataset.dataset(
            f"{BUCKET}/{prefix.rstrip('/')}", filesystem=self.s3, format="parquet", partitioning="hive"
        )
        column, value = where or (None, None)
        chosen = pyarrow.dataset.field(column) == value if column else None
        pyarrow.parquet.write_table(found.to_table(filter=chosen), file)


main(PyArrow)
