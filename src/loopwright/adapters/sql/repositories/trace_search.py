"""Traces found and ordered page by page: the newest first by an index, in any other order by a sort.

A page of the newest costs what lies between its hits; a filter that few traces pass by an index of tags or
metadata starts there instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loopwright.adapters.sql.listing import checked_limit, write_token
from loopwright.adapters.sql.repositories.places import Atom, beyond, read_place, sorted_rows
from loopwright.adapters.sql.repositories.trace_conditions import (
    NarrowTraces,
    TraceConditions,
    trace_attribute,
)
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.statements import Session
from loopwright.core.errors import Invalid
from loopwright.core.queries import Field, SortKey
from loopwright.core.traces import NAME_TAG, RUN_METADATA, TraceQuery
from loopwright.ports.ledger import PageRequest

__all__ = ["TraceSearch"]

_NEVER_NULL = {"request_id", "experiment_id", "status", "timestamp_ms", "end_time_ms"}
_TEXTS = {"tag": "trace_tags", "metadata": "trace_metadata"}
_START = SortKey(Field("attribute", "timestamp_ms"), descending=True)
_ID = SortKey(Field("attribute", "request_id"))


class TraceSearch:
    """One query about the traces of a space."""

    def __init__(self, session: Session, space: str, query: TraceQuery) -> None:
        self._session = session
        self._space = space
        self._experiments = tuple(dict.fromkeys(query.experiments))
        self._conditions = TraceConditions(session, space, self._experiments)
        self._query = query
        self._joins = ""
        self._joined: list[Any] = []

    def page(self, request: PageRequest) -> tuple[list[int], str]:
        """Numbers of the traces on a page, and the token of the next."""
        wanted = checked_limit(request)
        atoms = self._atoms()
        _, place = read_place(request.token, [atoms])
        rows: list[Row] = []
        narrow = None if self._query.where is None else self._conditions.narrowest(self._query.where)
        for experiment in self._experiments:
            rows += self._rows(experiment, atoms, place, wanted + 1, narrow)
        rows = sorted_rows(rows, atoms)[: wanted + 1]
        kept = rows[:wanted]
        token = write_token([0, *kept[-1][1:]]) if len(rows) > wanted else ""
        return [row[0] for row in kept], token

    def count(self) -> int:
        """How many traces there are."""
        where, values = self._tests()
        text = f"SELECT COUNT(*) FROM traces t WHERE t.space = ? AND t.experiment_id = ? AND {where}"
        return sum(
            int(self._session.fetch(text, [self._space, experiment, *values])[0][0])
            for experiment in self._experiments
        )

    def _tests(self) -> tuple[str, list[Any]]:
        if self._query.where is None:
            return "1 = 1", []
        text, values = self._conditions.sql(self._query.where)
        return f"({text})", values

    def _rows(
        self,
        experiment: str,
        atoms: Sequence[Atom],
        place: Sequence[Any],
        limit: int,
        narrow: NarrowTraces | None,
    ) -> Sequence[Row]:
        tests = ["t.space = ? AND t.experiment_id = ?"]
        source, values = "traces t", [*self._joined]
        if narrow is not None:
            hint = f" INDEXED BY {narrow.table}_value" if self._session.is_sqlite else ""
            source = f"{narrow.table} n{hint} CROSS JOIN traces t"
            tests = [f"{narrow.where} AND t.no = n.trace_no", *tests]
            values += narrow.arguments
        values += [self._space, experiment]
        where, more = self._tests()
        tests.append(where)
        values += more
        if place:
            text, more = beyond(atoms, place)
            tests.append(text)
            values += more
        columns = ", ".join(atom.sql for atom in atoms)
        order = ", ".join(f"{atom.sql} DESC" if atom.descending else atom.sql for atom in atoms)
        text = f"SELECT t.no, {columns} FROM {source}{self._joins} WHERE {' AND '.join(tests)}"
        return self._session.fetch(f"{text} ORDER BY {order} LIMIT ?", [*values, limit])

    # -- the order -------------------------------------------------------------------------------

    def _atoms(self) -> tuple[Atom, ...]:
        asked = {key.field for key in self._query.order}
        keys = [*self._query.order, *(tie for tie in (_START, _ID) if tie.field not in asked)]
        return tuple(atom for number, key in enumerate(keys) for atom in self._key(number, key))

    def _key(self, number: int, key: SortKey) -> list[Atom]:
        kind, name = key.field.kind, key.field.key
        if kind == "attribute" and name == "name":
            kind, name = "tag", NAME_TAG
        if kind == "attribute" and name == "run_id":
            kind, name = "metadata", RUN_METADATA
        if kind in _TEXTS:
            column = f"k{number}.value"
            self._joins += (
                f" LEFT JOIN {_TEXTS[kind]} k{number} ON k{number}.trace_no = t.no AND k{number}.key_no = ?"
            )
            self._joined.append(self._conditions.key_number(name))
            return _nullable(column, key, str)
        if kind != "attribute":
            raise Invalid(f"traces have no order by {kind}", hint="order by an attribute, tag or metadata")
        column, type_ = trace_attribute(name)
        if name in _NEVER_NULL:
            return [Atom(column, descending=key.descending, kind=type_)]
        return _nullable(column, key, type_)


def _nullable(column: str, key: SortKey, kind: type) -> list[Atom]:
    empty = "''" if kind is str else "0"
    return [
        Atom(f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", descending=False, kind=int),
        Atom(f"COALESCE({column}, {empty})", descending=key.descending, kind=kind),
    ]
