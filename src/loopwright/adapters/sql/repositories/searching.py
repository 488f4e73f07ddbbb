"""Runs found and ordered by what they logged, page by page, without reading what is not on the page.

The first key of the order drives: its index is walked in order, and each run is tested where it stands, so
a page costs what lies between its hits. A walk has stretches that follow one another (runs with the key,
runs where it is NaN, runs without it), and goes experiment by experiment; the heads are merged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from loopwright.adapters.sql.listing import checked_limit, write_token
from loopwright.adapters.sql.repositories.conditions import Conditions, attribute_sql
from loopwright.adapters.sql.repositories.narrowing import Narrow, narrowest
from loopwright.adapters.sql.repositories.places import Atom, beyond, read_place, sorted_rows
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.statements import Session
from loopwright.core.queries import Condition, Field, RunQuery, SortKey
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["Search"]

_START = SortKey(Field("attribute", "start_time"), descending=True)
_TABLES = {"metric": "metric_latest", "param": "run_params", "tag": "run_tags"}


class _Stretch(NamedTuple):
    """One part of a walk: where it reads, what rows it is about, and its order."""

    driver: str
    """the table whose rows `d` are walked, or nothing where the runs `r` themselves are"""
    joins: str
    where: str
    arguments: tuple[Any, ...]
    atoms: tuple[Atom, ...]
    joined: tuple[Any, ...] = ()
    """the arguments of its joins"""


class Search:
    """One query about the runs of a space."""

    def __init__(self, session: Session, space: str, query: RunQuery) -> None:
        self._session = session
        self._space = space
        self._query = query
        self._conditions = Conditions(session, space)
        self._narrows: dict[int, Narrow | None] = {}
        self._wanted = 1

    def page(self, request: PageRequest) -> Page[int]:
        """Numbers of the runs on a page."""
        wanted = self._wanted = checked_limit(request)
        stretches = self._stretches()
        first, place = read_place(request.token, [stretch.atoms for stretch in stretches])
        found: list[tuple[int, Row]] = []
        experiments = self._experiments()
        for number in range(first, len(stretches)):
            after = place if number == first else ()
            rows = self._walked(stretches[number], experiments, after, wanted + 1 - len(found))
            found += [(number, row) for row in rows]
            if len(found) > wanted:
                break
        kept = found[:wanted]
        token = ""
        if len(found) > wanted:
            number, row = kept[-1]
            token = write_token([number, *row[1:]])
        return Page(items=tuple(row[0] for _, row in kept), next_token=token)

    def count(self, most: int) -> int:
        """How many runs there are, at most so many are counted."""
        self._wanted = most
        stretch = _Stretch("", "", "r.experiment_no = ?", (), ())
        total = 0
        for experiment in self._experiments():
            source, tests = self._asked(stretch, experiment, ())
            where = " AND ".join(f"({text})" for text, _ in tests if text)
            text = f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} WHERE {where} LIMIT ?) c"
            values = [*(value for _, given in tests for value in given), most - total]
            total += self._session.fetch(text, values)[0][0]
            if total >= most:
                break
        return total

    def _experiments(self) -> list[int]:
        names = list(dict.fromkeys(self._query.experiments))
        found: list[int] = []
        for start in range(0, len(names), 500):
            part = names[start : start + 500]
            marks = ", ".join("?" * len(part))
            text = f"SELECT no FROM experiments WHERE space = ? AND name IN ({marks})"
            found += [row[0] for row in self._session.fetch(text, [self._space, *part])]
        return found

    def _walked(
        self, stretch: _Stretch, experiments: Sequence[int], place: Sequence[Any], limit: int
    ) -> list[Row]:
        """The first rows of a stretch beyond a place, over all experiments."""
        rows: list[Row] = []
        for experiment in experiments:
            rows += self._rows(stretch, experiment, place, limit)
        return sorted_rows(rows, stretch.atoms)[:limit]

    def _rows(self, stretch: _Stretch, experiment: int, place: Sequence[Any], limit: int) -> Sequence[Row]:
        source, tests = self._asked(stretch, experiment, place)
        columns = ", ".join(atom.sql for atom in stretch.atoms)
        order = ", ".join(f"{atom.sql} DESC" if atom.descending else atom.sql for atom in stretch.atoms)
        where = " AND ".join(f"({text})" for text, _ in tests if text)
        text = f"SELECT r.no, {columns} FROM {source} WHERE {where} ORDER BY {order} LIMIT ?"
        return self._session.fetch(text, [*(v for _, values in tests for v in values), limit])

    def _asked(
        self, stretch: _Stretch, experiment: int, place: Sequence[Any]
    ) -> tuple[str, list[tuple[str, Sequence[Any]]]]:
        """What is read, and the tests a run has to pass, with their arguments in the order of the text."""
        asked = self._query.where
        narrow = None if asked is None else self._narrow(asked, experiment)
        source, linked = self._source(stretch, narrow)
        tests: list[tuple[str, Sequence[Any]]] = [("", stretch.joined)]
        if narrow is not None:
            tests.append((narrow.where, narrow.arguments))
        tests += [(linked, ()), (stretch.where, (experiment, *stretch.arguments))]
        if asked is not None:
            run = "s.run_no" if narrow is not None else "d.run_no" if stretch.driver else "r.no"
            tests.append(self._conditions.sql(asked, run))
        tests.append((self._lifecycle(), ()))
        if place:
            tests.append(beyond(stretch.atoms, place))
        return source, tests

    def _narrow(self, asked: Condition, experiment: int) -> Narrow | None:
        """What to begin with in an experiment, found out once a page."""
        if experiment not in self._narrows:
            found = narrowest(self._session, self._conditions, asked, experiment, self._wanted)
            self._narrows[experiment] = found
        return self._narrows[experiment]

    def _source(self, stretch: _Stretch, narrow: Narrow | None) -> tuple[str, str]:
        """What is read from first to last, and what links it; SQLite keeps to the order of CROSS JOIN."""
        tables, links = list[str](), list[str]()
        if narrow is not None:
            tables.append(f"{narrow.table} s{self._by_index(narrow.table)}")
        if stretch.driver:
            index = "" if tables else self._by_index(stretch.driver)
            links += ["d.run_no = s.run_no"] if tables else []
            tables.append(f"{stretch.driver} d{index}")
        if tables:
            links.append(f"r.no = {'s' if narrow is not None else 'd'}.run_no")
        return " CROSS JOIN ".join([*tables, "runs r"]) + stretch.joins, " AND ".join(links)

    def _by_index(self, table: str) -> str:
        return f" INDEXED BY {table}_value" if self._session.is_sqlite else ""

    def _lifecycle(self) -> str:
        return {"active": "r.deleted_at IS NULL", "deleted": "r.deleted_at IS NOT NULL", "all": ""}[
            self._query.lifecycle
        ]

    # -- the walk ----------------------------------------------------------------------------

    def _stretches(self) -> list[_Stretch]:
        order = self._query.order
        if not any(key.field == _START.field for key in order):
            order = (*order, _START)
        first, *rest = order
        if first.field.kind in _TABLES:
            return self._by_key(first, rest)
        return self._by_attribute(first, rest)

    def _joins(self, keys: Sequence[SortKey]) -> tuple[str, tuple[Any, ...], tuple[Atom, ...]]:
        """What the later keys of the order are read from, and what they and the id order by."""
        joins, arguments, atoms = "", list[Any](), list[Atom]()
        for number, key in enumerate(keys):
            if key.field.kind in _TABLES:
                alias = f"k{number}"
                joins += (
                    f" LEFT JOIN {_TABLES[key.field.kind]} {alias} "
                    f"ON {alias}.run_no = r.no AND {alias}.key_no = ?"
                )
                arguments.append(self._key_number(key.field))
                atoms += _key_atoms(key, alias)
            else:
                atoms += self._attribute_atoms(key)
        return joins, tuple(arguments), (*atoms, Atom("r.id", descending=False, kind=str))

    def _key_number(self, field: Field) -> int:
        return self._conditions.key_number(field.key)

    def _attribute_atoms(self, key: SortKey) -> list[Atom]:
        column, kind = attribute_sql(key.field.key, self._session.is_sqlite)
        empty = "''" if kind is str else "0"
        return [
            Atom(f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", descending=False, kind=int),
            Atom(f"COALESCE({column}, {empty})", descending=key.descending, kind=kind),
        ]

    def _by_key(self, first: SortKey, rest: Sequence[SortKey]) -> list[_Stretch]:
        joins, joined, tail = self._joins(rest)
        table, key_no = _TABLES[first.field.kind], self._key_number(first.field)
        there = "d.experiment_no = ? AND d.key_no = ?"
        without = f"NOT EXISTS (SELECT 1 FROM {table} n WHERE n.run_no = r.no AND n.key_no = ?)"
        missing = (
            self._by_attribute(rest[0], rest[1:], without, (key_no,))
            if _is_start(rest)
            else [_Stretch("", joins, f"r.experiment_no = ? AND {without}", (key_no,), tail, joined)]
        )
        if first.field.kind == "metric":
            value = Atom("d.value", descending=first.descending, kind=float)
            return [
                _Stretch(table, joins, f"{there} AND d.is_nan = 0", (key_no,), (value, *tail), joined),
                _Stretch(table, joins, f"{there} AND d.is_nan = 1", (key_no,), tail, joined),
                *missing,
            ]
        head = Atom("d.head", descending=first.descending, kind=str)
        text = Atom("d.value", descending=first.descending, kind=str)
        return [_Stretch(table, joins, there, (key_no,), (head, text, *tail), joined), *missing]

    def _by_attribute(
        self, first: SortKey, rest: Sequence[SortKey], also: str = "", arguments: tuple[Any, ...] = ()
    ) -> list[_Stretch]:
        joins, joined, tail = self._joins(rest)
        of = f"r.experiment_no = ? AND {also}" if also else "r.experiment_no = ?"
        if first.field != _START.field:
            atoms = (*self._attribute_atoms(first), *tail)
            return [_Stretch("", joins, of, arguments, atoms, joined)]
        started = Atom("r.started_at", descending=first.descending, kind=int)
        return [
            _Stretch("", joins, f"{of} AND r.started_at IS NOT NULL", arguments, (started, *tail), joined),
            _Stretch("", joins, f"{of} AND r.started_at IS NULL", arguments, tail, joined),
        ]


def _is_start(keys: Sequence[SortKey]) -> bool:
    return bool(keys) and keys[0].field == _START.field


def _key_atoms(key: SortKey, alias: str) -> list[Atom]:
    missing = Atom(f"CASE WHEN {alias}.run_no IS NULL THEN 1 ELSE 0 END", descending=False, kind=int)
    if key.field.kind == "metric":
        return [
            missing,
            Atom(f"COALESCE({alias}.is_nan, 0)", descending=False, kind=int),
            Atom(f"COALESCE({alias}.value, 0.0)", descending=key.descending, kind=float),
        ]
    return [missing, Atom(f"COALESCE({alias}.value, '')", descending=key.descending, kind=str)]
