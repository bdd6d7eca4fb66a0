"""A whole day of a subnet: a miner of each era uploads, a validator of each era reads it all, and nobody
notices that the store is away for three seconds in the middle."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import duckdb
import duckdb_extensions
import pyarrow
import pyarrow.parquet
import pytest
from bittensor_wallet import Keypair

import era_clients
import servers
from checks import write_registry
from era_clients import Client
from line import Line

MINERS = 10
FILES_OF_THE_LARGEST = 3500
FOOTERS = 40
OUTAGE_SECONDS = 3
# Rounds of a validator end when the store has been back for a while, and in any case then.
ROUND_SECONDS_MAX = 90


def file_name(index: int, rows: int) -> str:
    return f"data_20261121_{index % 240_000:06}_{rows}_{index:016x}.parquet"


def parquet(rows: int) -> bytes:
    columns = {"id": [os.urandom(8).hex() for _ in range(rows)], "text": ["t" * 20] * rows}
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


@dataclass
class Day:
    """The server, the line to its store, and who takes part."""

    url: str
    line: Line
    store: servers.Store
    people: dict[str, tuple[Keypair, str]]

    def client(self, kind: type, name: str):
        keypair, coldkey = self.people[name]
        return kind(self.url, keypair, coldkey)


VALIDATORS = {
    "may": era_clients.Validator2025May,
    "july": era_clients.Validator2025July,
    "november": era_clients.Validator2025November,
    "newest": era_clients.Validator2026,
}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    lines: list[Line] = []

    def change(text: str) -> str:
        config = text.splitlines()
        store = next(line for line in config if line.startswith('endpoint = "http'))
        lines.append(Line(urlsplit(store.split('"')[1]).port))
        return text.replace(store, f'endpoint = "http://127.0.0.1:{lines[0].port}"')

    target = servers.serve_target(tmp_path_factory.mktemp("day"), change=change)
    registry = json.loads(target.registry.read_text())
    of_dev = {entry["name"]: entry for entry in registry["identities"]}
    people: dict[str, tuple[Keypair, str]] = {}
    for name, like in [(f"miner-{index}", "miner-a") for index in range(MINERS)] + [
        (era, "validator") for era in VALIDATORS
    ]:
        hotkey, coldkey = (Keypair.create_from_mnemonic(Keypair.generate_mnemonic()) for _ in range(2))
        people[name] = (hotkey, coldkey.ss58_address)
        entry = {"name": name, "hotkey": hotkey.ss58_address, "coldkey": coldkey.ss58_address}
        registry["identities"].append(of_dev[like] | entry)
    write_registry(target, registry)
    yield Day(target.endpoint, lines[0], target.store, people)


@pytest.fixture(scope="module")
def uploaded(day: Day) -> dict[str, dict[str, bytes]]:
    """What each miner has: those of the three eras through their own clients, ten of them at a time."""
    rows, written = 150, {name: {} for name in day.people if name.startswith("miner-")}
    clients: list[Client] = []

    def upload(name: str) -> None:
        index = int(name.removeprefix("miner-"))
        for number in range(20):
            data = parquet(rows)
            file = file_name(number, rows)
            if index % 3 == 0:
                client = day.client(era_clients.Miner2025May, name)
                key = client.upload(file, data)
            elif index % 3 == 1:
                client = day.client(era_clients.Miner2025July, name)
                key = client.upload_job("job-1", file, data)
            else:
                client = day.client(era_clients.Miner2026, name)
                key = client.upload("job-1", file, data)
                # Asked once more, it is there already.
                assert client.upload("job-1", file, data) == key
            clients.append(client)
            assert key is not None, client.refusals
            written[name][key] = data
        if index % 3 == 1:
            data = parquet(rows)
            written[name][client.upload_as_handed_out(data)] = data

    with ThreadPoolExecutor(MINERS) as pool:
        list(pool.map(upload, written))
    # One miner has been there for long.
    hotkey, data = day.people["miner-2"][0].ss58_address, parquet(rows)
    keys = [
        f"data/hotkey={hotkey}/job_id=old/{file_name(index, rows)}" for index in range(FILES_OF_THE_LARGEST)
    ]
    store = day.store.client
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put_object(Bucket=day.store.bucket, Key=key, Body=data), keys))
    written["miner-2"] |= dict.fromkeys(keys, data)
    assert [client.refusals for client in clients if client.refusals] == []
    return written


def test_uploads_are_what_was_sent(day: Day, uploaded: dict[str, dict[str, bytes]]) -> None:
    assert len(uploaded["miner-2"]) == FILES_OF_THE_LARGEST + 20
    for files in uploaded.values():
        for key in sorted(files)[:3]:
            assert day.store.read(key) == files[key]
    hotkey = day.people["miner-1"][0].ss58_address
    assert f"data/hotkey={hotkey}/job_id=default/file" in uploaded["miner-1"]


class Reader:
    """What one validator does in a round, for each miner, ten of them at a time."""

    def __init__(self, day: Day, uploaded: dict[str, dict[str, bytes]], era: str) -> None:
        self._day, self._uploaded, self.era = day, uploaded, era
        self.client = day.client(VALIDATORS[era], era)
        self.rounds = 0
        self._database = duckdb.connect()
        duckdb_extensions.import_extension("httpfs", con=self._database)
        self._database.execute("LOAD httpfs")

    def round(self) -> None:
        with ThreadPoolExecutor(MINERS) as pool:
            list(pool.map(self._miner, self._uploaded))
        if isinstance(self.client, era_clients.Validator2025July):
            access = self.client.access()
            everything = {key for files in self._uploaded.values() for key in files}
            assert set(self.client.all_keys(access)) == everything, self.client.refusals
            assert len(self.client.hotkeys(access)) == 6
        self.rounds += 1

    def _miner(self, name: str) -> None:
        keypair, coldkey = self._day.people[name]
        files, hotkey = self._uploaded[name], keypair.ss58_address
        if isinstance(self.client, era_clients.Validator2025May):
            by_source = [key for key in files if key.startswith("data/x/")]
            access = self.client.access()
            assert access is not None, self.client.refusals
            if by_source:
                assert coldkey in self.client.miners(access)
            assert self.client.files(access, coldkey) == sorted(by_source), self.client.refusals
            if by_source:
                self._read(hotkey, by_source, files, signed_in_headers=False)
            return
        of_jobs = sorted(key for key in files if key.startswith("data/hotkey="))
        assert self.client.keys(hotkey) == of_jobs, self.client.refusals
        if of_jobs:
            self._read(hotkey, of_jobs, files, self.client.signed_in_headers)

    def _read(self, hotkey: str, keys: list[str], files: dict[str, bytes], signed_in_headers: bool) -> None:
        urls = self.client.presigned(hotkey, keys, signed_in_headers)
        assert set(urls) == set(keys), self.client.refusals
        footers = self._database.cursor()
        for key in keys[:: max(1, len(keys) // FOOTERS)][:FOOTERS]:
            rows = footers.execute(
                "SELECT DISTINCT row_group_num_rows FROM parquet_metadata(?)", [urls[key]]
            )
            assert rows.fetchall() == [(150,)], key
        for key in (keys[0], keys[-1]):
            assert self.client.download(urls[key]) == files[key], self.client.refusals


def test_nobody_notices_an_outage(day: Day, uploaded: dict[str, dict[str, bytes]]) -> None:
    readers = [Reader(day, uploaded, era) for era in VALIDATORS]
    is_back, deadline = threading.Event(), time.monotonic() + ROUND_SECONDS_MAX

    def read(reader: Reader) -> None:
        began = True
        while began or not (is_back.is_set() or time.monotonic() > deadline):
            began = False
            reader.round()

    def asks_for_a_form() -> dict | None:
        """A miner that asks while the store is away gets its form a little later."""
        miner = day.client(era_clients.Miner2026, "miner-5")
        return miner.by_headers("/get-file-upload-url", job_id="job-2", filename=file_name(1, 150))

    with ThreadPoolExecutor(len(readers) + 1) as pool:
        under_way = [pool.submit(read, reader) for reader in readers]
        time.sleep(2)
        day.line.take_away()
        try:
            form = pool.submit(asks_for_a_form)
            time.sleep(OUTAGE_SECONDS)
        finally:
            day.line.bring_back()
        access = form.result(30)
        time.sleep(1)
        is_back.set()
        for done in under_way:
            done.result()
    hotkey = day.people["miner-5"][0].ss58_address
    assert access is not None
    assert access["s3_key"] == f"data/hotkey={hotkey}/job_id=job-2/{file_name(1, 150)}"
    assert day.line.broken_off > 0
    assert [(reader.era, reader.client.refusals) for reader in readers if reader.client.refusals] == []
    assert all(reader.rounds for reader in readers)
