"""Both engines of scans against the suite, and together against plain Python on drawn tables and plans."""

from __future__ import annotations

import math
import typing
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.tables.scan_duckdb import DuckDBScanner
from loopwright.adapters.tables.scan_polars import PolarsScanner
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Binary, Expr, Scalar, col, lit, when
from loopwright.ports.scans import (
    Aggregate,
    GroupCheck,
    Histogram,
    Levels,
    Measure,
    ReferenceCheck,
    Scanner,
    ScanPlan,
    UniqueCheck,
)
from loopwright.ports.tables import RowCheck
from loopwright.testing.scan_twin import scan_twin
from loopwright.testing.scans import ScansSuite, same_scan, sample_plan, sample_rows


class TestPolars(ScansSuite):
    @pytest.fixture
    def scanner(self) -> Scanner:
        return PolarsScanner()


class TestPolarsInParts(ScansSuite):
    """Keys and groups wait in files, a few rows of them in memory at once."""

    @pytest.fixture
    def scanner(self) -> Scanner:
        return PolarsScanner(SMALL)


class TestDuckDB(ScansSuite):
    @pytest.fixture
    def scanner(self) -> Scanner:
        return DuckDBScanner()


TINY, SMALL = 1, 1_000_000
"""bytes of memory: as little as there may be, and for a few hundred rows at once"""
NUMBERS = ("n", "x")
SOME: tuple[Scalar, ...] = ("", "ab", "é", 1)
LIMITS = st.integers(-4, 4) | st.sampled_from([-1.5, 0.0, 0.25, 2.0, math.nan])


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    size = draw(st.integers(0, 14))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(st.none() | values, min_size=size, max_size=size))

    floats = st.sampled_from([-2.5, -0.0, 0.0, 0.25, 1.0, 3.0, math.nan])
    return pa.table(
        {
            "n": pa.array(column(st.integers(-4, 4)), pa.int64()),
            "x": pa.array(column(floats), pa.float64(), from_pandas=False),
            "s": pa.array(column(st.sampled_from(["", "a", "ab", "b'c", "é"])), pa.string()),
            "b": pa.array(column(st.booleans()), pa.bool_()),
        }
    )


def numbers(depth: int) -> st.SearchStrategy[Expr]:
    leaf: st.SearchStrategy[Expr] = st.sampled_from(NUMBERS).map(col) | LIMITS.map(lit)
    if not depth:
        return leaf
    inner = numbers(depth - 1)
    ops = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    made = st.builds(lambda op, a, b: Binary(op=op, left=a, right=b), ops, inner, inner)
    return leaf | made | st.builds(when, conditions(depth - 1), inner, inner)


def conditions(depth: int) -> st.SearchStrategy[Expr]:
    ops = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    compared = st.builds(lambda op, a, b: Binary(op=op, left=a, right=b), ops, numbers(depth), numbers(depth))
    others: st.SearchStrategy[Expr] = st.one_of(
        compared,
        st.sampled_from(["n", "x", "s", "b"]).map(lambda name: col(name).is_null()),
        st.lists(LIMITS, max_size=3).map(lambda values: col("x").is_in(tuple(values))),
        st.lists(st.sampled_from(SOME), max_size=3).map(lambda values: col("s").is_in(tuple(values))),
        st.sampled_from(["a*", "[ab].*", "", "."]).map(lambda pattern: col("s").matches(pattern)),
        st.just(col("b")),
    )
    if not depth:
        return others
    inner = conditions(depth - 1)
    logic = st.builds(
        lambda op, a, b: Binary(op=op, left=a, right=b), st.sampled_from(["and", "or"]), inner, inner
    )
    return others | logic | inner.map(lambda each: ~each)


AGGREGATES = st.sampled_from(typing.get_args(Aggregate))
KEYS = st.lists(st.sampled_from(["n", "x", "s", "b"]), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def plans(draw: st.DrawFn) -> ScanPlan:
    rows = [
        RowCheck(name=f"r{i}", expr=expr, null_fails=draw(st.booleans()))
        for i, expr in enumerate(draw(st.lists(conditions(2), min_size=1, max_size=4)))
    ]
    known = pa.array(draw(st.lists(st.integers(-2, 2) | st.none(), max_size=3)), pa.int64())
    ends = sorted(draw(st.tuples(st.integers(-3, 3), st.integers(-3, 3))))
    return ScanPlan(
        rows=tuple(rows),
        unique=tuple(UniqueCheck(name=f"u{i}", columns=draw(KEYS)) for i in range(2)),
        references=(ReferenceCheck(name="f", column="n", known=known),),
        groups=(
            GroupCheck(
                name="g",
                by=draw(KEYS.filter(lambda names: "x" not in names)),
                op=draw(AGGREGATES),
                expr=col(draw(st.sampled_from(["n", "x", "b"]))),
                low=ends[0],
                high=ends[1],
            ),
        ),
        measures=tuple(
            Measure(name=f"m{i}", op=draw(AGGREGATES), column=draw(st.sampled_from(["n", "x", "b"])))
            for i in range(3)
        ),
        histograms=(Histogram(name="h", column="x", edges=(-1.0, 0.0, 1.0)),),
        levels=(Levels(name="l", column="s", values=("ab", "b'c")),),
        keys=draw(KEYS),
        first=3,
    )


@settings(max_examples=60, deadline=None)
@given(table=tables(), plan=plans())
def test_polars_means_what_python_means(table: pa.Table, plan: ScanPlan) -> None:
    with PolarsScanner().open(table) as held:
        same_scan(held.scan(plan), scan_twin(table, plan))


@settings(max_examples=15, deadline=None)
@given(table=tables(), plan=plans())
def test_polars_in_parts_means_what_python_means(table: pa.Table, plan: ScanPlan) -> None:
    with PolarsScanner(TINY).open(table) as held:
        same_scan(held.scan(plan), scan_twin(table, plan))


def test_files_of_large_row_groups_are_read_in_pieces_with_the_same_answers(tmp_path: Path) -> None:
    table, plan = sample_rows(2500), sample_plan()
    paths = [str(tmp_path / f"{part}.parquet") for part in range(2)]
    for part, path in enumerate(paths):
        pq.write_table(table.slice(part * 1500, 1500), path)
    with PolarsScanner(SMALL).open(paths) as held:
        assert "PYTHON SCAN" in held._frame.explain()
        same_scan(held.scan(plan), scan_twin(table, plan))
    with PolarsScanner().open(paths) as held:
        assert "Parquet SCAN" in held._frame.explain()


def test_a_file_that_is_cut_off_is_refused_in_pieces_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(sample_rows(2500), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:600] + bytes(400) + whole[1000:])
    with PolarsScanner(SMALL).open(str(path)) as held, pytest.raises(Invalid, match="cannot be scanned"):
        held.scan(sample_plan())
    path.write_bytes(whole[:-100])
    with pytest.raises(Invalid, match="cut off"), PolarsScanner(SMALL).open(str(path)):
        pass


def test_a_key_that_most_rows_have_is_compared_a_number_of_rows_at_a_time() -> None:
    """Parts that are larger than what is held at once: repeats, groups and different values all the same."""
    rows = 700
    table = pa.table(
        {
            "n": [None if at % 50 == 9 else at if at % 7 == 0 else 1 for at in range(rows)],
            "x": [float(at % 3) for at in range(rows)],
            "s": ["a" if at % 9 else "b" for at in range(rows)],
            "b": [at % 2 == 0 for at in range(rows)],
        }
    )
    plan = ScanPlan(
        unique=(UniqueCheck(name="u", columns=("n",)), UniqueCheck(name="v", columns=("n", "x"))),
        groups=(
            GroupCheck(name="g", by=("s",), op="std", expr=col("x"), high=0.5),
            GroupCheck(name="h", by=("n",), op="distinct", expr=col("x"), high=2.0),
        ),
        measures=(Measure(name="d", op="distinct", column="n"), Measure(name="m", op="mean", column="x")),
        keys=("s",),
        first=5,
    )
    with PolarsScanner(TINY).open(table) as held:
        same_scan(held.scan(plan), scan_twin(table, plan))


@settings(max_examples=40, deadline=None)
@given(table=tables(), plan=plans())
def test_duckdb_means_what_python_means(table: pa.Table, plan: ScanPlan) -> None:
    with DuckDBScanner().open(table) as held:
        same_scan(held.scan(plan), scan_twin(table, plan))


def test_lazy_frames_are_truly_scanned_by_both_engines() -> None:
    table, plan = sample_rows(2500), sample_plan()
    lazy = pl.DataFrame(pl.from_arrow(table)).lazy()
    wanted = scan_twin(table, plan)
    for scanner in (PolarsScanner(), DuckDBScanner()):
        for source in (lazy, lazy.collect(), lazy.filter(pl.col("id") >= 0)):
            with scanner.open(source) as held:
                same_scan(held.scan(plan), wanted)


def test_a_large_table_is_scanned_by_the_streaming_engine_as_by_python() -> None:
    table, plan = sample_rows(30_000), sample_plan()
    with PolarsScanner().open(table) as held:
        same_scan(held.scan(plan), scan_twin(table, plan))
