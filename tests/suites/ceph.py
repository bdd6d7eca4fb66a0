"""Ceph's s3-tests, direct and through Subgate, both at once.

    ceph.py PATH                     the checkout at PATH, held against ceph.toml
    ceph.py PATH TEST...             these tests alone, with what they say

What the suite needs goes into a Python environment of its own, by the list of the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tomllib
import venv
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from harness import HERE, SIDES, Side, lab
from review import Outcomes, review
from servers import CACHE

LIST = HERE / "ceph.toml"
FILES = ("s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py")
# Tests that run at the same time on each side.
WORKERS = 3
TEST_SECONDS_MAX = 120
# Those that speak of accounts want all of these; the three users of S3 alone are somebody.
SECTIONS = {"s3 main": 0, "s3 alt": 1, "s3 tenant": 2, "iam": 0, "iam root": 0, "iam alt root": 1}


def python(suite: Path) -> Path:
    """The environment's Python; made anew when the suite's list is another."""
    place = CACHE / "s3-tests-venv"
    wanted = (suite / "requirements.txt").read_text() + "pytest-xdist\npytest-timeout\n"
    stamp = place / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(place, with_pip=True, clear=True)
        listed = place / "wanted.txt"
        listed.write_text(wanted)
        install = [place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", listed]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return place / "bin" / "python"


def configuration(side: Side) -> str:
    """The suite's configuration, in the form of its s3tests.conf.SAMPLE."""
    place = urlsplit(side.endpoints[0])
    text = f"[DEFAULT]\nhost = {place.hostname}\nport = {place.port}\nis_secure = False\nssl_verify = False\n"
    text += "[fixtures]\nbucket prefix = suite-{random}-\n"
    for section, number in SECTIONS.items():
        user = side.users[number]
        text += (
            f"[{section}]\ndisplay_name = {user.access}\nuser_id = {user.access}\n"
            f"email = {number}@example.invalid\napi_name = us-east-1\ntenant = \n"
            f"access_key = {user.access}\nsecret_key = {user.secret}\n"
        )
    return text


def run(interpreter: Path, suite: Path, side: Side, data: Path, tests: list[str]) -> None:
    config = data / f"s3tests-{side.name}.conf"
    config.touch(mode=0o600)
    config.write_text(configuration(side))
    left_out = tomllib.loads(LIST.read_text())["left_out"]
    command: list[str | Path] = [interpreter, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    command += [f"--timeout={TEST_SECONDS_MAX}", "-n", str(WORKERS), "-W", "ignore"]
    command += [f"--junitxml={data / f'outcomes-{side.name}.xml'}"]
    marks = [mark for entry in left_out for mark in entry.get("marks", [])]
    names = [name for entry in left_out for name in entry.get("tests", [])]
    command += ["-k", " or ".join(tests)] if tests else ["-k", " and ".join(f"not {name}" for name in names)]
    command += ["-m", " and ".join(f"not {mark}" for mark in marks)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(data),
        "S3TEST_CONF": str(config),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with (data / f"suite-{side.name}.log").open("wb") as log:
        subprocess.run([*command, *FILES], cwd=suite, env=environment, stdout=log, stderr=log, check=False)


def outcomes(report: Path) -> Outcomes:
    found: Outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            outcome = ("SKIP", "")
        elif (failure := case.find("failure")) is not None or (failure := case.find("error")) is not None:
            outcome = ("FAIL", " ".join((failure.get("message") or "").split())[:300])
        else:
            outcome = ("PASS", "")
        found[case.get("name", "")] = outcome
    return found


def main() -> int:
    if len(sys.argv) < 2 or not all((Path(sys.argv[1]) / file).exists() for file in FILES):
        print(__doc__, file=sys.stderr)
        return 2
    suite, tests = Path(sys.argv[1]).resolve(), sys.argv[2:]
    interpreter = python(suite)
    started = time.monotonic()
    with lab("ceph") as here:
        sides = [here.side(name, users_count=3, lists_buckets=False) for name in SIDES]
        threads = [
            threading.Thread(target=run, args=(interpreter, suite, side, here.data, tests)) for side in sides
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = {name: outcomes(here.data / f"outcomes-{name}.xml") for name in SIDES}
    if tests:
        for name in SIDES:
            print(f"== {name}\n{(CACHE / 'suites' / 'ceph' / f'suite-{name}.log').read_text()}")
        return 0
    print(f"s3-tests: {time.monotonic() - started:.0f} s")
    return review("s3-tests", found["direct"], found["through"], LIST)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
