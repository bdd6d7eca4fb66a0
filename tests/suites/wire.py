"""HTTP/1.1 messages as they are on the wire: nothing is normalised, so that odd requests stay odd.

Specification: RFC 9112. Heads are text in Latin-1 and keep the order, case and number of their headers;
bodies are whole in memory, which the suites' sizes allow.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

HEAD_BYTES_MAX = 4 << 20
Headers = list[tuple[str, str]]


@dataclass
class Message:
    """A request or an answer; `start` is its first line."""

    start: str
    headers: Headers
    body: bytes = b""
    # Whether the body came, and goes on, in chunks; it then has no Content-Length.
    chunked: bool = False
    # False where the peer went away before the body's end.
    complete: bool = True
    # What followed the last chunk.
    trailers: Headers = field(default_factory=list)

    def header(self, name: str) -> str | None:
        return next((value for other, value in self.headers if other.lower() == name.lower()), None)

    def replace(self, name: str, value: str | None) -> None:
        """Replaces a header's first value in place, adds it where there is none, or removes all of them."""
        place = next(
            (at for at, (other, _) in enumerate(self.headers) if other.lower() == name.lower()), None
        )
        if value is None:
            self.headers = [header for header in self.headers if header[0].lower() != name.lower()]
        elif place is None:
            self.headers.append((name, value))
        else:
            self.headers[place] = (self.headers[place][0], value)

    def head(self) -> bytes:
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def method(self) -> str:
        return self.start.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.start.split(" ", 1)[1].rsplit(" ", 1)[0]

    @property
    def status(self) -> int:
        return int(self.start.split(" ", 2)[1])


async def read_head(reader: asyncio.StreamReader) -> Message | None:
    """The next head, or nothing at the connection's end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    start, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name, value.strip(" \t")))
    return Message(start, headers)


async def read_body(reader: asyncio.StreamReader, message: Message, until_end: bool) -> None:
    """Reads what the head announces; with `until_end`, a body without a length ends with the connection."""
    length = message.header("content-length")
    parts: list[bytes] = []
    try:
        if "chunked" in (message.header("transfer-encoding") or "").lower():
            message.chunked = True
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                parts.append(await reader.readexactly(size))
                await reader.readexactly(2)
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.decode("latin-1").strip().partition(":")
                message.trailers.append((name, value.strip()))
        elif length is not None and length.isdecimal():
            parts.append(await reader.readexactly(int(length)))
        elif until_end:
            parts.append(await reader.read())
    except asyncio.IncompleteReadError as error:
        parts.append(error.partial)
        message.complete = False
    except (ConnectionError, ValueError):
        message.complete = False
    message.body = b"".join(parts)


class Upstream:
    """The connection to the server for one client's connection: opened again when the server closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: Message) -> Message | None:
        """Sends a request and reads its answer; nothing where the server closed without one."""
        is_reused = self._streams is not None
        answer = await self._exchange(request)
        if answer is None and is_reused:
            # An idle connection may be closed at any time: this one was, and nothing of an answer came.
            answer = await self._exchange(request)
        return answer

    async def _exchange(self, request: Message) -> Message | None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place, limit=HEAD_BYTES_MAX)
        reader, writer = self._streams
        sending = asyncio.ensure_future(self._send(writer, request))
        answer = await read_head(reader)
        while answer is not None and answer.status < 200:
            answer = await read_head(reader)
        if answer is None:
            sending.cancel()
            self.close()
            return None
        if not (request.method == "HEAD" or answer.status in (204, 304)):
            await read_body(reader, answer, until_end=True)
        is_last = "close" in (answer.header("connection") or "").lower()
        if not sending.done() or is_last or not answer.complete or not request.complete:
            sending.cancel()
            self.close()
        return answer

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, request: Message) -> None:
        # A server that answers early may reset the connection: its answer is read nevertheless.
        with contextlib.suppress(ConnectionError):
            writer.write(request.head())
            if request.chunked and request.complete:
                ends = "".join(f"{name}: {value}\r\n" for name, value in request.trailers).encode("latin-1")
                chunk = b"%x\r\n%b\r\n" % (len(request.body), request.body) if request.body else b""
                writer.write(chunk + b"0\r\n" + ends + b"\r\n")
            elif request.chunked:
                writer.write(b"%x\r\n%b" % (len(request.body) + 1, request.body))
            else:
                writer.write(request.body)
            await writer.drain()
            if not request.complete:
                writer.write_eof()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
