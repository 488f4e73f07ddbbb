"""What can be said of columns that hold lists, objects, maps or bytes, by columns of plain values.

A list, a map or bytes is told by how many parts each has; an object by its fields, each a column of its own
under `column.field`; anything else, such as a time of day, by whether it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from loopwright.core.nouns import Json
from loopwright.data.uploads import check_shape

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Unfolding"]

_DEEPEST = 8
"""objects within objects whose fields are columns"""
_TYPE_LIMIT = 120
_LENGTHS = ("min", "max", "mean", "std", "quantiles", "rank_error", "histogram", "distinct", "bounds", "top")


class _Nested(NamedTuple):
    type: str
    is_counted: bool
    """whether its plain column holds how many parts each value has; else whether there is one"""


class Unfolding:
    """Tables with plain columns in the place of nested ones, and their profile as one of the nested ones."""

    def __init__(self) -> None:
        self._nested: dict[str, _Nested] = {}

    def check(self, table: pa.Table, what: str) -> pa.Table:
        """As `check_shape`, of the plain columns alone."""
        check_shape(self.plain(table), what)
        return table

    def plain(self, table: pa.Table) -> pa.Table:
        """The table with plain columns."""
        import pyarrow as pa

        columns, names, taken = list[pa.ChunkedArray](), list[str](), set(table.column_names)
        for name, values in zip(table.column_names, table.columns, strict=True):
            for told, plain in self._told(name, values, taken, 0):
                names.append(told)
                columns.append(plain)
        return pa.Table.from_arrays(columns, names=names)

    def whole(self, plain: pa.Table, table: pa.Table) -> pa.Table | None:
        """Plain rows with the nested columns they are of, so that rows may be compared; None where not."""
        import pyarrow as pa

        nested = [values for values in table.columns if not _is_plain(values.type)]
        if not nested:
            return plain
        if not all(_is_comparable(values.type) for values in nested):
            return None
        columns = [*plain.columns, *nested]
        return pa.Table.from_arrays(columns, names=[str(at) for at in range(len(columns))])

    def told(self, profile: Json) -> Json:
        """The profile of plain columns, with what it says of each nested one under its own type."""
        columns = {name: self._column(name, column) for name, column in profile["columns"].items()}
        pairs: Json | None = profile.get("correlations")
        if pairs is None:
            return {**profile, "columns": columns}
        named = [f"length of {name}" if name in self._nested else name for name in pairs["columns"]]
        return {**profile, "columns": columns, "correlations": {**pairs, "columns": named}}

    def _column(self, name: str, column: Json) -> Json:
        nested = self._nested.get(name)
        if nested is None:
            return column
        told = {"type": nested.type, "count": column["count"], "nulls": column["nulls"]}
        lengths = {key: column[key] for key in _LENGTHS if key in column}
        return {**told, "lengths": lengths} if nested.is_counted else told

    def _told(
        self, name: str, values: pa.ChunkedArray, taken: set[str], depth: int
    ) -> Iterator[tuple[str, pa.ChunkedArray]]:
        """What stands for a column: itself, lengths, or whether it is there and its fields."""
        import pyarrow as pa

        if _is_plain(values.type):
            yield name, values
            return
        lengths = _lengths(values)
        self._nested[name] = _Nested(_type_name(values.type)[:_TYPE_LIMIT], lengths is not None)
        yield name, _presence(values) if lengths is None else lengths
        if not pa.types.is_struct(values.type) or depth == _DEEPEST:
            return
        for field, inner in zip(values.type, values.flatten(), strict=True):
            told = f"{name}.{field.name}"
            if told not in taken:
                taken.add(told)
                yield from self._told(told, inner, taken, depth + 1)


def _lengths(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """How many parts each value has; None for what has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_map(kind):
        pair = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        return pc.list_value_length(values.cast(pa.list_(pair)))
    if _is_list(kind):
        return pc.list_value_length(values)
    return pc.binary_length(values) if _is_bytes(kind) else None


def _presence(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(values.is_valid(), pa.scalar(True), pa.scalar(None, pa.bool_()))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _is_plain(kind: Any) -> bool:
    """Whether a version could keep the column as it is."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    is_time = types.is_timestamp(kind) or types.is_date(kind)
    return bool(is_text or is_number or is_time or types.is_boolean(kind) or types.is_null(kind))


def _is_comparable(kind: Any) -> bool:
    from pyarrow import types

    if types.is_map(kind):
        return _is_comparable(kind.key_type) and _is_comparable(kind.item_type)
    if _is_list(kind):
        return _is_comparable(kind.value_type)
    if types.is_struct(kind):
        return all(_is_comparable(field.type) for field in kind)
    return _is_plain(kind) or bool(types.is_binary(kind) or types.is_large_binary(kind))


def _type_name(kind: Any) -> str:
    """A type as a reader would write it: `list<string>`, `object<city, zip>`, `map<string, int64>`."""
    from pyarrow import types

    if types.is_map(kind):
        return f"map<{_type_name(kind.key_type)}, {_type_name(kind.item_type)}>"
    if _is_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    if types.is_struct(kind):
        return f"object<{', '.join(field.name for field in kind)}>"
    return "bytes" if _is_bytes(kind) else str(kind)
