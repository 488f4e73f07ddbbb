"""Reads what a caller sends as rows: exactly the endpoint's columns, of their types."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar
from loopwright.core.schema import ColumnType, Schema

__all__ = ["RowReader"]

_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: Mapping[ColumnType, Any] = {
    ColumnType.BOOL: bool,
    ColumnType.INT: _INT64,
    ColumnType.FLOAT: float,
    ColumnType.STRING: str,
    ColumnType.INSTANT: _INT64,
}


class RowReader:
    """Checks and completes rows; messages name the place and never the value.

    A nullable column may be left out, NaN and infinities are null, instants are microseconds since 1970.
    """

    def __init__(self, inputs: Schema) -> None:
        self.names = inputs.names
        self._floats = tuple(
            (at, column.name, column.nullable)
            for at, column in enumerate(inputs.columns)
            if column.type is ColumnType.FLOAT
        )
        self._strings = tuple(at for at, c in enumerate(inputs.columns) if c.type is ColumnType.STRING)
        fields: list[Any] = []
        for at, column in enumerate(inputs.columns):
            kind = _TYPES[column.type]
            fields.append((f"c{at}", kind | None, None) if column.nullable else (f"c{at}", kind))
        self._row_type = msgspec.defstruct(
            "Row",
            fields,
            kw_only=True,
            forbid_unknown_fields=True,
            rename={f"c{at}": name for at, name in enumerate(self.names)},
        )

    def read(self, rows: Sequence[Mapping[str, Scalar]]) -> list[dict[str, Scalar]]:
        """The rows with every column in its place; raises `Invalid` that names the first wrong place."""
        try:
            found = msgspec.convert(rows, list[self._row_type])  # type: ignore[name-defined]  # a type made at run time
        except msgspec.ValidationError as error:
            raise Invalid(
                f"the rows do not fit: {error}", hint=f"the inputs are {', '.join(self.names)}"
            ) from error
        return [self._checked(list(msgspec.structs.astuple(row)), place) for place, row in enumerate(found)]

    def _checked(self, values: list[Any], place: int) -> dict[str, Scalar]:
        for at, name, nullable in self._floats:
            value = values[at]
            if value is not None and not math.isfinite(value):
                if not nullable:
                    raise Invalid(f"row {place} has no finite {name!r}", hint="send a finite number")
                values[at] = None
        for at in self._strings:
            if values[at] is not None and not values[at].isascii():
                _encodable(values[at], place, self.names[at])
        return dict(zip(self.names, values, strict=True))


def _encodable(text: str, place: int, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"row {place} has a {name!r} that is not Unicode", hint="send UTF-8 text") from error
