"""Points of runs' metrics: runs and keys as integers, written in bulk on the driver's cursor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, case, func, literal_column, select, tuple_

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.arrays import arrays_of
from loopwright.adapters.sql.listing import checked_limit, limit_param, read_token, write_token
from loopwright.adapters.sql.repositories.keys import among, key_numbers, rows_among
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.statements import Session, insert_new, upsert
from loopwright.core.errors import NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlMetrics", "latest_of"]

_r, _k, _p, _n = schema.runs.c, schema.metric_keys.c, schema.metric_points.c, schema.metric_latest.c

_RUN_NO = select(_r.no, _r.space, _r.experiment_no).where(_r.id == bindparam("id"), _r.removed_at.is_(None))
_ADD_POINT = insert_new(schema.metric_points)
_ORDER = ("step", "at_us", "is_nan", "value")
_PUT_LATEST = upsert(
    schema.metric_latest,
    ["run_no", "key_no"],
    when=lambda new: tuple_(*(new[c] for c in _ORDER)) > tuple_(*(_n[c] for c in _ORDER)),
)
_LATEST = (
    select(_k.name, _n.value, _n.step, _n.at_us, _n.is_nan)
    .join(schema.metric_keys, _k.no == _n.key_no)
    .where(_n.run_no == bindparam("run_no"))
    .order_by(_k.name)
)
_LATEST_OF = among(
    select(_n.run_no, _k.name, _n.value, _n.step, _n.at_us, _n.is_nan).join(
        schema.metric_keys, _k.no == _n.key_no
    ),
    _n.run_no,
)
_KEY_NO = select(_k.no).where(_k.space == bindparam("space"), _k.name == bindparam("name"))
_PLACE = (_p.at_us, _p.step, _p.is_nan, _p.value)
_HISTORY = (
    select(_p.value, _p.step, _p.at_us, _p.is_nan)
    .where(_p.run_no == bindparam("run_no"), _p.key_no == bindparam("key_no"))
    .order_by(*_PLACE)
    .limit(limit_param())
)
_HISTORY_AFTER = _HISTORY.where(
    tuple_(*_PLACE) > tuple_(*(bindparam(f"after_{c.name}", type_=c.type) for c in _PLACE))
)
_AS_CURVE = (case((_p.is_nan == literal_column("0"), _p.value)), _p.step, _p.at_us)
"""a column less: each is a tenth of what reading a long history costs; NaN is null"""
_CURVE, _CURVE_AFTER = (asked.with_only_columns(*_AS_CURVE) for asked in (_HISTORY, _HISTORY_AFTER))
_SPOT = "at_us, step, is_nan, value"
_STEP = (
    f"SELECT {_SPOT} FROM metric_points WHERE run_no = ? AND key_no = ? AND ({_SPOT}) > (?, ?, ?, ?) "
    f"ORDER BY {_SPOT} LIMIT 1 OFFSET ?"
)
_BEFORE_ALL = (-(2**63), -(2**63), -1, 0.0)
_STEPS = f"""
WITH RECURSIVE spot (n, {_SPOT}) AS (
    SELECT 0, -9223372036854775808, -9223372036854775808, -1::smallint, 0::double precision
    UNION ALL
    SELECT s.n + 1, p.at_us, p.step, p.is_nan, p.value FROM spot s CROSS JOIN LATERAL (
        SELECT {_SPOT} FROM metric_points q WHERE q.run_no = ? AND q.key_no = ?
        AND (q.at_us, q.step, q.is_nan, q.value) > (s.at_us, s.step, s.is_nan, s.value)
        ORDER BY {_SPOT} LIMIT 1 OFFSET (?::bigint[])[s.n + 1]
    ) p WHERE s.n < ?
)
SELECT {_SPOT} FROM spot WHERE n > 0 ORDER BY n"""
"""all steps in one statement, where each is a journey to the server (SQLite knows no such OFFSET)"""
_COUNT = (
    select(func.count())
    .select_from(schema.metric_points)
    .where(_p.run_no == bindparam("run_no"), _p.key_no == bindparam("key_no"))
)


class SqlMetrics:
    """Fulfils `ports.ledger.Metrics`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def log(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        """Keep points; a repeated point is a no-op. `NotFound` when there is no such run."""
        run_no, space, experiment_no = self._run(run_id)
        keys = key_numbers(self._session, space, {point.key for point in points})
        rows = [_stored(point, run_no, keys[point.key], space) for point in points]
        self._session.put_tuples(_ADD_POINT, rows)
        self._session.put_tuples(_PUT_LATEST, [(*row, experiment_no) for row in _newest(rows)])

    def latest(self, run_id: str) -> Mapping[str, MetricPoint]:
        """The latest point of each key."""
        run_no, _, _ = self._run(run_id)
        rows = self._session.rows(_LATEST, run_no=run_no)
        return {row[0]: _point(row[0], row[1:]) for row in rows}

    def history(self, run_id: str, key: str, request: PageRequest) -> Page[MetricPoint]:
        """Points of a key in order of (at, step, value)."""
        where = self._where(run_id, key)
        limit = checked_limit(request) + 1
        after = read_token(request.token, [int, int, int, int | float]) if request.token else None  # type: ignore[list-item]  # isinstance takes a union
        if where is None:
            return Page(items=())
        values = {**where, "limit": limit}
        if after is None:
            rows = self._session.rows(_CURVE, **values)
        else:
            place = {f"after_{c.name}": v for c, v in zip(_PLACE, after, strict=True)}
            rows = self._session.rows(_CURVE_AFTER, **values, **place)
        points = [
            MetricPoint(key=key, value=math.nan if value is None else value, step=step, at_us=at_us)
            for value, step, at_us in rows[: limit - 1]
        ]
        return Page(items=tuple(points), next_token=_mark(rows[limit - 2]) if len(rows) == limit else "")

    def count(self, run_id: str, key: str) -> int:
        """How many points a key has."""
        where = self._where(run_id, key)
        row = None if where is None else self._session.row(_COUNT, **where)
        return 0 if row is None else int(row[0])

    def places(self, run_id: str, key: str, places: Sequence[int]) -> Sequence[MetricPoint]:
        """The points at rising places of the history; what lies between is counted, not read."""
        where = self._where(run_id, key)
        if where is None or not places:
            return ()
        gaps = [
            place - passed for place, passed in zip(places, (0, *(at + 1 for at in places)), strict=False)
        ]
        rows = (self._stepped if self._session.is_sqlite else self._walked)(tuple(where.values()), gaps)
        return [_point(key, (value, step, at_us, is_nan)) for at_us, step, is_nan, value in rows]

    def _stepped(self, where: tuple[int, ...], gaps: Sequence[int]) -> Iterator[Row]:
        mark: Row = _BEFORE_ALL
        for gap in gaps:
            row = next(iter(self._session.fetch(_STEP, (*where, *mark, gap))), None)
            if row is None:
                return
            mark = row
            yield row

    def _walked(self, where: tuple[int, ...], gaps: Sequence[int]) -> Sequence[Row]:
        (numbers,) = arrays_of([(gap,) for gap in gaps])
        return self._session.fetch(_STEPS, (*where, numbers, len(gaps)))

    def _where(self, run_id: str, key: str) -> dict[str, int] | None:
        """The numbers of a run and a key, None for a key that nobody has."""
        run_no, space, _ = self._run(run_id)
        key_no = self._session.row(_KEY_NO, space=space, name=key)
        return None if key_no is None else {"run_no": run_no, "key_no": key_no[0]}

    def _run(self, run_id: str) -> tuple[int, str, int]:
        known = None if self._session.read_only else self._session.places.get(run_id)
        if known is not None:
            return known
        row = self._session.row(_RUN_NO, id=run_id)
        if row is None:
            raise NotFound(f"there is no run:{run_id}", hint="loopwright runs list")
        found = self._session.places[run_id] = (row[0], row[1], row[2])
        return found


def _stored(point: MetricPoint, run_no: int, key_no: int, space: str) -> tuple[Any, ...]:
    """A row in the order of the tables' columns; NaN, which SQLite cannot hold, has a column of its own."""
    is_nan = math.isnan(point.value)
    value = 0.0 if is_nan else point.value + 0.0
    return (run_no, key_no, point.at_us, point.step, int(is_nan), value, space)


def _newest(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Of each key the row that is the greatest by (step, at, value)."""
    best: dict[int, tuple[Any, ...]] = {}
    for row in rows:
        _, key_no, at_us, step, is_nan, value, _ = row
        rank = (step, at_us, is_nan, value)
        known = best.get(key_no)
        if known is None or rank > known[0]:
            best[key_no] = (rank, row)
    return [row for _, row in best.values()]


def _mark(row: Row) -> str:
    value, step, at_us = row
    return write_token([at_us, step, int(value is None), 0.0 if value is None else value])


def _point(key: str, row: Row) -> MetricPoint:
    value, step, at_us, is_nan = row
    return MetricPoint(key=key, value=math.nan if is_nan else value, step=step, at_us=at_us)


def latest_of(session: Session, run_numbers: Sequence[int]) -> dict[int, tuple[MetricPoint, ...]]:
    """The latest points of runs by their numbers, each by name."""
    found: dict[int, list[MetricPoint]] = {}
    for row in sorted(rows_among(session, _LATEST_OF, run_numbers), key=lambda row: (row[0], row[1])):
        found.setdefault(row[0], []).append(_point(row[1], row[2:]))
    return {number: tuple(points) for number, points in found.items()}
