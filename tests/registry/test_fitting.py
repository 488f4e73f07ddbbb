"""Signatures: what is inferred is what fits, in any order and dress; what does not is named by place."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.registry.fitting import as_rows, fitted
from loopwright.registry.signatures import (
    ColumnSpec,
    ModelSignature,
    TensorSpec,
    infer,
    read_signature,
    written,
)

_VALUES = {
    "boolean": st.booleans(),
    "long": st.integers(-(2**53), 2**53),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=8),
    "datetime": st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001 - columns without a zone
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    names = draw(st.lists(st.text("abcdé xyz", min_size=1, max_size=5), min_size=1, max_size=5, unique=True))
    rows = draw(st.integers(1, 6))
    kinds = [draw(st.sampled_from(sorted(_VALUES))) for _ in names]
    types = {"boolean": pa.bool_(), "long": pa.int64(), "double": pa.float64(), "string": pa.string()}
    return pa.table(
        {
            name: pa.array(
                draw(st.lists(_VALUES[kind], min_size=rows, max_size=rows)),
                type=types.get(kind, pa.timestamp("us")),
            )
            for name, kind in zip(names, kinds, strict=True)
        }
    )


@given(tables(), st.randoms())
def test_what_a_signature_was_inferred_from_fits_in_any_order(table: pa.Table, chance: Any) -> None:
    signature = infer(table)
    names = list(table.column_names)
    chance.shuffle(names)
    shuffled = table.select(names).append_column("besides", pa.array(range(table.num_rows)))
    found = fitted(signature, shuffled)
    assert found.column_names == table.column_names
    for name in table.column_names:
        assert found.column(name).cast(table.column(name).type).equals(table.column(name))


@given(tables())
def test_a_signature_is_read_back_from_its_json(table: pa.Table) -> None:
    signature = infer(table, np.zeros((table.num_rows, 2), dtype=np.float32))
    assert read_signature(json.loads(json.dumps(written(signature)))) == signature


@given(tables())
def test_frames_of_pandas_and_polars_and_rows_are_the_same_table(table: pa.Table) -> None:
    signature = infer(table)
    for dressed in (table.to_pandas(), pl.from_arrow(table), table.to_pylist(), table.to_pydict()):
        assert fitted(signature, dressed).equals(fitted(signature, table))


@pytest.mark.parametrize(
    ("wanted", "given_type", "fits"),
    [
        ("double", pa.int64(), True),
        ("double", pa.bool_(), True),
        ("long", pa.float64(), False),
        ("long", pa.bool_(), True),
        ("string", pa.int64(), False),
        ("boolean", pa.int64(), False),
        ("float", pa.int64(), False),
        ("datetime", pa.string(), False),
    ],
)
def test_types_only_widen(wanted: str, given_type: pa.DataType, *, fits: bool) -> None:
    signature = ModelSignature(inputs=(ColumnSpec(name="a", type=wanted),))
    values = ["2020-01-01"] if given_type == pa.string() else [1]
    column = pa.array(values, type=given_type) if given_type != pa.bool_() else pa.array([True])
    if fits:
        fitted(signature, pa.table({"a": column}))
    else:
        with pytest.raises(Invalid, match="'a'"):
            fitted(signature, pa.table({"a": column}))


def test_a_long_that_is_no_integer_is_refused_without_its_value() -> None:
    signature = ModelSignature(inputs=(ColumnSpec(name="a", type="integer"),))
    assert fitted(signature, pa.table({"a": [5]})).column("a").type == pa.int32()
    with pytest.raises(Invalid) as refused:
        fitted(signature, pa.table({"a": [2**40]}))
    assert str(2**40) not in str(refused.value)


def test_optional_columns_may_be_left_out_and_have_nulls() -> None:
    signature = infer(pa.table({"a": [1.0], "b": pa.array([None], pa.string())}))
    assert [each.required for each in signature.inputs] == [True, False]  # type: ignore[union-attr]  # columns
    assert fitted(signature, [{"a": 1.0}]).column_names == ["a"]
    with pytest.raises(Invalid, match="'a' are missing"):
        fitted(signature, [{"b": "x"}])


def test_tensors_are_held_against_shape_and_type() -> None:
    signature = ModelSignature(inputs=(TensorSpec(dtype="float32", shape=(-1, 3)),))
    assert fitted(signature, np.zeros((7, 3))).dtype == np.float32
    with pytest.raises(Invalid, match=r"\(7, 2\)"):
        fitted(signature, np.zeros((7, 2)))
    with pytest.raises(Invalid, match="complex"):
        fitted(signature, np.zeros((7, 3), dtype=complex))
    named = infer({"left": np.zeros((2, 3)), "right": np.zeros((2, 4, 4))})
    given_ = {"left": np.zeros((5, 3)), "right": np.ones((5, 4, 4))}
    assert set(fitted(named, given_)) == {"left", "right"}
    with pytest.raises(Invalid, match="right"):
        fitted(named, {"left": np.zeros((5, 3))})


@pytest.mark.parametrize("data", [object(), 7, "rows", [[1], [1, 2]], [{"a": 1}, 2], {"a": [1], "b": [1, 2]}])
def test_what_is_no_table_is_refused(data: Any) -> None:
    with pytest.raises(Invalid):
        as_rows(data)


@pytest.mark.parametrize(
    "section",
    [
        {"inputs": "nonsense"},
        {"inputs": "{}"},
        {"inputs": '[{"name": "a"}]'},
        {"inputs": '[{"type": "tensor"}]'},
        {"inputs": '[{"type": "tensor", "tensor-spec": {"dtype": "f", "shape": ["x"]}}, {"type": "long"}]'},
        ["inputs"],
        {"inputs": "[" * 100_000},
    ],
)
def test_a_signature_that_is_none_is_refused(section: Any) -> None:
    with pytest.raises(Invalid, match="signature"):
        read_signature(section)


def test_nested_types_are_kept_as_told() -> None:
    told = '[{"type": "array", "items": {"type": "double"}, "name": "v", "required": true}]'
    signature = read_signature({"inputs": told})
    assert signature is not None
    assert json.loads(written(signature)["inputs"]) == json.loads(told)
    assert fitted(signature, [{"v": [1.0, 2.0]}]).column("v").to_pylist() == [[1.0, 2.0]]


def test_a_category_of_pandas_is_a_string() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["x", "y"]), "t": [datetime(2020, 1, 1, tzinfo=UTC)] * 2})
    assert [each.type for each in infer(frame).inputs] == ["string", "datetime"]  # type: ignore[union-attr]  # columns
    assert fitted(infer(frame), frame).column("c").to_pylist() == ["x", "y"]


def test_a_tuple_of_arrays_is_inputs_by_place_and_a_list_or_rows_are_not() -> None:
    left, right = np.ones((3, 2)), np.arange(3)
    found = as_rows((left, right))
    assert list(found) == ["0", "1"]
    np.testing.assert_array_equal(found["1"], right)
    signature = infer(found)
    np.testing.assert_array_equal(fitted(signature, (left, right))["0"], left)
    with pytest.raises(Invalid, match="'1'"):
        fitted(signature, {"0": left})
    assert as_rows([left, left]).shape == (2, 3, 2)
    assert as_rows((np.ones(2), np.ones(2))).shape == (2, 2)
