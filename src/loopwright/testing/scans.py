"""The conformance suite that every engine of scans passes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import Invalid
from loopwright.core.expressions import col, lit, when
from loopwright.core.instants import to_micros
from loopwright.core.schema import ColumnType
from loopwright.ports.scans import (
    GroupCheck,
    Histogram,
    Levels,
    Measure,
    ReferenceCheck,
    Scanned,
    Scanner,
    ScanPlan,
    UniqueCheck,
)
from loopwright.ports.tables import RowCheck
from loopwright.testing.scan_twin import scan_twin

__all__ = ["ScansSuite", "same_scan", "sample_plan", "sample_rows"]

_START = datetime(2013, 1, 1, tzinfo=UTC)


def sample_rows(rows: int = 200) -> pa.Table:
    """A table with every type, nulls, NaN, both zeros, repeated keys and values outside every range."""
    wind: list[float | None] = [None if i % 11 == 3 else float(i % 40) / 4 for i in range(rows)]
    for at, value in {3: math.nan, 5: -0.0, 8: 0.0, 20: 1048.0, 60: math.nan}.items():
        if at < rows:
            wind[at] = value
    return pa.table(
        {
            "id": pa.array([i if i % 25 else 7 for i in range(rows)], pa.int64()),
            "carrier": pa.array(
                [None if i % 10 == 9 else "AAUADLB6"[2 * (i % 4) :][:2] for i in range(rows)]
            ),
            "wind": pa.array(wind, pa.float64(), from_pandas=False),
            "late": pa.array([None if i % 17 == 0 else i % 3 == 0 for i in range(rows)], pa.bool_()),
            "at": pa.array(
                [_START + timedelta(minutes=i // 2) for i in range(rows)], pa.timestamp("us", "UTC")
            ),
        }
    )


def sample_plan() -> ScanPlan:
    """One of everything."""
    return ScanPlan(
        rows=(
            RowCheck(name="wind is in range", expr=col("wind").between(0, 9)),
            RowCheck(name="wind is there", expr=~col("wind").is_null(), null_fails=True),
            RowCheck(name="carrier is allowed", expr=col("carrier").is_in(["AA", "UA"])),
            RowCheck(name="carrier has the form", expr=col("carrier").matches("[A-D].*")),
            RowCheck(name="late or windy", expr=col("late") | (col("wind") * 2 > 3), null_fails=True),
            RowCheck(name="at is late", expr=col("at") >= to_micros(_START + timedelta(minutes=3))),
            RowCheck(name="never", expr=lit(False)),
            RowCheck(name="always", expr=lit(True)),
            RowCheck(name="unknown fails", expr=lit(None).eq(1), null_fails=True),
            RowCheck(name="branches", expr=when(col("id") % 7 > 2, col("wind") / 3, col("id") // 4) < 9),
        ),
        unique=(
            UniqueCheck(name="id is unique", columns=("id",)),
            UniqueCheck(name="carrier and wind", columns=("carrier", "wind")),
            UniqueCheck(name="at", columns=("at",)),
            UniqueCheck(name="wind", columns=("wind",)),
        ),
        references=(
            ReferenceCheck(name="carrier is known", column="carrier", known=pa.array(["AA", None, "ZZ"])),
            ReferenceCheck(name="id is known", column="id", known=pa.array(range(0, 6000, 3))),
        ),
        groups=(
            GroupCheck(name="rows of a carrier", by=("carrier",), op="rows", low=30),
            GroupCheck(
                name="wind of a carrier", by=("carrier", "late"), op="mean", expr=col("wind") + 0.0, high=5
            ),
            GroupCheck(name="ids of an hour", by=("at",), op="distinct", expr=col("id"), low=2, high=2),
            GroupCheck(name="late ones", by=("carrier",), op="sum", expr=col("late"), high=18),
        ),
        measures=(
            Measure(name="rows", op="rows"),
            Measure(name="nulls", op="nulls", column="carrier"),
            Measure(name="mean", op="mean", column="wind"),
            Measure(name="std", op="std", column="wind"),
            Measure(name="last", op="max", column="at"),
            Measure(name="sum", op="sum", column="id"),
            Measure(name="distinct", op="distinct", column="wind"),
            Measure(name="words", op="distinct", column="carrier"),
        ),
        histograms=(
            Histogram(name="of wind", column="wind", edges=(0.0, 2.5, 5.0, 9.75)),
            Histogram(name="of time", column="at", edges=(float(to_micros(_START)), to_micros(_START) + 6e7)),
        ),
        levels=(
            Levels(name="carriers", column="carrier", values=("AA", "B6")),
            Levels(name="lates", column="late", values=(True,)),
        ),
        keys=("id", "at"),
        first=4,
    )


def same_scan(found: Scanned, wanted: Scanned) -> None:
    """Hold what an engine found against what is meant; sums of floats may differ in the last places."""
    assert found.rows == wanted.rows
    assert found.checks == wanted.checks
    assert found.counts == wanted.counts
    assert {name: (g.groups, g.failed) for name, g in found.groups.items()} == {
        name: (g.groups, g.failed) for name, g in wanted.groups.items()
    }
    for name, group in wanted.groups.items():
        for one, other in zip(found.groups[name].first, group.first, strict=True):
            assert {**one, "value": None} == {**other, "value": None}
            assert one["value"] == pytest.approx(other["value"], rel=1e-9)
    assert set(found.measures) == set(wanted.measures)
    for name, value in wanted.measures.items():
        assert found.measures[name] == (value if value is None else pytest.approx(value, rel=1e-9)), name


class ScansSuite:
    """What every engine of scans does. A subclass gives the fixture `scanner`."""

    @pytest.fixture
    def scanner(self) -> Scanner:
        """The engine."""
        raise NotImplementedError

    @pytest.mark.parametrize("rows", [1, 7, 200, 3000])
    def test_a_scan_means_what_it_means_row_by_row(self, scanner: Scanner, rows: int) -> None:
        table = sample_rows(rows)
        with scanner.open(table) as held:
            same_scan(held.scan(sample_plan()), scan_twin(table, sample_plan()))

    def test_no_rows_fail_nothing(self, scanner: Scanner) -> None:
        with scanner.open(sample_rows(5).slice(0, 0)) as held:
            found = held.scan(sample_plan())
        assert found.rows == 0
        assert {check.failed for check in found.checks.values()} == {0}
        assert {(group.groups, group.failed) for group in found.groups.values()} == {(0, 0)}
        assert found.measures["mean"] is None
        assert found.measures["sum"] == 0

    def test_every_kind_of_source_is_truly_scanned(self, scanner: Scanner, tmp_path: Path) -> None:
        table, plan = sample_rows(3000), sample_plan()
        wanted = scan_twin(table, plan)
        pq.write_table(table, tmp_path / "all.parquet", row_group_size=500)
        for part in range(3):
            pq.write_table(table.slice(part * 1000, 1000), tmp_path / f"{part}.parquet", row_group_size=300)
        for source in (
            tmp_path / "all.parquet",
            [str(tmp_path / f"{part}.parquet") for part in range(3)],
            pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=450)),
            iter(table.to_batches(max_chunksize=700)),
            [table.slice(0, 1100), table.slice(1100)],
        ):
            with scanner.open(source) as held:
                assert [column.type for column in held.schema.columns][-1] is ColumnType.INSTANT
                same_scan(held.scan(plan), wanted)
                same_scan(held.scan(plan), wanted)

    def test_other_types_are_read_as_those_of_the_platform(self, scanner: Scanner) -> None:
        table = pa.table(
            {
                "small": pa.array([1, 200, None], pa.uint8()),
                "half": pa.array([0.5, 1.5, 2.5], pa.float32()),
                "word": pa.array(["a", "b", "a"]).dictionary_encode(),
                "day": pa.array([0, 1, 2], pa.date32()),
            }
        )
        plan = ScanPlan(
            rows=(
                RowCheck(name="a", expr=col("small") + 100 < 250),
                RowCheck(name="b", expr=col("half") < 2),
                RowCheck(name="c", expr=col("word").eq("a")),
                RowCheck(name="d", expr=col("day") < 86_400_000_000),
            )
        )
        with scanner.open(table) as held:
            assert [str(column.type) for column in held.schema.columns] == [
                "int",
                "float",
                "string",
                "instant",
            ]
            assert [held.scan(plan).checks[name].failed for name in "abcd"] == [1, 1, 1, 2]

    def test_names_and_texts_are_taken_as_they_are(self, scanner: Scanner) -> None:
        name = 'a "b"\'); --'
        table = pa.table({name: ["it's", 'say "x"', "\\", None]})
        plan = ScanPlan(
            rows=(RowCheck(name=name, expr=col(name).is_in(["it's", "\\"])),),
            unique=(UniqueCheck(name="u", columns=(name,)),),
            levels=(Levels(name="l", column=name, values=("it's",)),),
            keys=(name,),
        )
        with scanner.open(table) as held:
            same_scan(held.scan(plan), scan_twin(table, plan))

    @pytest.mark.parametrize(
        "plan",
        [
            ScanPlan(rows=(RowCheck(name="a", expr=col("nothing") > 1),)),
            ScanPlan(unique=(UniqueCheck(name="a", columns=("id", "nothing")),)),
            ScanPlan(measures=(Measure(name="a", op="mean", column="nothing"),)),
            ScanPlan(measures=(Measure(name="a", op="mean", column="carrier"),)),
            ScanPlan(rows=(RowCheck(name="a", expr=col("carrier") > 1),)),
            ScanPlan(rows=(RowCheck(name="a", expr=col("carrier").matches("(")),)),
            ScanPlan(histograms=(Histogram(name="a", column="carrier", edges=(0.0, 1.0)),)),
            ScanPlan(references=(ReferenceCheck(name="a", column="carrier", known=pa.array([1])),)),
        ],
    )
    def test_what_cannot_be_asked_is_invalid(self, scanner: Scanner, plan: ScanPlan) -> None:
        with scanner.open(sample_rows(5)) as held, pytest.raises(Invalid) as caught:
            held.scan(plan)
        assert caught.value.hint

    @pytest.mark.parametrize(
        "source", [7, b"rows", {"a": [1]}, object(), iter([]), iter([1]), "/no/file.parquet"]
    )
    def test_what_holds_no_rows_is_invalid(self, scanner: Scanner, source: Any) -> None:
        with pytest.raises(Invalid) as caught, scanner.open(source):
            pass
        assert caught.value.hint

    def test_times_without_a_zone_and_broken_files_are_invalid(
        self, scanner: Scanner, tmp_path: Path
    ) -> None:
        naive = pa.table({"at": pa.array([0], pa.timestamp("us"))})
        with pytest.raises(Invalid, match="no zone"), scanner.open(naive):
            pass
        whole = io.BytesIO()
        pq.write_table(sample_rows(50), whole)
        (tmp_path / "cut.parquet").write_bytes(whole.getvalue()[:-40])
        with pytest.raises(Invalid), scanner.open(tmp_path / "cut.parquet"):
            pass

    def test_a_stream_whose_batches_differ_is_invalid(self, scanner: Scanner) -> None:
        def torn() -> Iterator[pa.RecordBatch]:
            yield pa.record_batch({"a": [1]})
            yield pa.record_batch({"a": ["x"]})

        with pytest.raises(Invalid, match="other columns"), scanner.open(torn()):
            pass
