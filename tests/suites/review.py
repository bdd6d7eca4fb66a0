"""Holds the differences between two runs of a suite against the reviewed list of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

# Of each test: PASS, FAIL or SKIP, and what it said.
Outcomes = dict[str, tuple[str, str]]


def review(suite: str, direct: Outcomes, through: Outcomes, list_file: Path) -> int:
    """Prints every difference that is not listed, and every listed one that did not occur; 0 if none."""
    listed: dict[str, dict] = {}
    for entry in tomllib.loads(list_file.read_text())["difference"]:
        for test in entry["tests"]:
            if test in listed:
                print(f"{list_file.name}: {test} is listed twice")
                return 1
            listed[test] = entry
    missing = ("absent", "")
    faults = 0
    different = 0
    for test in sorted(direct.keys() | through.keys()):
        (before, said_before), (after, said_after) = direct.get(test, missing), through.get(test, missing)
        entry = listed.pop(test, None)
        if before == after:
            if entry is not None and not entry.get("unsteady", False):
                faults += 1
                print(f"LISTED, BUT THE SAME ({before}): {test}: take it off {list_file.name}")
            continue
        different += 1
        if entry is None or entry["direct"] != before or entry["through"] != after:
            faults += 1
            print(f"NOT LISTED: {test}: direct {before} {said_before}; through {after} {said_after}")
    for test in listed:
        faults += 1
        print(f"LISTED, BUT NOT RUN: {test}")
    passes = sum(1 for outcome, _ in direct.values() if outcome == "PASS")
    print(
        f"{suite}: {len(direct)} tests, {passes} pass direct; {different} differ through Subgate, "
        f"{faults} faults in the list of them"
    )
    if not direct or not passes:
        print(f"{suite}: no test passed direct, so nothing was shown")
        return 1
    return 1 if faults else 0
