"""The port `Tables` with DuckDB for what grows with history: joins, windows, computed columns.

Each call has a database of its own, which spills to a folder of its own where memory does not suffice. Files
are read and written by the other engine, so that bytes stay what they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from loopwright.adapters.tables.compile import Kind
from loopwright.adapters.tables.engine import PolarsTables
from loopwright.adapters.tables.joins_duckdb import join_as_of
from loopwright.adapters.tables.scan_duckdb import database, defined_rows, fetched
from loopwright.adapters.tables.scan_sql import expression_sql, name_sql
from loopwright.adapters.tables.windows_duckdb import join_windows
from loopwright.core.expressions import Expr
from loopwright.ports.tables import AsOfJoin, WindowJoin

__all__ = ["DuckDBTables"]

_TYPES = {Kind.BOOL: pa.bool_(), Kind.INT: pa.int64(), Kind.FLOAT: pa.float64(), Kind.STRING: pa.string()}


class DuckDBTables(PolarsTables):
    """Tables by DuckDB. Without state, so thread safe; answers are those of `PolarsTables`."""

    def compute(self, table: pa.Table, expressions: Mapping[str, Expr]) -> pa.Table:
        """The value of each expression for each row, under the given names."""
        if not expressions or not table.num_columns:
            return super().compute(table, expressions)
        with database() as connection:
            types = defined_rows(connection, table)
            terms = {name: expression_sql(expr, types) for name, expr in expressions.items()}
            columns = ", ".join(f"{term.sql} AS {name_sql(name)}" for name, term in terms.items())
            found = fetched(connection, f"SELECT {columns} FROM rows")
        kinds = [pa.nulls(0).type if term.kind is Kind.NULL else _TYPES[term.kind] for term in terms.values()]
        return pa.table(
            {
                name: pa.nulls(table.num_rows) if kind == pa.null() else found.column(at).cast(kind)
                for at, (name, kind) in enumerate(zip(terms, kinds, strict=True))
            }
        )

    def join_as_of(self, spine: pa.Table, view: pa.Table, join: AsOfJoin) -> pa.Table:
        """One row per spine row: the newest row of its key that was known at its instant."""
        return join_as_of(spine, view, join)

    def join_windows(self, spine: pa.Table, view: pa.Table, join: WindowJoin) -> pa.Table:
        """One row per spine row: aggregates of its key's rows known in the windows before its instant."""
        return join_windows(spine, view, join)
