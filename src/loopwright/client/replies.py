"""Replies to values: the same types that a call in process gives."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec

from loopwright.core.errors import Fault, LoopwrightError, Unavailable
from loopwright.engine.operation import Blob
from loopwright.engine.wire import Failure, error_of

__all__ = ["blob_of", "error_in", "items_of", "value_of"]

_FILENAME = re.compile(r"filename\*=UTF-8''([^;]+)")


def value_of(body: bytes, wanted: Any) -> Any:
    """A value, a page or a job; `wanted` is its type, or `Any` for plain values."""
    try:
        return msgspec.json.decode(body, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(
            f"the server's answer cannot be read: {error}",
            hint="is the server of another version? `loopwright doctor` says",
        ) from error


def error_in(response: httpx.Response) -> LoopwrightError:
    """The error a refused call was answered with."""
    try:
        return error_of(msgspec.json.decode(response.content, type=Failure))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unavailable(
            f"the server answered {response.status_code} without a reason",
            hint="is it a Loopwright server, and is a proxy in between?",
            where=str(response.request.url.copy_with(query=None)),
        )


def items_of(response: httpx.Response, wanted: Any) -> Iterator[Any]:
    """The items of a stream as they come; an error in it is raised where it stands."""
    try:
        for line in _lines(response):
            if line.startswith(b'{"$error":'):
                raise error_of(msgspec.convert(msgspec.json.decode(line)["$error"], Failure))
            yield value_of(line, wanted)
    except httpx.HTTPError as error:
        raise Unavailable(f"the stream broke off: {error}", hint="ask again") from error
    finally:
        response.close()


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """Lines of bytes (httpx splits texts at more than line feeds)."""
    rest = b""
    for piece in response.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        raise Unavailable("the stream broke off in the middle of an item", hint="ask again")


class _Body(io.RawIOBase):
    """The body of a reply as a file that is read as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.iter_raw()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._rest:
                self._rest = next(self._pieces)
        except StopIteration:
            return 0
        except httpx.HTTPError as error:
            raise Unavailable(f"the download broke off: {error}", hint="ask again") from error
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        self._response.close()
        super().close()


def blob_of(response: httpx.Response) -> Blob:
    """A download as an open file; closing it ends the transfer."""
    named = _FILENAME.search(response.headers.get("content-disposition", ""))
    return Blob(
        file=io.BufferedReader(_Body(response), 1 << 16),
        size_bytes=int(response.headers["content-length"]),
        media_type=response.headers.get("content-type", "application/octet-stream"),
        filename=unquote(named[1]) if named else "download",
    )
