"""Fetches a file over HTTP/1.1 from an address that was looked up once and checked, when it was changed."""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPException, HTTPResponse
from typing import BinaryIO, cast
from urllib.parse import urljoin, urlsplit

import msgspec
from blake3 import blake3

from loopwright.adapters.notify.addresses import Place, Rules, permitted, place_of
from loopwright.adapters.notify.codings import unpacked
from loopwright.adapters.notify.posting import Lookup, Pinned, looked_up, secured, told
from loopwright.core.errors import Denied, Invalid, NotFound, TooLarge, Unavailable
from loopwright.ports.sources import UNPACKED_LIMIT, Origin, SeenFile

__all__ = ["HttpFile"]

_LIMIT = 4 << 30
_IN_MEMORY = 32 << 20
_DEADLINE_S = 600.0
_PATIENCE_S = 30.0
_CHUNK = 1 << 20
_HOPS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_OUR_OWN = frozenset({"host", "connection", "accept-encoding", "content-length", "range"})
_OUR_OWN |= {"transfer-encoding", "if-none-match", "if-modified-since"}


class _Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server said of the file it gave."""

    etag: str = ""
    modified: str = ""
    digest: str = ""
    """where it said nothing"""


class HttpFile:
    """Fulfils `ports.sources.FileSource` by one URL. Every hop of a redirect is held against the rules.

    A name is looked up once and the checked address is what is connected to, so that no later answer of a
    name server leads inside. `limit` is the greatest body in bytes, `unpacked_limit` that of one that comes
    packed by gzip or deflate, although plain is asked for.
    """

    def __init__(
        self,
        origin: Origin,
        rules: Rules,
        *,
        lookup: Lookup = looked_up,
        limit: int = _LIMIT,
        unpacked_limit: int = UNPACKED_LIMIT,
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        self._origin = origin
        self._rules = rules
        self._lookup = lookup
        self._limit = limit
        self._unpacked_limit = unpacked_limit
        self._deadline_s = deadline_s
        self._spool: BinaryIO | None = None
        self._type = ""
        _check_headers(origin.headers)

    def seen(self, marks: Mapping[str, str]) -> Sequence[SeenFile]:
        """The file and its mark; its body is fetched unless the server says it is as it was."""
        before = _mark_of(marks.get(""))
        with self._answered(self._origin.address, before, _HOPS) as answer:
            if answer.status == 304:
                return (SeenFile(path="", mark=marks[""]),)
            digest = self._fetch(answer)
            found = _Mark(
                etag=answer.headers.get("ETag", ""), modified=answer.headers.get("Last-Modified", "")
            )
        if not found.etag and not found.modified:
            found = _Mark(digest=digest)
        return (SeenFile(path="", mark=msgspec.json.encode(found).decode()),)

    def open(self, path: str) -> BinaryIO:
        """The body that was fetched."""
        if self._spool is None:
            raise NotFound("nothing was fetched", hint="ask what is there first")
        self._spool.seek(0)
        return self._spool

    def media_type(self, path: str) -> str:
        """As the server says."""
        return self._type

    def close(self) -> None:
        """Let go of the body."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _fetch(self, answer: HTTPResponse) -> str:
        self._type = answer.headers.get("Content-Type", "")
        told_bytes = answer.length
        if told_bytes is not None and told_bytes > self._limit:
            raise self._too_large()
        hasher = blake3()
        self.close()
        spool = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - kept on
        self._spool = spool
        for piece in unpacked(
            self._pieces(answer, told_bytes),
            ", ".join(answer.headers.get_all("Content-Encoding", [])),
            limit=self._unpacked_limit,
            stays_gzip=self._origin.address.partition("?")[0].lower().endswith(".gz"),
        ):
            hasher.update(piece)
            spool.write(piece)
        return hasher.hexdigest()

    def _pieces(self, answer: HTTPResponse, told_bytes: int | None) -> Iterator[bytes]:
        """The body as it comes; `TooLarge` past the limit, `Unavailable` where it ends too soon."""
        size = 0
        while piece := answer.read(_CHUNK):
            size += len(piece)
            if size > self._limit:
                raise self._too_large()
            yield piece
        if told_bytes is not None and size != told_bytes:
            raise Unavailable("the source's URL was cut off", hint="try again")

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the source's URL answers with more than {self._limit:,} bytes", hint="offer it in several files"
        )

    @contextmanager
    def _answered(self, url: str, mark: _Mark, hops: int) -> Iterator[HTTPResponse]:
        place = place_of(url, self._rules)
        address = permitted(place, self._lookup(place.host, place.port), self._rules)
        connection = Pinned(place, address, _PATIENCE_S, self._context)
        ending = threading.Timer(self._deadline_s, connection.cut)
        ending.daemon = True
        ending.start()
        try:
            connection.request("GET", place.target, headers=self._headers(place, mark))
            answer = connection.getresponse()
            if answer.status in _MOVED:
                with self._answered(self._moved(url, answer, hops), mark, hops - 1) as elsewhere:
                    yield elsewhere
                return
            _check_status(answer)
            yield answer
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable(
                f"the source's URL did not answer: {told(error)}", hint="look at the address, or try again"
            ) from None
        finally:
            ending.cancel()
            connection.close()

    def _moved(self, url: str, answer: HTTPResponse, hops: int) -> str:
        there = answer.headers.get("Location", "")
        if not there or hops <= 0:
            raise Invalid("the source's URL leads in circles, or nowhere", hint="give the address it ends at")
        target = urljoin(url, there)
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise Invalid("the source's URL leads from https to http", hint="give the address it ends at")
        return target

    def _headers(self, place: Place, mark: _Mark) -> dict[str, str]:
        """Ours, and the caller's where the host is the one they were given for."""
        first = place_of(self._origin.address, self._rules)
        is_theirs = (place.scheme, place.host, place.port) == (first.scheme, first.host, first.port)
        found = {"User-Agent": "loopwright", "Accept": "*/*", **(self._origin.headers if is_theirs else {})}
        found |= {"Accept-Encoding": "identity", "Connection": "close"}
        if mark.etag:
            found["If-None-Match"] = mark.etag
        if mark.modified:
            found["If-Modified-Since"] = mark.modified
        return found

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return secured()


def _mark_of(text: str | None) -> _Mark:
    return _Mark() if text is None else msgspec.json.decode(text, type=_Mark)


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        plain = name.replace("-", "").isalnum() and name.isascii() and value.isprintable()
        if not plain or name.lower() in _OUR_OWN:
            raise Invalid(
                f"the header {name[:40]!r} cannot be sent", hint="headers such as Authorization or X-Api-Key"
            )


def _check_status(answer: HTTPResponse) -> None:
    status = answer.status
    if status in {200, 304}:
        return
    if status in {401, 403}:
        raise Denied(f"the source's URL answered {status}", hint="give a header with a token it knows")
    if status in {404, 410}:
        raise NotFound(f"the source's URL answered {status}", hint="look at the address")
    raise Unavailable(f"the source's URL answered {status}", hint="try again later")
