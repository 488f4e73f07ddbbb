"""Reads tensors as rows: JSON arrays or raw little-endian bytes, checked against the endpoint's columns."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.expressions import Scalar
from loopwright.core.nesting import check_json
from loopwright.core.schema import Column, Schema
from loopwright.serving.runtime import MAX_ROWS
from loopwright.surfaces.inference.datatypes import ACCEPTED, DataType
from loopwright.surfaces.inference.wire import InputTensor

__all__ = ["InputReader", "bytes_of_strings", "strings_of_bytes"]

_SPARE = 1_000
"""values too many that are counted one by one, to say how many they are"""
_LENGTH = struct.Struct("<I")


class _ColumnReader:
    """Reads one input column from any data type it may be sent in."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self._name = column.name
        self.types = ACCEPTED[column.type]
        self._flat: dict[str, msgspec.json.Decoder[list[Any]]] = {}
        self._nested: dict[str, msgspec.json.Decoder[list[list[Any]]]] = {}
        for name, kind in self.types.items():
            item = kind.json_type | None if column.nullable else kind.json_type
            self._flat[name] = msgspec.json.Decoder(list[item])  # type: ignore[valid-type]  # made at run time
            self._nested[name] = msgspec.json.Decoder(list[list[item]])  # type: ignore[valid-type]  # made at run time

    def read(self, tensor: InputTensor, raw: memoryview | None) -> list[Scalar]:
        """The column's values, one a row."""
        kind = self.types.get(tensor.datatype)
        if kind is None:
            raise Invalid(
                f"input {self._name!r} is {tensor.datatype[:40]!r}",
                hint=f"send it as {' or '.join(self.types)}",
            )
        rows = _rows_of(tensor)
        values = self._from_json(tensor, kind, rows) if raw is None else self._from_bytes(kind, raw, rows)
        if len(values) != rows:
            raise Invalid(
                f"input {self._name!r} holds {len(values)} values for {rows} rows",
                hint="make data and shape agree",
            )
        return values

    def _from_json(self, tensor: InputTensor, kind: DataType, rows: int) -> list[Any]:
        if not memoryview(tensor.data):
            raise Invalid(
                f"input {self._name!r} has no data", hint="send data, or binary_data_size and bytes"
            )
        if kind.code and bytes(memoryview(tensor.data)).count(b",") > rows + _SPARE:
            raise TooLarge(f"input {self._name!r} holds more values than {rows} rows", hint="send one a row")
        try:
            if len(tensor.shape) == 2 and _is_nested(tensor.data):
                check_json(memoryview(tensor.data), parts=rows + 1, depth=2)
                values = [item for row in self._nested[kind.name].decode(tensor.data) for item in row]
            else:
                values = self._flat[kind.name].decode(tensor.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(
                f"input {self._name!r} is not {kind.name}: {error}", hint="make data and datatype agree"
            ) from error
        # JSON has no NaN and no infinity, but a number may be too large for a float32
        return self._finite(_as_single(values)) if kind.name == "FP32" else values

    def _from_bytes(self, kind: DataType, raw: memoryview, rows: int) -> list[Any]:
        if not kind.code:
            return strings_of_bytes(raw, self._name)
        if len(raw) != rows * kind.size_bytes:
            raise Invalid(
                f"input {self._name!r} has {len(raw)} bytes for {rows} rows of {kind.name}",
                hint=f"send {kind.size_bytes} bytes a row",
            )
        values = list(np.frombuffer(raw, dtype=kind.code).tolist())
        return self._finite(values) if kind.json_type is float else values

    def _finite(self, values: list[Any]) -> list[Scalar]:
        """NaN and infinities as null, which only a nullable column may hold."""
        if all(value is not None and math.isfinite(value) for value in values):
            return values
        found = [value if value is not None and math.isfinite(value) else None for value in values]
        if not self.column.nullable:
            raise Invalid(
                f"input {self._name!r} has no finite value in row {found.index(None)}",
                hint="send a finite number",
            )
        return found


def _rows_of(tensor: InputTensor) -> int:
    shape = tensor.shape
    if shape and shape[0] > MAX_ROWS:
        raise TooLarge(f"a request has at most {MAX_ROWS:,} rows, not {shape[0]:,}", hint="send it in parts")
    if len(shape) == 1 and shape[0] >= 0:
        return shape[0]
    if len(shape) != 2 or shape[0] < 0 or shape[1] != 1:
        raise Invalid(f"input {tensor.name!r} has shape {shape[:8]}", hint="send [rows] or [rows, 1]")
    return shape[0]


def _is_nested(data: msgspec.Raw) -> bool:
    return bytes(memoryview(data)[:64]).lstrip(b" \t\r\n")[1:].lstrip(b" \t\r\n").startswith(b"[")


def _as_single(values: list[Any]) -> list[Any]:
    """Values as float32 holds them, so that JSON and bytes of one FP32 tensor give the same numbers."""
    present = [value for value in values if value is not None]
    with np.errstate(over="ignore"):
        rounded = iter(np.asarray(present, dtype=np.float32).tolist())
    return [None if value is None else next(rounded) for value in values]


class InputReader:
    """Turns the tensors of a request into rows of the endpoint's columns. Compiled once an endpoint."""

    def __init__(self, inputs: Schema) -> None:
        self.names = inputs.names
        self._columns = {column.name: _ColumnReader(column) for column in inputs.columns}
        self._optional = frozenset(column.name for column in inputs.columns if column.nullable)

    def rows(self, tensors: Sequence[InputTensor], tail: memoryview) -> list[dict[str, Scalar]]:
        """The rows; a nullable input may be left out. Messages name inputs and places, never values."""
        found: dict[str, list[Scalar]] = {}
        at = 0
        for tensor in tensors:
            reader = self._columns.get(tensor.name)
            if reader is None:
                raise Invalid(
                    f"there is no input {tensor.name[:80]!r}", hint=f"the inputs are {', '.join(self.names)}"
                )
            if tensor.name in found:
                raise Invalid(f"input {tensor.name!r} is sent twice", hint="send it once")
            raw, at = _part(tensor, tail, at)
            found[tensor.name] = reader.read(tensor, raw)
        if at != len(tail):
            raise Invalid(
                f"{len(tail) - at} bytes follow the last tensor",
                hint="make binary_data_size and the body agree",
            )
        return self._joined(found)

    def _joined(self, found: dict[str, list[Scalar]]) -> list[dict[str, Scalar]]:
        missing = [name for name in self.names if name not in found and name not in self._optional]
        if missing:
            raise Invalid(
                f"the input {missing[0]!r} is missing", hint=f"the inputs are {', '.join(self.names)}"
            )
        lengths = {len(values) for values in found.values()}
        if len(lengths) != 1:
            raise Invalid(
                f"the inputs have {sorted(lengths)[:5]} rows",
                hint="send the same number of rows in every input",
            )
        rows = lengths.pop()
        columns = [found.get(name) or [None] * rows for name in self.names]
        return [dict(zip(self.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _part(tensor: InputTensor, tail: memoryview, at: int) -> tuple[memoryview | None, int]:
    """The bytes of a tensor that has some, and where the next one's begin."""
    size = tensor.parameters.binary_data_size
    if size is None:
        return None, at
    if bytes(tensor.data):
        raise Invalid(f"input {tensor.name!r} has data and bytes", hint="send one of them")
    if size < 0 or at + size > len(tail):
        raise Invalid(
            f"input {tensor.name!r} says {size} bytes, {len(tail) - at} are left",
            hint="make binary_data_size and the body agree",
        )
    return tail[at : at + size], at + size


def strings_of_bytes(raw: memoryview, name: str) -> list[Any]:
    """The strings of a BYTES tensor: each its length in four little-endian bytes, then UTF-8."""
    found: list[Any] = []
    at = 0
    while at < len(raw):
        end = at + 4 + (_LENGTH.unpack_from(raw, at)[0] if at + 4 <= len(raw) else len(raw))
        if end > len(raw):
            raise Invalid(
                f"string {len(found)} of input {name!r} is cut short", hint="prefix each with its length"
            )
        try:
            found.append(str(raw[at + 4 : end], "utf-8"))
        except UnicodeDecodeError as error:
            raise Invalid(f"string {len(found)} of input {name!r} is not UTF-8", hint="send UTF-8") from error
        at = end
    return found


def bytes_of_strings(values: Sequence[str]) -> bytes:
    """The BYTES tensor of strings."""
    return b"".join(_LENGTH.pack(len(data)) + data for data in (value.encode() for value in values))
