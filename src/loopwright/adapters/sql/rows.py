"""Between frozen values and rows: which column holds which field, in which form."""

from __future__ import annotations

import operator
import types
import typing
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Column, Table

from loopwright.core.digests import canonical
from loopwright.core.errors import Corrupt, Invalid
from loopwright.core.instants import from_micros, to_micros

__all__ = ["Row", "Shape", "from_json", "to_json"]

Row = Sequence[Any]
S = TypeVar("S", bound=msgspec.Struct)
_Codec = tuple[Callable[[Any], Any] | None, Callable[[Any], Any] | None]

_ANY = msgspec.json.Decoder()


def to_json(value: object) -> str:
    """The canonical JSON text of a value."""
    try:
        return canonical(value).decode()
    except (TypeError, ValueError, UnicodeEncodeError) as error:
        raise Invalid(f"a value cannot be kept as JSON: {error}", hint="use plain JSON values") from error


def from_json(text: str) -> Any:
    """The plain value of a JSON text."""
    return _ANY.decode(text)


def _codec(hint: Any) -> _Codec:
    """How a field of this type is written to and read from a column; None where it is kept as it is."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        write, read = _codec(inner)
        return _or_none(write), _or_none(read)
    if hint in (str, int):
        return None, None
    if hint is float:
        return _plain_zero, None
    if hint is bool:
        return int, bool
    if hint is datetime:
        return to_micros, from_micros
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return str, hint
    return to_json, msgspec.json.Decoder(hint).decode


def _plain_zero(value: float) -> float:
    """The number itself; SQLite does not keep the sign of zero, so no store does."""
    return value + 0.0


def _or_none(function: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if function is None:
        return None
    return lambda value: None if value is None else function(value)


class Shape(Generic[S]):
    """How a frozen type lies in a table; `renamed` says which field has a column of another name."""

    def __init__(self, type_: type[S], table: Table, **renamed: str) -> None:
        self.type = type_
        self.table = table.name
        hints = typing.get_type_hints(type_)
        fields = type_.__struct_fields__
        self._columns = {field: renamed.get(field, field) for field in fields}
        self.columns: tuple[Column[Any], ...] = tuple(table.c[self._columns[f]] for f in fields)
        codecs = [_codec(hints[field]) for field in fields]
        self._fields = fields
        self._names = tuple(self._columns.values())
        self._values = operator.attrgetter(*fields)
        self._writes = tuple((at, write) for at, (write, _) in enumerate(codecs) if write is not None)
        self._reads = tuple((at, read) for at, (_, read) in enumerate(codecs) if read is not None)

    def write(self, value: S) -> dict[str, Any]:
        """The value of each column."""
        values = list(self._values(value))
        for at, write in self._writes:
            values[at] = write(values[at])
        return dict(zip(self._names, values, strict=True))

    def read(self, row: Row) -> S:
        """The frozen value of a row of `columns`; `Corrupt` when it cannot be one."""
        try:
            values = list(row)
            for at, read in self._reads:
                values[at] = read(values[at])
            return self.type(**dict(zip(self._fields, values, strict=False)))
        except (msgspec.DecodeError, ValueError, TypeError, OverflowError) as error:
            raise Corrupt(
                f"a row of {self.table} does not hold what was stored: {error}",
                hint="loopwright journal verify, then restore a backup",
            ) from error
