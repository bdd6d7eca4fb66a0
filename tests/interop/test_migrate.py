"""From HuggingFace's Hub to Subgate and both at once, with HuggingFace's own clients of 2024 and of today."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from clients import Account
from conftest import Accounts
from files import MIB, digest
from hub import ERAS, TOKEN, USER, Hub, HubClient
from servers import SUBGATE, Target

REPOSITORY = f"{USER}/x_dataset_7"
# Beside those of the data: what a person puts into such a repository.
CARD = "---\nlicense: mit\n---\n# What a miner of the time wrote\n"

eras = pytest.mark.parametrize("era", ERAS)


@pytest.fixture
def client(hub: Hub, era: str, tmp_path: Path) -> HubClient:
    return HubClient(era, hub, tmp_path)


@pytest.fixture(scope="session")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/` as miners had it: tables of 1000 rows, and one that LFS takes in parts."""
    folder = tmp_path_factory.mktemp("chunks")
    (folder / "data").mkdir()
    for number in range(5):
        rows = range(number * 1000, number * 1000 + 1000)
        # Random, so that the last is large in spite of compression.
        text = [os.urandom(9_000 if number == 4 else 20).hex() for _ in rows]
        table = pa.table({"id": pa.array(rows, pa.int64()), "text": text})
        pa.parquet.write_table(table, folder / f"data/train-DataEntity_chunk_{number}.parquet")
    assert (folder / "data/train-DataEntity_chunk_4.parquet").stat().st_size > 8 * MIB
    return folder


def files_below(folder: Path) -> dict[str, str]:
    """Paths and digests."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): digest(file) for file in files}


def below_prefix(target: Target, prefix: str, scratch: Path) -> dict[str, str]:
    """The same of what stands in the store, read by boto3 without Subgate."""
    found = {}
    for key in target.store.keys(prefix):
        scratch.write_bytes(target.store.read(key))
        found[key.removeprefix(prefix)] = digest(scratch)
    return found


def subgate(
    account: Account, hub: Hub, *words: str | Path, token: str = TOKEN
) -> subprocess.CompletedProcess:
    """A command of the miner's, whatever it ends with."""
    target = account.target
    session = ["--wallet-path", target.wallets, "--wallet-name", account.identity.name]
    session += ["--endpoint", target.endpoint]
    command = [str(word) for word in (SUBGATE, *words, *session)]
    environment = target.environment(SUBGATE_CACHE_DIR=str(target.data / "cache")) | hub.environment(token)
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
    )
    assert TOKEN not in done.stdout + done.stderr
    return done


def succeeds(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@eras
def test_the_clients_of_the_hub_take_the_suites_hub_for_one(
    hub: Hub, client: HubClient, chunks: Path, tmp_path: Path
) -> None:
    hub.order(upload_in_parts={"from": 8 * MIB, "part_bytes": 5 * MIB})
    hub.order(page_entries=2)
    client.run("create", REPOSITORY)
    client.run("create", REPOSITORY)
    card = tmp_path / "README.md"
    card.write_text(CARD)
    client.run("upload_folder", REPOSITORY, chunks)
    client.run("upload_file", REPOSITORY, card, "README.md")
    client.run("upload_file", REPOSITORY, card, "docs/größe 1.md")
    client.run("replace", REPOSITORY, "docs/größe 1.md", card, "docs/2.md")
    wanted = files_below(chunks) | dict.fromkeys(("README.md", "docs/2.md"), digest(card))
    listed = json.loads(client.run("tree", REPOSITORY))
    assert {entry["path"] for entry in listed} == wanted.keys() | {".gitattributes"}
    sums = {entry["path"]: entry["sha256"] for entry in listed if entry["sha256"]}
    assert sums == files_below(chunks)
    one = "data/train-DataEntity_chunk_4.parquet"
    client.run("download", REPOSITORY, one, tmp_path / "one")
    assert digest(tmp_path / "one") == wanted[one]
    client.run("snapshot", REPOSITORY, tmp_path / "all")
    found = files_below(tmp_path / "all")
    assert {path: found[path] for path in wanted} == wanted
    client.run("load", REPOSITORY, tmp_path / "rows.parquet")
    assert sorted(pa.parquet.read_table(tmp_path / "rows.parquet")["id"].to_pylist()) == list(range(5000))
    assert json.loads(client.run("stream", REPOSITORY)) == 5000


@eras
def test_a_repository_is_migrated_byte_for_byte(
    target: Target, accounts: Accounts, hub: Hub, client: HubClient, chunks: Path, tmp_path: Path, unique: str
) -> None:
    client.run("create", REPOSITORY)
    client.run("upload_folder", REPOSITORY, chunks)
    card = tmp_path / "README.md"
    card.write_text(CARD)
    client.run("upload_file", REPOSITORY, card, "README.md")
    prefix = f"{accounts.miner.folder}{unique}/"
    migrate = ("migrate", "hf", REPOSITORY, "--to", prefix)
    status = ("migrate", "status", REPOSITORY, "--to", prefix)
    succeeds(subgate(accounts.miner, hub, *migrate, "--dry-run"))
    assert target.store.keys(prefix) == []
    assert subgate(accounts.miner, hub, *status).returncode == 1
    # What happens on the way: a URL that does not count any more, and a Hub that is busy.
    hub.fail("resolve", "expired", times=1)
    hub.fail("resolve", {"status": {"status": 429, "headers": [["retry-after", "1"]]}}, times=1, after=1)
    hub.fail("cdn", {"cut": {"after": 10_000}}, times=1, after=1)
    succeeds(subgate(accounts.miner, hub, *migrate))
    # A miner's data files, by their names alone.
    wanted = {Path(path).name: sha256 for path, sha256 in files_below(chunks).items()}
    assert below_prefix(target, prefix, tmp_path / "scratch") == wanted
    succeeds(subgate(accounts.miner, hub, *status))
    hub.forget()
    succeeds(subgate(accounts.miner, hub, *migrate))
    assert hub.seen("cdn", "GET") == []
    # By a client that knows nothing of all this.
    key = f"{prefix}train-DataEntity_chunk_4.parquet"
    read = accounts.validator.boto3().get_object(Bucket=target.bucket, Key=key)
    assert read["Metadata"]["sha256"] == wanted["train-DataEntity_chunk_4.parquet"]


@pytest.mark.targets("minio")
@eras
def test_what_is_uploaded_to_both_is_read_at_either(
    target: Target, accounts: Accounts, hub: Hub, client: HubClient, chunks: Path, tmp_path: Path, unique: str
) -> None:
    hub.order(upload_in_parts={"from": 8 * MIB, "part_bytes": 5 * MIB})
    client.run("create", REPOSITORY)
    prefix = f"{accounts.miner.folder}{unique}/"
    upload = ("upload", chunks / "data", "--to", prefix, "--also", f"hf:{REPOSITORY}")
    succeeds(subgate(accounts.miner, hub, *upload))
    wanted = files_below(chunks)
    names = {Path(path).name: sha256 for path, sha256 in wanted.items()}
    assert below_prefix(target, prefix, tmp_path / "scratch") == names
    client.run("snapshot", REPOSITORY, tmp_path / "all")
    found = files_below(tmp_path / "all")
    assert {path: found.get(path) for path in wanted} == wanted
    client.run("load", REPOSITORY, tmp_path / "rows.parquet")
    assert sorted(pa.parquet.read_table(tmp_path / "rows.parquet")["id"].to_pylist()) == list(range(5000))
    succeeds(subgate(accounts.miner, hub, "migrate", "status", REPOSITORY, "--to", prefix))
    # The same again changes nothing anywhere.
    commits = hub.look_up("dataset", id=REPOSITORY).json()["commits"]
    succeeds(subgate(accounts.miner, hub, *upload))
    assert hub.look_up("dataset", id=REPOSITORY).json()["commits"] == commits
    # One more file, by the Hub's client alone: the places differ, and who asks is told.
    file = chunks / "data/train-DataEntity_chunk_0.parquet"
    client.run("upload_file", REPOSITORY, file, "data/train-more.parquet")
    differs = subgate(accounts.miner, hub, "migrate", "status", REPOSITORY, "--to", prefix)
    assert differs.returncode == 1
    assert "train-more.parquet" in differs.stdout + differs.stderr


@pytest.mark.targets("minio")
def test_a_validator_believes_no_uploaders_word(
    target: Target, accounts: Accounts, hub: Hub, unique: str
) -> None:
    hub.order(dataset={"id": REPOSITORY, "visibility": "public"})
    hub.order(chunks={"id": REPOSITORY, "files": 3, "bytes": 5000})
    prefix = f"{accounts.miner.folder}{unique}/"
    succeeds(subgate(accounts.miner, hub, "migrate", "hf", REPOSITORY, "--to", prefix))
    status = ("migrate", "status", REPOSITORY, "--to", prefix, "--read")
    succeeds(subgate(accounts.validator, hub, *status))
    # As large, and called by the right name, and something else.
    miner, key = accounts.miner.boto3(), f"{prefix}train-DataEntity_chunk_1.parquet"
    said = miner.head_object(Bucket=target.bucket, Key=key)["Metadata"]
    miner.put_object(Bucket=target.bucket, Key=key, Body=os.urandom(5000), Metadata=said)
    differs = subgate(accounts.validator, hub, *status)
    assert differs.returncode == 1 and "chunk_1.parquet" in differs.stdout, differs.stdout + differs.stderr


@pytest.mark.targets("dev")
def test_a_private_repository_wants_the_token(
    target: Target, accounts: Accounts, hub: Hub, unique: str
) -> None:
    hub.order(dataset={"id": f"{USER}/reddit_dataset_9", "visibility": "private"})
    hub.order(chunks={"id": f"{USER}/reddit_dataset_9", "files": 3, "bytes": 5000})
    prefix = f"{accounts.miner.identity.folder('reddit')}{unique}/"
    migrate = ("migrate", "hf", f"{USER}/reddit_dataset_9", "--to", prefix)
    refused = subgate(accounts.miner, hub, *migrate, token="")
    assert refused.returncode not in (0, 1) and "HF_TOKEN" in refused.stderr, refused.stderr
    assert target.store.keys(prefix) == []
    succeeds(subgate(accounts.miner, hub, *migrate))
    assert len(target.store.keys(prefix)) == 3
