"""The Debian package: installed, used, upgraded, removed and purged, on a copy of this machine's files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = Path(os.environ["SUBGATE_PACKAGES"])


class Copy:
    """This machine's files, with changes that nobody else sees (overlayfs, in namespaces of its own)."""

    def __init__(self, place: Path) -> None:
        for name in ("upper", "work", "root"):
            (place / name).mkdir()
        self.place = place

    def run(self, script: str, code: int = 0) -> str:
        """Runs a shell script there as root; gives what it prints."""
        place = self.place
        mounts = (
            f"mount -t overlay overlay -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {place}/root"
            f" && mount --rbind /proc {place}/root/proc && mount --rbind /dev {place}/root/dev"
            f' && exec chroot {place}/root sh -euc "$SCRIPT"'
        )
        # Nothing of the developer's shell: neither settings nor AWS credentials.
        own = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "SCRIPT": script}
        run = subprocess.run(["unshare", "--mount", "sh", "-c", mounts], env=own, capture_output=True, text=True)
        assert run.returncode == code, f"{script}\n{run.stdout}{run.stderr}"
        return run.stdout + run.stderr

    def owner_and_mode(self, path: str) -> str:
        return self.run(f"stat -c '%a %U:%G' {path}").strip()


@pytest.fixture(scope="module")
def package() -> Path:
    (found,) = PACKAGES.glob("*.deb")
    return found


@pytest.fixture
def machine(package: Path, tmp_path: Path) -> Iterator[Copy]:
    """A copy on which the package is installed."""
    copy = Copy(tmp_path)
    copy.run(f"dpkg --install {package}")
    yield copy


def test_lintian_finds_no_error(package: Path) -> None:
    run = subprocess.run(["lintian", "--fail-on", "error", package], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_it_brings_its_parts_and_starts_nothing(machine: Copy) -> None:
    assert machine.run("subgate --version").startswith("subgate ")
    assert machine.owner_and_mode("/etc/subgate") == "2750 root:subgate"
    assert machine.owner_and_mode("/etc/subgate/proxy.toml") == "640 root:subgate"
    assert machine.owner_and_mode("/etc/subgate/certs") == "2750 root:subgate"
    for path in (
        "/usr/share/man/man1/subgate.1.gz",
        "/usr/share/man/man1/subgate-store-probe.1.gz",
        "/usr/share/bash-completion/completions/subgate",
        "/usr/share/zsh/vendor-completions/_subgate",
        "/usr/share/fish/vendor_completions.d/subgate.fish",
        "/usr/share/doc/subgate/copyright",
    ):
        machine.run(f"test -s {path}")
    # Who installs it has to say where the store is first.
    assert machine.run("find /etc/systemd/system -name 'subgate*'") == ""
    machine.run("systemd-analyze verify --man=no subgate.service subgate.socket")


def test_it_serves_as_its_user_once_there_is_a_key_that_nobody_else_reads(machine: Copy) -> None:
    check = "runuser -u subgate -- subgate check --config /etc/subgate/proxy.toml"
    faults = machine.run(check, code=64)
    assert "session.keys[0].file" in faults and "1 fault" in faults, faults
    machine.run("umask 027; cd /etc/subgate/certs; openssl rand -hex 32 > session-2026-11.key")
    assert machine.owner_and_mode("/etc/subgate/certs/session-2026-11.key") == "640 root:subgate"
    machine.run("umask 027; echo '{\"identities\": []}' > /etc/subgate/registry.json")
    assert "no faults" in machine.run(check)
    assert "no faults" in machine.run("subgate check --config /etc/subgate/proxy.toml"), "root may look, too"
    for file in ("proxy.toml", "certs/session-2026-11.key"):
        machine.run(f"runuser -u nobody -- cat /etc/subgate/{file}", code=1)


def test_an_upgrade_keeps_what_the_administrator_has_decided(machine: Copy, package: Path) -> None:
    machine.run("sed -i 's/data-universe/my-bucket/' /etc/subgate/proxy.toml; chmod 600 /etc/subgate/proxy.toml")
    machine.run(f"dpkg --install {package}")
    machine.run("grep -q my-bucket /etc/subgate/proxy.toml")
    assert machine.owner_and_mode("/etc/subgate/proxy.toml") == "600 root:subgate"


def test_removing_keeps_the_configuration_and_purging_takes_all_but_keys(machine: Copy) -> None:
    machine.run("mkdir /var/lib/subgate; touch /var/lib/subgate/chain.json /etc/subgate/certs/a.key")
    machine.run("dpkg --remove subgate")
    machine.run("test ! -e /usr/bin/subgate && test -e /etc/subgate/proxy.toml && test -e /var/lib/subgate")
    machine.run("dpkg --purge subgate")
    machine.run("test ! -e /etc/subgate/proxy.toml && test ! -e /var/lib/subgate && test ! -e /var/log/subgate")
    machine.run("test -e /etc/subgate/certs/a.key")
    machine.run("dpkg-query --show subgate", code=1)
