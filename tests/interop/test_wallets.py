"""Wallets of the bittensor SDK and of bittensor-wallet open here, and those of `subgate dev` open there."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bittensor
import bittensor_wallet
import pexpect
import pytest

from checks import registry_changed
from clients import Account, Refused, run
from conftest import Accounts
from servers import CACHE, Identity, Target, credentials_command, wait_until
from signing import HotkeySigner, send

PASSWORD = "correct horse Battery 9!"
NAMES = ("miner-a", "miner-b", "miner-a2", "validator", "stranger")


def by_sdk(path: Path, password: str | None) -> str:
    wallet = bittensor.Wallet("foreign", "hot", str(path))
    wallet.create_new_hotkey(suppress=True, use_password=password is not None, hotkey_password=password)
    return wallet.hotkey.ss58_address


def by_wallet_package(path: Path, password: str | None) -> str:
    wallet = bittensor_wallet.Wallet(name="foreign", hotkey="hot", path=str(path))
    wallet.create_new_hotkey(use_password=password is not None, suppress=True, hotkey_password=password)
    return wallet.get_hotkey(password=password).ss58_address


makers = pytest.mark.parametrize("make", [by_sdk, by_wallet_package])


@contextmanager
def registered(target: Target, hotkey: str) -> Iterator[Account]:
    """A new hotkey of miner-b's coldkey, in the registry for a while."""
    coldkey = target.identities["miner-b"].coldkey
    entry = {"name": "foreign", "hotkey": hotkey, "coldkey": coldkey, "validator_permit": False, "stake": 0}
    identity = Identity("foreign", "miner", hotkey, coldkey, target.identities["miner-b"].folders)
    with registry_changed(
        target, lambda registry: registry | {"identities": [*registry["identities"], entry]}
    ):
        yield Account(target, identity)


def opens_the_folder(account: Account, session: dict) -> bool:
    account.__dict__["session"] = session
    answer = account.boto3().list_objects_v2(Bucket=account.target.bucket, Prefix=account.folder, MaxKeys=1)
    return answer["ResponseMetadata"]["HTTPStatusCode"] == 200


@makers
def test_plain_wallet(target: Target, tmp_path: Path, make: Callable) -> None:
    hotkey = make(tmp_path, None)
    with registered(target, hotkey) as account:
        command = credentials_command(target, "foreign", "hot", tmp_path)
        session = json.loads(run(command, target.environment()))
        assert session["AccessKeyId"] == hotkey
        assert opens_the_folder(account, session)


@makers
def test_encrypted_wallet_asks_for_its_password(target: Target, tmp_path: Path, make: Callable) -> None:
    hotkey = make(tmp_path, PASSWORD)
    assert (tmp_path / "foreign" / "hotkeys" / "hot").read_bytes().startswith(b"$NACL")
    with registered(target, hotkey) as account:
        status, said = on_a_terminal(target, tmp_path, PASSWORD)
        assert status == 0, said
        assert PASSWORD not in said
        session = json.loads(said[said.index("{") :])
        assert session["AccessKeyId"] == hotkey
        assert opens_the_folder(account, session)
        # credential_process has no terminal; the cached session serves it until it is about to expire.
        cached = json.loads(
            run(credentials_command(target, "foreign", "hot", tmp_path), target.environment())
        )
        assert cached["SessionToken"] == session["SessionToken"]


def test_wrong_password(target: Target, tmp_path: Path) -> None:
    with registered(target, by_sdk(tmp_path, PASSWORD)):
        status, said = on_a_terminal(target, tmp_path, "wrong " + PASSWORD)
    assert status != 0
    assert "password" in said.lower() and "SecretAccessKey" not in said and "panicked" not in said


def test_encrypted_wallet_without_a_terminal(target: Target, tmp_path: Path) -> None:
    """It says what it needs, and does not wait for ever."""
    with (
        registered(target, by_sdk(tmp_path, PASSWORD)),
        pytest.raises(Refused, match="(?i)password|encrypted"),
    ):
        run(
            ["setsid", "--wait", *credentials_command(target, "foreign", "hot", tmp_path)],
            target.environment(),
        )


def on_a_terminal(target: Target, wallets: Path, password: str) -> tuple[int, str]:
    """Runs `subgate credentials` on a pseudo-terminal and types the password when asked."""
    program, *words = credentials_command(target, "foreign", "hot", wallets)
    child = pexpect.spawn(program, words, env=target.environment(), encoding="utf-8", timeout=60)
    child.expect("(?i)password[^:]*:")
    # Typed before echo is off, a password would show: people are slower than this test.
    wait_until(lambda: not child.getecho(), 5, "echo off")
    child.sendline(password)
    # A wrong one is asked for again, three times in all.
    while child.expect(["Password of [^:]*: ", pexpect.EOF]) == 0:
        wait_until(lambda: not child.getecho(), 5, "echo off")
        child.sendline(password)
    child.close()
    return child.exitstatus if child.exitstatus is not None else -1, child.before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("package", [bittensor, bittensor_wallet], ids=lambda package: package.__name__)
def test_wallet_of_dev_opens_in_bittensors_own_tools(
    target: Target, accounts: Accounts, name: str, package
) -> None:
    wallet = package.Wallet(name=name, hotkey="default", path=str(target.wallets))
    keypair = wallet.hotkey
    identity = accounts[name].identity
    assert keypair.ss58_address == identity.hotkey
    assert keypair.verify(b"message", keypair.sign(b"message"))


OPENS_AND_SIGNS = """
import sys, bittensor_wallet
name, path = sys.argv[1:]
keypair = bittensor_wallet.Wallet(name=name, hotkey="default", path=path).hotkey
assert keypair.verify(b"message", keypair.sign(b"message"))
print(keypair.ss58_address)
"""


@pytest.mark.parametrize("name", NAMES)
def test_wallet_of_dev_opens_in_bittensor_wallet_4_0(target: Target, accounts: Accounts, name: str) -> None:
    """The one that pip picks beside bittensor 10.3."""
    python = CACHE / "venv-wallet-4.0" / "bin" / "python"
    said = run([str(python), "-c", OPENS_AND_SIGNS, name, str(target.wallets)], target.environment())
    assert said.split()[-1] == accounts[name].identity.hotkey


@pytest.mark.parametrize("package", [bittensor, bittensor_wallet], ids=lambda package: package.__name__)
def test_both_packages_sign_what_the_gate_accepts(target: Target, accounts: Accounts, package) -> None:
    wallet = package.Wallet(name="miner-a", hotkey="default", path=str(target.wallets))
    query = [("list-type", "2"), ("prefix", accounts.miner.folder)]
    answer = send(target, HotkeySigner(wallet.hotkey), "GET", f"/{target.bucket}", query)
    assert answer.status == 200, answer


@pytest.mark.targets("dev")
def test_keyfiles_are_their_owners_alone(target: Target) -> None:
    for name in NAMES:
        keyfile = target.wallets / name / "hotkeys" / "default"
        assert stat.S_IMODE(keyfile.stat().st_mode) == 0o600, keyfile


def test_cache_is_private_and_used(target: Target, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = target.environment(HOME=str(home))
    command = credentials_command(target, "miner-a")
    first, second = (json.loads(run(command, environment)) for _ in range(2))
    assert first == second
    cached = [file for file in home.rglob("*") if file.is_file()]
    assert cached and all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in cached), cached
    # Another identity never gets the cached session of the first.
    other = json.loads(run(credentials_command(target, "miner-b"), environment))
    assert other["AccessKeyId"] == target.identities["miner-b"].hotkey
