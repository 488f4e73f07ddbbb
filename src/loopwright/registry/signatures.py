"""Signatures of models: columns or tensors in and out, in MLflow's JSON, told or inferred."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "SCALARS",
    "ColumnSpec",
    "ModelSignature",
    "TensorSpec",
    "infer",
    "read_signature",
    "type_name",
    "written",
]

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
"""types of single values; all other types are kept as told and not checked"""
_DIMENSIONS = 32
_COLUMNS = 100_000


class ColumnSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A column: its name (none for the only one), its type, whether it has to be there and without nulls."""

    name: str | None = None
    type: str
    required: bool = True
    nested: Json = {}
    """what an array, object or map is made of, as MLflow writes it"""


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor: its name (none for the only one), NumPy's name of its type, its shape with -1 for any."""

    name: str | None = None
    dtype: str
    shape: tuple[int, ...]


Specs = tuple[ColumnSpec, ...] | tuple[TensorSpec, ...]


class ModelSignature(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes and gives; an empty side is not known."""

    inputs: Specs = ()
    outputs: Specs = ()
    params: tuple[Json, ...] = ()
    """parameters of a call, as MLflow writes them"""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its inputs, in order; a place where one has none."""
        found: tuple[ColumnSpec | TensorSpec, ...] = self.inputs
        return tuple(each.name or str(at) for at, each in enumerate(found))


def written(signature: ModelSignature) -> Json:
    """The section of an MLmodel file: each side a text of JSON, None where it is not known."""
    sides = {"inputs": signature.inputs, "outputs": signature.outputs}
    told: Json = {
        name: json.dumps([_told(s) for s in specs]) if specs else None for name, specs in sides.items()
    }
    return {**told, "params": json.dumps(list(signature.params)) if signature.params else None}


def _told(spec: ColumnSpec | TensorSpec) -> Json:
    named = {} if spec.name is None else {"name": spec.name}
    if isinstance(spec, TensorSpec):
        return {"type": "tensor", "tensor-spec": {"dtype": spec.dtype, "shape": list(spec.shape)}, **named}
    return {"type": spec.type, **spec.nested, **named, "required": spec.required}


def read_signature(section: Any) -> ModelSignature | None:
    """The signature in an MLmodel file, None where there is none; `Invalid` for what is no signature."""
    if section is None:
        return None
    try:
        sides = {name: json.loads(section.get(name) or "[]") for name in ("inputs", "outputs", "params")}
        if any(not isinstance(side, list) or len(side) > _COLUMNS for side in sides.values()):
            raise TypeError("a side is no list")
        return ModelSignature(
            inputs=_specs(sides["inputs"]), outputs=_specs(sides["outputs"]), params=tuple(sides["params"])
        )
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise Invalid(
            "the signature is not one", hint="save the model again, with an example", where="MLmodel"
        ) from error


def _specs(items: Sequence[Json]) -> Specs:
    tensors = [item for item in items if item["type"] == "tensor"]
    if tensors and len(tensors) < len(items):
        raise TypeError("columns and tensors are mixed")
    if tensors:
        return tuple(_tensor(item) for item in items)
    return tuple(_column(item) for item in items)


def _tensor(item: Json) -> TensorSpec:
    spec = item["tensor-spec"]
    shape = tuple(int(each) for each in spec["shape"])
    if len(shape) > _DIMENSIONS:
        raise ValueError("too many dimensions")
    return TensorSpec(name=_name(item), dtype=str(spec["dtype"]), shape=shape)


def _column(item: Json) -> ColumnSpec:
    required = bool(item.get("required", not item.get("optional", False)))
    nested = {
        key: value for key, value in item.items() if key not in {"type", "name", "required", "optional"}
    }
    return ColumnSpec(name=_name(item), type=str(item["type"]), required=required, nested=nested)


def _name(item: Json) -> str | None:
    name = item.get("name")
    return None if name is None else str(name)


def infer(example: Any, answer: Any = None) -> ModelSignature:
    """The signature of rows like the example and of answers like the answer.

    Columns with nulls in them need not be given. Integers are taken as never null: give floats where some
    values may be missing.
    """
    return ModelSignature(inputs=_specs_of(example), outputs=() if answer is None else _specs_of(answer))


def _specs_of(data: Any) -> Specs:
    import numpy as np
    import pyarrow as pa

    if isinstance(data, np.ndarray):
        return (_tensor_of(data, None),)
    if isinstance(data, Mapping):
        return tuple(_tensor_of(np.asarray(value), name) for name, value in data.items())
    if isinstance(data, pa.Table):
        return tuple(_column_of(name, data.column(name)) for name in data.column_names)
    if type(data).__module__.partition(".")[0] == "pandas":
        return _specs_of(pa.Table.from_pandas(_frame(data), preserve_index=False))
    if isinstance(data, list) and data:
        try:
            return (ColumnSpec(type=type_name(pa.array(data).type)),)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return ()
    return ()


def _frame(data: Any) -> Any:
    """A series as a frame of its own."""
    return data.to_frame(data.name or "0") if hasattr(data, "to_frame") else data


def _tensor_of(array: Any, name: str | None) -> TensorSpec:
    dtype = "str" if array.dtype.kind in "US" else str(array.dtype)
    return TensorSpec(name=name, dtype=dtype, shape=(-1, *array.shape[1:]))


def _column_of(name: str, column: pa.ChunkedArray) -> ColumnSpec:
    return ColumnSpec(name=name, type=type_name(column.type), required=column.null_count == 0)


def type_name(kind: pa.DataType) -> str:
    """MLflow's name of an Arrow type; `any` for what it has none for."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer" if kind.bit_width <= 32 and kind != pa.uint32() else "long"
    tests = {
        "boolean": pa.types.is_boolean,
        "double": pa.types.is_float64,
        "float": pa.types.is_floating,
        "string": lambda it: pa.types.is_string(it) or pa.types.is_large_string(it) or it == pa.string_view(),
        "binary": lambda it: pa.types.is_binary(it) or pa.types.is_large_binary(it),
        "datetime": lambda it: pa.types.is_timestamp(it) or pa.types.is_date(it),
    }
    return next((name for name, holds in tests.items() if holds(kind)), "any")
