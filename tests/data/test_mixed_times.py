"""Times of which some carry no zone stay texts, and who wrote them is told which."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from loopwright.core.schema import ColumnType
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.mixed_times import mixed_times
from loopwright.data.purposes import set_purposes
from loopwright.data.reading import schema_of
from loopwright.data.sources import ingest
from loopwright.data.verbs import overwrite
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.testing.builders import memory_context
from loopwright.workspace import Workspace

MIXED = ["2024-01-01T00:00:00Z", None, "2024-01-02 00:00", "2024-01-03T00:00:00.5+01:00", "soon"]


def test_the_first_time_without_a_zone_is_named(tmp_path: Path) -> None:
    lines = "".join(f"{n},{text or ''}\n" for n, text in enumerate(MIXED[:4]))
    (tmp_path / "m.csv").write_text(f"id,at\n{lines}")
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        ctx = workspace.context()
        done = ingest(ctx, str(tmp_path / "m.csv"), into="m")
        column = schema_of(manifest_of(ctx, resolve(ctx, "dataset:m"))).column("at")
    assert column.type is ColumnType.STRING
    (told,) = done.warnings
    assert "'at' is kept as text: 1 of 3 times have no zone, first in row 3 ('2024-01-02 00:00')" in told


def test_every_way_of_writing_rows_tells(tmp_path: Path) -> None:
    ctx: Context = memory_context()
    table = pa.table({"at": MIXED})
    for told in (append(ctx, "d", table), overwrite(ctx, "d", table)):
        assert [warning for warning in told.warnings if "first in row 3" in warning]


def test_a_time_that_may_not_be_read_is_told_by_its_row_alone() -> None:
    ctx: Context = memory_context()
    rule = PurposeRule(column="at", allowed=("support",))
    set_purposes(ctx, "d", Purposes(ask="ann@example.org", rules=(rule,)))
    (told,) = append(ctx, "d", pa.table({"at": MIXED})).warnings
    assert "first in row 3; write" in told
    assert "2024" not in told


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00+02:00"],
        ["2024-01-01T00:00:00", "2024-01-02"],
        ["at 2024-01-01T00:00:00Z", "2024-01-02T00:00:00"],
        [None, None],
        [],
        ["soon", "2024-01-02T00:00:00", "2024-01-01T00:00:00Z"],
    ],
)
def test_nothing_is_told_of_other_texts(texts: list[str | None]) -> None:
    assert (
        mixed_times(
            pa.table({"at": pa.array(texts, pa.string()), "n": list(range(len(texts)))}), lambda _: True
        )
        == ()
    )
