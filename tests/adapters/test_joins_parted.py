"""The join in parts: the rows of the join in one piece and of its contract, whatever the pieces."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.tables import PolarsTables
from loopwright.adapters.tables.filejoins import join_files
from loopwright.adapters.tables.joins_parted import Cuts, cuts_of, join_in_parts
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin
from tests.adapters.joins_twin import MICROSECOND, as_of, table
from tests.adapters.test_joins_as_of import SPINE, VIEW, spines, views

TINY = 1_000_000
"""bytes of memory that any process has taken before it begins"""

cuts = st.builds(
    Cuts,
    parts=st.integers(1, 7),
    questions=st.integers(1, 9),
    view_rows=st.integers(1, 9),
    spine_rows=st.integers(1, 9),
    carry_rows=st.integers(1, 5),
    read_rows=st.integers(1, 9),
    buffer_bytes=st.sampled_from([1, 200, 100_000]),
)


def written(out: Path) -> Callable[[pa.Schema], pq.ParquetWriter]:
    return lambda schema: pq.ParquetWriter(out, schema)


def in_parts(spine: pa.Table, view: pa.Table, join: AsOfJoin, cut: Cuts, *, group: int = 3) -> pa.Table:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = str(folder / "spine"), str(folder / "view")
        pq.write_table(spine, files[0], row_group_size=group)
        pq.write_table(view, files[1], row_group_size=group)
        (folder / "waits").mkdir()
        report = join_in_parts(files, join, cut, folder / "waits", written(folder / "out"))
        assert list((folder / "waits").iterdir()) == []
        found = pq.read_table(folder / "out")
        assert report.rows == found.num_rows == spine.num_rows
        return found


@settings(max_examples=40, deadline=None)
@given(
    spine=spines,
    view=views,
    two=st.booleans(),
    mode=st.sampled_from(["known", "event"]),
    ttl=st.integers(0, 5),
    cut=cuts,
)
def test_is_the_contract_row_by_row(
    spine: list[dict[str, Any]],
    view: list[dict[str, Any]],
    *,
    two: bool,
    mode: Literal["known", "event"],
    ttl: int,
    cut: Cuts,
) -> None:
    join = AsOfJoin(
        keys=("k", "j") if two else ("k",),
        time="at",
        event_time="event",
        known_at="known",
        order="seq",
        ttl=ttl * MICROSECOND,
        mode=mode,
        columns=("v",),
    )
    found = in_parts(table(spine, SPINE), table(view, VIEW), join, cut)
    assert found.to_pylist() == as_of(spine, view, join, ("v",))


def instants(micros: Any) -> pa.Array:
    return pa.array(micros).cast(pa.timestamp("us", "UTC"))


def files(folder: Path) -> tuple[str, str]:
    """A spine and a view of every sort of column; one key has most of the rows."""
    chance = np.random.default_rng(5)
    asked, known = 6_000, 9_000

    def keys(rows: int) -> Any:
        return pa.array((40 * chance.random(rows) ** 4).astype(np.int32), mask=chance.random(rows) < 0.02)

    event = chance.integers(0, 10**9, known)
    spine = {
        "label": chance.integers(0, 2, asked).astype(np.int8),
        "k": keys(asked),
        "texts": pa.array(chance.choice(["a", "", "é"], asked)).dictionary_encode(),
        "at": pa.array(chance.integers(0, 10**6, asked), mask=chance.random(asked) < 0.02).cast(
            pa.timestamp("ms", "Europe/Paris")
        ),
    }
    view = {
        "texts": pa.array(chance.choice(["a", "", "é", "z"], known), pa.large_string()),
        "k": keys(known),
        "event": pa.array(event, mask=chance.random(known) < 0.02).cast(pa.timestamp("us", "UTC")),
        "known": pa.array(event + chance.integers(-5, 10**8, known), mask=chance.random(known) < 0.1).cast(
            pa.timestamp("us", "UTC")
        ),
        "seq": pa.array(chance.choice(["x", "y", "z"], known)).dictionary_encode(),
        "value": pa.array(chance.normal(size=known), mask=chance.random(known) < 0.1),
        "level": pa.array(chance.choice(["low", "high"], known)).dictionary_encode(),
        "tags": pa.array([[str(at)] * (at % 3) for at in range(known)]),
        "much": pa.array([None if at % 7 == 0 else "word " * (at % 11) for at in range(known)]),
    }
    paths = str(folder / "spine"), str(folder / "view")
    pq.write_table(pa.table(spine), paths[0], row_group_size=700)
    pq.write_table(pa.table(view), paths[1], row_group_size=1_900)
    return paths


JOIN = AsOfJoin(
    keys=("k", "texts"),
    time="at",
    event_time="event",
    known_at="known",
    order="seq",
    ttl=timedelta(seconds=300),
)


@pytest.mark.parametrize(
    "changed", [{}, {"mode": "event"}, {"known_at": None}, {"order": None}, {"ttl": timedelta(0)}]
)
def test_a_tiny_budget_gives_the_same_file(tmp_path: Path, changed: dict[str, Any]) -> None:
    spine, view = files(tmp_path)
    join = AsOfJoin(**{**{name: getattr(JOIN, name) for name in JOIN.__struct_fields__}, **changed})
    reports = [
        join_files(spine, view, str(tmp_path / out), join, memory_bytes=memory)
        for out, memory in (("one", None), ("parts", TINY))
    ]
    assert reports[0] == reports[1]
    one, parts = pq.ParquetFile(tmp_path / "one"), pq.ParquetFile(tmp_path / "parts")
    assert one.num_row_groups == 1
    assert parts.num_row_groups > 1
    found = parts.read()
    assert found.to_pydict() == one.read().to_pydict()
    assert found.schema.equals(one.schema_arrow)
    assert 0 < found["value"].null_count < found.num_rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "parts", "spine", "view"]


def test_no_rows_and_no_further_columns(tmp_path: Path) -> None:
    spine, view = files(tmp_path)
    bare = pq.read_table(view).select(["k", "texts", "event", "known", "seq"])
    pq.write_table(bare, tmp_path / "bare")
    pq.write_table(pq.read_table(view).slice(0, 0), tmp_path / "none")
    (tmp_path / "waits").mkdir()
    cut = cuts_of(1, (6_000, 9_000), (20, 20, 8))
    for name in ("bare", "none"):
        out = tmp_path / f"{name} joined"
        join_in_parts((spine, str(tmp_path / name)), JOIN, cut, tmp_path / "waits", written(out))
        join_files(spine, str(tmp_path / name), str(tmp_path / "one"), JOIN)
        assert pq.read_table(out).to_pydict() == pq.read_table(tmp_path / "one").to_pydict()


def test_what_is_wrong_is_said_as_in_one_piece(tmp_path: Path) -> None:
    spine, view = files(tmp_path)
    for changed, match in (
        ({"known_at": "nope"}, "'nope'"),
        ({"keys": ("nope",), "columns": ("value",)}, "'nope'"),
        ({"time": "label"}, "not instants"),
        ({"columns": ("texts",)}, "'texts'"),
        ({"ttl": -MICROSECOND}, "negative"),
    ):
        join = AsOfJoin(**{**{name: getattr(JOIN, name) for name in JOIN.__struct_fields__}, **changed})
        for memory in (None, TINY):
            with pytest.raises(Invalid, match=match):
                PolarsTables(memory).join_files(spine, view, str(tmp_path / "out"), join)


SMALL_DISK = """
import resource, signal, sys
from loopwright.app.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.argv[1:1] = ["features", "join"]
main()
"""


def test_a_disk_without_room_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    spine, view = files(tmp_path)
    named = ["--spine", spine, "--view", view, "--out", str(tmp_path / "out"), "--memory", "1MB"]
    columns = ["--key", "k", "--key", "texts", "--time", "at", "--event-time", "event"]
    command = [sys.executable, "-c", SMALL_DISK, *named, *columns]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 6
    assert "cannot be written" in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spine", "view"]


@given(
    spare=st.integers(1, 10**11),
    rows=st.tuples(st.integers(0, 10**10), st.integers(0, 10**10)),
    widths=st.tuples(st.floats(0, 10**5), st.floats(0, 10**5), st.floats(0, 10**5)),
)
def test_pieces_hold_what_is_spare(
    spare: int, rows: tuple[int, int], widths: tuple[float, float, float]
) -> None:
    """Where memory is not too small for anything at all, a piece of rows is a part of it; buckets are few."""
    cut = cuts_of(spare, rows, widths)
    assert 1 <= cut.parts <= 256
    assert -(-rows[0] // cut.spine_rows) <= 4096
    assert -(-rows[1] // cut.view_rows) <= 1024
    if cut.view_rows > 1024 and cut.view_rows > rows[1] // 1024 + 1:
        assert cut.view_rows * widths[1] <= spare / 6
    if cut.spine_rows > 1024 and cut.spine_rows > rows[0] // 4096 + 1:
        assert cut.spine_rows * sum(widths[:2]) <= spare / 6
