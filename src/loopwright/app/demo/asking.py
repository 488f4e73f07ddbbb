"""Asks an endpoint over HTTP, one connection kept open, in the Open Inference Protocol."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import msgspec

from loopwright.core.errors import Unavailable
from loopwright.core.schema import ColumnType, Schema

__all__ = ["Asker"]

_DATATYPES = {
    ColumnType.STRING: "BYTES",
    ColumnType.INT: "INT64",
    ColumnType.FLOAT: "FP64",
    ColumnType.BOOL: "BOOL",
}
_CHUNK = 65_536


class Asker:
    """A caller of one endpoint; not thread safe."""

    def __init__(self, host: str, port: int, endpoint: str, inputs: Schema) -> None:
        self._address = (host, port)
        self._inputs = [(column.name, _DATATYPES[column.type]) for column in inputs.columns]
        self._head = (
            f"POST /v2/models/{endpoint}/infer HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: ".encode()
        )
        self._encoder = msgspec.json.Encoder()
        self._socket: socket.socket | None = None

    def ask(self, request_id: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The reply to one request of some rows; `Unavailable` with what the server said when it refused."""
        inputs = [
            {"name": name, "datatype": datatype, "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name, datatype in self._inputs
        ]
        body = self._encoder.encode({"id": request_id, "inputs": inputs})
        status, reply = self._answered(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
        if status != 200:
            raise Unavailable(f"the endpoint answered {status}: {reply[:300].decode(errors='replace')}")
        answer: dict[str, Any] = msgspec.json.decode(reply)
        return answer

    def _answered(self, message: bytes) -> tuple[int, bytes]:
        """The reply; a connection let go while idle is opened again, which the request's id makes safe."""
        is_reused = self._socket is not None
        try:
            return self._sent(message)
        except (Unavailable, ConnectionError):
            self.close()
            if not is_reused:
                raise
            return self._sent(message)

    def _sent(self, message: bytes) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(message)
        return self._received(self._socket)

    def _received(self, connection: socket.socket) -> tuple[int, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(
            int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length")
        )
        while len(body) < length:
            body += self._more(connection)
        return int(lines[0].split(b" ")[1]), body

    def _more(self, connection: socket.socket) -> bytes:
        data = connection.recv(_CHUNK)
        if not data:
            self.close()
            raise Unavailable("the server closed the connection", hint="is it still running?")
        return data

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
