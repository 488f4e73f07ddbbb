"""Columns and tensors as the frameworks want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loopwright.core.errors import Invalid

__all__ = ["frame", "is_numeric", "matrix", "scores", "stacked"]


def matrix(data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]], who: str) -> NDArray[Any]:
    """Rows as numbers `(n, d)`: a tensor as it is, columns side by side with NaN for null.

    `Invalid` for a column of texts or times, which `who` cannot take.
    """
    if isinstance(data, np.ndarray):
        return data
    if not isinstance(data, pa.Table):
        raise Invalid(f"{who} takes columns or one tensor, not several", hint="give a table")
    for name, kind in zip(data.column_names, data.schema.types, strict=True):
        if not _is_number(kind):
            raise Invalid(f"{who} takes numbers, and the column {name!r} is {kind}", hint="encode it as one")
    columns = [data.column(at).cast(pa.float64()).to_numpy() for at in range(data.num_columns)]
    return np.column_stack(columns) if columns else np.empty((data.num_rows, 0))


def is_numeric(data: Any) -> bool:
    """Whether it is a table of numbers alone."""
    return isinstance(data, pa.Table) and all(map(_is_number, data.schema.types))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def frame(data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
    """Columns as the data frame most code expects: of pandas where it is installed, else of Arrow."""
    if not isinstance(data, pa.Table):
        return data
    try:
        import pandas  # noqa: F401 - only whether it is there
    except ImportError:
        return data
    return data.to_pandas()


def stacked(x: NDArray[np.float64], names: tuple[str, ...]) -> pa.Table:
    """Rows of numbers as columns of these names."""
    return pa.table({name: x[:, at] for at, name in enumerate(names)})


def scores(found: Any, rows: int) -> NDArray[np.float64]:
    """One number a row; `Invalid` when the model says something else."""
    try:
        array = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Invalid(
            "the model does not answer with numbers", hint="serve one that does, or encode its classes"
        ) from error
    if array.ndim == 2 and array.shape[1] in {1, 2}:
        array = array[:, -1]
    if array.shape != (rows,):
        raise Invalid(
            f"the model answers with shape {array.shape} for {rows} rows", hint="an endpoint gives one a row"
        )
    return array
