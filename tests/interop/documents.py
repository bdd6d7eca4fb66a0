"""The command blocks of the documents, and how each is to be run.

A block of ``sh`` or ``python`` is run as it is written. A comment in the line before the block says otherwise:

    <!-- not run: WHY -->      it cannot be run here, for this reason
    <!-- saved as PATH -->     the reader saves this text in that file (of any language)
    <!-- until TEXT -->        it goes on beside what follows, once it has printed this
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# What a reader pastes. Blocks of all other languages are shown, or saved.
RUN = ("sh", "python")

SHOWN = ("text", "ini", "toml", "json", "xml", "yaml", "nginx", "sql", "javascript", "go", "rust", "java")

MARK = re.compile(r"<!-- (not run|saved as|until):? (.+) -->")


@dataclass(frozen=True)
class Block:
    """One fenced block, with the number of its first line and its mark."""

    document: str
    line: int
    language: str
    text: str
    mark: str = ""
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(document: Path, name: str) -> list[Block]:
    """The blocks of a document in their order; a block that nobody knows how to treat is an error."""
    blocks: list[Block] = []
    mark, opened, text = None, None, []
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = line.strip().startswith("```")
        if opened is None and not fence:
            if line.strip():
                mark = MARK.fullmatch(line.strip())
        elif opened is None:
            opened = (number, line.strip().removeprefix("```"))
        elif fence:
            block = Block(name, *opened, "\n".join(text) + "\n", *(mark.groups() if mark else ()))
            check(block)
            blocks.append(block)
            mark, opened, text = None, None, []
        else:
            text.append(line)
    if opened is not None:
        raise ValueError(f"{name}:{opened[0]}: the block is not closed")
    return blocks


def check(block: Block) -> None:
    if block.language not in RUN + SHOWN:
        raise ValueError(f"{block}: no language, or one that nobody runs or shows: {block.language!r}")
    if block.mark in ("not run", "until") and block.language not in RUN:
        raise ValueError(f"{block}: {block.language} is not run anyway")
