"""HuggingFace's own clients: `huggingface_hub` and `datasets`, of whichever era runs this.

    python use_hub.py VERB REPOSITORY WORD...
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

api = HfApi()
KIND = {"repo_type": "dataset"}


def create(repository: str) -> None:
    api.create_repo(repository, exist_ok=True, **KIND)


def upload_folder(repository: str, folder: str) -> None:
    api.upload_folder(repo_id=repository, folder_path=folder, **KIND)


def upload_file(repository: str, file: str, path: str) -> None:
    api.upload_file(repo_id=repository, path_or_fileobj=file, path_in_repo=path, **KIND)


def replace(repository: str, path: str, file: str, other: str) -> None:
    """One commit: a file goes and another comes."""
    operations = [CommitOperationDelete(path), CommitOperationAdd(other, file)]
    api.create_commit(repository, operations, commit_message="replace", **KIND)


def tree(repository: str) -> list[dict]:
    """Paths, sizes and checksums as the Hub lists them."""
    entries = api.list_repo_tree(repository, recursive=True, **KIND)
    files = [entry for entry in entries if hasattr(entry, "size")]
    return [{"path": file.path, "size": file.size, "sha256": file.lfs and file.lfs.sha256} for file in files]


def download(repository: str, path: str, file: str) -> None:
    shutil.copyfile(api.hf_hub_download(repository, path, **KIND), file)


def snapshot(repository: str, folder: str) -> None:
    found = api.snapshot_download(repository, **KIND)
    shutil.copytree(found, folder, symlinks=False)


def split(repository: str, **more):
    # It takes seconds to import, which the other verbs need not wait.
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(repository, split="train", **more)


def load(repository: str, file: str) -> None:
    """All rows of the data set, as `datasets` finds its files by itself."""
    split(repository).to_parquet(Path(file))


def stream(repository: str) -> int:
    """Rows, without files in a cache."""
    return sum(1 for _ in split(repository, streaming=True))


VERBS = (create, upload_folder, upload_file, replace, tree, download, snapshot, load, stream)


def main() -> None:
    verb, *words = sys.argv[1:]
    [call] = [call for call in VERBS if call.__name__ == verb]
    try:
        print(json.dumps(call(*words)))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


main()
