"""A line to a store that can be taken away for a while, as by a store that starts anew."""

from __future__ import annotations

import socket
import threading


class Line:
    """Forwards connections to `port` at loopback.

    While it is down it accepts none, and the requests that come on open connections are broken off without an
    answer; answers under way still arrive.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.down = threading.Event()
        self.broken_off = 0
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(256)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def take_away(self) -> None:
        self.down.set()
        # A blocked accept() holds the listener open until it returns.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def bring_back(self) -> None:
        self.down.clear()
        self._listener = self._listen(self.port)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                here, _ = listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._to))
            for source, sink, requests in ((here, there, True), (there, here, False)):
                threading.Thread(target=self._pump, args=(source, sink, requests), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, requests: bool) -> None:
        try:
            while data := source.recv(65_536):
                if requests and self.down.is_set():
                    self.broken_off += 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
