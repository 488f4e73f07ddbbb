"""Runs found and ordered by what they logged, page by page, without reading what is not on the page.

The first key of the order drives: its index is walked in order, and each run is tested where it stands, so
a page costs what lies between its hits. A walk has stretches that follow one another (runs with the key,
runs where it is NaN, runs without it), and goes experiment by experiment; the heads are merged here.
Where very many runs have one and the same value, these are walked by their start instead of being sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from loopwright.adapters.sql.listing import checked_limit, write_token
from loopwright.adapters.sql.repositories.conditions import (
    ORDERED,
    USER_TAG,
    Conditions,
    attribute_sql,
    there,
)
from loopwright.adapters.sql.repositories.narrowing import Narrow, are_few, narrowest
from loopwright.adapters.sql.repositories.places import Atom, beyond, read_place, sorted_rows
from loopwright.adapters.sql.repositories.texts import HEAD
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.statements import Session
from loopwright.core.queries import All, Comparison, Condition, Field, RunQuery, SortKey
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["Search"]

_START = SortKey(Field("attribute", "start_time"), descending=True)
_TABLES = {"metric": "metric_latest", "param": "run_params", "tag": "run_tags"}
_TIES = 5_000
"""so many runs of one value are sorted; more are walked by their start"""
_REACH, _FURTHER = 4, 4
"""how far a walk looks ahead for such values: in pages, and how much further each time"""

_Test = tuple[str, Sequence[Any]]


class _Ties(NamedTuple):
    """Of what the rows of a stretch may have one and the same: the walk along the rest of its order."""

    column: str
    descending: bool
    table: str
    key_no: int
    lead: int
    """how many atoms tell that value"""
    rest: tuple[SortKey, ...]
    """the order of those that have the same, its first the start"""


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
    metric: Field | None = None
    """the metric whose numbers are walked"""
    ties: _Ties | None = None


class Search:
    """One query about the runs of a space."""

    def __init__(self, session: Session, space: str, query: RunQuery) -> None:
        self._session = session
        self._space = space
        self._query = query
        self._conditions = Conditions(session, space)
        self._narrows: dict[tuple[int, Field | None], Narrow | None] = {}
        self._sieves: dict[tuple[int, Field | None], Narrow] = {}
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
            text = f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} WHERE {_joined(tests)} LIMIT ?) c"
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
        """The first rows of a stretch beyond a place, in one experiment."""
        is_narrow = (
            self._narrow(stretch, experiment) is not None or self._sieve(stretch, experiment) is not None
        )
        if stretch.ties is None or is_narrow:
            return self._read(stretch, experiment, place, limit)
        return self._by_values(stretch, stretch.ties, experiment, place, limit)

    def _read(
        self,
        stretch: _Stretch,
        experiment: int,
        place: Sequence[Any],
        limit: int,
        within: Sequence[_Test] = (),
    ) -> Sequence[Row]:
        source, tests = self._asked(stretch, experiment, place, within)
        columns = ", ".join(atom.sql for atom in stretch.atoms)
        order = ", ".join(f"{atom.sql} DESC" if atom.descending else atom.sql for atom in stretch.atoms)
        tests += within
        text = f"SELECT r.no, {columns} FROM {source} WHERE {_joined(tests)} ORDER BY {order} LIMIT ?"
        return self._session.fetch(text, [*(v for _, values in tests for v in values), limit])

    def _asked(
        self, stretch: _Stretch, experiment: int, place: Sequence[Any], within: Sequence[_Test] = ()
    ) -> tuple[str, list[_Test]]:
        """What is read, and the tests a run has to pass, with their arguments in the order of the text."""
        narrow = self._narrow(stretch, experiment)
        source, linked = self._source(stretch, narrow)
        tests: list[_Test] = [("", stretch.joined)]
        if narrow is not None:
            tests.append((narrow.where, narrow.arguments))
        tests += [(linked, ()), (stretch.where, (experiment, *stretch.arguments))]
        run = "s.run_no" if narrow is not None else "d.run_no" if stretch.driver else "r.no"
        sieve = self._sieve(stretch, experiment)
        for part in _parts(self._query.where):
            direct = _direct(part, stretch)
            if sieve is not None and part is sieve.settled:
                tests.append(_among(run, sieve))
            elif (narrow is None or part is not narrow.settled) and not _is_wider(direct, within):
                tests.append(direct or self._conditions.sql(part, run))
        tests.append((self._lifecycle(), ()))
        if place:
            tests.append(beyond(stretch.atoms, place))
        return source, tests

    def _narrow(self, stretch: _Stretch, experiment: int) -> Narrow | None:
        """What to begin with in an experiment, found out once a page."""
        asked, known = self._query.where, (experiment, stretch.metric)
        if asked is None:
            return None
        if known not in self._narrows:
            bounds = tuple(part for part in _parts(asked) if _direct(part, stretch) is not None)
            found = narrowest(
                self._session, self._conditions, asked, experiment, wanted=self._wanted, bounds=bounds
            )
            if found is not None and self._is_sieve(stretch, found):
                self._sieves[known], found = found, None
            self._narrows[known] = found
        return self._narrows[known]

    def _is_sieve(self, stretch: _Stretch, found: Narrow) -> bool:
        """Whether the walk is short enough to hold each of its runs against all that pass the test, hashed.

        That is of PostgreSQL, which looks each of those up twice to sort them: their number, then the run.
        """
        is_asked = stretch.metric is not None and found.settled is not None
        return is_asked and not self._session.is_sqlite and are_few(self._session)

    def _sieve(self, stretch: _Stretch, experiment: int) -> Narrow | None:
        """What a walk is held against, once `_narrow` has found it out."""
        return self._sieves.get((experiment, stretch.metric))

    # -- values that very many have ------------------------------------------------------------

    def _by_values(
        self, stretch: _Stretch, ties: _Ties, experiment: int, place: Sequence[Any], limit: int
    ) -> list[Row]:
        """As `_read`, part by part: what lies before a value that very many have, these, what lies behind."""
        rows: list[Row] = []
        behind, back = ("<", ">=") if ties.descending else (">", "<=")
        since: list[_Test] = [(f"{ties.column} {behind}= ?", place[:1])] if place and ties.lead else []
        reach = _REACH * limit
        while len(rows) < limit:
            end = self._ahead(stretch, ties, experiment, since, reach)
            if end is None:
                return [*rows, *self._read(stretch, experiment, place, limit - len(rows), since)]
            is_tied = self._is_tied(stretch, ties, experiment, end)
            until = (f"{ties.column} {back.rstrip('=') if is_tied else back} ?", (end,))
            rows += self._read(stretch, experiment, place, limit - len(rows), [*since, until])
            if is_tied and len(rows) < limit:
                left = limit - len(rows)
                rows += self._tied(stretch, experiment, end, place, ties=ties, limit=left)
            since, reach = [(f"{ties.column} {behind} ?", (end,))], _FURTHER * reach
        return rows

    def _ahead(
        self, stretch: _Stretch, ties: _Ties, experiment: int, since: Sequence[_Test], reach: int
    ) -> Any:
        """The value that stands so many rows ahead, None where the stretch ends before."""
        direct = [test for part in _parts(self._query.where) if (test := _direct(part, stretch))]
        bounds = [test for test in direct if not _is_wider(test, since)]
        tests = [(stretch.where, (experiment, *stretch.arguments)), *bounds, *since]
        order = f"{ties.column} DESC" if ties.descending else ties.column
        text = (
            f"SELECT {ties.column} FROM {stretch.driver} d{self._by_index(stretch.driver)} "
            f"WHERE {_joined(tests)} ORDER BY {order} LIMIT 1 OFFSET ?"
        )
        found = self._session.fetch(text, [*(v for _, values in tests for v in values), reach])
        return found[0][0] if found else None

    def _is_tied(self, stretch: _Stretch, ties: _Ties, experiment: int, value: Any) -> bool:
        """Whether more have this value than are sorted; a text that is cut stands for several."""
        if isinstance(value, str) and len(value) >= HEAD:
            return False
        text = (
            f"SELECT 1 FROM {stretch.driver} d{self._by_index(stretch.driver)} "
            f"WHERE {stretch.where} AND {ties.column} = ? LIMIT 1 OFFSET ?"
        )
        return bool(self._session.fetch(text, [experiment, *stretch.arguments, value, _TIES]))

    def _tied(
        self, stretch: _Stretch, experiment: int, value: Any, place: Sequence[Any], *, ties: _Ties, limit: int
    ) -> list[Row]:
        """The rows of one value beyond a place, in the order of their start."""
        column = f"t.{ties.column.removeprefix('d.')}"
        tied = f"SELECT 1 FROM {ties.table} t WHERE t.run_no = r.no AND t.key_no = ? AND {column} = ?"
        also = there(self._session, f"{tied} AND t.is_nan = 0" if stretch.metric else tied)
        lead = (value,) * ties.lead
        mark = place[ties.lead :] if tuple(place[: ties.lead]) == lead else ()
        rows: list[Row] = []
        parts = self._by_attribute(ties.rest[0], ties.rest[1:], also, (ties.key_no, value))
        for has_no_start, part in enumerate(parts):
            if not mark or mark[0] <= has_no_start:
                behind = mark[1 + has_no_start :] if mark and mark[0] == has_no_start else ()
                told = self._read(part, experiment, behind, limit - len(rows))
                start = (1, 0) if has_no_start else (0,)
                rows += [(row[0], *lead, *start, *row[1:]) for row in told]
        return rows

    # -- what is read --------------------------------------------------------------------------

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
        order = tuple(_stored(key) for key in self._query.order)
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
        if key.field == _START.field:
            column = "r.started_at"  # as where runs are walked by it
        empty = "''" if kind is str else "0"
        return [
            Atom(f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", descending=False, kind=int),
            Atom(f"COALESCE({column}, {empty})", descending=key.descending, kind=kind),
        ]

    def _by_key(self, first: SortKey, rest: Sequence[SortKey]) -> list[_Stretch]:
        joins, joined, tail = self._joins(rest)
        table, key_no = _TABLES[first.field.kind], self._key_number(first.field)
        of_key = "d.experiment_no = ? AND d.key_no = ?"
        with_key = f"SELECT 1 FROM {table} n WHERE n.run_no = r.no AND n.key_no = ?"
        without = f"NOT {there(self._session, with_key)}"
        missing = (
            self._by_attribute(rest[0], rest[1:], without, (key_no,))
            if _is_start(rest)
            else [_Stretch("", joins, f"r.experiment_no = ? AND {without}", (key_no,), tail, joined)]
        )
        ties = _Ties("d.value", first.descending, table, key_no, 1, tuple(rest))
        if first.field.kind == "metric":
            value = Atom("d.value", descending=first.descending, kind=float)
            numbers = _Stretch(
                table, joins, f"{of_key} AND d.is_nan = 0", (key_no,), (value, *tail), joined, first.field
            )
            others = _Stretch(table, joins, f"{of_key} AND d.is_nan = 1", (key_no,), tail, joined)
            stretches = [
                numbers._replace(ties=ties),
                others._replace(ties=ties._replace(column="d.is_nan", lead=0)),
            ]
        else:
            head = Atom("d.head", descending=first.descending, kind=str)
            text = Atom("d.value", descending=first.descending, kind=str)
            texts = _Stretch(table, joins, of_key, (key_no,), (head, text, *tail), joined)
            stretches = [texts._replace(ties=ties._replace(column="d.head", lead=2))]
        if not _is_start(rest):
            stretches = [each._replace(ties=None) for each in stretches]
        return [*stretches, *missing]

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


def _joined(tests: Sequence[_Test]) -> str:
    return " AND ".join(f"({text})" for text, _ in tests if text)


def _parts(asked: Condition | None) -> tuple[Condition, ...]:
    """What all has to hold."""
    return () if asked is None else asked.parts if isinstance(asked, All) else (asked,)


def _direct(asked: Condition, stretch: _Stretch) -> _Test | None:
    """A test of the very numbers that are walked, made where they stand."""
    if not isinstance(asked, Comparison) or stretch.metric is None or asked.field != stretch.metric:
        return None
    if asked.op not in ORDERED or not isinstance(asked.value, int | float):
        return None
    return f"d.value {ORDERED[asked.op]} ?", (float(asked.value),)


def _among(run: str, found: Narrow) -> _Test:
    """Whether a run is one of those, which PostgreSQL hashes as long as it is asked whether that is true."""
    return f"({run} IN (SELECT s.run_no FROM {found.table} s WHERE {found.where})) IS TRUE", found.arguments


def _is_wider(bound: _Test | None, within: Sequence[_Test]) -> bool:
    """Whether numbers are bound more narrowly on this side: of two bounds SQLite would enter by the first."""
    if bound is None:
        return False
    (_, mark, _), (limit, *_) = bound[0].split(), bound[1]
    return any(
        inner.split()[1][0] == mark[0] and (value < limit if mark[0] == "<" else value > limit)
        for inner, (value, *_) in within
        if mark in {"<", "<=", ">", ">="}
    )


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


def _stored(key: SortKey) -> SortKey:
    """A key by where it is stored: who a run's user is, its tag tells."""
    is_user = key.field == Field("attribute", "user_id")
    return SortKey(Field("tag", USER_TAG), key.descending) if is_user else key
