"""Points of runs' metrics: runs and keys as integers, written in bulk on the driver's cursor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, bindparam, select, tuple_

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import checked_limit, limit_param, page_of, read_token
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.schema import TEXT
from loopwright.adapters.sql.statements import Session, insert_new, upsert
from loopwright.core.errors import NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlMetrics"]

_r, _k, _p, _n = schema.runs.c, schema.metric_keys.c, schema.metric_points.c, schema.metric_latest.c

_RUN_NO = select(_r.no, _r.space).where(_r.id == bindparam("id"))
_ADD_KEY = insert_new(schema.metric_keys, ["space", "name"])
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
_CHUNK = 64


@lru_cache(maxsize=8)
def _keys_among(count: int) -> Select[Any]:
    names = [bindparam(f"name_{i}", type_=TEXT) for i in range(count)]
    return select(_k.name, _k.no).where(_k.space == bindparam("space"), _k.name.in_(names))


class SqlMetrics:
    """Fulfils `ports.ledger.Metrics`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def log(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        """Keep points; a repeated point is a no-op. `NotFound` when there is no such run."""
        run_no, space = self._run(run_id)
        keys = self._key_numbers(space, {point.key for point in points})
        rows = [_stored(point, run_no, keys[point.key], space) for point in points]
        self._session.insert_tuples(_ADD_POINT, rows)
        self._session.insert_tuples(_PUT_LATEST, list(_newest(rows)))

    def latest(self, run_id: str) -> Mapping[str, MetricPoint]:
        """The latest point of each key."""
        run_no, _ = self._run(run_id)
        rows = self._session.rows(_LATEST, run_no=run_no)
        return {row[0]: _point(row[0], row[1:]) for row in rows}

    def history(self, run_id: str, key: str, request: PageRequest) -> Page[MetricPoint]:
        """Points of a key in order of (at, step, value)."""
        run_no, space = self._run(run_id)
        limit = checked_limit(request) + 1
        after = read_token(request.token, [int, int, int, int | float]) if request.token else None  # type: ignore[list-item]  # isinstance takes a union
        key_no = self._session.row(_KEY_NO, space=space, name=key)
        if key_no is None:
            return Page(items=())
        values = {"run_no": run_no, "key_no": key_no[0], "limit": limit}
        if after is None:
            rows = self._session.rows(_HISTORY, **values)
        else:
            place = {f"after_{c.name}": v for c, v in zip(_PLACE, after, strict=True)}
            rows = self._session.rows(_HISTORY_AFTER, **values, **place)
        return page_of(
            rows, request, lambda row: _point(key, row), lambda row: [row[2], row[1], row[3], row[0]]
        )

    def _run(self, run_id: str) -> tuple[int, str]:
        row = self._session.row(_RUN_NO, id=run_id)
        if row is None:
            raise NotFound(f"there is no run:{run_id}", hint="loopwright runs list")
        return row[0], row[1]

    def _key_numbers(self, space: str, names: set[str]) -> dict[str, int]:
        found = self._known(space, names)
        missing = sorted(names - found.keys())
        if missing:
            self._session.change_many(_ADD_KEY, [{"space": space, "name": name} for name in missing])
            found.update(self._known(space, missing))
        return found

    def _known(self, space: str, names: Iterable[str]) -> dict[str, int]:
        ordered, found = list(names), dict[str, int]()
        for start in range(0, len(ordered), _CHUNK):
            part = ordered[start : start + _CHUNK]
            count = 1 if len(part) == 1 else 8 if len(part) <= 8 else _CHUNK
            padded = part + [part[-1]] * (count - len(part))
            binds = {f"name_{i}": name for i, name in enumerate(padded)}
            found.update(
                (row[0], row[1]) for row in self._session.rows(_keys_among(count), space=space, **binds)
            )
        return found


def _stored(point: MetricPoint, run_no: int, key_no: int, space: str) -> tuple[Any, ...]:
    """A row in the order of the tables' columns; NaN, which SQLite cannot hold, has a column of its own."""
    is_nan = math.isnan(point.value)
    value = 0.0 if is_nan else point.value + 0.0
    return (run_no, key_no, point.at_us, point.step, int(is_nan), value, space)


def _newest(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    """Of each key the row that is the greatest by (step, at, value)."""
    best: dict[int, tuple[Any, ...]] = {}
    for row in rows:
        known = best.get(row[1])
        if known is None or _rank(row) > _rank(known):
            best[row[1]] = row
    return best.values()


def _rank(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (row[3], row[2], row[4], row[5])


def _point(key: str, row: Row) -> MetricPoint:
    value, step, at_us, is_nan = row
    return MetricPoint(key=key, value=math.nan if is_nan else value, step=step, at_us=at_us)
