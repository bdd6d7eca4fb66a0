"""versitygw's suite (`versitygw test`), direct and through Subgate, both at once.

versitygw.py                     all that can be asked of one bucket, held against versitygw.toml
versitygw.py TEST...             these tests alone, with what they say
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
import tomllib

from harness import HERE, SIDES, Side, begin_anew, lab
from review import Outcomes, review
from servers import BIN, CACHE

LIST = HERE / "versitygw.toml"
# Tests that run at the same time on each side.
WORKERS = 3
TEST_SECONDS_MAX = 90


def environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}


def tests() -> list[str]:
    """The suite's single tests, without the groups that the list leaves out."""
    help_text = subprocess.run(
        [BIN / "versitygw", "test", "--help"], env=environment(), stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    left_out = [re.compile(entry["tests"]) for entry in tomllib.loads(LIST.read_text())["left_out"]]
    names = re.findall(r"^ +(\w+) +Runs \1 integration test$", help_text, re.MULTILINE)
    return sorted(name for name in names if not any(pattern.match(name) for pattern in left_out))


def run(test: str, side: Side, endpoint: str) -> tuple[str, str]:
    """One test in a process of its own: some end the suite when a server answers otherwise than expected."""
    begin_anew(endpoint)
    user = side.users[0]
    command = [BIN / "versitygw", "test", "-a", user.access, "-s", user.secret, "-e", endpoint, test]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=BIN,
            timeout=TEST_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "FAIL", f"no end within {TEST_SECONDS_MAX} s"
    said = re.sub(r"\x1b\[\d+m", "", done.stdout.decode(errors="replace"))
    if done.returncode == 0:
        return ("SKIP" if "SKIP " in said else "PASS"), ""
    if panic := re.search(r"^panic: .*", said, re.MULTILINE):
        return "FAIL", panic[0]
    said = re.sub(r"^(RUN .*|\d{4}/\d\d/\d\d \d\d:\d\d:\d\d.*)\n?", "", said, flags=re.MULTILINE)
    return "FAIL", " ".join(said.replace(f"FAIL {test}: ", "").split())


def run_all(names: list[str]) -> dict[str, Outcomes]:
    outcomes: dict[str, Outcomes] = {name: {} for name in SIDES}
    with lab("versitygw") as here:
        threads = []
        for name in SIDES:
            side = here.side(name, endpoints_count=WORKERS)
            waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
            for test in names:
                waiting.put(test)

            def work(endpoint: str, side: Side = side, waiting: queue.SimpleQueue[str] = waiting) -> None:
                while not waiting.empty():
                    try:
                        test = waiting.get_nowait()
                    except queue.Empty:
                        return
                    outcomes[side.name][test] = run(test, side, endpoint)

            threads += [threading.Thread(target=work, args=(endpoint,)) for endpoint in side.endpoints]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return outcomes


def main() -> int:
    started = time.monotonic()
    outcomes = run_all(sys.argv[1:] or tests())
    for name, found in outcomes.items():
        text = "".join(f"{result} {test}: {said}\n" for test, (result, said) in sorted(found.items()))
        (CACHE / "suites" / "versitygw" / f"outcomes-{name}.txt").write_text(text)
        if sys.argv[1:]:
            print(f"== {name}\n{text}", end="")
    if sys.argv[1:]:
        return 0
    print(f"versitygw: {time.monotonic() - started:.0f} s")
    return review("versitygw", outcomes["direct"], outcomes["through"], LIST)


if __name__ == "__main__":
    sys.exit(main())
