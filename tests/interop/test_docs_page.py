"""GET /docs in a real browser, and what it gives people to paste, run as it stands there."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from checks import verify_by
from clients import run
from conftest import Accounts
from servers import BIN, CACHE, SUBGATE, Target, bare_environment

pytestmark = pytest.mark.targets("dev")

CHROMIUM = BIN / "chromium"

# Everything the page knows how to show, and text that would run if it were taken for markup.
SAMPLE = {
    "openapi": "3.1.0",
    "info": {
        "title": "Sample API",
        "version": "9.8.7",
        "description": "Prose with `code` and <img src=x onerror=alert(1)>",
    },
    "tags": [{"name": "First group", "description": "What belongs together."}],
    "paths": {
        "/sample/{id}": {
            "post": {
                "tags": ["First group"],
                "summary": "The sample's summary",
                "security": [{"sampleScheme": []}],
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/Tree"},
                            "example": {"leaf": "example-value"},
                        }
                    }
                },
                "responses": {
                    "200": {"description": "It worked"},
                    "403": {"$ref": "#/components/responses/Refused"},
                },
            }
        },
        "/untagged": {"get": {"responses": {"503": {"description": "Try again"}}}},
    },
    "components": {
        "securitySchemes": {
            "sampleScheme": {"type": "http", "scheme": "sample", "description": "What is signed"}
        },
        "responses": {
            "Refused": {
                "description": "Not yours",
                "content": {"application/json": {"example": {"detail": "refused-example"}}},
            }
        },
        # It refers to itself: showing it must end.
        "schemas": {
            "Tree": {
                "type": "object",
                "required": ["leaf"],
                "properties": {
                    "leaf": {"type": "string", "description": "A leaf's meaning"},
                    "branch": {"$ref": "#/components/schemas/Tree"},
                },
            }
        },
    },
}


@dataclass(frozen=True)
class Page:
    dom: str
    # What the console says, errors of the content security policy among it.
    console: list[str]


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[str], Page]:
    """Loads a page in headless Chromium and gives what it has become."""
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM} (see tests/interop/install)")

    def load(url: str) -> Page:
        done = subprocess.run(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={tmp_path / 'chromium'}",
                "--enable-logging=stderr",
                # Waits for what the page fetches, without waiting longer than that.
                "--virtual-time-budget=10000",
                "--dump-dom",
                url,
            ],
            env=bare_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
        return Page(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])

    return load


@pytest.fixture
def described(target: Target) -> Iterator[str]:
    """Subgate's page, with its own headers, beside the sample's description."""
    page = requests.get(f"{target.endpoint}/docs", verify=verify_by(target), timeout=10)
    assert page.status_code == 200

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_page = self.path == "/docs"
            body = page.content if is_page else json.dumps(SAMPLE).encode()
            self.send_response(200)
            self.send_header("content-type", page.headers["content-type"] if is_page else "application/json")
            self.send_header("content-length", str(len(body)))
            if is_page:
                self.send_header("content-security-policy", page.headers["content-security-policy"])
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_description_is_rendered_whole(described: str, browse: Callable[[str], Page]) -> None:
    page = browse(f"{described}/docs")
    assert page.console == []
    for text in (
        "Sample API",
        "Version 9.8.7",
        "First group",
        "/sample/{id}",
        "The sample's summary",
        "Parameters in path",
        "A leaf's meaning",
        "example-value",
        "Not yours",
        "refused-example",
        "/untagged",
        "Try again",
        "sampleScheme",
        "What is signed",
    ):
        assert text in page.dom, text
    assert "&lt;img" in page.dom and "<img" not in page.dom


def test_the_servers_own_description(target: Target, browse: Callable[[str], Page]) -> None:
    """Each endpoint that the server describes is on the page; without a description the page says that."""
    description = requests.get(f"{target.endpoint}/openapi.json", verify=verify_by(target), timeout=10)
    page = browse(f"{target.endpoint}/docs")
    if description.status_code != 200:
        assert f"cannot be shown: the server answered {description.status_code}" in page.dom
        return
    assert page.console == []
    assert description.json()["info"]["title"] in page.dom
    for path in description.json()["paths"]:
        assert path in page.dom, path
    for scheme in description.json()["components"]["securitySchemes"]:
        assert f'id="security-{scheme}"' in page.dom, scheme
    # A button for each thing to copy.
    assert page.dom.count('class="copy"') == page.dom.count(' data-copy=""') > 5


class Examples(HTMLParser):
    """The blocks of code of the page, by their ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._open: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = dict(attrs).get("id")
        if tag == "pre" and name:
            self._open, self.found[name] = name, ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[self._open] += data


@pytest.fixture
def reader(target: Target, accounts: Accounts, tmp_path: Path) -> Callable[[list[str]], str]:
    """Runs a command as somebody who has the page, `subgate`, and a wallet named miner, and nothing else."""
    wallet = tmp_path / ".bittensor" / "wallets" / "miner"
    shutil.copytree(target.wallets / accounts.miner.identity.name, wallet)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "subgate").symlink_to(SUBGATE)
    environment = bare_environment(tmp_path)
    environment["PATH"] = f"{programs}:{CACHE / 'venv' / 'bin'}:{environment['PATH']}"
    environment["AWS_EC2_METADATA_DISABLED"] = "true"
    config = tmp_path / ".aws" / "config"
    config.parent.mkdir()
    config.write_text(examples_of(target)["example-profile"] + "\n")
    return lambda command: run(["env", f"--chdir={tmp_path}", *command], environment)


def examples_of(target: Target) -> dict[str, str]:
    page = requests.get(f"{target.endpoint}/docs", verify=verify_by(target), timeout=10)
    return Examples(page.text).found


SHELL = ["bash", "-euo", "pipefail", "-c"]
PYTHON = ["python", "-c"]


@pytest.mark.parametrize(
    ("name", "interpreter"),
    [("aws", SHELL), ("curl", SHELL), ("session", PYTHON), ("hotkey", PYTHON), ("vending", PYTHON)],
)
def test_the_examples_do_what_they_say(
    target: Target,
    accounts: Accounts,
    reader: Callable[[list[str]], str],
    tmp_path: Path,
    name: str,
    interpreter: list[str],
) -> None:
    """Each example of the page runs as it is pasted, with the profile of the page."""
    key = f"{accounts.miner.folder}first.bin"
    target.store.client.delete_object(Bucket=target.store.bucket, Key=key)
    said = reader([*interpreter, examples_of(target)[f"example-{name}"]])
    if name in ("aws", "curl"):
        # Uploaded, downloaded, and deleted again.
        uploaded, back = ((tmp_path / file).read_bytes() for file in ("first.bin", "back.bin"))
        assert len(uploaded) == 1024 and uploaded == back
        assert key not in target.store.keys(accounts.miner.folder)
    if name == "session":
        assert target.store.read(key) == bytes(1024)
        assert f"{key} 1024" in said.splitlines()
    if name == "hotkey":
        assert "'Prefix': 'data/'" in said
    if name == "vending":
        status, folder = said.split()
        assert status == "204"
        assert any(bytes(1024) == target.store.read(stored) for stored in target.store.keys(folder))


def test_every_example_of_the_page_is_run(target: Target) -> None:
    assert examples_of(target).keys() == {
        f"example-{name}" for name in ("profile", "aws", "curl", "session", "hotkey", "vending")
    }


def test_a_browser_at_the_root_is_led_to_the_page(target: Target) -> None:
    address, verify = f"{target.endpoint}/", verify_by(target)
    answer = requests.get(address, headers={"accept": "text/html"}, verify=verify, timeout=10)
    assert (answer.status_code, answer.url) == (200, f"{target.endpoint}/docs")
    # An S3 client without a signature is refused as before.
    assert requests.get(address, verify=verify, timeout=10).status_code == 403


def test_only_the_page_itself_is_exempt(target: Target) -> None:
    for path in ("/docs/", "/docs2", "/docs/x", "/Docs", "//docs", "/docs%2f"):
        answer = requests.get(
            f"{target.endpoint}{path}", verify=verify_by(target), timeout=10, allow_redirects=False
        )
        assert answer.status_code in (400, 403), path
    answer = requests.post(f"{target.endpoint}/docs", verify=verify_by(target), timeout=10)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
