"""Every case of `cases.py`, direct and through: status, every header and the body, but for what is reviewed.

`bytes.toml` lists the differences: those that may be in any answer, and those of single cases. Both lists are
exact: an unlisted difference fails, and so does a listed one that is not there. Only what a case lists under
`may` can be there or not.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import tomllib
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest

from cases import CASES, SHARED, Case, Request
from harness import HERE, SIDES, Lab, lab
from raw import Answer, Caller, send

REVIEWED = tomllib.loads((HERE / "bytes.toml").read_text())
ANYWHERE, DIFFERENCES = REVIEWED["anywhere"], REVIEWED["difference"]
# Differences in any answer that were met, for the last test.
met: set[str] = set()


class Sides:
    """The callers of the two sides, and the names that differ between them."""

    def __init__(self, here: Lab) -> None:
        self._user = here.users("through", 1)[0]
        store, target, user = here.target.store, here.target, self._user
        self.direct = Caller(store.endpoint, store.bucket, store.access_key, store.secret_key, None)
        self.through = Caller(
            target.endpoint, target.bucket, user.server_access, user.server_secret, user.server_token
        )
        self.shared = f"{user.folder}shared/"
        self.etag = ""
        names = self.names("direct", 0)
        for request in SHARED:
            self.send(request, names, by=self.direct)
        self.etag = dict(self.send(Request("HEAD", "/{shared}plain"), names, by=self.direct).headers)["ETag"]

    def names(self, side: str, number: int) -> dict[str, str]:
        """The names of one case on one side; of the same length on both."""
        return {
            "shared": self.shared,
            "shared_escaped": quote(self.shared, safe=""),
            "own": f"{self._user.folder}{side[0]}{number:03}/",
            "etag": self.etag,
        }

    def run(self, side: str, case: Case, number: int) -> Answer:
        names = self.names(side, number)
        for request in case.before:
            # What must be there before is made directly.
            self.send(request, names, by=self.direct)
        answer = self.send(case.request, names, by=getattr(self, side))
        return self.neutral(answer, side, names)

    @staticmethod
    def send(request: Request, names: dict[str, str], by: Caller) -> Answer:
        """Sends a request with its names; an answer's upload and parts are names of the next."""
        names["bucket"] = by.bucket

        def named(text: str) -> str:
            return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), text)

        body = request.body
        if body.startswith((b"<", b"{")):
            body = named(body.decode()).encode()
        names["md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        answer = send(
            by,
            request.method,
            named(request.path),
            named(request.query),
            [(name, named(value)) for name, value in request.headers],
            body,
            request.payload,
            request.signing,
            request.chunks,
        )
        if found := re.search(rb"<UploadId>([^<]+)</UploadId>", answer.body):
            names["upload"] = found[1].decode()
            names["parts"] = ""
        if number := re.search(r"partNumber=(\d+)", request.query):
            etag = next((value for name, value in answer.headers if name.lower() == "etag"), "")
            part = f"<Part><PartNumber>{number[1]}</PartNumber><ETag>{etag}</ETag></Part>"
            names["parts"] = names.get("parts", "") + part
            names["complete"] = f"<CompleteMultipartUpload>{names['parts']}</CompleteMultipartUpload>"
        return answer

    def neutral(self, answer: Answer, side: str, names: dict[str, str]) -> Answer:
        """The answer without what must differ: the names of the side, and when it wrote."""
        caller = getattr(self, side)
        words = {
            names["own"]: "OWN/",
            quote(names["own"], safe=""): "OWN/",
            caller.endpoint.removeprefix("http://"): "HOST",
            names.get("upload", "no upload"): "UPLOAD",
        }

        def neutral(text: str) -> str:
            for word, instead in words.items():
                text = text.replace(word, instead)
            return text

        body = answer.body
        if body.lstrip().startswith(b"<"):
            text = neutral(body.decode())
            # The store's bucket has another name than the clients'.
            text = re.sub(rf"(<(?:Name|Bucket|BucketName)>){caller.bucket}<", r"\1BUCKET<", text)
            text = re.sub(rf"(>(?:http://HOST)?/){caller.bucket}([/<])", r"\1BUCKET\2", text)
            if names["own"] in str(answer.body) or "<CopyObjectResult" in text or "<CopyPartResult" in text:
                text = re.sub(r"<(LastModified|Initiated)>[^<]+<", r"<\1>TIME<", text)
            text = re.sub(r"<UploadId>[^<]+<", "<UploadId>UPLOAD<", text)
            body = text.encode()
        headers = [(name.lower(), neutral(value)) for name, value in answer.headers]
        headers = [(name, "TIME" if name == "date" else value) for name, value in headers]
        return Answer(answer.status, headers, body)


def kind(answer: Answer) -> str:
    """What an answer is: "refused", "list" or "done"."""
    if answer.status >= 400:
        return "refused"
    is_list = re.search(rb"<(ListBucket|ListMultipartUploads|ListParts)Result", answer.body)
    return "list" if is_list else "done"


def differences(direct: Answer, through: Answer) -> set[str]:
    """What differs, in words that the list can hold."""
    codes = [" ".join(elements(answer.body).get("Code", ["-"])) for answer in (direct, through)]
    is_refused = [answer.status >= 400 for answer in (direct, through)]
    found = set()
    if direct.status != through.status:
        found.add(f"status: {direct.status}, {through.status}")
    if codes[0] != codes[1]:
        found.add(f"code: {codes[0]}, {codes[1]}")
    if is_refused[0] != is_refused[1]:
        # An answer and a refusal have nothing else to compare.
        return found
    for name in {name for name, _ in [*direct.headers, *through.headers]}:
        before = [value for other, value in direct.headers if other == name]
        after = [value for other, value in through.headers if other == name]
        if before and not after:
            found.add(f"header {name}: not through")
        elif after and not before:
            found.add(f"header {name}: not direct")
        elif before != after:
            # The length of another body is no difference of its own.
            is_of_the_body = name == "content-length" and direct.body and through.body
            if not (is_of_the_body or (name == "last-modified" and are_written_together(before, after))):
                found.add(f"header {name}: other")
    if direct.body != through.body:
        found |= body_differences(direct.body, through.body)
    return found


def are_written_together(before: list[str], after: list[str]) -> bool:
    """Whether each is one time, and they are close: each side writes its objects itself, one after the other."""
    if len(before) != 1 or len(after) != 1:
        return False
    try:
        times = [datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT") for value in (before[0], after[0])]
    except ValueError:
        return False
    return abs(times[0] - times[1]) <= timedelta(seconds=10)


def body_differences(direct: bytes, through: bytes) -> set[str]:
    if not (direct.startswith(b"<") and through.startswith(b"<")):
        return {"body: other"}
    before, after = elements(direct), elements(through)
    found = set()
    for name in (before.keys() | after.keys()) - {"Code"}:
        if name not in after:
            found.add(f"element {name}: not through")
        elif name not in before:
            found.add(f"element {name}: not direct")
        elif before[name] != after[name]:
            found.add(f"element {name}: other")
    return found or {"body: the same elements in another form"}


def elements(body: bytes) -> dict[str, list[str]]:
    """The texts of each element that holds no other; none of what is no XML."""
    found: dict[str, list[str]] = {}
    if body.startswith(b"<"):
        for name, _, text in re.findall(r"<([\w-]+)((?: [^<>]*)?)>([^<]*)</\1>", body.decode()):
            found.setdefault(name, []).append(html.unescape(text))
        for name in re.findall(r"<([\w-]+)/>", body.decode()):
            found.setdefault(name, []).append("")
    return found


def listed(entries: list[dict], which: str) -> set[str]:
    return {text for entry in entries for text in entry.get(which, [])}


@pytest.fixture(scope="session")
def sides() -> Iterator[Sides]:
    with lab("bytes") as here:
        yield Sides(here)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_case(sides: Sides, number: int) -> None:
    case = CASES[number]
    direct, through = (sides.run(side, case, number) for side in SIDES)
    found = differences(direct, through)
    anywhere = listed([entry for entry in ANYWHERE if kind(direct) in entry["answers"]], "differences")
    met.update(anywhere & found)
    here = [entry for entry in DIFFERENCES if case.name in entry["cases"]]
    must = listed(here, "differences")
    assert must <= found and found - must <= anywhere | listed(here, "may"), (
        f"unlisted: {sorted(found - must - anywhere - listed(here, 'may'))}\n"
        f"not met: {sorted(must - found)}\n"
        f"direct: {direct.status} {direct.headers} {direct.body[:600]!r}\n"
        f"through: {through.status} {through.headers} {through.body[:600]!r}"
    )


def test_the_list_names_cases_that_are_there() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert listed(DIFFERENCES, "cases") <= set(names)


def test_every_difference_listed_for_all_was_met(request: pytest.FixtureRequest) -> None:
    """Runs last; of no meaning where only some of the cases ran."""
    if any(option in request.config.invocation_params.args for option in ("-k", "--lf", "-x")):
        pytest.skip("only some cases ran")
    assert listed(ANYWHERE, "differences") == met
