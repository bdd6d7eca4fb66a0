"""Mounts: clients whose verbs are those of a file system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.base import Account
from clients.rclone import printed_config
from servers import BIN, wait_until

SECONDS_MAX = 20


def missing() -> str:
    """Why nothing can be mounted here, or nothing."""
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    return ""


class Mount:
    """A mounted folder, and the log in which a program says what it was refused."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self._log = log

    def log(self) -> str:
        return self._log.read_text(errors="replace")


@contextmanager
def mounted(account: Account, scratch: Path, command: list[str | Path]) -> Iterator[Mount]:
    """Runs a program that mounts `scratch/mount` for as long as it runs."""
    folder, log = scratch / "mount", scratch / "mount.log"
    folder.mkdir(parents=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=account.home_environment(),
        )
        try:
            wait_until(lambda: process.poll() is not None or folder.is_mount(), SECONDS_MAX, "a mount")
            if not folder.is_mount():
                raise RuntimeError(f"not mounted: {log.read_text(errors='replace')[-3000:]}")
            yield Mount(folder, log)
        finally:
            subprocess.run(["/usr/bin/fusermount3", "-u", str(folder)], check=False)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                # It was too busy to be unmounted.
                process.kill()
                process.wait()
                subprocess.run(["/usr/bin/fusermount3", "-u", "-z", str(folder)], check=False)


@contextmanager
def rclone_mount(account: Account, scratch: Path, folder: str) -> Iterator[Mount]:
    """What is closed is uploaded at once, and no list is kept."""
    config = printed_config(account, scratch)
    command = [BIN / "rclone", "--config", config, "--retries", "1", "--low-level-retries", "1"]
    command += ["mount", f"subgate:{account.target.bucket}/{folder}", scratch / "mount"]
    command += ["--vfs-cache-mode", "writes", "--vfs-write-back", "0s", "--dir-cache-time", "0s"]
    command += ["--cache-dir", scratch / "cache", "--attr-timeout", "0s"]
    with mounted(account, scratch, command) as mount:
        yield mount


@contextmanager
def s3fs_mount(account: Account, scratch: Path) -> Iterator[Mount]:
    """s3fs-fuse, by the printed function, below the folder that is printed with it."""
    script = account.setup("s3fs-fuse") + 'subgate_mount "$@"\n'
    command = ["/bin/bash", "-euc", script, "s3fs-fuse", scratch / "mount", "-f", "-o", "dbglevel=info"]
    with mounted(account, scratch, command) as mount:
        yield mount
