"""Files and bytes that tests send and compare."""

from __future__ import annotations

import hashlib
from pathlib import Path

MIB = 1024 * 1024
# Every client sends a file of this size in parts, and it is no multiple of a part.
LARGE_BYTES = 64 * MIB + 4321


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pattern(size: int, name: str = "") -> bytes:
    """Bytes that differ by name and never repeat within an object."""
    return hashlib.shake_128(f"{name}:{size}".encode()).digest(size)
