"""Contracts as classes, and schemas of Pandera used as they are: held against the real library."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Any

import msgspec
import pandera.polars as pandera
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loopwright as lw
from loopwright.core.errors import Invalid
from loopwright.core.schema import ColumnType
from loopwright.data import nouns
from loopwright.data.declaring import Contract, contract, field, group, row
from loopwright.data.nouns import ColumnRule, Freshness, GroupRule, RowRule, UniqueKey, Volume


class Timed(Contract):
    at: datetime
    fresh = Freshness(column="at", within="2h")


class Flights(Timed, name="flights", other_columns="refuse"):
    id: int = field(key=True)
    name: str
    tail: str | None = field(name="tail number", pattern="N.*", unique=True, tags=["aircraft"])
    delay: float | None = field(min=-60, max=2000, mostly=0.99, severity="warn")
    left_before_it_came = row(lw.col("id") > 0, null_fails=True)
    enough = group("name", "rows", min=2)
    volume = Volume(min_rows=1)


def test_a_class_says_what_the_value_says() -> None:
    assert contract(Flights) == nouns.Contract(
        name="flights",
        columns=(
            ColumnRule(name="at", type=ColumnType.INSTANT, nullable=False),
            ColumnRule(name="id", type=ColumnType.INT, nullable=False),
            ColumnRule(name="name", type=ColumnType.STRING, nullable=False),
            ColumnRule(name="tail number", type=ColumnType.STRING, pattern="N.*", tags=("aircraft",)),
            ColumnRule(name="delay", type=ColumnType.FLOAT, min=-60, max=2000, mostly=0.99, severity="warn"),
        ),
        unique=(UniqueKey(columns=("id",), primary=True), UniqueKey(columns=("tail number",))),
        rows=(RowRule(name="left before it came", expr=lw.col("id") > 0, null_fails=True),),
        groups=(GroupRule(name="enough", by=("name",), of="rows", min=2),),
        freshness=(Freshness(column="at", within="2h"),),
        volume=Volume(min_rows=1),
        other_columns="refuse",
    )
    assert contract(msgspec.json.encode(contract(Flights))) == contract(Flights)
    make: Any = Contract
    assert make(name="a") == nouns.Contract(name="a")


def test_a_declaration_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="makes no instances"):
        Flights()
    with pytest.raises(Invalid, match="of type"):
        type("Bad", (Contract,), {"__annotations__": {"a": list[int]}})
    with pytest.raises(Invalid, match="is no rule"):
        type("Bad", (Contract,), {"a": 7})
    with pytest.raises(Invalid, match="is a column"):
        type("Bad", (Contract,), {"__annotations__": {"a": int}, "a": 7})
    for none in (7, "{", "{}", {"name": 1}, int):
        with pytest.raises(Invalid):
            contract(none)


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_lazy_frames_are_checked_by_value_where_the_schema_alone_would_pass(engine: Any) -> None:
    bad = pl.LazyFrame(
        {
            "at": [datetime.now(UTC)] * 3,
            "id": [1, 1, -2],
            "name": ["a", "a", "b"],
            "tail number": ["N1", "X", None],
            "delay": [1.0, None, 9e9],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    report = lw.check(Flights, bad, engine=engine)
    assert {each.rule: each.failed for each in report.rules if not each.held} == {
        "tail number has the form": 1,
        "delay is in range": 1,
        "left before it came": 1,
        "id is unique": 1,
        "enough": 1,
    }
    assert not report.holds


# -- Pandera --------------------------------------------------------------------------------------------

NUMBER_CHECKS = st.one_of(
    st.integers(-3, 3).map(pandera.Check.ge),
    st.integers(-3, 3).map(pandera.Check.gt),
    st.integers(-3, 3).map(pandera.Check.le),
    st.integers(-3, 3).map(pandera.Check.lt),
    st.integers(-3, 3).map(pandera.Check.eq),
    st.integers(-3, 3).map(pandera.Check.ne),
    st.lists(st.integers(-3, 3), min_size=1, max_size=3).map(pandera.Check.isin),
    st.lists(st.integers(-3, 3), min_size=1, max_size=3).map(pandera.Check.notin),
    st.tuples(st.integers(-3, 0), st.integers(1, 3), st.booleans(), st.booleans()).map(
        lambda ends: pandera.Check.in_range(*ends[:2], include_min=ends[2], include_max=ends[3])
    ),
)
TEXT_CHECKS = st.one_of(
    st.sampled_from(["a", "[ab]+", "a|b.", "c$"]).map(pandera.Check.str_contains),
    st.sampled_from(["a", "[ab]+", "ab?c"]).map(pandera.Check.str_matches),
    st.sampled_from(["a", "b."]).map(pandera.Check.str_startswith),
    st.sampled_from(["c", "b."]).map(pandera.Check.str_endswith),
    st.tuples(st.integers(0, 2), st.integers(2, 4)).map(lambda ends: pandera.Check.str_length(*ends)),
)
TEXTS = st.none() | st.text(alphabet="abc.", max_size=5)


def failing_by_pandera(schema: Any, frame: pl.DataFrame) -> int:
    """How many failure cases the real library counts, of checks by value, nulls and repeats."""
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return int(error.failure_cases.height)
    return 0


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.none() | st.integers(-4, 4), min_size=1, max_size=12),
    number_checks=st.lists(NUMBER_CHECKS, max_size=2),
    text_checks=st.lists(TEXT_CHECKS, max_size=2),
    nullable=st.booleans(),
    data=st.data(),
)
def test_a_pandera_schema_means_here_what_it_means_there(
    numbers: list[int | None],
    number_checks: list[Any],
    text_checks: list[Any],
    nullable: bool,
    data: st.DataObject,
) -> None:
    texts = data.draw(st.lists(TEXTS, min_size=len(numbers), max_size=len(numbers)))
    frame = pl.DataFrame({"n": numbers, "t": texts}, schema={"n": pl.Int64, "t": pl.String})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = pandera.DataFrameSchema(
            {
                "n": pandera.Column(int, number_checks, nullable=nullable),
                "t": pandera.Column(str, text_checks, nullable=True),
            }
        )
        wanted = failing_by_pandera(schema, frame)
    report = lw.check(schema, frame.lazy())
    assert sum(each.failed for each in report.rules) == wanted
    assert report.holds is (wanted == 0)


def test_models_unique_and_strict_schemas_are_taken_as_well() -> None:
    class Model(pandera.DataFrameModel):
        a: int = pandera.Field(ge=0, unique=True)
        s: str = pandera.Field(isin=["x"], nullable=True)

        class Config:
            strict = True

    found = contract(Model)
    assert found.other_columns == "refuse"
    frame = pl.LazyFrame({"a": [1, 1, -1], "s": ["x", None, "y"]})
    assert {each.rule: each.failed for each in lw.check(Model, frame).rules} == {
        "a is there": 0,
        "a is greater than or equal to": 1,
        "s is isin": 1,
        "a is unique": 1,
    }
    assert not lw.check(Model, frame.with_columns(b=1)).holds


@pytest.mark.parametrize(
    "column",
    [
        pandera.Column(int, pandera.Check(lambda data: data.lazyframe.select(pl.col("a") > 0))),
        pandera.Column(int, coerce=True),
        pandera.Column(int, required=False),
        pandera.Column(pl.List(pl.Int64)),
    ],
)
def test_what_no_contract_says_is_refused_and_not_passed_over(column: Any) -> None:
    with pytest.raises(Invalid, match="which no contract says") as caught:
        contract(pandera.DataFrameSchema({"a": column}))
    assert caught.value.hint
