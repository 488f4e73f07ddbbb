"""What assets are found and ranked by: lines of an index are walked, and assets read as they come."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.repositories.conditions import text_test
from loopwright.adapters.sql.repositories.holding import Tests, holding, joined
from loopwright.adapters.sql.repositories.places import Atom, beyond, sorted_rows
from loopwright.adapters.sql.rows import Row, Shape
from loopwright.adapters.sql.statements import Session, upsert
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Asset
from loopwright.ports.measures import Measure, Measured, RankedAsked, RankKey, Worded

__all__ = ["SqlMeasures"]

_ASSET = Shape(Asset, schema.assets)
_COLUMNS = ", ".join(f"a.{column.name}" for column in _ASSET.columns)
_PUT = upsert(schema.asset_measures, ["asset_id", "name"])
_m = schema.asset_measures.c
_REMOVE = delete(schema.asset_measures).where(
    _m.asset_id == bindparam("asset_id"), _m.name == bindparam("name")
)
_LINE = "name, space, home, asset, made_ms, is_nan, value, least, most, at_us, step, place"
_CHUNK = 200
_FEW = 1_000
"""so many are sorted, whatever their order"""
_BY_VALUE, _BY_NEWEST = "asset_measures_value", "asset_measures_made"
_CHANGED = "(COALESCE(a.updated_at, a.created_at) / 1000)"


class _Walk(NamedTuple):
    """One part of what is asked: which lines are walked, and in what order."""

    by_index: str
    tests: Tests
    joins: str
    joined: tuple[Any, ...]
    atoms: tuple[Atom, ...]
    settled: tuple[Measured | Worded, ...] = ()
    """what the walk itself tests"""
    stretch: int | None = None
    """where there are three: of numbers, of NaN, of those that have none"""


class SqlMeasures:
    """Fulfils `ports.measures.Measures`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, asset_id: str, names: Collection[str]) -> Mapping[str, Measure]:
        """The lines of an asset that are there, by name."""
        wanted, found = sorted(names), dict[str, Measure]()
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            text = f"SELECT {_LINE} FROM asset_measures WHERE asset_id = ? AND name IN ({marks})"
            rows = self._session.fetch(text, [asset_id, *part])
            found.update((row[0], _measure(asset_id, row)) for row in rows)
        return found

    def put(self, measures: Sequence[Measure]) -> None:
        """Make or replace lines; no asset and name twice."""
        self._session.insert_tuples(_PUT, [_row(measure) for measure in measures])

    def remove(self, asset_id: str, names: Collection[str]) -> None:
        """Take lines away; nothing happens where there is none."""
        self._session.change_many(_REMOVE, [{"asset_id": asset_id, "name": name} for name in names])

    def ranked(self, space: str, asked: RankedAsked) -> Sequence[Asset]:
        """Assets that are not in the trash."""
        rows, width = list[Row](), len(_ASSET.columns)
        for walk in self._walks(space, asked):
            left = asked.limit - len(rows)
            found = [
                (row[:width], *row[width:])
                for home in asked.homes
                if left
                for row in self._rows(space, home, walk, asked, limit=left)
            ]
            ordered = sorted_rows(found, walk.atoms) if len(asked.homes) > 1 else found
            rows += [row[0] for row in ordered[:left]]
        return tuple(map(_ASSET.read, rows))

    def _rows(self, space: str, home: str, walk: _Walk, asked: RankedAsked, *, limit: int) -> Sequence[Row]:
        """The first rows of a walk, in one home, beyond the place that is asked for."""
        place = _place(asked, walk)
        if place is None:
            return ()
        by_index = f" INDEXED BY {walk.by_index}" if self._session.is_sqlite else ""
        tests: Tests = [("m.space = ? AND m.home = ?", (space, home)), *walk.tests]
        tests += [("a.id = m.asset_id AND a.deleted_at IS NULL", ()), *self._asked(walk, asked)]
        if place:
            tests.append(beyond(walk.atoms, place))
        columns = ", ".join([_COLUMNS, *(atom.sql for atom in walk.atoms)])
        order = ", ".join(f"{atom.sql} DESC" if atom.descending else atom.sql for atom in walk.atoms)
        text = (
            f"SELECT {columns} FROM asset_measures m{by_index} CROSS JOIN assets a{walk.joins} "
            f"WHERE {joined(tests)} ORDER BY {order} LIMIT ?"
        )
        values = [value for _, given in tests for value in given]
        return self._session.fetch(text, [*walk.joined, *values, limit])

    def _asked(self, walk: _Walk, asked: RankedAsked) -> Tests:
        """The tests that the walk does not make itself."""
        tests: Tests = [
            (f"m.made_ms {sign} ?", (limit,))
            for sign, limit in zip((">=", "<="), asked.made_ms, strict=True)
            if limit is not None
        ]
        tests += [_is_measured(each) for each in asked.measured if each not in walk.settled]
        tests += [self._is_worded(each) for each in asked.worded if each not in walk.settled]
        tests += holding(self._session, "a.facts", asked.facts)
        return tests + holding(self._session, "a.tags", asked.tags.items())

    def _is_worded(self, asked: Worded) -> tuple[str, Sequence[Any]]:
        (within, limits), (text, values) = _words(asked.prefix, "e"), self._test(asked, "e")
        where = f"e.asset_id = a.id AND {within} AND {text}"
        return f"EXISTS (SELECT 1 FROM asset_measures e WHERE {where})", [*limits, *values]

    def _test(self, asked: Worded, alias: str) -> tuple[str, Sequence[Any]]:
        column = f"SUBSTR({alias}.name, {len(asked.prefix) + 1})"
        return text_test(column, asked.test, is_sqlite=self._session.is_sqlite)

    # -- which walks there are -----------------------------------------------------------------

    def _walks(self, space: str, asked: RankedAsked) -> list[_Walk]:
        """By the lines of one name where these are few, else by the order, else by what is asked for."""
        few, is_few = self._fewest(space, asked)
        first = asked.order[0]
        if is_few:
            return [self._by_lines(few, asked)]
        if first.kind == "measure":
            return self._by_measure(first, asked)
        if first.kind == "word":
            return [self._by_words(first, asked)]
        if few.names == (asked.every,) and asked.worded:
            return [self._among_words(asked.worded[0], asked)]
        return [self._by_lines(few, asked)]

    def _fewest(self, space: str, asked: RankedAsked) -> tuple[Measured, bool]:
        """Of what is asked for under one name that which fewest have, else what all have; whether few do."""
        counted = [
            (sum(self._count(space, home, each.names[0]) for home in asked.homes), number)
            for number, each in enumerate(asked.measured)
            if len(each.names) == 1
        ]
        if not counted:
            return Measured(names=(asked.every,)), False
        count, number = min(counted)
        return asked.measured[number], count <= _FEW

    def _count(self, space: str, home: str, name: str) -> int:
        text = (
            "SELECT COUNT(*) FROM (SELECT 1 FROM asset_measures m "
            "WHERE m.space = ? AND m.home = ? AND m.name = ? LIMIT ?) few"
        )
        return int(self._session.fetch(text, [space, home, name, _FEW + 1])[0][0])

    def _by_lines(self, lines: Measured, asked: RankedAsked) -> _Walk:
        """The lines of one name, the newest first where nothing else is asked for."""
        joins, values, atoms = self._tail(asked.order)
        tests: Tests = [("m.name = ?", lines.names), *_span(lines, "m")]
        return _Walk(_BY_NEWEST, tests, joins, values, atoms, (lines,))

    def _among_words(self, worded: Worded, asked: RankedAsked) -> _Walk:
        joins, values, atoms = self._tail(asked.order)
        tests: Tests = [_words(worded.prefix, "m"), self._test(worded, "m")]
        return _Walk(_BY_NEWEST, tests, joins, values, atoms, (worded,))

    def _by_words(self, first: RankKey, asked: RankedAsked) -> _Walk:
        joins, values, tail = self._tail(asked.order[1:])
        own = tuple(each for each in asked.worded if each.prefix == first.key)
        tests: Tests = [_words(first.key, "m"), *(self._test(each, "m") for each in own)]
        walked = Atom("m.name", descending=first.descending, kind=str)
        return _Walk(_BY_NEWEST, tests, joins, values, (walked, *tail), own)

    def _by_measure(self, first: RankKey, asked: RankedAsked) -> list[_Walk]:
        """Where it is a number, where it is none, and where there is nothing."""
        joins, values, tail = self._tail(asked.order[1:])
        own = tuple(each for each in asked.measured if each.names == (first.key,))
        spans = [test for each in own for test in _span(each, "m")]
        number = Atom("m.value", descending=first.descending, kind=float)
        found: list[_Walk] = []
        for is_nan, atoms in enumerate([(number, *tail), tail]):
            tests: Tests = [(f"m.name = ? AND m.is_nan = {is_nan}", (first.key,)), *spans]
            found.append(_Walk(_BY_VALUE, tests, joins, values, atoms, own, is_nan))
        if own:
            return found
        without = "NOT EXISTS (SELECT 1 FROM asset_measures n WHERE n.asset_id = a.id AND n.name = ?)"
        tests = [("m.name = ?", (asked.every,)), (without, (first.key,))]
        return [*found, _Walk(_BY_NEWEST, tests, joins, values, tail, (), len(found))]

    def _tail(self, keys: Sequence[RankKey]) -> tuple[str, tuple[Any, ...], tuple[Atom, ...]]:
        """What keys are read from, and what they order by."""
        joins, values, atoms = "", list[Any](), list[Atom]()
        for number, key in enumerate(keys):
            alias = f"k{number}"
            if key.kind == "measure":
                joins += f" LEFT JOIN asset_measures {alias} ON {alias}.asset_id = a.id AND {alias}.name = ?"
                values.append(key.key)
            elif key.kind == "word":
                within, limits = _words(key.key, alias)
                joins += f" JOIN asset_measures {alias} ON {alias}.asset_id = a.id AND {within}"
                values += limits
            atoms += self._atoms(key, alias)
        return joins, tuple(values), tuple(atoms)

    def _atoms(self, key: RankKey, alias: str) -> list[Atom]:
        down = key.descending
        match key.kind:
            case "measure":
                rank = f"COALESCE({alias}.is_nan, 2)"
                value = Atom(f"COALESCE({alias}.value, 0.0)", descending=down, kind=float)
                return [Atom(rank, descending=False, kind=int), value]
            case "word":
                return [Atom(f"{alias}.name", descending=down, kind=str)]
            case "name":
                return [Atom("m.asset", descending=down, kind=str)]
            case "made":
                return [Atom("m.made_ms", descending=down, kind=int)]
            case "changed":
                return [Atom(_CHANGED, descending=down, kind=int)]
        told = f"json_extract(a.facts, '$.{key.key}')"
        if not self._session.is_sqlite:
            told = f"(a.facts::json->>'{key.key}') COLLATE \"C\""
        return [Atom(f"COALESCE({told}, '')", descending=down, kind=str)]


def _words(prefix: str, alias: str) -> tuple[str, tuple[str, str]]:
    """The stretch of names that begin so."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return f"{alias}.name >= ? AND {alias}.name < ?", (prefix, end)


def _is_measured(asked: Measured) -> tuple[str, Sequence[Any]]:
    marks = ", ".join("?" * len(asked.names))
    span = _span(asked, "e")
    where = " AND ".join([f"e.asset_id = a.id AND e.name IN ({marks})", *(text for text, _ in span)])
    values = [value for _, given in span for value in given]
    return f"EXISTS (SELECT 1 FROM asset_measures e WHERE {where})", [*asked.names, *values]


def _span(asked: Measured, alias: str) -> Tests:
    """Tests of the span of a line."""
    tests: Tests = []
    if asked.low is not None:
        tests.append((f"{alias}.most >= ?", (asked.low,)))
    if asked.high is not None:
        tests.append((f"{alias}.least <= ?", (asked.high,)))
    return tests


def _place(asked: RankedAsked, walk: _Walk) -> Sequence[Any] | None:
    """Where a walk begins; nothing for its start, None where all of it lies before."""
    if asked.after is None:
        return ()
    if walk.stretch is None:
        return _values(asked.order, asked.after)
    at = _rank(asked.after[0])
    if at != walk.stretch:
        return () if at < walk.stretch else None
    lead = (asked.after[0],) if at == 0 else ()
    return (*lead, *_values(asked.order[1:], asked.after[1:]))


def _rank(value: str | float | None) -> int:
    """Numbers before NaN before nothing."""
    if value is None:
        return 2
    return 1 if isinstance(value, float) and math.isnan(value) else 0


def _values(keys: Sequence[RankKey], after: Sequence[str | float | None]) -> list[Any]:
    """The values of atoms at a place that is told key by key."""
    found: list[Any] = []
    for key, value in zip(keys, after, strict=True):
        match key.kind:
            case "measure":
                rank = _rank(value)
                found += [rank, 0.0 if rank else value]
            case "word":
                found.append(f"{key.key}{value}")
            case "made" | "changed":
                found.append(_whole(value))
            case _:
                found.append("" if value is None else str(value))
    return found


def _whole(value: str | float | None) -> int:
    if isinstance(value, int | float) and abs(value) < 2**63:
        return int(value)
    raise Invalid("the page token is of another list", hint="start again without a token")


def _row(it: Measure) -> tuple[Any, ...]:
    is_nan = int(math.isnan(it.value)) if it.place else None
    value = 0.0 if is_nan else it.value
    head = (it.asset_id, it.name, it.space, it.home, it.asset, it.made_ms, is_nan, value)
    return (*head, it.least, it.most, it.at_us, it.step, it.place)


def _measure(asset_id: str, row: Row) -> Measure:
    name, space, home, asset, made_ms, is_nan, value, least, most, at_us, step, place = row
    return Measure(
        asset_id=asset_id,
        name=name,
        space=space,
        home=home,
        asset=asset,
        made_ms=made_ms,
        value=math.nan if is_nan else value,
        least=least,
        most=most,
        at_us=at_us,
        step=step,
        place=place,
    )
