"""HuggingFace `datasets`, by way of s3fs."""

from __future__ import annotations

import datasets
from verbs import BUCKET, main

datasets.disable_progress_bars()


class Datasets:
    def __init__(self, names: dict) -> None:
        self.options = {"storage_options": names["storage_options"]}

    def write_table(self, file: str, key: str) -> None:
        datasets.Dataset.from_parquet(file).to_parquet(f"s3://{BUCKET}/{key}", **self.options)

    def read_table(self, key: str, file: str) -> None:
        self._load(f"s3://{BUCKET}/{key}").to_parquet(file)

    def read_partitioned(self, prefix: str, file: str) -> None:
        self._load(f"s3://{BUCKET}/{prefix}**/*.parquet").to_parquet(file)

    def _load(self, files: str) -> datasets.Dataset:
        return datasets.load_dataset("parquet", data_files=files, split="train", **self.options)


main(Datasets)
