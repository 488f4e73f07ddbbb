"""HTTP over one kept socket, with as little of a client's own cost as may be."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

__all__ = ["MB", "PREFIX", "Line"]

PREFIX = "/api/2.0/mlflow/"
MB = 1 << 20
PATIENCE_S = 180.0
IDLE_S = 2.0


class Line:
    """One kept connection; not shared between threads."""

    def __init__(self, url: str, *, acknowledged: bool = False) -> None:
        address = urlsplit(url)
        self._place = (str(address.hostname), address.port or 80)
        self._acknowledged = acknowledged
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(self._place, timeout=PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest, self._used = b"", time.monotonic()

    def head(self, method: str, path: str, length: int, kind: str = "application/json") -> bytes:
        """The first lines of a request."""
        lines = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._place[0]}:{self._place[1]}\r\nContent-Type: {kind}\r\n"
        )
        return f"{lines}Content-Length: {length}\r\n\r\n".encode()

    def send(self, *parts: bytes) -> tuple[int, bytes]:
        """Send a request that is written already; status and body of its answer."""
        self._begin(b"".join(parts))
        return self.answer()

    def stream(self, head: bytes, blocks: Iterable[bytes]) -> tuple[int, bytes]:
        """Send a long body block by block."""
        self._begin(head)
        for block in blocks:
            self._socket.sendall(block)
        return self.answer()

    def drained(self, request: bytes) -> int:
        """Bytes of an answer's body that is read and let go."""
        self._begin(request)
        status, headers = self._headers()
        if status >= 300:
            raise RuntimeError(f"{status} {b''.join(self._body(headers))[:300]!r}")
        return sum(len(piece) for piece in self._body(headers))

    def answer(self) -> tuple[int, bytes]:
        """The next answer, whole."""
        status, headers = self._headers()
        return status, b"".join(self._body(headers))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A call with JSON in and out; fails loudly."""
        payload = b"" if body is None else msgspec.json.encode(body)
        full = path if path.startswith("/") else PREFIX + path
        status, reply = self.send(self.head(method, full, len(payload)), payload)
        if status >= 300:
            raise RuntimeError(f"{method} {full}: {status} {reply[:300]!r}")
        return msgspec.json.decode(reply) if reply else {}

    def get(self, path: str, **query: Any) -> Any:
        """GET with a query."""
        return self.call("GET", f"{path}?{urlencode(query)}")

    def _begin(self, data: bytes) -> None:
        if time.monotonic() - self._used > IDLE_S:  # servers hang up on the idle
            self.close()
            self._open()
        self._socket.sendall(data)
        self._used = time.monotonic()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _headers(self) -> tuple[int, dict[bytes, bytes]]:
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._read()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        parted = (line.partition(b":") for line in lines)
        return int(first.split(b" ", 2)[1]), {name.lower(): value.strip() for name, _, value in parted}

    def _body(self, headers: dict[bytes, bytes]) -> Iterator[bytes]:
        if headers.get(b"transfer-encoding") == b"chunked":
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                yield from self._exactly(size)
                self._until(b"\r\n")
            self._until(b"\r\n")
        else:
            yield from self._exactly(int(headers.get(b"content-length", b"0")))

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._rest[:size] if self._rest else self._read()
            self._rest = self._rest[size:] if self._rest else piece[size:]
            size -= len(piece := piece[:size])
            yield piece

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._rest += self._read()
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _read(self) -> bytes:
        if self._acknowledged:  # the kernel forgets it after each packet
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        piece = self._socket.recv(MB)
        if not piece:
            raise ConnectionError("the server hung up")
        return piece
