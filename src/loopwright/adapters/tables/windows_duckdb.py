"""Windowed aggregates at many instants, by DuckDB: questions and rows in one order, frames back in time.

DuckDB orders, frames and adds up whole numbers. What has to be exact to the last bit and is not exact in
floating point (sums and deviations of broken numbers) is given its rows and finished by `core.windows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from loopwright.adapters.tables.compile import Kind
from loopwright.adapters.tables.joins import newest_order
from loopwright.adapters.tables.keys import instants_of, match_keys
from loopwright.adapters.tables.scan_duckdb import database, defined_rows, fetched
from loopwright.adapters.tables.scan_sql import Term, expression_sql
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Window, columns_of
from loopwright.core.instants import duration
from loopwright.core.windows import exact_mean, exact_std, exact_sum, std_of_sums
from loopwright.ports.tables import WindowJoin

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["join_windows"]

_EXACT, _WORD = float(1 << 53), float(1 << 63)
_NUMBERS = ("sum", "mean", "std")
_ARROW = {Kind.BOOL: pa.bool_(), Kind.INT: pa.int64(), Kind.FLOAT: pa.float64(), Kind.STRING: pa.string()}


class _Column(NamedTuple):
    """An expression over the view: where its values are in `history`, and of which kind they are."""

    name: str
    kind: Kind
    whole: bool
    """whether sums of the values are exact as 64-bit integers"""
    squares_whole: bool
    """whether sums of their squares are"""


def join_windows(spine: pa.Table, view: pa.Table, join: WindowJoin) -> pa.Table:
    """The spine's columns, then one column per window, to the last bit as `core.windows.aggregate` says."""
    clash = [name for name in join.windows if name in spine.column_names]
    if clash:
        raise Invalid(f"the spine has a column {clash[0]!r} already", hint="name the feature differently")
    asked = instants_of(spine, join.time, "time")
    codes, rows, row_codes = match_keys(spine, view, join.keys)
    with database() as connection:
        types = defined_rows(connection, view)
        terms = {name: _term(window, types) for name, window in join.windows.items()}
        values = _values(connection, terms)
        history = _history(view, join, rows, row_codes, values)
        connection.register("history", history)
        connection.register("asked", _questions(codes, asked.micros, ~asked.missing))
        columns = {name: _column(f"v{_at(terms, name)}", terms[name].kind, history) for name in terms}
        found = fetched(connection, _statement(join.windows, columns))
    table = spine
    for at, (name, window) in enumerate(join.windows.items()):
        column = _finished(window, columns[name], found.column(f"f{at}"), history, asked.missing)
        table = table.append_column(name, column)
    return table


def _column(name: str, kind: Kind, history: pa.Table) -> _Column:
    if kind is Kind.STRING:
        return _Column(name, kind, whole=False, squares_whole=False)
    numbers = history.column(name).cast(pa.float64(), safe=False).drop_null().to_numpy()
    with np.errstate(all="ignore"):
        total, squares = np.abs(numbers).sum(), np.square(numbers).sum()
        is_whole = kind is not Kind.FLOAT or bool(total < _EXACT and np.all(numbers == np.floor(numbers)))
        is_whole = is_whole and bool(total < _WORD)
    return _Column(name, kind, whole=is_whole, squares_whole=is_whole and bool(squares < _EXACT))


def _term(window: Window, types: Mapping[str, Any]) -> Term:
    for name in columns_of(window.expr):
        if name not in types:
            raise Invalid(f"there is no column {name!r}", hint=f"the columns are {', '.join(types)}")
    term = expression_sql(window.expr, types)
    if window.op in _NUMBERS and term.kind is Kind.STRING:
        raise Invalid(f"a {window.op} needs numbers, not strings", hint="aggregate a column of numbers")
    if duration(window.over) <= duration("0"):
        raise Invalid("a window is empty", hint="give it a duration such as 1h")
    return term._replace(kind=Kind.INT, sql="CAST(NULL AS BIGINT)") if term.kind is Kind.NULL else term


def _at(terms: Mapping[str, Term], name: str) -> int:
    """Which of the different expressions a window is of."""
    return list(dict.fromkeys(term.sql for term in terms.values())).index(terms[name].sql)


def _values(connection: duckdb.DuckDBPyConnection, terms: Mapping[str, Term]) -> pa.Table:
    """Each different expression for each row of the view, under `v0`, `v1` and so on."""
    different = {term.sql: term.kind for term in terms.values()}
    columns = ", ".join(f"{sql} AS v{at}" for at, sql in enumerate(different)) or "1"
    found = fetched(connection, f"SELECT {columns} FROM rows")
    kinds = [_ARROW[kind] for kind in different.values()]
    return pa.table({f"v{at}": found.column(at).cast(kind) for at, kind in enumerate(kinds)})


def _history(view: pa.Table, join: WindowJoin, rows: Ints, codes: Ints, values: pa.Table) -> pa.Table:
    """The rows of asked keys from the oldest to the newest: key, known-at, newness, values of expressions."""
    known = instants_of(view, join.known_at, "known-at")
    event = known if join.event_time is None else instants_of(view, join.event_time, "event time")
    micros = np.where(known.missing, event.micros, known.micros)
    there = ~(known.missing & event.missing)[rows]
    rows, codes = rows[there], codes[there]
    happened = np.where(event.missing, micros, event.micros)
    order = newest_order(view, join.order, rows, codes, (happened, micros))
    rows, codes = rows[order], codes[order]
    taken = values.take(pa.array(rows))
    columns = {"k": codes, "moment": micros[rows], "newness": np.arange(len(rows))}
    return pa.table({**columns, **{name: taken.column(name) for name in taken.column_names}})


def _questions(codes: Ints, micros: Ints, usable: NDArray[np.bool_]) -> pa.Table:
    """Key, instant and place of each row of the spine; without an instant there is no question."""
    places = np.arange(len(codes))
    return pa.table({"place": places, "k": codes, "moment": pa.array(micros, mask=~usable)})


def _statement(windows: Mapping[str, Window], columns: Mapping[str, _Column]) -> str:
    """One statement: rows and questions of a key in one order, a frame for each length of time."""
    spans = {window.over: duration(window.over) // duration("1us") for window in windows.values()}
    named = list(spans)
    frames = ", ".join(
        f"w{at} AS (PARTITION BY k ORDER BY moment RANGE BETWEEN {spans[over] - 1} PRECEDING AND CURRENT ROW)"
        for at, over in enumerate(named)
    )
    asked = [
        f"{_frame_sql(window, columns[name])} AS f{at}".replace("$w", f"w{named.index(window.over)}")
        for at, (name, window) in enumerate(windows.items())
    ]
    different = sorted({column.name for column in columns.values()})
    nothing = "".join(f", NULL AS {name}" for name in different)
    held = "".join(f", {name}" for name in different)
    return f"""
WITH together AS (
    SELECT k, moment, NULL AS newness, place{nothing} FROM asked WHERE moment IS NOT NULL
    UNION ALL BY NAME SELECT k, moment, newness, NULL AS place{held} FROM history
), framed AS (SELECT place, {", ".join(asked)} FROM together WINDOW {frames})
SELECT framed.* EXCLUDE (place) FROM asked
LEFT JOIN (SELECT * FROM framed WHERE place IS NOT NULL) AS framed USING (place) ORDER BY place
"""


def _frame_sql(window: Window, column: _Column) -> str:
    """What a window asks of its frame `$w`: the answer itself, or what `_finished` makes it of."""
    value, number = column.name, f"CAST({column.name} AS BIGINT)"
    total = f"CAST(sum({number}) OVER $w AS BIGINT)"
    count = f"count({value}) OVER $w"
    match window.op:
        case "count":
            return count
        case "last":
            return "max(newness) OVER $w"
        case "distinct":
            different = f"{value} + CAST(0 AS DOUBLE)" if column.kind is Kind.FLOAT else value
            return f"count(DISTINCT {different}) OVER $w"
        case "min" | "max":
            return _extreme_sql(window.op, column)
    if window.op == "std" and column.squares_whole:
        squares = f"CAST(sum({number} * {number}) OVER $w AS BIGINT)"
        return f"struct_pack(n := {count}, s := {total}, q := {squares})"
    if window.op != "std" and not column.whole and column.kind is not Kind.FLOAT:
        raise Invalid("the sum of the integers is over 64 bits", hint="sum floats instead")
    if window.op == "std" or not column.whole:
        return f"list({value}) FILTER (WHERE {value} IS NOT NULL) OVER $w"
    if window.op == "sum":
        return f"coalesce({total}, 0)"
    return f"CASE WHEN {count} > 0 THEN CAST({total} AS DOUBLE) / {count} END"


def _extreme_sql(op: str, column: _Column) -> str:
    if column.kind is Kind.BOOL:
        return f"{op}(CAST({column.name} AS BIGINT)) OVER $w"
    found = f"{op}({column.name}) OVER $w"
    if column.kind is not Kind.FLOAT:
        return found
    is_nan = f"bool_or(isnan({column.name})) OVER $w"
    return f"CASE WHEN {is_nan} THEN CAST('nan' AS DOUBLE) ELSE {found} + CAST(0 AS DOUBLE) END"


def _finished(
    window: Window, column: _Column, found: pa.ChunkedArray, history: pa.Table, unknown: NDArray[np.bool_]
) -> pa.Array:
    """The answers as the platform has them, null where no instant was asked for."""
    match window.op:
        case "last":
            values = history.column(column.name)
            return values.take(found.cast(pa.int64()))
        case "min" | "max":
            return found.cast(pa.int64()).cast(pa.bool_()) if column.kind is Kind.BOOL else found
        case "count" | "distinct":
            return found.cast(pa.int64())
        case "std" if column.squares_whole:
            answers = [_std_of(each) for each in found.to_pylist()]
            return pa.array(answers, pa.float64())
        case "sum" if column.whole:
            return found.cast(_ARROW[Kind.FLOAT] if column.kind is Kind.FLOAT else pa.int64())
        case "mean" if column.whole:
            return found.cast(pa.float64())
    numbers = [None if gone else each or [] for each, gone in zip(found.to_pylist(), unknown, strict=True)]
    return pa.array([None if each is None else _exact(window.op, each) for each in numbers], pa.float64())


def _std_of(sums: Mapping[str, int | None] | None) -> float | None:
    if sums is None or not sums["n"]:
        return None
    return std_of_sums(sums["n"], sums["s"] or 0, sums["q"] or 0)


def _exact(op: str, numbers: Sequence[float]) -> float | None:
    if op == "std":
        return exact_std(numbers)
    total = exact_sum(numbers)
    return total if op == "sum" else exact_mean(total, len(numbers))
