"""What `subgate setup` prints for a program is a program: it lists the folder as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import run
from conftest import Accounts
from files import pattern
from servers import CACHE, Target


@pytest.mark.targets("dev", "dev-tls", "minio", "tls")
@pytest.mark.parametrize("name", ["boto3", "minio-py"])
def test_python_text_lists_the_folder(
    target: Target, accounts: Accounts, unique: str, tmp_path: Path, name: str
) -> None:
    key, program = f"{accounts.miner.folder}{unique}.parquet", tmp_path / "program.py"
    target.store.write(key, pattern(2000, key))
    program.write_text(accounts.miner.setup(name))
    printed = run([CACHE / "venv" / "bin" / "python", program], accounts.miner.home_environment())
    assert f"2000 {key}" in printed.splitlines()
