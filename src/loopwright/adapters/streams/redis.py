"""Redis Streams, and those of Valkey, read by id: no consumer group, since the reader keeps its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.ports.sources import Origin, Record

__all__ = ["RedisStream"]

_PART = "0"
_PAGE = 1_000
_TIMEOUT_S = 10.0
_ID = re.compile(r"\d{1,20}-\d{1,20}\Z")


class RedisStream:
    """Fulfils `ports.sources.RecordStream` by `redis://host:port/db/stream`.

    The fields of an entry are the record's columns, as texts; with the option `field` the one of that name
    holds the record as JSON.
    """

    def __init__(self, origin: Origin) -> None:
        try:
            import redis
        except ImportError as error:
            raise Unavailable(
                "the client of Redis is not installed", hint='pip install "loopwright[redis]"'
            ) from error
        parts = urlsplit(origin.address)
        database, slash, name = parts.path.removeprefix("/").partition("/")
        if not slash:
            database, name = "0", database
        if not name or not database.isdigit():
            raise Invalid("the address names no stream", hint="redis://host:6379/0/STREAM")
        self._name = name
        self._field = str(origin.options.get("field", ""))
        self._errors: tuple[type[Exception], ...] = (redis.RedisError,)
        url = urlunsplit((parts.scheme, parts.netloc, f"/{database}", "", ""))
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, decode_responses=False
        )

    def read(self, offsets: Mapping[str, str], most: int) -> Sequence[Record]:
        """Entries after the id, up to the last one there was when the call began."""
        after = offsets.get(_PART, "0-0")
        if not _ID.match(after):
            raise Invalid(f"{after[:60]!r} is no id of an entry", hint="ids look like 1718000000000-0")
        found: list[Record] = []
        with self._translated():
            last = self._last(after)
            while last and len(found) < most:
                count = min(_PAGE, most - len(found))
                entries = self._client.xrange(self._name, f"({after}", last, count=count)
                if not entries:
                    break
                found += [self._record(each, fields) for each, fields in entries]
                after = found[-1].offset
        return found

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _last(self, after: str) -> str:
        """The id of the last entry; `Conflict` when the stream is another one now."""
        if self._client.type(self._name) != b"stream":
            if after == "0-0":
                raise NotFound(f"there is no stream {self._name!r}", hint="look at its name and database")
            raise Conflict(f"the stream {self._name!r} is gone", hint="forget its place to begin anew")
        told = self._client.xinfo_stream(self._name)
        last: bytes = told["last-generated-id"]
        if _place(last.decode()) < _place(after):
            raise Conflict(
                f"the stream {self._name!r} is another one than before: it ends before what was read",
                hint="forget its place to begin anew",
            )
        return last.decode()

    def _record(self, entry: bytes, fields: Mapping[bytes, bytes]) -> Record:
        offset = entry.decode()
        if self._field:
            value = fields.get(self._field.encode(), b"")
        else:
            told = {name.decode("utf-8", "replace"): _text(text) for name, text in fields.items()}
            value = msgspec.json.encode(told)
        return Record(part=_PART, offset=offset, value=value)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise Unavailable(
                f"the stream {self._name!r} does not answer: {type(error).__name__}",
                hint="look at the address, and whether the server lets you in",
            ) from None


def _place(entry: str) -> tuple[int, int]:
    millis, _, count = entry.partition("-")
    return int(millis), int(count)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Invalid(
            "an entry's field is no UTF-8 text", hint="name the field with the record's JSON"
        ) from error
