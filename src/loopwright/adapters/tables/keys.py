"""Puts keys and instants of two tables on one axis of integers, so that joins are sorts and searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "Axis",
    "Instants",
    "KeyCodes",
    "axis_of",
    "column_of",
    "instants_of",
    "key_kinds",
    "match_keys",
    "micros_of",
    "plain_keys",
]

_PER_UNIT = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_LIMIT = 1 << 62
_FEWER_DIGITS, _MOST_DIGITS = 38, 76
_DENSE = 1 << 20


class Instants(NamedTuple):
    """Microseconds since 1970, and where there is no value (there the number means nothing)."""

    micros: Ints
    missing: Bools


class Axis(NamedTuple):
    """One order of (key, instant), by a key's code times `span` plus the instant's step.

    Steps are microseconds after `base`, or, where 63 bits are too few for those, places among `levels`.
    """

    base: int
    span: int
    levels: Ints | None = None

    def place(self, codes: Ints, micros: Ints) -> Ints:
        """Where each (key, instant) stands; what is before the first instant stands before all of its key."""
        if self.levels is None:
            steps = np.clip(micros, self.base, self.base + self.span - 1) - self.base
        else:
            steps = np.searchsorted(self.levels, micros, side="right")
        return codes * self.span + steps


def column_of(table: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    """The column of that name, else `Invalid` that says what it was wanted for."""
    if table.column_names.count(name) != 1:
        raise Invalid(
            f"the {what} column {name!r} is not there, or there twice",
            hint=f"the columns are {', '.join(table.column_names)}",
        )
    return table.column(name)


def instants_of(table: pa.Table, name: str, what: str, zone: str = "") -> Instants:
    """An instant column in microseconds (what is finer is cut off).

    A time without a zone is one of `zone`; `Invalid` where that is empty, or does not say which instant.
    """
    column = column_of(table, name, what)
    if pa.types.is_null(column.type):  # none of them was ever written down
        return Instants(np.zeros(len(column), dtype=np.int64), np.ones(len(column), dtype=np.bool_))
    if not pa.types.is_timestamp(column.type):
        raise Invalid(
            f"the {what} column {name!r} holds {column.type}, not instants",
            hint="give timestamps with a zone, such as timestamp[us, UTC]",
        )
    if column.type.tz is None:
        column = _placed(column, name, what, zone)
    missing = column.is_null().to_numpy().astype(bool, copy=False)
    raw = column.cast(pa.int64()).fill_null(0).to_numpy()
    times, parts = _PER_UNIT[column.type.unit]
    if parts != 1:
        return Instants(raw // parts, missing)
    return Instants(raw if times == 1 else raw * times, missing)


def _placed(column: pa.ChunkedArray, name: str, what: str, zone: str) -> pa.ChunkedArray:
    if not zone:
        raise Invalid(
            f"the times of the {what} column {name!r} have no zone",
            hint="declare the zone they are written in: an instant is needed, not a clock's reading",
        )
    try:
        return pc.assume_timezone(column, zone)
    except pa.ArrowInvalid as error:
        raise Invalid(
            f"a time of {name!r} is not one instant in {zone}: {str(error)[:200]}",
            hint="write times as instants: the clock went back or forward then",
        ) from error


def micros_of(length: timedelta) -> int:
    """A length of time in microseconds, exactly."""
    return length // timedelta(microseconds=1)


class _Places:
    """Finds whole numbers among those that were given: by a table where they lie close, else by hashing."""

    def __init__(self, numbers: Ints) -> None:
        """`numbers` ascend and differ."""
        self._low = int(numbers[0]) if len(numbers) else 0
        self._span = int(numbers[-1]) - self._low + 1 if len(numbers) else 0
        self._table: NDArray[np.int32] | None = None
        self._values = pa.array(numbers, pa.int64())
        if self._span <= max(_DENSE, 8 * len(numbers)):
            self._table = np.full(self._span + 1, -1, dtype=np.int32)
            self._table[numbers - self._low] = np.arange(len(numbers), dtype=np.int32)

    def of(self, numbers: Ints, usable: Bools | None = None) -> Ints:
        """The place of each number, -1 for one that is not among them or not usable."""
        if self._table is None:
            found = _index_in(pa.array(numbers), self._values)
        else:
            inside = (numbers >= self._low) & (numbers < self._low + self._span)
            found = self._table[np.where(inside, numbers - self._low, self._span)].astype(np.int64)
        return found if usable is None else np.where(usable, found, -1)


def _different(numbers: Ints) -> Ints:
    """Each number once, in order."""
    if not len(numbers):
        return numbers
    low, span = int(numbers.min()), int(numbers.max()) - int(numbers.min()) + 1
    if span > max(_DENSE, 8 * len(numbers)):
        return np.unique(numbers)
    there = np.zeros(span, dtype=np.bool_)
    there[numbers - low] = True
    found: Ints = np.flatnonzero(there) + low
    return found


def _index_in(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Ints:
    found = pc.index_in(values, value_set=among, skip_nulls=True).fill_null(-1)
    return (
        found.to_numpy(zero_copy_only=False).astype(np.int64) if isinstance(found, pa.Array) else _long(found)
    )


def _long(column: pa.ChunkedArray) -> Ints:
    found: Ints = column.to_numpy().astype(np.int64)
    return found


class _Part:
    """One column of a key: the spine's different values, and where other rows' are among them."""

    def __init__(self, column: pa.ChunkedArray, kind: pa.DataType) -> None:
        self.kind = kind
        plain = _plain(column, kind)
        if kind == pa.int64():
            numbers = _different(plain.drop_null().to_numpy())
            self._places: _Places | None = _Places(numbers)
            self.count = len(numbers)
        else:
            self._places = None
            self._values = plain.drop_null().unique()
            self.count = len(self._values)

    def of(self, column: pa.ChunkedArray) -> Ints:
        plain = _plain(column, self.kind)
        if self._places is None:
            return _index_in(plain, self._values)
        there = plain.is_valid().to_numpy().astype(bool, copy=False) if plain.null_count else None
        return self._places.of((plain.fill_null(0) if plain.null_count else plain).to_numpy(), there)


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The values as they are compared: instants in microseconds, NaN as null, zero without a sign."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        times, parts = _PER_UNIT[column.type.unit]
        raw = column.cast(pa.int64())
        return raw if (times, parts) == (1, 1) else _rescaled(raw, times, parts)
    if pa.types.is_null(column.type):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    column = column if column.type == kind else column.cast(kind, safe=False)
    if not pa.types.is_floating(kind):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, kind), pc.add(column, 0.0))


def _rescaled(raw: pa.ChunkedArray, times: int, parts: int) -> pa.ChunkedArray:
    numbers = raw.fill_null(0).to_numpy() * times // parts
    return pa.chunked_array([pa.array(numbers, mask=raw.is_null().to_numpy().astype(bool))])


def _kind(kind: pa.DataType, name: str) -> pa.DataType:
    """The type that values of a key column are compared as."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind):
        raise Invalid(
            f"the key {name!r} holds {str(kind)[:80]}, which is no key",
            hint="name the columns of plain values that identify the entity",
        )
    if pa.types.is_timestamp(kind):  # one without a zone is a clock's reading, and no instant
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    for is_such, shared in _ALIKE:
        if is_such(kind):
            return shared
    return kind


_ALIKE: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (lambda kind: pa.types.is_integer(kind) and kind != pa.uint64(), pa.int64()),
    (pa.types.is_floating, pa.float64()),
    (pa.types.is_string, pa.large_string()),
    (pa.types.is_large_string, pa.large_string()),
    (pa.types.is_string_view, pa.large_string()),
    (pa.types.is_binary, pa.large_binary()),
    (pa.types.is_binary_view, pa.large_binary()),
    (pa.types.is_fixed_size_binary, pa.large_binary()),
    (pa.types.is_time, pa.time64("ns")),
    (pa.types.is_date, pa.date32()),
)
"""kinds of which values of different types are compared, and as what"""
_DIGITS = {pa.int64(): 19, pa.uint64(): 20}


def _as_decimals(kinds: set[pa.DataType]) -> pa.DataType | None:
    """The type of decimals that holds the values of all of these exactly, None where there is none."""
    if not all(pa.types.is_decimal(kind) or kind in _DIGITS for kind in kinds):
        return None
    places = {kind: 0 if kind in _DIGITS else kind.scale for kind in kinds}
    scale = max(places.values())
    digits = scale + max(_DIGITS.get(kind) or kind.precision - kind.scale for kind in kinds)
    if digits > _MOST_DIGITS:
        return None
    return pa.decimal128(digits, scale) if digits <= _FEWER_DIGITS else pa.decimal256(digits, scale)


def _shared_kind(left: pa.DataType, right: pa.DataType, name: str) -> pa.DataType:
    """What both sides are compared as: integers as floats where the other side has floats."""
    kinds = {_kind(left, name), _kind(right, name)}
    known = kinds - {pa.null()}
    if len(known) <= 1:
        kind = known.pop() if known else pa.int64()
        return pa.int64() if pa.types.is_timestamp(kind) else kind
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    decimals = _as_decimals(known)
    if decimals is not None:
        return decimals
    raise Invalid(
        f"the key {name!r} is {left} in the spine and {right} in the view",
        hint="give the key the same type on both sides",
    )


def key_kinds(spine: pa.Schema, view: pa.Schema, keys: Sequence[str]) -> tuple[pa.DataType, ...]:
    """The types that the key columns of both sides are compared as."""
    left, right = spine.empty_table(), view.empty_table()
    return tuple(
        _shared_kind(column_of(left, key, "spine's key").type, column_of(right, key, "view's key").type, key)
        for key in keys
    )


def plain_keys(
    table: pa.Table, keys: Sequence[str], kinds: Sequence[pa.DataType]
) -> tuple[list[pa.ChunkedArray], Bools]:
    """The key columns as they are compared, and which rows have no null part."""
    plain = [
        _plain(column_of(table, key, "key"), kind).cast(kind) for key, kind in zip(keys, kinds, strict=True)
    ]
    there = np.ones(table.num_rows, dtype=np.bool_)
    for column in plain:
        if column.null_count:
            there &= column.is_valid().to_numpy().astype(bool, copy=False)
    return plain, there


class KeyCodes:
    """Numbers the different keys of a spine, and finds the keys of a view's rows among them.

    A key with a null part has no number, nor has one with NaN: -1.
    """

    def __init__(self, spine: pa.Table, view: pa.Schema, keys: Sequence[str]) -> None:
        if not keys:
            raise Invalid(
                "a join needs at least one key column", hint="name the columns that identify the entity"
            )
        self._keys = tuple(keys)
        self._parts: list[_Part] = []
        self._pairs: list[_Places] = []
        codes: Ints | None = None
        for key in keys:
            column = column_of(spine, key, "spine's key")
            other = column_of(view.empty_table(), key, "view's key")
            part = _Part(column, _shared_kind(column.type, other.type, key))
            codes = part.of(column) if codes is None else self._paired(codes, part, column)
            self._parts.append(part)
        assert codes is not None
        self.codes: Ints = codes
        """the number of each row of the spine"""

    def _paired(self, codes: Ints, part: _Part, column: pa.ChunkedArray) -> Ints:
        both = _both(codes, part, column)
        pairs = _Places(_different(both[both >= 0]))
        self._pairs.append(pairs)
        return pairs.of(both, both >= 0)

    def of(self, view: pa.Table) -> Ints:
        """The number of each row's key in a part of the view, -1 for what no row of the spine asks for."""
        codes = self._parts[0].of(column_of(view, self._keys[0], "view's key"))
        for key, part, pairs in zip(self._keys[1:], self._parts[1:], self._pairs, strict=True):
            both = _both(codes, part, column_of(view, key, "view's key"))
            codes = pairs.of(both, both >= 0)
        return codes


def _both(codes: Ints, part: _Part, column: pa.ChunkedArray) -> Ints:
    other = part.of(column)
    return np.where((codes >= 0) & (other >= 0), codes * max(part.count, 1) + other, -1)


def match_keys(spine: pa.Table, view: pa.Table, keys: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Codes of the spine's keys (-1: a part is null), the rows of the view that have such a key, their codes.

    A null part never matches, nor does NaN; rows of the view come in their order.
    """
    known = KeyCodes(spine, view.schema, keys)
    codes = known.of(view)
    rows = np.flatnonzero(codes >= 0)
    return known.codes, rows, codes[rows]


def axis_of(codes: Ints, micros: Ints) -> Axis:
    """The axis that the rows of these keys and instants stand on."""
    if len(micros) == 0:
        return Axis(0, 1)
    low, keys = int(micros.min()), int(codes.max()) + 2
    span = int(micros.max()) - low + 2
    if keys * span < _LIMIT:
        return Axis(low - 1, span)
    levels = np.unique(micros)
    return Axis(0, len(levels) + 1, levels)
