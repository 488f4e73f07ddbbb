"""The port `Scanner` by DuckDB: one statement for all that is asked, more for the first of what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from loopwright.adapters.tables.compile import Kind
from loopwright.adapters.tables.memory import budget_of, spare_of
from loopwright.adapters.tables.scan_frames import lazy_frame, parquet_paths, platform_schema
from loopwright.adapters.tables.scan_polars import plain_value, reject_unknown
from loopwright.adapters.tables.scan_sql import Term, condition_sql, expression_sql, name_sql, text_sql
from loopwright.adapters.tables.types import schema_of
from loopwright.core.errors import Invalid, Unavailable
from loopwright.core.expressions import Col
from loopwright.core.instants import format_instant, from_micros
from loopwright.core.nouns import Json
from loopwright.core.schema import ColumnType, Schema
from loopwright.engine.scratch import scratch
from loopwright.ports.scans import (
    Aggregate,
    FailedGroups,
    FailedRows,
    FailingRow,
    GroupCheck,
    Histogram,
    Levels,
    Measure,
    ReferenceCheck,
    Scanned,
    ScanPlan,
    UniqueCheck,
)

if TYPE_CHECKING:
    import duckdb

__all__ = ["DuckDBHeld", "DuckDBScanner", "database", "defined_rows", "fetched"]

_MIB = 1 << 20
_ROW = "__loopwright_row"
_NUMBERED = f"(SELECT rows.*, row_number() OVER () - 1 AS {_ROW} FROM rows)"
_ORDERED = {"sum": "sum", "mean": "avg", "std": "stddev_samp", "min": "min", "max": "max"}
_SETTINGS = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET preserve_insertion_order = true",
    "SET enable_progress_bar = false",
)


class DuckDBScanner:
    """Scans by DuckDB, each in a database of its own in memory, which spills to a folder of its own.

    `memory_bytes` is what a scan may take where it is not told; half of the machine's by default.
    """

    def __init__(self, memory_bytes: int | None = None) -> None:
        self._memory_bytes = memory_bytes

    @contextmanager
    def open(self, source: Any, *, memory_bytes: int | None = None) -> Iterator[DuckDBHeld]:
        """Make rows ready to be scanned: Parquet files and Arrow tables as they are, others as a file."""
        with ExitStack() as stack:
            folder = str(stack.enter_context(scratch()))
            connection = _connected(folder, memory_bytes or self._memory_bytes)
            stack.callback(connection.close)
            with lazy_frame(source) as frame:
                schema = platform_schema(frame)
                made = _from_clause(connection, source, frame, Path(folder))
                _define(connection, made, schema)
                yield DuckDBHeld(connection, schema)


@contextmanager
def database(memory_bytes: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory that spills to a folder of its own; both go at the end."""
    with scratch() as folder:
        connection = _connected(str(folder), memory_bytes)
        try:
            yield connection
        finally:
            connection.close()


def fetched(
    connection: duckdb.DuckDBPyConnection, statement: str, given: Mapping[str, object] | None = None
) -> pa.Table:
    """All rows of a statement."""
    found: pa.Table = connection.sql(statement, params=given).to_arrow_table()
    return found


def defined_rows(connection: duckdb.DuckDBPyConnection, table: pa.Table) -> dict[str, ColumnType]:
    """The table as the view `rows`, in the types that `expression_sql` takes; the types by column."""
    schema = schema_of(table)
    connection.register("__loopwright_source", table)
    _define(connection, "__loopwright_source", schema)
    return {column.name: column.type for column in schema.columns}


def _connected(folder: str, memory_bytes: int | None) -> duckdb.DuckDBPyConnection:
    try:
        import duckdb
    except ImportError as error:
        raise Unavailable("DuckDB is not installed", hint='pip install "loopwright[duckdb]"') from error
    limit = f"{spare_of(budget_of(memory_bytes)) // _MIB}MiB"
    connection = duckdb.connect(":memory:", config={"temp_directory": folder, "memory_limit": limit})
    for setting in _SETTINGS:
        connection.execute(setting)
    return connection


def _from_clause(
    connection: duckdb.DuckDBPyConnection, source: Any, frame: pl.LazyFrame, folder: Path
) -> str:
    paths = parquet_paths(source)
    if paths is None and isinstance(source, pa.Table):
        connection.register("__loopwright_source", source)
        return "__loopwright_source"
    if paths is None:
        path = folder / "rows.parquet"
        frame.sink_parquet(path, compression="zstd", compression_level=1)
        paths = [str(path)]
    listed = ", ".join(text_sql(path) for path in paths)
    return f"read_parquet([{listed}])"


def _define(connection: duckdb.DuckDBPyConnection, source: str, schema: Schema) -> None:
    columns = ", ".join(f"{_in_platform_type(c.name, c.type)} AS {name_sql(c.name)}" for c in schema.columns)
    rows = f"SELECT {columns or '1'} FROM {source}"
    connection.execute(f"CREATE VIEW rows AS {rows}")  # names and texts in it are quoted


def _in_platform_type(name: str, kind: ColumnType) -> str:
    column = name_sql(name)
    match kind:
        case ColumnType.INSTANT:
            return f"epoch_us(CAST({column} AS TIMESTAMPTZ))"
        case ColumnType.INT:
            return f"CAST({column} AS BIGINT)"
        case ColumnType.FLOAT:
            return f"CAST({column} AS DOUBLE)"
        case ColumnType.STRING:
            return f"CAST({column} AS VARCHAR)"
        case _:
            return column


class DuckDBHeld:
    """A view of rows in a database of its own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: Schema) -> None:
        self._connection = connection
        self._schema = schema
        self._types = {column.name: column.type for column in schema.columns}

    @property
    def schema(self) -> Schema:
        """Columns and their types."""
        return self._schema

    def scan(self, plan: ScanPlan) -> Scanned:
        """All of the plan in one statement, and further ones for the first of what failed."""
        reject_unknown(plan, self._schema.names)
        self._register_known(plan.references)
        failing = self._failing(plan)
        asked = ["count(*)", *(f"count(*) FILTER (WHERE {sql})" for sql in failing.values())]
        asked += [self._repeats(check) for check in plan.unique]
        asked += [self._measured(each) for each in plan.measures]
        asked += [sql for each in plan.histograms for sql in self._bins(each)]
        asked += [sql for each in plan.levels for sql in self._levels(each)]
        for check in plan.groups:
            grouped = self._grouped(check)
            asked += [
                f"(SELECT count(*) FROM {grouped})",
                f"(SELECT count(*) FROM {grouped} WHERE {_outside(check)})",
            ]
        rows = _joined("rows AS numbered", plan.references)
        found = iter(self._one(f"SELECT {', '.join(asked)} FROM {rows}"))
        return self._scanned(plan, found, failing)

    def _scanned(self, plan: ScanPlan, found: Iterator[Any], failing: dict[str, str]) -> Scanned:
        total = int(next(found))
        counted = {name: int(next(found) or 0) for name in failing}
        repeats = {check.name: int(next(found) or 0) for check in plan.unique}
        measures = {each.name: plain_value(next(found)) for each in plan.measures}
        counts = {each.name: _between(found, len(each.edges) + 1) for each in plan.histograms}
        counts |= {each.name: _with_others(found, len(each.values)) for each in plan.levels}
        groups = {check.name: (int(next(found)), int(next(found))) for check in plan.groups}
        checks = {
            name: FailedRows(failed=count, first=self._first(failing[name], plan) if count else ())
            for name, count in counted.items()
        }
        for check in plan.unique:
            count = repeats[check.name]
            first = self._first_repeats(check, plan) if count else ()
            checks[check.name] = FailedRows(failed=count, first=first)
        return Scanned(
            rows=total,
            checks=checks,
            groups={check.name: self._torn(check, plan, *groups[check.name]) for check in plan.groups},
            measures=measures,
            counts=counts,
        )

    def _one(self, sql: str) -> tuple[Any, ...]:
        return self._all(sql)[0]

    def _all(self, sql: str) -> list[tuple[Any, ...]]:
        import duckdb

        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.OutOfMemoryException as error:
            raise Unavailable(
                "memory does not suffice for this scan", hint="let it take more by the setting `memory`"
            ) from error
        except duckdb.Error as error:
            said = str(error).splitlines()[0][:200]
            raise Invalid(f"the rows cannot be scanned: {said}", hint="see to the values it names") from error

    # -- rows -----------------------------------------------------------------------------------------------

    def _register_known(self, checks: Sequence[ReferenceCheck]) -> None:
        for place, check in enumerate(checks):
            self._register(place, check)

    def _register(self, place: int, check: ReferenceCheck) -> None:
        kind = self._types[check.column]
        known = pl.Series(pl.from_arrow(check.known))
        if (known.dtype == pl.String) != (kind is ColumnType.STRING) and known.dtype != pl.Null:
            raise Invalid(
                f"the column {check.column!r} is of type {kind}, what it refers to of type {known.dtype}",
                hint="refer to a column of the same type",
            )
        if isinstance(known.dtype, pl.Datetime):
            known = known.dt.epoch("us")
        unique = known.drop_nulls().unique().alias("value")
        self._connection.register(f"known_{place}", unique.to_frame().to_arrow())

    def _failing(self, plan: ScanPlan) -> dict[str, str]:
        found = {
            check.name: f"NOT coalesce({condition_sql(check.expr, self._types)}, {not check.null_fails})"
            for check in plan.rows
        }
        for place, check in enumerate(plan.references):
            column = f"numbered.{name_sql(check.column)}"
            found[check.name] = f"{column} IS NOT NULL AND known_{place}.value IS NULL"
        return found

    def _first(self, failing: str, plan: ScanPlan) -> tuple[FailingRow, ...]:
        """Rows of a file stay in order, but in a join: without one the scan ends with the last named."""
        wanted = ", ".join(name_sql(name) for name in (_ROW, *plan.keys))
        rows = _joined(f"{_NUMBERED} AS numbered", plan.references)
        order = f"ORDER BY {name_sql(_ROW)}"
        limited = f"{order} LIMIT {plan.first}" if plan.references else f"LIMIT {plan.first}"
        return self._named(
            f"SELECT * FROM (SELECT {wanted} FROM {rows} WHERE {failing} {limited}) {order}", plan
        )

    def _named(self, sql: str, plan: ScanPlan) -> tuple[FailingRow, ...]:
        return tuple(
            FailingRow(
                row=row[0], key={n: self._value(n, v) for n, v in zip(plan.keys, row[1:], strict=True)}
            )
            for row in self._all(sql)
        )

    def _value(self, name: str, value: Any) -> Any:
        if self._types[name] is ColumnType.INSTANT and value is not None:
            return format_instant(from_micros(value))
        return plain_value(value)

    # -- keys -----------------------------------------------------------------------------------------------

    def _key(self, check: UniqueCheck) -> tuple[str, str]:
        there = " AND ".join(f"{name_sql(name)} IS NOT NULL" for name in check.columns)
        parts = [
            f"{name_sql(name)} + 0.0" if self._types[name] is ColumnType.FLOAT else name_sql(name)
            for name in check.columns
        ]
        return there, parts[0] if len(parts) == 1 else f"ROW({', '.join(parts)})"

    def _repeats(self, check: UniqueCheck) -> str:
        there, key = self._key(check)
        return f"count(*) FILTER (WHERE {there}) - count(DISTINCT {key}) FILTER (WHERE {there})"

    def _first_repeats(self, check: UniqueCheck, plan: ScanPlan) -> tuple[FailingRow, ...]:
        there, key = self._key(check)
        row = name_sql(_ROW)
        wanted = ", ".join(name_sql(name) for name in (_ROW, *plan.keys))
        nth = f"row_number() OVER (PARTITION BY {key} ORDER BY {row})"
        inner = f"(SELECT *, {nth} AS __loopwright_nth FROM {_NUMBERED} WHERE {there})"
        sql = f"SELECT {wanted} FROM {inner} WHERE __loopwright_nth > 1 ORDER BY {row} LIMIT {plan.first}"
        return self._named(sql, plan)

    # -- aggregates -----------------------------------------------------------------------------------------

    def _measured(self, measure: Measure) -> str:
        if measure.op == "rows":
            return "count(*)"
        if not measure.column:
            raise Invalid(f"{measure.op} is measured of no column", hint="name one")
        term = expression_sql(Col(measure.column), self._types)
        return _aggregated(measure.op, term, measure.column)

    def _bins(self, asked: Histogram) -> list[str]:
        if self._types[asked.column] in (ColumnType.STRING, ColumnType.BOOL):
            raise Invalid(
                f"the column {asked.column!r} has no histogram", hint="ask one of numbers or instants"
            )
        value = f"CAST({name_sql(asked.column)} AS DOUBLE)"
        number = f"{value} IS NOT NULL AND NOT isnan({value})"
        edges = [f"CAST('{edge!r}' AS DOUBLE)" for edge in asked.edges]
        found = [f"count(*) FILTER (WHERE {number} AND {value} < {edge})" for edge in edges[:-1]]
        found.append(f"count(*) FILTER (WHERE {number} AND {value} <= {edges[-1]})")
        return [*found, f"count(*) FILTER (WHERE {number})"]

    def _levels(self, asked: Levels) -> list[str]:
        listed = [
            f"count(*) FILTER (WHERE {condition_sql(Col(asked.column).eq(value), self._types)})"
            for value in asked.values
        ]
        return [*listed, f"count({name_sql(asked.column)})"]

    # -- groups ---------------------------------------------------------------------------------------------

    def _grouped(self, check: GroupCheck) -> str:
        by = ", ".join(name_sql(name) for name in check.by)
        if check.op == "rows":
            value = "count(*)"
        elif check.expr is None:
            raise Invalid(f"the group check {check.name!r} has no expression", hint="say what is aggregated")
        else:
            value = _aggregated(check.op, expression_sql(check.expr, self._types), check.name)
        number = f"CAST({value} AS DOUBLE)"
        safe = f"CASE WHEN isnan({number}) THEN NULL ELSE {number} END"
        return f"(SELECT {by}, {safe} AS __loopwright_value FROM rows GROUP BY {by})"

    def _torn(self, check: GroupCheck, plan: ScanPlan, groups: int, failed: int) -> FailedGroups:
        first: tuple[Json, ...] = ()
        if failed:
            by = [name_sql(name) for name in check.by]
            order = ", ".join(f"{name} ASC NULLS LAST" for name in by)
            sql = (
                f"SELECT {', '.join(by)}, __loopwright_value FROM {self._grouped(check)} "
                f"WHERE {_outside(check)} ORDER BY {order} LIMIT {plan.first}"
            )
            first = tuple(
                {
                    **{n: self._value(n, v) for n, v in zip(check.by, row[:-1], strict=True)},
                    "value": plain_value(row[-1]),
                }
                for row in self._all(sql)
            )
        return FailedGroups(groups=groups, failed=failed, first=first)


def _joined(rows: str, checks: Sequence[ReferenceCheck]) -> str:
    for place, check in enumerate(checks):
        rows += f" LEFT JOIN known_{place} ON known_{place}.value = numbered.{name_sql(check.column)}"
    return rows


def _outside(check: GroupCheck) -> str:
    sides = []
    if check.low is not None:
        sides.append(f"__loopwright_value < CAST('{float(check.low)!r}' AS DOUBLE)")
    if check.high is not None:
        sides.append(f"__loopwright_value > CAST('{float(check.high)!r}' AS DOUBLE)")
    return f"coalesce({' OR '.join(sides) or 'FALSE'}, FALSE)"


def _aggregated(op: Aggregate, term: Term, what: str) -> str:
    if term.kind is Kind.STRING and op in _ORDERED:
        raise Invalid(f"{op} of {what!r} is asked, which is a string", hint="ask it of numbers or instants")
    if op == "rows":
        return "count(*)"
    if op == "count":
        return f"count({term.sql})"
    if op == "nulls":
        return f"(count(*) - count({term.sql}))"
    value = term.as_(Kind.INT) if term.kind is Kind.BOOL else term.sql
    if term.kind is Kind.FLOAT:
        value = f"CASE WHEN isnan({value}) THEN NULL ELSE {value} + 0.0 END"
    if op == "distinct":
        return f"count(DISTINCT {value})"
    total = f"{_ORDERED[op]}({value})"
    return f"CAST(coalesce({total}, 0) AS {_sum_type(term)})" if op == "sum" else total


def _sum_type(term: Term) -> str:
    return "DOUBLE" if term.kind is Kind.FLOAT else "BIGINT"


def _between(found: Iterator[Any], count: int) -> tuple[int, ...]:
    reached = [int(next(found) or 0) for _ in range(count)]
    return tuple(after - before for before, after in zip([0, *reached], reached, strict=False))


def _with_others(found: Iterator[Any], values: int) -> tuple[int, ...]:
    counts = [int(next(found) or 0) for _ in range(values + 1)]
    return (*counts[:-1], counts[-1] - sum(counts[:-1]))
