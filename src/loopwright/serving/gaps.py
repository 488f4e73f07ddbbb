"""Says after a crash what the payload log may have lost: a mark stands in the ledger while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from loopwright.core.addresses import Address
from loopwright.core.instants import format_instant, parse_instant
from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.ports.ledger import Segment, Transaction
from loopwright.serving.nouns import ENDPOINT

__all__ = ["LogMark", "record_gaps"]

_COLLECTION = "prediction_log"
_IDLE_S = 5.0
_LOST_AFTER = timedelta(seconds=3 * _IDLE_S)


class LogMark:
    """The mark of one writer: renewed with every write, taken away after `idle_s` of nothing and at the end.

    A mark that is neither renewed nor taken away was left by a writer that died with traffic on it.
    """

    idle_s = _IDLE_S

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._key = ctx.new_id()
        self._endpoints: set[str] = set()

    def keep(self, endpoints: set[str], segments: Sequence[Segment]) -> None:
        """Index segments and renew the mark, in one unit of work."""
        self._endpoints |= endpoints
        body: Json = {
            "endpoints": sorted(self._endpoints),
            "until": format_instant(self._ctx.now()),
            "wall": format_instant(self._ctx.ports.clock.wall()),
        }

        def work(tx: Transaction) -> None:
            for segment in segments:
                tx.segments.add(segment)
            tx.documents.put(self._ctx.space, _COLLECTION, self._key, body)

        self._ctx.write(work)

    def clean(self) -> None:
        """Everything that was taken in is written."""
        if self._endpoints:
            self._endpoints.clear()
            self._ctx.write(lambda tx: tx.documents.remove(self._ctx.space, _COLLECTION, self._key))


def record_gaps(ctx: Context) -> int:
    """Turn marks that dead writers left into `endpoint.gap` events; how many there were."""
    wall = ctx.ports.clock.wall()

    def stale(marks: dict[str, Json]) -> dict[str, Json]:
        return {key: body for key, body in marks.items() if wall - parse_instant(body["wall"]) > _LOST_AFTER}

    def work(tx: Transaction) -> int:
        found = stale(dict(tx.documents.all(ctx.space, _COLLECTION)))
        for key, body in found.items():
            for endpoint in body["endpoints"]:
                payload = {"written_until": body["until"], "wall": body["wall"]}
                ctx.record(tx, "endpoint.gap", Address(kind=ENDPOINT, name=endpoint), payload)
            tx.documents.remove(ctx.space, _COLLECTION, key)
        return len(found)

    with ctx.read() as tx:
        if not stale(dict(tx.documents.all(ctx.space, _COLLECTION))):
            return 0
    return ctx.write(work)
