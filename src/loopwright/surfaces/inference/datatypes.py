"""The V2 data types: which column type each may fill, and how its values stand in JSON and in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from loopwright.core.schema import ColumnType

__all__ = ["ACCEPTED", "NATURAL", "DataType"]


class DataType(msgspec.Struct, frozen=True):
    """One V2 data type; `code` is NumPy's little-endian one, empty for BYTES."""

    name: str
    code: str
    size_bytes: int
    json_type: Any


def _integer(bits: int, *, signed: bool) -> Any:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


_INTEGERS = {
    "INT64": DataType("INT64", "<i8", 8, _integer(64, signed=True)),
    "INT32": DataType("INT32", "<i4", 4, _integer(32, signed=True)),
    "INT16": DataType("INT16", "<i2", 2, _integer(16, signed=True)),
    "INT8": DataType("INT8", "<i1", 1, _integer(8, signed=True)),
    "UINT32": DataType("UINT32", "<u4", 4, _integer(32, signed=False)),
    "UINT16": DataType("UINT16", "<u2", 2, _integer(16, signed=False)),
    "UINT8": DataType("UINT8", "<u1", 1, _integer(8, signed=False)),
}
_FLOATS = {
    "FP64": DataType("FP64", "<f8", 8, float),
    "FP32": DataType("FP32", "<f4", 4, float),
}
_BOOL = {"BOOL": DataType("BOOL", "|b1", 1, bool)}
_BYTES = {"BYTES": DataType("BYTES", "", 0, str)}

ACCEPTED: Mapping[ColumnType, Mapping[str, DataType]] = {
    ColumnType.BOOL: _BOOL,
    ColumnType.INT: _INTEGERS,
    ColumnType.FLOAT: _FLOATS,
    ColumnType.STRING: _BYTES,
    ColumnType.INSTANT: {"INT64": _INTEGERS["INT64"]},
}
"""The data types a column of each type may be sent in; none loses a value's meaning."""

NATURAL: Mapping[ColumnType, str] = {
    ColumnType.BOOL: "BOOL",
    ColumnType.INT: "INT64",
    ColumnType.FLOAT: "FP64",
    ColumnType.STRING: "BYTES",
    ColumnType.INSTANT: "INT64",
}
"""The data type a column is described as."""
