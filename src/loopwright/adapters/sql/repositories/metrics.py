"""Points of runs' metrics: runs and keys as integers, written in bulk on the driver's cursor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import ClauseElement, and_, bindparam, case, func, literal_column, not_, or_, select, tuple_

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.arrays import arrays_of, bigints, doubles, smallints
from loopwright.adapters.sql.listing import checked_limit, limit_param, read_token, write_token
from loopwright.adapters.sql.repositories.keys import among, key_numbers, rows_among
from loopwright.adapters.sql.repositories.strides import Ask, Curve, continued, curve_rows, shape_of
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.statements import Session, Upsert, insert_new
from loopwright.core.errors import NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlMetrics", "latest_by_id", "latest_of"]

_r, _k, _p, _n = schema.runs.c, schema.metric_keys.c, schema.metric_points.c, schema.metric_latest.c

_RUN_NO = select(_r.no, _r.space, _r.experiment_no).where(_r.id == bindparam("id"), _r.removed_at.is_(None))
_ADD_POINT = insert_new(schema.metric_points)
_ADD_POINTS = """
INSERT INTO metric_points (run_no, key_no, at_us, step, is_nan, value, space)
SELECT ?::bigint, t.key_no, t.at_us, t.step, t.is_nan, t.value, ?::text
FROM (SELECT unnest(?::bigint[]) key_no, unnest(?::bigint[]) at_us, unnest(?::bigint[]) step,
    unnest(?::smallint[]) is_nan, unnest(?::double precision[]) AS value) t
LEFT JOIN metric_latest l ON l.run_no = ?::bigint AND l.key_no = t.key_no AND l.stride IS NOT NULL
WHERE CASE WHEN (t.at_us, t.step) > (l.at_us, l.step) THEN TRUE ELSE NOT EXISTS (
    SELECT 1 FROM metric_points p WHERE p.run_no = ?::bigint AND p.key_no = t.key_no AND p.at_us = t.at_us
    AND p.step = t.step AND p.is_nan = t.is_nan AND p.value = t.value) END"""
"""points of one run, no two the same, at half of what `ON CONFLICT` costs PostgreSQL: nobody else writes,
and while steps never fall with time what lies behind the latest is not there"""
_ORDER = ("step", "at_us", "is_nan", "value")


def _put_latest(insert: Any) -> ClauseElement:
    """The greater point stays, and whether all points still come evenly is noted.

    A point that is the latest already changes nothing.
    """
    start = insert(schema.metric_latest).values(dict.fromkeys(c.name for c in schema.metric_latest.columns))
    new = start.excluded
    given, known = (tuple_(*(each[name] for name in _ORDER)) for each in (new, _n))
    is_again = and_(given == known, new.stride.is_not_distinct_from(literal_column("0")))
    latest = {name: case((given > known, new[name]), else_=_n[name]) for name in _ORDER}
    found: ClauseElement = start.on_conflict_do_update(
        index_elements=["run_no", "key_no"],
        set_={**latest, "stride": continued(_n, new)},
        where=or_(given > known, and_(_n.stride.is_not(None), not_(is_again))),
    )
    return found


_PUT_LATEST = Upsert(list(schema.metric_latest.columns), _put_latest)
_LATEST = (
    select(_k.name, _n.value, _n.step, _n.at_us, _n.is_nan)
    .join(schema.metric_keys, _k.no == _n.key_no)
    .where(_n.run_no == bindparam("run_no"))
    .order_by(_k.name)
)
_LATEST_BY_ID = (
    select(_k.name, _n.value, _n.step, _n.at_us, _n.is_nan)
    .join(schema.metric_keys, _k.no == _n.key_no)
    .join(schema.runs, _r.no == _n.run_no)
    .where(_r.id == bindparam("id"), _r.removed_at.is_(None))
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
_AT = (_p.at_us, _p.step)
_ASKED = tuple_(bindparam("at_us", type_=_p.at_us.type), bindparam("step", type_=_p.step.type))
_OF_KEY = (_p.run_no == bindparam("run_no"), _p.key_no == bindparam("key_no"))
_BEHIND = (
    select(*_PLACE)
    .where(*_OF_KEY, tuple_(*_AT) >= _ASKED)
    .order_by(*_PLACE)
    .limit(1)
    .offset(bindparam("skip", type_=_p.step.type))
)
_BEFORE = (
    select(*_PLACE).where(*_OF_KEY, tuple_(*_AT) < _ASKED).order_by(*(c.desc() for c in _PLACE)).limit(1)
)
_LOOKS, _LOOKS_BACK = (
    f"""
SELECT {_SPOT} FROM unnest(?::bigint[], ?::bigint[], ?::bigint[]) WITH ORDINALITY t (at, st, skip, n)
LEFT JOIN LATERAL (
    SELECT {_SPOT} FROM metric_points q WHERE q.run_no = ? AND q.key_no = ?
    AND (q.at_us, q.step) {side} (t.at, t.st) ORDER BY {order} LIMIT 1 OFFSET t.skip
) p ON TRUE ORDER BY t.n"""
    for side, order in ((">=", _SPOT), ("<", f"{_SPOT} DESC".replace(",", " DESC,")))
)
"""many looks in one statement (SQLite, whose looks are no journeys, does them one by one)"""
_CURVE_OF = (
    select(_r.no, _k.no, _n.first_us, _n.first_step, _n.at_us, _n.step, _n.stride)
    .select_from(
        schema.runs.outerjoin(
            schema.metric_keys, and_(_k.space == _r.space, _k.name == bindparam("name"))
        ).outerjoin(schema.metric_latest, and_(_n.run_no == _r.no, _n.key_no == _k.no))
    )
    .where(_r.id == bindparam("id"), _r.removed_at.is_(None))
)
_COUNT = (
    select(func.count())
    .select_from(schema.metric_points)
    .where(_p.run_no == bindparam("run_no"), _p.key_no == bindparam("key_no"))
)


class _Known(NamedTuple):
    """What is known of a metric of a run without looking at its points."""

    where: dict[str, int] | None
    """the numbers of both, None for a key that nobody has"""
    curve: Curve | None
    """where steps come evenly"""
    rises: bool


class SqlMetrics:
    """Fulfils `ports.ledger.Metrics`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def log(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        """Keep points; a repeated point is a no-op. `NotFound` when there is no such run."""
        run_no, space, experiment_no = self._run(run_id)
        keys = key_numbers(self._session, space, {point.key for point in points})
        rows = [_stored(point, run_no, keys[point.key], space) for point in points]
        curves = [(mine, *shape_of(mine)) for mine in _by_key(rows)]
        if self._session.is_sqlite or len(rows) == 1:
            self._session.put_tuples(_ADD_POINT, rows)
        else:
            self._put_points([row for mine, _, shape in curves for row in _once(mine, shape[2])])
        latest = [(*row, experiment_no, *shape) for _, row, shape in curves]
        self._session.put_tuples(_PUT_LATEST, latest)

    def _put_points(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows of one run, no two the same."""
        run_no, space = rows[0][0], rows[0][-1]
        _, keys, times, steps, is_nan, values, _ = zip(*rows, strict=True)
        columns = (bigints(keys), bigints(times), bigints(steps), smallints(is_nan), doubles(values))
        self._session.put_text(_ADD_POINTS, (run_no, space, *columns, run_no, run_no))

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
        found = self._known(run_id, key)
        if found.curve is not None:
            return len(found.curve.steps)
        row = None if found.where is None else self._session.row(_COUNT, **found.where)
        return 0 if row is None else int(row[0])

    def places(self, run_id: str, key: str, places: Sequence[int]) -> Sequence[MetricPoint]:
        """The points at rising places of the history; what lies between is counted at most, not read."""
        where, curve, _ = self._known(run_id, key)
        if where is None or not places:
            return ()
        rows = None if curve is None else curve_rows(curve, places, partial(self._look, where))
        if rows is None:
            gaps = [place - last - 1 for place, last in zip(places, (-1, *places), strict=False)]
            rows = list((self._stepped if self._session.is_sqlite else self._walked)(where, gaps))
        return [_point(key, (value, step, at_us, is_nan)) for at_us, step, is_nan, value in rows]

    def steps(self, run_id: str, key: str) -> range | None:
        """The step of each place where they come evenly, None where that is not known."""
        curve = self._known(run_id, key).curve
        return None if curve is None else curve.steps

    def rises(self, run_id: str, key: str) -> bool:
        """Whether steps never fall with time; False where that is not known."""
        return self._known(run_id, key).rises

    def _known(self, run_id: str, key: str) -> _Known:
        row = self._session.row(_CURVE_OF, id=run_id, name=key)
        if row is None:
            raise _no_run(run_id)
        run_no, key_no, first_us, first_step, last_us, last_step, stride = row
        if key_no is None or stride is None:
            return _Known(None if key_no is None else {"run_no": run_no, "key_no": key_no}, None, rises=False)
        curve = Curve(first_us, first_step, last_us, last_step, stride) if stride >= 0 else None
        return _Known({"run_no": run_no, "key_no": key_no}, curve, rises=True)

    def _look(self, where: Mapping[str, int], asks: Sequence[Ask]) -> list[Row | None]:
        if self._session.is_sqlite:
            return [self._looked(where, ask) for ask in asks]
        found: list[Row | None] = []
        for text, is_back in ((_LOOKS, False), (_LOOKS_BACK, True)):
            part = [(ask.at_us, ask.step, ask.skip) for ask in asks if ask.before is is_back]
            if part:
                rows = self._session.fetch(text, (*arrays_of(part), *where.values()))
                found += [None if row[0] is None else row for row in rows]
        return found

    def _looked(self, where: Mapping[str, int], ask: Ask) -> Row | None:
        place = {"at_us": ask.at_us, "step": ask.step}
        if ask.before:
            return self._session.row(_BEFORE, **where, **place)
        return self._session.row(_BEHIND, **where, **place, skip=ask.skip)

    def _stepped(self, where: Mapping[str, int], gaps: Sequence[int]) -> Iterator[Row]:
        mark: Row = _BEFORE_ALL
        for gap in gaps:
            row = next(iter(self._session.fetch(_STEP, (*where.values(), *mark, gap))), None)
            if row is None:
                return
            mark = row
            yield row

    def _walked(self, where: Mapping[str, int], gaps: Sequence[int]) -> Sequence[Row]:
        (numbers,) = arrays_of([(gap,) for gap in gaps])
        return self._session.fetch(_STEPS, (*where.values(), numbers, len(gaps)))

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
            raise _no_run(run_id)
        if not self._session.read_only:
            self._session.places[run_id] = (row[0], row[1], row[2])
        return row[0], row[1], row[2]


def _stored(point: MetricPoint, run_no: int, key_no: int, space: str) -> tuple[Any, ...]:
    """A row in the order of the tables' columns; NaN, which SQLite cannot hold, has a column of its own."""
    is_nan = math.isnan(point.value)
    value = 0.0 if is_nan else point.value + 0.0
    return (run_no, key_no, point.at_us, point.step, int(is_nan), value, space)


def _once(rows: list[tuple[Any, ...]], stride: int | None) -> Iterable[tuple[Any, ...]]:
    """Rows of one metric without those that repeat another: none does where steps are apart."""
    return rows if stride is not None and stride >= 0 else dict.fromkeys(rows)


def _by_key(rows: Iterable[tuple[Any, ...]]) -> Iterable[list[tuple[Any, ...]]]:
    """The rows of each key."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[1], []).append(row)
    return found.values()


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run:{run_id}", hint="loopwright runs list")


def _mark(row: Row) -> str:
    value, step, at_us = row
    return write_token([at_us, step, int(value is None), 0.0 if value is None else value])


def _point(key: str, row: Row) -> MetricPoint:
    value, step, at_us, is_nan = row
    return MetricPoint(key=key, value=math.nan if is_nan else value, step=step, at_us=at_us)


def latest_by_id(session: Session, run_id: str) -> tuple[MetricPoint, ...]:
    """The latest points of a run by name, none where there is no such run."""
    return tuple(_point(row[0], row[1:]) for row in session.rows(_LATEST_BY_ID, id=run_id))


def latest_of(session: Session, run_numbers: Sequence[int]) -> dict[int, tuple[MetricPoint, ...]]:
    """The latest points of runs by their numbers, each by name."""
    found: dict[int, list[MetricPoint]] = {}
    for row in sorted(rows_among(session, _LATEST_OF, run_numbers), key=lambda row: (row[0], row[1])):
        found.setdefault(row[0], []).append(_point(row[1], row[2:]))
    return {number: tuple(points) for number, points in found.items()}
