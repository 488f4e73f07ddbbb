"""The page of a feature view: its definition with what is not portable, its owner, its backfills."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

import loopwright as lw
from loopwright.core.instants import parse_instant
from loopwright.monitoring.usage import InputShares, Shares
from loopwright.surfaces.ui import build_site
from loopwright.surfaces.ui.features import drawn
from tests.surfaces.asking import ask


@lw.feature_function
def felt(temp: float) -> float:
    return temp - 1


def test_the_page_says_what_only_a_program_computes_and_what_was_filled_in(tmp_path: Path) -> None:
    with lw.Workspace.open(tmp_path / ".loopwright") as workspace:
        at = parse_instant("2026-03-01")
        rows = pa.table({"origin": ["EWR"], "at": [at], "temp": [10.0]})
        source = lw.source(rows, name="weather", event_time="at", to=workspace)
        view = lw.feature_view(
            "sky",
            source=source,
            entity="origin",
            features=[("celsius", (lw.col("temp") - 32) / 1.8), felt],
            owners=["ada", "<bob>"],
            description="what is above",
            tags={"team": "ops"},
            to=workspace,
        )
        view.backfill("2026-03-01", "2026-03-02", every="12h")
        view.backfill("2026-03-01", "2026-03-02", every="1d", into="kept")
        lw.training_set(rows, ["sky:celsius"], name="asked", to=workspace)
        answer = ask(build_site(workspace), "GET", "/assets/feature_view/sky")
        assert answer.status == 200
        said = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode()))
    for words in (
        "owned by ada, &lt;bob&gt;",
        "what is above",
        "team: ops",
        "not portable",
        "felt is made by Python functions",
        "((temp - 32) / 1.8)",
        f"Python function {felt.definition.name}(temp) , source {felt.definition.digest[:12]}",
        "Training sets: dataset:asked@1",
        "Backfills",
        "12h online done",
        "1d kept done",
    ):
        assert words in said, words


def test_the_bins_of_a_picture_are_named_with_what_lies_in_them() -> None:
    then = Shares(n=4, bins=(0.25, 0.5, 0.25), missing=0.0, mean=1.0)
    now = Shares(n=2, bins=(0.0, 0.5, 0.5), missing=0.0, mean=2.0)
    shown = drawn(InputShares(name="wind", edges=(0.5, 1.75), training=then, served=now))
    assert [bar.told for bar in shown.bars] == [
        "< 0.5: training 25.0 %, served 0.0 %",
        "0.5 to 1.75: training 50.0 %, served 50.0 %",
        "\u2265 1.75: training 25.0 %, served 50.0 %",
    ]
    assert (shown.ends, shown.apart) == (("< 0.5", "\u2265 1.75"), 0.25)
    assert shown.bars[2].x == 160
