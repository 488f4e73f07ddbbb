"""The join of files: every column in its place, whole or not at all, without a workspace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import Invalid, NotFound, Unavailable
from loopwright.core.instants import to_micros
from loopwright.features.verbs import join
from loopwright.testing.builders import memory_context

NOON = datetime(2013, 6, 1, 12, tzinfo=UTC)
UTC_TIME = pa.timestamp("us", "UTC")
HOUR_US = 3_600_000_000
NAIVE = datetime(2013, 6, 1, 8)  # noqa: DTZ001 - what a file without zones holds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spine = pa.table(
        {
            "label": [1, 0, 1],
            "origin": ["EWR", "JFK", "EWR"],
            "gate": [3, 3, 3],
            "asked": pa.array([NOON, NOON, NOON - timedelta(hours=2)], UTC_TIME),
        }
    )
    view = pa.table(
        {
            "origin": ["EWR", "EWR", "EWR"],
            "gate": [3, 3, 3],
            "at": pa.array([NOON - timedelta(hours=3), NOON - timedelta(hours=1), NOON], UTC_TIME),
            "known": pa.array(
                [NOON - timedelta(hours=3), NOON - timedelta(hours=1), NOON + timedelta(hours=1)], UTC_TIME
            ),
            "seq": [0, 1, 2],
            "wind": [1.5, 2.5, 3.5],
            "label": ["a", "b", "c"],
        }
    )
    pq.write_table(spine, tmp_path / "spine.parquet")
    pq.write_table(view, tmp_path / "view.parquet")
    return tmp_path


def asked(folder: Path, **changed: Any) -> pa.Table:
    given: dict[str, Any] = {
        "spine": str(folder / "spine.parquet"),
        "view": str(folder / "view.parquet"),
        "out": str(folder / "out.parquet"),
        "key": ("origin", "gate"),
        "time": "asked",
        "event_time": "at",
        "known_at": "known",
        "order_by": "seq",
        "prefix": "w_",
    }
    report = join(memory_context(), **{**given, **changed})
    assert report.out == str(folder / "out.parquet")
    return pq.read_table(folder / "out.parquet")


def test_the_file_holds_the_spine_then_the_view(folder: Path) -> None:
    found = asked(folder)
    assert found.column_names == ["label", "origin", "gate", "asked", "w_wind", "w_label"]
    assert found["w_wind"].to_pylist() == [2.5, None, 1.5]
    assert found["w_label"].to_pylist() == ["b", None, "a"]
    assert asked(folder, mode="event")["w_wind"].to_pylist() == [3.5, None, 1.5]


def test_the_ttl_is_in_seconds(folder: Path) -> None:
    assert asked(folder, ttl=3600.0)["w_wind"].to_pylist() == [2.5, None, 1.5]
    assert asked(folder, ttl=3599.999999)["w_wind"].to_pylist() == [None, None, None]


def test_a_clash_of_names_is_refused_and_nothing_is_written(folder: Path) -> None:
    with pytest.raises(Invalid, match="'label'"):
        asked(folder, prefix="")
    assert not (folder / "out.parquet").exists()


@pytest.mark.parametrize("ttl", [-1.0, float("nan"), float("inf")])
def test_a_ttl_that_is_none_is_refused(folder: Path, ttl: float) -> None:
    with pytest.raises(Invalid, match="ttl"):
        asked(folder, ttl=ttl)


def test_times_without_a_zone_need_one_declared(folder: Path) -> None:
    local = pa.table(
        {
            "origin": ["EWR"],
            "gate": [3],
            "asked": pa.array([to_micros(NOON) - 4 * HOUR_US], pa.timestamp("us")),
        }
    )
    pq.write_table(local, folder / "spine.parquet")
    with pytest.raises(Invalid, match="no zone"):
        asked(folder)
    found = asked(folder, zone="America/New_York")
    assert found["w_wind"].to_pylist() == [2.5]
    assert found["asked"][0].as_py() == NAIVE  # as it was written
    with pytest.raises(Invalid, match="Mars"):
        asked(folder, zone="Mars/Olympus")


def test_an_hour_that_came_twice_is_refused(folder: Path) -> None:
    twice = pa.table(
        {
            "origin": ["EWR"],
            "gate": [3],
            "asked": pa.array([to_micros(datetime(2013, 11, 3, 1, 30, tzinfo=UTC))], pa.timestamp("us")),
        }
    )
    pq.write_table(twice, folder / "spine.parquet")
    with pytest.raises(Invalid, match="America/New_York"):
        asked(folder, zone="America/New_York")


def test_files_that_are_not_there_or_cannot_be_written(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"nope\.parquet"):
        asked(folder, view=str(folder / "nope.parquet"))
    with pytest.raises(Unavailable, match="nowhere"):
        asked(folder, out=str(folder / "nowhere" / "out.parquet"))
    (folder / "view.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(Invalid):
        asked(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["spine.parquet", "view.parquet"]


DECIMAL = pa.decimal128


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (pa.array([3, 3, 4], pa.uint64()), pa.array([3, 3, 3], pa.int32())),
        (pa.array([3, 3, 4], pa.int64()), pa.array([3, 3, 3]).cast(DECIMAL(21, 2))),
        (pa.array([3, 3, 4]).cast(DECIMAL(20, 1)), pa.array([3, 3, 3]).cast(pa.decimal256(40, 9))),
        (pa.array([b"a", b"a", b"b"], pa.large_binary()), pa.array([b"a"] * 3, pa.binary(1))),
        (pa.array([3, 3, 4], pa.time32("s")), pa.array([3_000_000] * 3, pa.time64("us"))),
        (pa.array([3, 3, 4], pa.timestamp("ms")), pa.array([3000] * 3, pa.timestamp("us"))),
    ],
)
def test_keys_of_one_kind_meet_whatever_their_width(folder: Path, mine: pa.Array, theirs: pa.Array) -> None:
    """Gates that the same number stands for: rows of the third gate alone have a winner."""
    for name, values in (("spine", mine), ("view", theirs)):
        table = pq.read_table(folder / f"{name}.parquet")
        place = table.column_names.index("gate")
        pq.write_table(table.set_column(place, "gate", values), folder / f"{name}.parquet")
    assert asked(folder)["w_wind"].to_pylist() == [2.5, None, None]


def test_a_column_of_nothing_but_nulls_is_of_no_instant(folder: Path) -> None:
    view = pq.read_table(folder / "view.parquet")
    place = view.column_names.index("known")
    pq.write_table(view.set_column(place, "known", pa.nulls(3)), folder / "view.parquet")
    assert asked(folder)["w_wind"].to_pylist() == [3.5, None, 1.5]
    spine = pq.read_table(folder / "spine.parquet")
    pq.write_table(spine.set_column(3, "asked", pa.nulls(3)), folder / "spine.parquet")
    assert asked(folder)["w_wind"].to_pylist() == [None] * 3


@pytest.mark.parametrize("ttl", [1e300, 3e-7, -1.0, float("nan")])
def test_a_ttl_that_means_nothing_is_refused(folder: Path, ttl: float) -> None:
    with pytest.raises(Invalid, match="ttl") as caught:
        asked(folder, ttl=ttl)
    assert "0 means no limit" in caught.value.hint


@pytest.mark.parametrize("what", ["known_at", "order_by", "event_time"])
def test_a_column_that_is_not_there_is_told_with_those_that_are(folder: Path, what: str) -> None:
    with pytest.raises(Invalid, match="column 'z' is not there") as caught:
        asked(folder, **{what: "z"})
    assert set(pq.read_schema(folder / "view.parquet").names) == set(
        caught.value.hint.removeprefix("the columns are ").split(", ")
    )


def test_a_key_that_is_no_value_or_not_there_is_told_as_such(folder: Path) -> None:
    with pytest.raises(Invalid, match="spine's key column 'z' is not there"):
        asked(folder, key=("z",))
    for name in ("spine", "view"):
        table = pq.read_table(folder / f"{name}.parquet")
        nested = pa.array([[3]] * 3)
        place = table.column_names.index("gate")
        pq.write_table(table.set_column(place, "gate", nested), folder / f"{name}.parquet")
    with pytest.raises(Invalid, match="which is no key"):
        asked(folder)
