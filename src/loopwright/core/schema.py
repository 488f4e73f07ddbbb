"""Columns and their types, independent of any engine."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from loopwright.core.errors import Invalid

__all__ = ["Column", "ColumnType", "Schema"]


class ColumnType(StrEnum):
    """The types a column may have; `instant` is UTC microseconds."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STRING = "string"
    INSTANT = "instant"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A named, typed column."""

    name: str
    type: ColumnType
    nullable: bool = True
    description: str = ""


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """The ordered columns of a table or of a model's input."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name, else `Invalid` that lists the names there are."""
        for column in self.columns:
            if column.name == name:
                return column
        raise Invalid(
            f"there is no column {name!r}",
            hint=f"the columns are {', '.join(self.names)}",
        )
