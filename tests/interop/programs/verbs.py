"""What the Python programs of this directory share: a program is one client, called with one verb.

    python NAME.py SETUP VERB WORD...

SETUP is a file with the text that `subgate setup` prints for the client; it is run as it stands, and the
program takes from it the names that the text defines. The bucket is in `S3_BUCKET`. What a verb gives is
printed, and so is what the client says when it fails, with exit code 1.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

BUCKET = os.environ["S3_BUCKET"]


def main(kind: type) -> None:
    setup, verb, *words = sys.argv[1:]
    names: dict[str, object] = {}
    try:
        # What an example in the text prints is no answer of the verb.
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(Path(setup).read_text(), setup, "exec"), names)
        answer = getattr(kind(names), verb)(*words)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    if isinstance(answer, bytes):
        sys.stdout.buffer.write(answer)
    elif answer is not None:
        sys.stdout.write("".join(f"{line}\n" for line in answer))
