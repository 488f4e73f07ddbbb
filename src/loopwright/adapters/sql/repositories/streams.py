"""The index of streams of rows, and small documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, bindparam, delete, select

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import limit_param
from loopwright.adapters.sql.rows import Shape, from_json, to_json
from loopwright.adapters.sql.statements import Session, insert_new, upsert
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Json
from loopwright.ports.ledger import Segment

__all__ = ["SqlDocuments", "SqlSegments"]

_SEGMENT = Shape(Segment, schema.segments, start="start_at", end="end_at")
_s, _d = schema.segments.c, schema.documents.c

_ADD = insert_new(schema.segments)
_STREAMS = select(_s.stream).distinct().where(_s.space == bindparam("space")).order_by(_s.stream)
_REMOVE = delete(schema.segments).where(_s.space == bindparam("space"), _s.id == bindparam("id"))
_DIGESTS = select(_s.digest).distinct()

_IS = (_d.space == bindparam("space"), _d.collection == bindparam("collection"))
_GET = select(_d.body).where(*_IS, _d.key == bindparam("key"))
_PUT = upsert(schema.documents, ["space", "collection", "key"])
_DELETE = delete(schema.documents).where(*_IS, _d.key == bindparam("key"))
_ALL = select(_d.key, _d.body).where(*_IS, _d.key >= bindparam("start")).order_by(_d.key)
_BETWEEN = _ALL.where(_d.key < bindparam("end"))
_STRETCHES = {
    (False, False): _ALL,
    (True, False): _BETWEEN,
    (False, True): _ALL.limit(limit_param()),
    (True, True): _BETWEEN.limit(limit_param()),
}
"""by whether the stretch has an end, and whether only its first documents are wanted"""


@lru_cache(maxsize=4)
def _between(from_start: bool, to_end: bool) -> Select[Any]:
    found = select(*_SEGMENT.columns).where(_s.space == bindparam("space"), _s.stream == bindparam("stream"))
    if from_start:
        found = found.where(_s.end_at >= bindparam("start"))
    if to_end:
        found = found.where(_s.start_at <= bindparam("end"))
    return found.order_by(_s.start_at, _s.id)


class SqlSegments:
    """Fulfils `ports.ledger.Segments`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, segment: Segment) -> None:
        """Index a segment; the same id twice is one."""
        self._session.change(_ADD, _SEGMENT.write(segment))

    def between(
        self, space: str, stream: str, start: datetime | None, end: datetime | None
    ) -> Sequence[Segment]:
        """Segments of a stream that overlap `[start, end]`, in order of their start."""
        values: dict[str, Any] = {"space": space, "stream": stream}
        if start is not None:
            values["start"] = to_micros(start)
        if end is not None:
            values["end"] = to_micros(end)
        rows = self._session.rows(_between(start is not None, end is not None), **values)
        return tuple(map(_SEGMENT.read, rows))

    def streams(self, space: str) -> Sequence[str]:
        """Names of all streams of a space."""
        return tuple(row[0] for row in self._session.rows(_STREAMS, space=space))

    def replace(self, old_ids: Sequence[str], new: Segment | None, *, space: str = "default") -> None:
        """Put one segment in the place of several (compaction, erasure)."""
        where = space if new is None else new.space
        self._session.change_many(_REMOVE, [{"space": where, "id": old} for old in old_ids])
        if new is not None:
            self.add(new)

    def digests(self) -> Iterator[str]:
        """Every digest: roots of what is reachable."""
        return iter([row[0] for row in self._session.rows(_DIGESTS)])


class SqlDocuments:
    """Fulfils `ports.ledger.Documents`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, space: str, collection: str, key: str) -> Json | None:
        """The document, or None."""
        row = self._session.row(_GET, space=space, collection=collection, key=key)
        return None if row is None else from_json(row[0])

    def put(self, space: str, collection: str, key: str, body: Json) -> None:
        """Make or replace it."""
        values = {"space": space, "collection": collection, "key": key, "body": to_json(body)}
        self._session.change(_PUT, values)

    def remove(self, space: str, collection: str, key: str) -> None:
        """Take it away; nothing happens when it is not there."""
        self._session.change(_DELETE, {"space": space, "collection": collection, "key": key})

    def all(
        self,
        space: str,
        collection: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int | None = None,
    ) -> Mapping[str, Json]:
        """The documents of a collection in a stretch of keys, by key."""
        values: dict[str, Any] = {"space": space, "collection": collection, "start": start}
        if end is not None:
            values["end"] = end
        if limit is not None:
            values["limit"] = limit
        rows = self._session.rows(_STRETCHES[end is not None, limit is not None], **values)
        return {row[0]: from_json(row[1]) for row in rows}
