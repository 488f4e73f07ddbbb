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
