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
        found = datasets.load_dataset(
            "parquet", data_files=f"s3://{BUCKET}/{key}", split="train", **self.options
        )
        found.to_parquet(file)



main(Datasets)
