"""Which types features have: the engines' own answer, asked with tables that have no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.conforming import arrow_type
from loopwright.engine.context import Context
from loopwright.features.formulas import computed
from loopwright.features.joins import view_features
from loopwright.features.nouns import FeatureService, FeatureView
from loopwright.features.rules import TIME, columns_read

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["output_types", "view_types"]


def _empty(columns: Mapping[str, ColumnType]) -> pa.Table:
    import pyarrow as pa

    return pa.schema([pa.field(name, arrow_type(kind)) for name, kind in columns.items()]).empty_table()


def view_types(ctx: Context, view: FeatureView, source: Schema) -> Schema:
    """The features of a view with their types; `Invalid` where an expression does not fit its columns."""
    rows = {name: source.column(name).type for name in columns_read(view)}
    asked = {name: rows[name] for name in view.entity} | {TIME: ColumnType.INSTANT}
    found = view_features(ctx, view, _empty(asked), _empty(rows), view.features)
    return ctx.ports.tables.schema_of(found)


def output_types(ctx: Context, service: FeatureService, views: tuple[Schema, ...]) -> dict[str, ColumnType]:
    """The type of each output of a service; `Invalid` where an expression does not fit."""
    known: dict[str, ColumnType] = {column.name: column.type for column in service.request.columns}
    for lookup, schema in zip(service.lookups, views, strict=True):
        known |= {f"{lookup.name}.{column.name}": column.type for column in schema.columns}
    import pyarrow as pa

    formulas = {output.name: output.expr for output in service.outputs}
    found = pa.table(computed(ctx.ports.tables, ctx.ports.functions, _empty(known), formulas))
    return {column.name: _kind(column) for column in ctx.ports.tables.schema_of(found).columns}


def _kind(column: Column) -> ColumnType:
    return column.type
