"""Holds data against a signature: columns in order, in their types; errors name places, never values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Invalid
from loopwright.registry.signatures import ColumnSpec, ModelSignature, TensorSpec, type_name

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["as_rows", "fitted"]

_WIDER = {
    "boolean": (),
    "integer": ("boolean",),
    "long": ("boolean", "integer"),
    "float": ("boolean", "integer", "float"),
    "double": ("boolean", "integer", "long", "float"),
    "string": (),
    "binary": ("string",),
    "datetime": (),
}
"""which other types a column may come in without losing anything (whole floats apart, see `_is_whole`)"""


def as_rows(data: Any) -> Any:
    """Data as the rooms know it: an Arrow table, an array, or arrays by name; `Invalid` for anything else.

    Taken are data frames of pandas and Polars, Arrow tables, arrays, tensors of PyTorch, lists of rows
    (objects by column), and columns by name. A tuple of arrays is several inputs, by place (`"0"`, `"1"`),
    where one of them has more than one dimension.
    """
    import numpy as np
    import pyarrow as pa

    if isinstance(data, pa.Table | np.ndarray):
        return data
    root = type(data).__module__.partition(".")[0]
    try:
        if root == "pandas":
            return pa.Table.from_pandas(data.to_frame() if data.ndim == 1 else data, preserve_index=False)
        if root == "polars":
            return data.to_arrow()
        if root == "torch":
            return _untensored(data)
        if isinstance(data, Mapping):
            return _named({name: _untensored(value) for name, value in data.items()})
        if isinstance(data, tuple) and _are_inputs(parts := [_untensored(each) for each in data]):
            return {str(at): each for at, each in enumerate(parts)}
        if isinstance(data, list | tuple):
            is_rows = bool(data) and all(isinstance(row, Mapping) for row in data)
            return pa.Table.from_pylist(list(data)) if is_rows else _array(data)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, TypeError) as error:
        raise Invalid(
            "the rows are no table: a column mixes types, or rows differ in length",
            hint="give a data frame, an array, or a list of objects by column",
        ) from error
    raise Invalid(
        f"a {type(data).__name__} is no table",
        hint="give a data frame, an array, or a list of objects by column",
    )


def _untensored(data: Any) -> Any:
    """A tensor of PyTorch as an array; anything else as it is."""
    is_tensor = type(data).__module__.partition(".")[0] == "torch"
    return data.detach().cpu().numpy() if is_tensor else data


def _are_inputs(parts: list[Any]) -> bool:
    """Whether these are inputs of their own, not rows."""
    import numpy as np

    return all(isinstance(each, np.ndarray) for each in parts) and any(each.ndim > 1 for each in parts)


def _array(data: Any) -> NDArray[Any]:
    import numpy as np

    array = np.asarray(data)
    if array.dtype == object:
        raise ValueError("mixed")
    return array


def _named(data: Mapping[str, Any]) -> Any:
    """Columns by name as a table; arrays by name where one has more than one dimension."""
    import numpy as np
    import pyarrow as pa

    if any(isinstance(value, np.ndarray) and value.ndim > 1 for value in data.values()):
        return {str(name): np.asarray(value) for name, value in data.items()}
    return pa.table({str(name): value for name, value in data.items()})


def fitted(signature: ModelSignature | None, data: Any) -> Any:
    """The data as the model takes it: its columns in order and type, others left out, or its tensors.

    `Invalid` names the column or the dimension that does not fit, and the first row where only one does.
    """
    rows = as_rows(data)
    if signature is None or not signature.inputs:
        return rows
    columns = [spec for spec in signature.inputs if isinstance(spec, ColumnSpec)]
    if columns:
        return _columns(columns, rows)
    return _tensors([spec for spec in signature.inputs if isinstance(spec, TensorSpec)], rows)


def _columns(specs: list[ColumnSpec], rows: Any) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    names = [spec.name or str(at) for at, spec in enumerate(specs)]
    if isinstance(rows, np.ndarray):
        rows = _table_of(rows, names)
    if not isinstance(rows, pa.Table):
        raise Invalid("the model takes columns, not tensors", hint=f"they are {_listed(names)}")
    given = set(rows.column_names)
    lacking = [n for spec, n in zip(specs, names, strict=True) if spec.required and n not in given]
    if lacking:
        raise Invalid(f"the columns {_listed(lacking)} are missing", hint=f"the model takes {_listed(names)}")
    made = {}
    for spec, name in zip(specs, names, strict=True):
        if name in given:
            made[name] = _column(spec, name, rows.column(name))
    return pa.table(made)


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _table_of(rows: NDArray[Any], names: list[str]) -> pa.Table:
    import pyarrow as pa

    if rows.ndim == 1 and len(names) == 1:
        rows = rows.reshape(-1, 1)
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise Invalid(
            f"the model takes {len(names)} columns, not an array of shape {rows.shape}",
            hint=f"they are {_listed(names)}",
        )
    return pa.table({name: rows[:, at] for at, name in enumerate(names)})


def _column(spec: ColumnSpec, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in its type; nulls only where it need not be given."""
    import pyarrow as pa

    wanted = _arrow_of(spec.type)
    if wanted is None:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if spec.required and column.null_count and not pa.types.is_floating(wanted):
        raise Invalid(
            f"the column {name!r} has no value in row {_first(column.is_null())}",
            hint=f"it is {spec.type} and has to be there",
        )
    if not _fits(spec.type, column):
        raise Invalid(
            f"the column {name!r} is {column.type}, and the model takes {spec.type}",
            hint="convert it where it is made: nothing is rounded or guessed here",
        )
    try:
        return column.cast(wanted)
    except pa.ArrowInvalid as error:
        raise Invalid(
            f"the column {name!r} has values that are no {spec.type}", hint="convert it where it is made"
        ) from error


def _fits(kind: str, column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    found = type_name(column.type)
    if found == kind or found in _WIDER[kind] or pa.types.is_null(column.type):
        return True
    if kind == "float" and found == "double":
        return True
    return kind in {"integer", "long"} and found in {"integer", "long"} and _is_in_range(kind, column)


def _is_in_range(kind: str, column: pa.ChunkedArray) -> bool:
    """Whether all values of a wider column are in the narrower type."""
    import pyarrow as pa

    try:
        column.cast(_arrow_of(kind))
    except pa.ArrowInvalid:
        return False
    return True


def _arrow_of(kind: str) -> pa.DataType | None:
    import pyarrow as pa

    return {
        "boolean": pa.bool_(),
        "integer": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "string": pa.string(),
        "binary": pa.binary(),
        "datetime": pa.timestamp("ns"),
    }.get(kind)


def _first(mask: pa.ChunkedArray) -> int:
    import numpy as np

    return int(np.flatnonzero(mask.to_numpy())[0])


def _tensors(specs: list[TensorSpec], rows: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    if len(specs) == 1 and not isinstance(rows, Mapping):
        if isinstance(rows, pa.Table):
            rows = np.column_stack([rows.column(at).to_numpy() for at in range(rows.num_columns)])
        return _tensor(specs[0], rows)
    given = (
        {name: rows.column(name).to_numpy() for name in rows.column_names}
        if isinstance(rows, pa.Table)
        else rows
    )
    names = [spec.name or str(at) for at, spec in enumerate(specs)]
    if not isinstance(given, Mapping) or not set(names) <= set(given):
        raise Invalid(f"the model takes the tensors {_listed(names)}", hint="give each by its name")
    return {name: _tensor(spec, np.asarray(given[name])) for name, spec in zip(names, specs, strict=True)}


def _tensor(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    """The array in its type, where nothing is lost by it, and of its shape."""
    import numpy as np

    what = f"the tensor {spec.name!r}" if spec.name else "the tensor"
    fits = len(array.shape) == len(spec.shape) and all(
        want in (-1, has) for want, has in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise Invalid(f"{what} has shape {array.shape}, not {spec.shape}", hint="-1 stands for any number")
    if spec.dtype in {"str", "object"} or str(array.dtype) == spec.dtype:
        return array
    try:
        wanted = np.dtype(spec.dtype)
    except TypeError as error:
        raise Invalid(
            f"the signature's type {spec.dtype[:40]!r} is none", hint="save the model again"
        ) from error
    if not np.can_cast(array.dtype, wanted, casting="same_kind"):
        raise Invalid(f"{what} is {array.dtype}, and the model takes {spec.dtype}", hint="convert it first")
    return array.astype(wanted)
