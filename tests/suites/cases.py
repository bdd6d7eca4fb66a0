"""The requests that are compared byte for byte, direct and through.

`{shared}` is a folder whose objects both sides read; `{own}` is each side's own, where it writes. What a case
needs before it is in `before`: each step is a request that goes to the store directly.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass, field
from urllib.parse import quote

from wire import Headers

SIZE = 5000
PLAIN = bytes(range(250)) * 20
PART = b"p" * (5 << 20)
ODD_KEYS = {
    "space": "a b",
    "plus": "a+b",
    "percent": "100%",
    "escaped-slash": "a%2Fb",
    "umlauts": "übergroß/öl",
    "decomposed": "u\u0308",
    "emoji": "\U0001f980",
    "question": "q?x=1",
    "ampersand": "a&b=c",
    "quotes": 'it\'s "so"',
    "brackets": "(x)[y]{z}<&>",
    "marks": "!*~$@:;,=^`|",
    "hash": "a#b",
    "dots": "a..b/...",
    "dot-segment": "a/../b",
    "empty-segment": "a//b",
    "folder": "folder/",
    "backslash": "a\\b",
    "control": "a\tb",
    "long-segment": "s" * 255,
    "too-long-segment": "s" * 256,
    "long": "/".join(["k" * 90] * 12),
}


def digest(body: bytes, algorithm: str) -> str:
    return base64.b64encode(hashlib.new(algorithm, body).digest()).decode()


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@dataclass(frozen=True)
class Request:
    method: str
    # Below the bucket, escaped as it goes on the wire.
    path: str
    query: str = ""
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    payload: str | None = None
    signing: str = "header"
    chunks: list[bytes] | None = None


@dataclass(frozen=True)
class Case:
    name: str
    request: Request
    before: tuple[Request, ...] = ()


CASES: list[Case] = []


def case(
    name: str, method: str, path: str, query: str = "", before: tuple[Request, ...] = (), **more
) -> None:
    headers = list(more.pop("headers", {}).items())
    CASES.append(Case(name, Request(method, path, query, headers, **more), before))


def put(path: str, body: bytes = PLAIN, **headers: str) -> Request:
    return Request(
        "PUT", path, headers=[(name.replace("_", "-"), value) for name, value in headers.items()], body=body
    )


# What both sides read: made once, directly.
SHARED = (
    put(
        "/{shared}plain",
        content_type="application/x-table",
        cache_control="max-age=60",
        content_disposition='attachment; filename="t"',
        content_language="de",
        expires="Thu, 01 Jan 2032 00:00:00 GMT",
        x_amz_meta_Mixed_Case="Value  with  spaces",
    ),
    put("/{shared}empty", b""),
    put("/{shared}checked", x_amz_checksum_sha256=digest(PLAIN, "sha256")),
    *(
        put(f"/{{shared}}list/{quote(name)}", b"x" * 10)
        for name in ("a", "b/1", "b/2", "c d", "e+f", "g&h", "z")
    ),
    *(put(f"/{{shared}}odd/{quote(ODD_KEYS[name])}") for name in ("umlauts", "emoji", "hash", "question")),
    Request("POST", "/{shared}parts", "uploads", [("content-type", "application/x-parts")]),
    Request("PUT", "/{shared}parts", "partNumber=1&uploadId={upload}", body=PART),
    Request("PUT", "/{shared}parts", "partNumber=2&uploadId={upload}", body=PLAIN),
    Request("POST", "/{shared}parts", "uploadId={upload}", body=b"{complete}"),
)

# Reading ----------------------------------------------------------------------------------------------------

for method in ("GET", "HEAD"):
    case(f"{method} plain", method, "/{shared}plain")
    case(f"{method} empty", method, "/{shared}empty")
    case(f"{method} checked", method, "/{shared}checked")
    case(f"{method} parts", method, "/{shared}parts")
    case(f"{method} missing", method, "/{shared}nothing")
    case(f"{method} with checksums", method, "/{shared}checked", headers={"x-amz-checksum-mode": "ENABLED"})
    case(f"{method} version null", method, "/{shared}plain", "versionId=null")
    case(f"{method} version unknown", method, "/{shared}plain", "versionId=nothing")
    for number in ("1", "2", "3", "0", "10001", "x", ""):
        case(f"{method} part {number!r}", method, "/{shared}parts", f"partNumber={number}")
    case(f"{method} part 1 of a plain object", method, "/{shared}plain", "partNumber=1")
    for wanted in (
        "bytes=0-0",
        "bytes=10-19",
        "bytes=4990-",
        "bytes=-10",
        "bytes=-0",
        "bytes=-6000",
        "bytes=0-99999",
        "bytes=5000-",
        "bytes=6000-7000",
        "bytes=10-5",
        "bytes=0-1,5-6",
        "bytes=a-b",
        "bytes=",
        "items=0-1",
    ):
        case(f"{method} range {wanted}", method, "/{shared}plain", headers={"range": wanted})
    case(f"{method} range of empty", method, "/{shared}empty", headers={"range": "bytes=0-0"})
    past, future = "Mon, 01 Jan 2024 00:00:00 GMT", "Thu, 01 Jan 2032 00:00:00 GMT"
    for name, conditions in {
        "if-match right": {"if-match": "{etag}"},
        "if-match wrong": {"if-match": '"0123"'},
        "if-match any": {"if-match": "*"},
        "if-match one of two": {"if-match": '"0123", {etag}'},
        "if-none-match right": {"if-none-match": "{etag}"},
        "if-none-match weak": {"if-none-match": "W/{etag}"},
        "if-none-match wrong": {"if-none-match": '"0123"'},
        "if-none-match any": {"if-none-match": "*"},
        "if-modified-since past": {"if-modified-since": past},
        "if-modified-since future": {"if-modified-since": future},
        "if-modified-since malformed": {"if-modified-since": "yesterday"},
        "if-unmodified-since past": {"if-unmodified-since": past},
        "if-unmodified-since future": {"if-unmodified-since": future},
        "if-match right, if-unmodified-since past": {"if-match": "{etag}", "if-unmodified-since": past},
        "if-none-match right, if-modified-since past": {"if-none-match": "{etag}", "if-modified-since": past},
        "if-match wrong, range": {"if-match": '"0123"', "range": "bytes=0-1"},
        "if-range wrong": {"if-range": '"0123"', "range": "bytes=0-1"},
    }.items():
        case(f"{method} {name}", method, "/{shared}plain", headers=conditions)

for name, value in {
    "content-type": "text%2Fplain",
    "content-disposition": "attachment%3B%20filename%3D%22x%20y%22",
    "cache-control": "no-cache",
    "content-encoding": "gzip",
    "content-language": "en",
    "expires": "Thu%2C%2001%20Jan%202032%2000%3A00%3A00%20GMT",
}.items():
    case(f"GET response-{name}", "GET", "/{shared}plain", f"response-{name}={value}")
case("GET response-content-type with a line end", "GET", "/{shared}plain", "response-content-type=a%0D%0Ab")
case("GET presigned", "GET", "/{shared}plain", signing="query")
case("GET presigned, expired", "GET", "/{shared}plain", signing="expired")
case("GET unsigned", "GET", "/{shared}plain", signing="none")
case("GET with a damaged signature", "GET", "/{shared}plain", signing="damaged")
case("GET with x-id", "GET", "/{shared}plain", "x-id=GetObject")
for wanted in ("ETag", "ETag,ObjectSize,StorageClass,Checksum,ObjectParts", "Nothing", ""):
    case(
        f"attributes {wanted!r}",
        "GET",
        "/{shared}checked",
        "attributes",
        headers={"x-amz-object-attributes": wanted},
    )
case("attributes unnamed", "GET", "/{shared}checked", "attributes")
case(
    "attributes of missing",
    "GET",
    "/{shared}nothing",
    "attributes",
    headers={"x-amz-object-attributes": "ETag"},
)

# Lists ------------------------------------------------------------------------------------------------------

LIST = "prefix={shared}list/"
for name, query in {
    "all": "",
    "by folder": "delimiter=/",
    "by folder, escaped": "delimiter=%2F",
    "by another delimiter": "delimiter=%20",
    "by a long delimiter": "delimiter=b/",
    "empty delimiter": "delimiter=",
    "first": "max-keys=1",
    "first two by folder": "max-keys=2&delimiter=/",
    "none": "max-keys=0",
    "a thousand": "max-keys=1000",
    "too many": "max-keys=1001",
    "a negative number": "max-keys=-1",
    "no number": "max-keys=x",
    "an empty number": "max-keys=",
    "a huge number": "max-keys=99999999999999999999",
    "escaped": "encoding-type=url",
    "escaped by folder": "encoding-type=url&delimiter=/",
    "escaped otherwise": "encoding-type=base64",
}.items():
    more = f"&{query}" if query else ""
    case(f"list v1 {name}", "GET", "", LIST + more)
    case(f"list v2 {name}", "GET", "", f"list-type=2&{LIST}{more}")
case("list v1 from a marker", "GET", "", LIST + "&marker={shared}list/b/1")
case("list v1 from a marker outside", "GET", "", LIST + "&marker=a")
case("list v1 from an empty marker", "GET", "", LIST + "&marker=")
case("list v2 from a key", "GET", "", f"list-type=2&{LIST}&start-after={{shared}}list/b/1")
case("list v2 from an absent key", "GET", "", f"list-type=2&{LIST}&start-after={{shared}}list/bb")
case("list v2 with owners", "GET", "", f"list-type=2&{LIST}&fetch-owner=true")
case("list v2 from an unreadable token", "GET", "", f"list-type=2&{LIST}&continuation-token=x")
case("list v2 from an empty token", "GET", "", f"list-type=2&{LIST}&continuation-token=")
case("list v3", "GET", "", f"list-type=3&{LIST}")
case("list of odd keys", "GET", "", "list-type=2&prefix={shared}odd/")
case("list of odd keys, escaped", "GET", "", "list-type=2&prefix={shared}odd/&encoding-type=url")
case("list of nothing", "GET", "", "list-type=2&prefix={shared}nowhere/")
case("list with an escaped prefix", "GET", "", "list-type=2&prefix={shared_escaped}list%2Fc%20d")
case("list with a slash behind the bucket", "GET", "/", f"list-type=2&{LIST}")
case("list with an unknown parameter", "GET", "", f"list-type=2&{LIST}&colour=red")
case("HEAD of the bucket", "HEAD", "")
case("location of the bucket", "GET", "", "location")
for setting in ("acl", "policy", "versioning", "tagging", "lifecycle", "cors", "versions", "object-lock"):
    case(f"bucket's {setting}", "GET", "", setting)

# Writing ----------------------------------------------------------------------------------------------------

case("PUT", "PUT", "/{own}put", body=PLAIN)
case("PUT empty", "PUT", "/{own}put-empty")
case(
    "PUT with metadata",
    "PUT",
    "/{own}put-meta",
    body=PLAIN,
    headers={
        "content-type": "text/csv",
        "x-amz-meta-a": "1",
        "x-amz-meta-b": "",
        "cache-control": "no-store",
        "content-encoding": "gzip",
        "expires": "Thu, 01 Jan 2032 00:00:00 GMT",
    },
)
case("PUT with too much metadata", "PUT", "/{own}put-much", body=PLAIN, headers={"x-amz-meta-a": "m" * 2100})
case("PUT unsigned payload", "PUT", "/{own}put-unsigned", body=PLAIN, payload="UNSIGNED-PAYLOAD")
case("PUT presigned", "PUT", "/{own}put-presigned", body=PLAIN, signing="query")
case("PUT of another sha256", "PUT", "/{own}put-sha", body=PLAIN, payload="0" * 64)
case("PUT of a malformed sha256", "PUT", "/{own}put-sha", body=PLAIN, payload="nothing")
case("PUT in chunks", "PUT", "/{own}put-chunks", chunks=[b"c" * 65536, b"d" * 100])
case("PUT content-md5", "PUT", "/{own}put-md5", body=PLAIN, headers={"content-md5": digest(PLAIN, "md5")})
case(
    "PUT of another content-md5",
    "PUT",
    "/{own}put-md5",
    body=PLAIN,
    headers={"content-md5": digest(b"", "md5")},
)
case("PUT of a malformed content-md5", "PUT", "/{own}put-md5", body=PLAIN, headers={"content-md5": "x"})
for name, value in {"right": crc32(PLAIN), "wrong": crc32(b"x"), "malformed": "x", "empty": ""}.items():
    case(f"PUT crc32 {name}", "PUT", "/{own}put-crc", body=PLAIN, headers={"x-amz-checksum-crc32": value})
case(
    "PUT two checksums",
    "PUT",
    "/{own}put-two",
    body=PLAIN,
    headers={"x-amz-checksum-crc32": crc32(PLAIN), "x-amz-checksum-sha1": digest(PLAIN, "sha1")},
)
case(
    "PUT named checksum absent",
    "PUT",
    "/{own}put-named",
    body=PLAIN,
    headers={"x-amz-sdk-checksum-algorithm": "CRC32"},
)
case("PUT if nothing is there", "PUT", "/{own}put-new", body=PLAIN, headers={"if-none-match": "*"})
case(
    "PUT if nothing were there",
    "PUT",
    "/{own}put-old",
    body=PLAIN,
    headers={"if-none-match": "*"},
    before=(put("/{own}put-old"),),
)
case(
    "PUT if-match right",
    "PUT",
    "/{own}put-same",
    body=PLAIN,
    headers={"if-match": "{etag}"},
    before=(put("/{own}put-same"),),
)
case(
    "PUT if-match wrong",
    "PUT",
    "/{own}put-other",
    body=PLAIN,
    headers={"if-match": '"0123"'},
    before=(put("/{own}put-other"),),
)
case("PUT if-match of nothing", "PUT", "/{own}put-none", body=PLAIN, headers={"if-match": '"0123"'})
case(
    "PUT storage class STANDARD",
    "PUT",
    "/{own}put-class",
    body=PLAIN,
    headers={"x-amz-storage-class": "STANDARD"},
)
case(
    "PUT storage class unknown", "PUT", "/{own}put-class", body=PLAIN, headers={"x-amz-storage-class": "NONE"}
)
case("PUT acl private", "PUT", "/{own}put-acl", body=PLAIN, headers={"x-amz-acl": "private"})
case("PUT tags", "PUT", "/{own}put-tags", body=PLAIN, headers={"x-amz-tagging": "a=1"})
case(
    "PUT website redirect",
    "PUT",
    "/{own}put-redirect",
    body=PLAIN,
    headers={"x-amz-website-redirect-location": "/x"},
)
case(
    "PUT encrypted by the store",
    "PUT",
    "/{own}put-sse",
    body=PLAIN,
    headers={"x-amz-server-side-encryption": "AES256"},
)
case(
    "PUT larger than S3 takes",
    "PUT",
    "/{own}put-huge",
    headers={"content-length": str(5 * 1024**4 + 1)},
    payload="UNSIGNED-PAYLOAD",
)
for name, key in ODD_KEYS.items():
    path = "/{own}" + quote(key, safe="/~")
    case(f"PUT key {name}", "PUT", path, body=PLAIN if name != "folder" else b"")
    case(f"GET key {name}", "GET", path, before=(put(path),))
    if name in ("umlauts", "quotes", "ampersand", "space"):
        case(f"GET missing key {name}", "GET", path)

# Copies -----------------------------------------------------------------------------------------------------

SOURCE = "/{bucket}/{shared}plain"
for name, headers in {
    "": {},
    " without a slash": {"x-amz-copy-source": "{bucket}/{shared}plain"},
    " with other metadata": {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-new": "1"},
    " with a wrong directive": {"x-amz-metadata-directive": "MIX"},
    " of nothing": {"x-amz-copy-source": "/{bucket}/{shared}nothing"},
    " from an unknown bucket": {"x-amz-copy-source": "/no-such-bucket/x"},
    " from a malformed source": {"x-amz-copy-source": "nothing"},
    " if-match right": {"x-amz-copy-source-if-match": "{etag}"},
    " if-match wrong": {"x-amz-copy-source-if-match": '"0123"'},
    " if-none-match right": {"x-amz-copy-source-if-none-match": "{etag}"},
    " if-none-match wrong": {"x-amz-copy-source-if-none-match": '"0123"'},
    " if-modified-since past": {"x-amz-copy-source-if-modified-since": past},
    " if-modified-since future": {"x-amz-copy-source-if-modified-since": future},
    " if-unmodified-since past": {"x-amz-copy-source-if-unmodified-since": past},
    " if-unmodified-since future": {"x-amz-copy-source-if-unmodified-since": future},
    " with a checksum": {"x-amz-checksum-algorithm": "SHA256"},
    " with an unknown checksum": {"x-amz-checksum-algorithm": "SHA9"},
}.items():
    case(f"copy{name}", "PUT", "/{own}copy", headers={"x-amz-copy-source": SOURCE} | headers)
case(
    "copy to itself",
    "PUT",
    "/{own}self",
    headers={"x-amz-copy-source": "/{bucket}/{own}self"},
    before=(put("/{own}self"),),
)
case(
    "copy to itself with other metadata",
    "PUT",
    "/{own}self",
    before=(put("/{own}self"),),
    headers={
        "x-amz-copy-source": "/{bucket}/{own}self",
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-meta-a": "2",
    },
)

# Uploads in parts -------------------------------------------------------------------------------------------

BEGIN = Request("POST", "/{own}multi", "uploads")
PART_1 = Request("PUT", "/{own}multi", "partNumber=1&uploadId={upload}", body=PART)
PART_2 = Request("PUT", "/{own}multi", "partNumber=2&uploadId={upload}", body=PLAIN)
SMALL_1 = Request("PUT", "/{own}multi", "partNumber=1&uploadId={upload}", body=PLAIN)
END = Request("POST", "/{own}multi", "uploadId={upload}", body=b"{complete}")
UPLOAD = "uploadId={upload}"


def manifest(*parts: tuple[int | str, str]) -> bytes:
    items = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts
    )
    return f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>".encode()


case("begin", "POST", "/{own}begun", "uploads", headers={"content-type": "text/csv", "x-amz-meta-a": "1"})
case(
    "begin with a checksum",
    "POST",
    "/{own}begun",
    "uploads",
    headers={"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"},
)
case(
    "begin with an unknown checksum",
    "POST",
    "/{own}begun",
    "uploads",
    headers={"x-amz-checksum-algorithm": "SHA9"},
)
case("part", "PUT", "/{own}multi", "partNumber=1&" + UPLOAD, (BEGIN,), body=PLAIN)
for number in ("0", "-1", "10000", "10001", "x", ""):
    case(
        f"part number {number!r}", "PUT", "/{own}multi", f"partNumber={number}&{UPLOAD}", (BEGIN,), body=PLAIN
    )
case(
    "part of another content-md5",
    "PUT",
    "/{own}multi",
    "partNumber=1&" + UPLOAD,
    (BEGIN,),
    body=PLAIN,
    headers={"content-md5": digest(b"", "md5")},
)
case("part of an unknown upload", "PUT", "/{own}multi", "partNumber=1&uploadId=nothing", body=PLAIN)
case(
    "part copied",
    "PUT",
    "/{own}multi",
    "partNumber=1&" + UPLOAD,
    (BEGIN,),
    headers={"x-amz-copy-source": SOURCE},
)
for wanted in ("bytes=0-99", "bytes=0-9999", "bytes=5-", "x"):
    case(
        f"part copied, range {wanted}",
        "PUT",
        "/{own}multi",
        "partNumber=1&" + UPLOAD,
        (BEGIN,),
        headers={"x-amz-copy-source": SOURCE, "x-amz-copy-source-range": wanted},
    )
case("parts of an upload", "GET", "/{own}multi", UPLOAD, (BEGIN, PART_1, PART_2))
case("parts, the first", "GET", "/{own}multi", UPLOAD + "&max-parts=1", (BEGIN, PART_1, PART_2))
case(
    "parts behind the first", "GET", "/{own}multi", UPLOAD + "&part-number-marker=1", (BEGIN, PART_1, PART_2)
)
case("parts, no number", "GET", "/{own}multi", UPLOAD + "&max-parts=x", (BEGIN,))
case("parts of an unknown upload", "GET", "/{own}multi", "uploadId=nothing")
case("complete", "POST", "/{own}multi", UPLOAD, (BEGIN, PART_1, PART_2), body=b"{complete}")
case("complete again", "POST", "/{own}multi", UPLOAD, (BEGIN, PART_1, END), body=b"{complete}")
case(
    "complete if nothing were there",
    "POST",
    "/{own}multi",
    UPLOAD,
    (BEGIN, PART_1),
    body=b"{complete}",
    headers={"if-none-match": "*"},
)
case(
    "complete with a small part", "POST", "/{own}multi", UPLOAD, (BEGIN, SMALL_1, PART_2), body=b"{complete}"
)
for name, body in {
    "another etag": manifest((1, '"0123"')),
    "an absent part": manifest((3, '"0123"')),
    "a wrong order": manifest((2, '"0123"'), (1, '"0123"')),
    "part 0": manifest((0, '"0123"')),
    "no part": manifest(),
    "no number": manifest(("x", '"0123"')),
    "no body": b"",
    "no xml": b"nothing",
}.items():
    case(f"complete with {name}", "POST", "/{own}multi", UPLOAD, (BEGIN, PART_1), body=body)
case("complete an unknown upload", "POST", "/{own}none", "uploadId=nothing", body=manifest((1, '"0123"')))
case("abort", "DELETE", "/{own}multi", UPLOAD, (BEGIN,))
case("abort twice", "DELETE", "/{own}multi", UPLOAD, (BEGIN, Request("DELETE", "/{own}multi", UPLOAD)))
case("abort an unknown upload", "DELETE", "/{own}multi", "uploadId=nothing")
case(
    "uploads",
    "GET",
    "",
    "uploads&prefix={own}begun-alone",
    (Request("POST", "/{own}begun-alone", "uploads"),),
)
case("uploads of nothing", "GET", "", "uploads&prefix={own}nowhere/")
case("uploads, none", "GET", "", "uploads&prefix={own}&max-uploads=0")
case("uploads, no number", "GET", "", "uploads&prefix={own}&max-uploads=x")

# Deleting and what is not there -----------------------------------------------------------------------------

case("DELETE", "DELETE", "/{own}gone", before=(put("/{own}gone"),))
case("DELETE missing", "DELETE", "/{own}nothing")


def deletion(*keys: str, more: str = "") -> dict:
    items = "".join(f"<Object><Key>{{own}}{key}</Key></Object>" for key in keys)
    return {"body": f"<Delete>{more}{items}</Delete>".encode(), "headers": {"content-md5": "{md5}"}}


case("delete some", "POST", "", "delete", (put("/{own}one"),), **deletion("one", "none"))
case(
    "delete some quietly",
    "POST",
    "",
    "delete",
    (put("/{own}one"),),
    **deletion("one", "none", more="<Quiet>true</Quiet>"),
)
case("delete an escaped name", "POST", "", "delete", (put("/{own}a%26b"),), **deletion("a&amp;b"))
case("delete none", "POST", "", "delete", **deletion())
case("delete too many", "POST", "", "delete", **deletion(*(f"k{number}" for number in range(1001))))
case("delete by no xml", "POST", "", "delete", body=b"nothing", headers={"content-md5": "{md5}"})
case("delete by nothing", "POST", "", "delete", headers={"content-md5": "{md5}"})
case("delete without a digest", "POST", "", "delete", body=deletion("one")["body"])
for setting in ("acl", "tagging", "retention", "legal-hold", "torrent"):
    case(f"object's {setting}", "GET", "/{shared}plain", setting)
case("restore", "POST", "/{shared}plain", "restore")
case("POST an object", "POST", "/{shared}plain", body=PLAIN)
case("PATCH", "PATCH", "/{shared}plain", body=PLAIN)
case(
    "OPTIONS",
    "OPTIONS",
    "/{shared}plain",
    headers={"origin": "http://a.example", "access-control-request-method": "GET"},
    signing="none",
)
case("GET with an origin", "GET", "/{shared}plain", headers={"origin": "http://a.example"})
case("GET a malformed escape", "GET", "/{shared}a%zz")
case("GET with a malformed date", "GET", "/{shared}plain", headers={"date": "yesterday"})
