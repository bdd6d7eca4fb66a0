"""The vending server's clients by era, written from its protocol: none of them tries anything again.

What fails is None, an empty list or a short one, exactly as in those clients, so whatever goes wrong shows as
missing data and never as an exception.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import requests
from bittensor_wallet import Keypair

NAMESPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}
CONTROL_SECONDS, LIST_SECONDS, PRESIGN_SECONDS, UPLOAD_SECONDS = 30, 60, 120, 30
PAGES_MAX = 200
BATCH = 500


@dataclass
class Client:
    """A hotkey that asks the server at `url`, and what it was answered that is no 200."""

    url: str
    keypair: Keypair
    coldkey: str
    refusals: list[str] = field(default_factory=list)

    @property
    def hotkey(self) -> str:
        return self.keypair.ss58_address

    def answer(self, path: str, response: requests.Response) -> dict | None:
        if response.status_code != 200:
            self.refusals.append(f"{path}: {response.status_code} {response.text[:300]}")
            return None
        return response.json()

    def by_string(self, path: str, string: str, seconds: int = CONTROL_SECONDS, **fields) -> dict | None:
        """The form of 2025: a string is signed, hex of the signature stands in the body."""
        now = int(time.time())
        signature = self.keypair.sign(string.format(timestamp=now).encode()).hex()
        body = {"hotkey": self.hotkey, "timestamp": now, "signature": signature, **fields}
        return self.answer(path, requests.post(self.url + path, json=body, timeout=seconds))

    def post_tao(self, path: str, seconds: int = CONTROL_SECONDS, **fields) -> requests.Response:
        """The form of 2026: X-Tao v2 headers over the body."""
        body = json.dumps(fields).encode()
        nonce, now = str(uuid.uuid4()), str(round(time.time() * 1000))
        signed = f"{hashlib.sha256(body).hexdigest()}.{nonce}.{now}"
        headers = {
            "X-Tao-Version": "2",
            "X-Tao-Timestamp": now,
            "X-Tao-Nonce": nonce,
            "X-Tao-Signed-By": self.hotkey,
            "X-Tao-Signature": base64.b64encode(self.keypair.sign(signed.encode())).decode("ascii"),
            "Content-Type": "application/json",
        }
        return requests.post(self.url + path, data=body, headers=headers, timeout=seconds)

    def by_headers(self, path: str, seconds: int = CONTROL_SECONDS, **fields) -> dict | None:
        return self.answer(path, self.post_tao(path, seconds, **fields))

    def page(self, url: str) -> ET.Element | None:
        response = requests.get(url, timeout=LIST_SECONDS)
        if response.status_code != 200:
            self.refusals.append(f"list: {response.status_code} {response.text[:300]}")
            return None
        return ET.fromstring(response.text)

    def presigned(self, miner: str, keys: list[str], signed_in_headers: bool) -> dict[str, str]:
        """Downloads of a miner's files, in batches."""
        urls: dict[str, str] = {}
        for start in range(0, len(keys), BATCH):
            batch = {"miner_hotkey": miner, "file_keys": keys[start : start + BATCH], "expiry_hours": 3}
            path = "/get-file-presigned-urls"
            if signed_in_headers:
                answer = self.by_headers(path, PRESIGN_SECONDS, **batch)
            else:
                string = f"s3:validator:files:{miner}:{self.hotkey}:{{timestamp}}"
                answer = self.by_string(path, string, PRESIGN_SECONDS, **batch)
            for key, value in (answer or {}).get("file_urls", {}).items():
                urls[key] = value["presigned_url"] if isinstance(value, dict) else value
        return urls

    def download(self, url: str) -> bytes | None:
        response = requests.get(url, timeout=LIST_SECONDS)
        if response.status_code != 200:
            self.refusals.append(f"download: {response.status_code} {response.text[:300]}")
            return None
        return response.content


def names(page: ET.Element | None, element: str) -> list[str]:
    """Keys of `Contents/Key`, or prefixes of `CommonPrefixes/Prefix`, decoded."""
    if page is None:
        return []
    return [urllib.parse.unquote(item.text or "") for item in page.findall(f".//s3:{element}", NAMESPACE)]


def next_token(page: ET.Element | None) -> str | None:
    truncated = None if page is None else page.find(".//s3:IsTruncated", NAMESPACE)
    if truncated is None or str(truncated.text).lower() != "true":
        return None
    token = page.find(".//s3:NextContinuationToken", NAMESPACE)
    return None if token is None else token.text


class Miner2025May(Client):
    """One folder for each source, and a form for all files in it."""

    def upload(self, name: str, data: bytes, source: str = "x") -> str | None:
        string = f"s3:access:{self.coldkey}:{source}:{{timestamp}}"
        fields = {"coldkey": self.coldkey, "source": source}
        access = self.by_string("/get-folder-access", string, **fields)
        return None if access is None else self.post(access, f"{access['folder']}{name}", data)

    def post(self, access: dict, key: str | None, data: bytes) -> str | None:
        form = dict(access["fields"]) | ({"key": key} if key else {})
        response = requests.post(access["url"], data=form, files={"file": data}, timeout=UPLOAD_SECONDS)
        if response.status_code != 204:
            self.refusals.append(f"upload: {response.status_code} {response.text[:300]}")
            return None
        return key or form["key"].replace("${filename}", "file")


class Miner2025July(Miner2025May):
    """One folder for each hotkey, and below it one for each job."""

    def access(self) -> dict | None:
        string = f"s3:data:access:{self.coldkey}:{self.hotkey}:{{timestamp}}"
        return self.by_string("/get-folder-access", string, coldkey=self.coldkey)

    def upload_job(self, job: str, name: str, data: bytes) -> str | None:
        access = self.access()
        return None if access is None else self.post(access, f"{access['folder']}job_id={job}/{name}", data)

    def upload_as_handed_out(self, data: bytes) -> str | None:
        access = self.access()
        return None if access is None else self.post(access, None, data)


class Miner2026(Client):
    """A form, or a URL, for each file."""

    def upload(self, job: str, name: str, data: bytes) -> str | None:
        response = self.post_tao("/get-file-upload-url", job_id=job, filename=name)
        if "409" in response.text and response.status_code != 200:
            return f"data/hotkey={self.hotkey}/job_id={job}/{name}"
        access = self.answer("/get-file-upload-url", response)
        if access is None:
            return None
        if access["method"] == "PUT":
            headers = {"Content-Type": "application/octet-stream"}
            sent = requests.put(access["url"], data=data, headers=headers, timeout=UPLOAD_SECONDS)
        else:
            files = {"file": (name, data, "application/octet-stream")}
            sent = requests.post(access["url"], data=access["fields"], files=files, timeout=UPLOAD_SECONDS)
        if not 200 <= sent.status_code < 300:
            self.refusals.append(f"upload: {sent.status_code} {sent.text[:300]}")
            return None
        return access["s3_key"]


class Validator2025May(Client):
    """Lists of everything and of each source; a miner's files by another prefix in the list of everything."""

    def access(self) -> dict | None:
        return self.by_string("/get-validator-access", "s3:validator:access:{timestamp}")

    def miners(self, access: dict, source: str = "x") -> list[str]:
        page = self.page(access["urls"]["sources"][source]["list_miners"])
        return [name.split("/")[2] for name in names(page, "CommonPrefixes/s3:Prefix")]

    def files(self, access: dict, miner: str, source: str = "x") -> list[str]:
        parts = list(urllib.parse.urlparse(access["urls"]["global"]["list_all_data"]))
        query = dict(urllib.parse.parse_qsl(parts[4]))
        query["prefix"] = f"data/{source}/{miner}/"
        parts[4] = urllib.parse.urlencode(query)
        return names(self.page(urllib.parse.urlunparse(parts)), "Contents/s3:Key")


class Validator2025July(Validator2025May):
    """Hotkeys by one list; the list of everything by its pages."""

    def hotkeys(self, access: dict) -> list[str]:
        page = self.page(access["urls"]["miners"]["list_all_miners"])
        start, end = "data/hotkey=", "/"
        found = names(page, "CommonPrefixes/s3:Prefix")
        return [name[len(start) : -len(end)] for name in found if name.startswith(start)]

    def all_keys(self, access: dict) -> list[str]:
        url, token, keys = access["urls"]["global"]["list_all_data"], None, []
        for _ in range(PAGES_MAX):
            page = self.page(url + (f"&continuation-token={token}" if token else ""))
            keys += names(page, "Contents/s3:Key")
            token = next_token(page)
            if token is None:
                break
        return keys


class Validator2025November(Client):
    """A miner's list by one control call for each page, signed in the body."""

    signed_in_headers = False

    def list_url(self, miner: str, token: str | None) -> str | None:
        more = {"continuation_token": token} if token else {}
        string = f"s3:validator:miner:{miner}:{{timestamp}}"
        answer = self.by_string("/get-miner-list", string, miner_hotkey=miner, **more)
        return None if answer is None else answer["list_url"]

    def keys(self, miner: str) -> list[str]:
        keys, token = [], None
        for _ in range(PAGES_MAX):
            url = self.list_url(miner, token)
            page = None if url is None else self.page(url)
            found = names(page, "Contents/s3:Key")
            keys += [key for key in found if key.startswith(f"data/hotkey={miner}/")]
            token = next_token(page)
            if token is None:
                break
        return keys


class Validator2026(Validator2025November):
    """The same, signed in headers."""

    signed_in_headers = True

    def list_url(self, miner: str, token: str | None) -> str | None:
        more = {"continuation_token": token} if token else {}
        answer = self.by_headers("/get-miner-list", miner_hotkey=miner, **more)
        return None if answer is None else answer["list_url"]
