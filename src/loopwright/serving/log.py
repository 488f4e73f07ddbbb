"""Keeps the payload log: the hot path appends to a bounded ring, a thread makes segments of it."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from loopwright.core.errors import LoopwrightError
from loopwright.core.expressions import Scalar
from loopwright.core.instants import from_micros
from loopwright.core.nouns import Json
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.streams import prepare_segment
from loopwright.engine.context import Context
from loopwright.ports.ledger import Segment
from loopwright.serving.gaps import LogMark
from loopwright.serving.nouns import Variant, stream_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Entry", "PredictionLog", "Sheet", "log_schema"]

log = logging.getLogger(__name__)

FLUSH_ROWS = 20_000
CAPACITY_ROWS = 200_000
INTERVAL_S = 1.0


class Sheet(NamedTuple):
    """What decides the columns of a segment: entries of equal sheets are written together."""

    endpoint: str
    inputs: Schema
    features: tuple[str, ...]


class Entry(NamedTuple):
    """What one version answered to (a part of) one request."""

    sheet: Sheet
    request_id: str
    positions: Sequence[int]
    """place of each row in the request"""
    at_us: int
    version: int
    variant: Variant
    rows: Sequence[Mapping[str, Scalar]]
    x: NDArray[np.float64]
    """(n, d) in the order of the sheet's features"""
    scores: NDArray[np.float64]
    latency_us: int


class PredictionLog:
    """Takes what was answered and writes it within a second; thread safe.

    At most `capacity` rows wait: what comes above is dropped and counted, never waited for. A failed write is
    tried again with the next one.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        capacity: int = CAPACITY_ROWS,
        flush_rows: int = FLUSH_ROWS,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._ctx = ctx
        self._capacity = capacity
        self._flush_rows = flush_rows
        self._interval_s = interval_s
        self._mark = LogMark(ctx)
        self._ring: deque[Entry] = deque()
        self._waiting = 0
        self._dropped: Counter[str] = Counter()
        self._ring_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._some, self._full, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write in a thread of its own from now on; without it only `flush` writes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="loopwright-log", daemon=True)
            self._thread.start()

    def append(self, entry: Entry) -> bool:
        """Take an entry in; False when the ring is full and it was dropped."""
        rows = len(entry.positions)
        with self._ring_lock:
            if self._waiting + rows > self._capacity:
                self._dropped[entry.sheet.endpoint] += rows
                return False
            self._ring.append(entry)
            self._waiting += rows
            waiting = self._waiting
        if waiting >= self._flush_rows:
            self._full.set()
        if not self._some.is_set():
            self._some.set()
        return True

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return self._waiting

    def dropped(self, endpoint: str) -> int:
        """Rows of an endpoint that found the ring full."""
        return self._dropped[endpoint]

    def flush(self) -> int:
        """Write everything appended before the call; durable at return. How many rows were written."""
        with self._write_lock:
            with self._ring_lock:
                entries = list(self._ring)
                self._ring.clear()
                self._some.clear()
                self._full.clear()
            return self._write(entries)

    def close(self) -> None:
        """Write what is left and stop."""
        self._stopping.set()
        self._some.set()
        self._full.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.flush()
        self._mark.clean()

    def _write(self, entries: list[Entry]) -> int:
        """Write entries, a segment a sheet, in one unit of work; a failure puts them back into the ring."""
        if not entries:
            return 0
        groups: dict[Sheet, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.sheet, []).append(entry)
        try:
            segments = [self._segment(sheet, group) for sheet, group in groups.items()]
            self._mark.keep({sheet.endpoint for sheet in groups}, segments)
        except BaseException:
            self._put_back(entries)
            raise
        written = sum(segment.rows for segment in segments)
        with self._ring_lock:
            self._waiting -= written
        return written

    def _segment(self, sheet: Sheet, group: list[Entry]) -> Segment:
        start, end = min(e.at_us for e in group), max(e.at_us for e in group)
        facts: Json = {
            "versions": sorted({e.version for e in group}),
            "variants": sorted({e.variant.value for e in group}),
        }
        table = _table(sheet, group)
        return prepare_segment(
            self._ctx, stream_of(sheet.endpoint), table, from_micros(start), from_micros(end), facts
        )

    def _put_back(self, entries: list[Entry]) -> None:
        with self._ring_lock:
            self._ring.extendleft(reversed(entries))
        self._some.set()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            if not self._some.wait(self._mark.idle_s):
                self._mark.clean()
                continue
            self._full.wait(self._interval_s)
            self._guarded_flush()

    def _guarded_flush(self) -> None:
        try:
            self.flush()
        except LoopwrightError as error:
            log.warning("prediction log not written", extra={"error": str(error), "waiting": self._waiting})
            self._stopping.wait(self._interval_s)
        except Exception:  # the last handler of the writer's thread: the rows are kept and tried again
            log.exception("prediction log failed")
            self._stopping.wait(self._interval_s)


_FIXED = (
    ("prediction_id", ColumnType.STRING),
    ("request_id", ColumnType.STRING),
    ("at", ColumnType.INSTANT),
    ("model_version", ColumnType.INT),
    ("variant", ColumnType.STRING),
    ("score", ColumnType.FLOAT),
    ("latency_us", ColumnType.INT),
)


def log_schema(sheet: Sheet) -> tuple[tuple[str, ColumnType], ...]:
    """Names and types of a segment's columns: the answer, then `in_` request columns, then `x_` inputs."""
    inputs = tuple((f"in_{column.name}", column.type) for column in sheet.inputs.columns)
    return _FIXED + inputs + tuple((f"x_{name}", ColumnType.FLOAT) for name in sheet.features)


def _arrow_type(kind: ColumnType) -> pa.DataType:
    import pyarrow as pa

    return {
        ColumnType.BOOL: pa.bool_(),
        ColumnType.INT: pa.int64(),
        ColumnType.FLOAT: pa.float64(),
        ColumnType.STRING: pa.string(),
        ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
    }[kind]


def _table(sheet: Sheet, entries: list[Entry]) -> pa.Table:
    """One row for each row answered, in the order of the answers."""
    import numpy as np
    import pyarrow as pa

    counts = [len(entry.positions) for entry in entries]
    spread = [entry for entry, count in zip(entries, counts, strict=True) for entry in repeat(entry, count)]
    x = np.concatenate([entry.x for entry in entries])
    rows = [row for entry in entries for row in entry.rows]
    positions = [position for entry in entries for position in entry.positions]
    columns: list[object] = [
        [f"{entry.request_id}.{position}" for entry, position in zip(spread, positions, strict=True)],
        [entry.request_id for entry in spread],
        np.repeat(np.array([entry.at_us for entry in entries], dtype=np.int64), counts),
        np.repeat(np.array([entry.version for entry in entries], dtype=np.int64), counts),
        [entry.variant.value for entry in spread],
        np.concatenate([entry.scores for entry in entries]),
        np.repeat(np.array([entry.latency_us for entry in entries], dtype=np.int64), counts),
    ]
    columns += [[row[name] for row in rows] for name in sheet.inputs.names]
    columns += [np.ascontiguousarray(x[:, at]) for at in range(len(sheet.features))]
    types = log_schema(sheet)
    arrays = [pa.array(data, type=_arrow_type(kind)) for data, (_, kind) in zip(columns, types, strict=True)]
    return pa.table(arrays, names=[name for name, _ in types])
