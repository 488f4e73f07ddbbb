"""What a prediction came from is told without what may not be read for the purpose, however it is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.purposes import set_purposes
from loopwright.data.streams import write_segment
from loopwright.engine.context import Context
from loopwright.loops.why import Told, why
from tests.serving.worlds import ENDPOINT, deployed

AT = datetime(2013, 7, 2, tzinfo=UTC)
ASKED = {"carrier": "AA", "distance": 733.0, "month": 7}
SEEN = {"carrier": 0.0, "distance": 733.0, "late_month": 14.0}


@pytest.fixture
def ctx() -> Context:
    made = deployed((1, 100.0))
    append(made, "flights", pa.table({"carrier": ["AA"], **{f"x_{name}": [n] for name, n in SEEN.items()}}))
    row = {
        "prediction_id": "q.0",
        "at": AT,
        "score": 0.5,
        "model_version": 1,
        "variant": "live",
        **{f"in_{name}": value for name, value in ASKED.items()},
        **{f"x_{name}": value for name, value in SEEN.items()},
    }
    write_segment(made, f"predictions/{ENDPOINT}", pa.Table.from_pylist([row]), AT, AT, {})
    return made


def told(ctx: Context, *columns: str, purpose: str = "") -> Told:
    rules = tuple(PurposeRule(column=column, allowed=("support",)) for column in columns)
    set_purposes(ctx, "flights", Purposes(ask="ann@example.org", rules=rules))
    return why(ctx, "prediction:q.0", purpose=purpose).prediction


def test_without_rules_or_for_a_purpose_that_may_all_is_told(ctx: Context) -> None:
    for found in (told(ctx), told(ctx, "x_distance", "carrier", purpose="support")):
        assert (found.asked, found.inputs, dict(found.withheld)) == (ASKED, SEEN, {})


@pytest.mark.parametrize(
    ("column", "asked", "seen"),
    [
        ("x_distance", "distance", "distance"),
        ("x_late_month", "month", "late_month"),
        ("carrier", "carrier", "carrier"),
    ],
)
def test_what_may_not_be_read_is_told_neither_as_asked_nor_as_seen(
    ctx: Context, column: str, asked: str, seen: str
) -> None:
    found = told(ctx, column)
    assert found.asked == {name: value for name, value in ASKED.items() if name != asked}
    assert found.inputs == {name: value for name, value in SEEN.items() if name != seen}
    assert set(found.withheld) == {asked, seen}
    assert all("ask ann@example.org" in text for text in found.withheld.values())
