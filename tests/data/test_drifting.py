"""Drift between versions by profiles, against the same measures of all their rows; the rows are not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from loopwright.core.errors import Invalid
from loopwright.core.expressions import col
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.branches import branch, merge
from loopwright.data.drifting import ColumnDistance, DatasetDrift, drift
from loopwright.data.purposes import set_purposes
from loopwright.data.reading import read
from loopwright.data.verbs import delete
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.stats.drift import bins
from loopwright.testing.builders import memory_context
from loopwright.workspace import Workspace

LINES = ("AA", "B6", "DL", "UA", "WN")


def rows(part: int, count: int = 3000) -> pa.Table:
    """Fares rise and lines shift from part to part, hours stay as they are."""
    drawn = np.random.default_rng(part)
    at = 1_500_000_000_000_000 + part * 10**11 + drawn.integers(0, 10**11, count)
    weights = np.array([4.0, 3.0, 2.0, 1.0, 1.0 + part / 2])
    return pa.table(
        {
            "who": [f"w{part}-{n}" for n in range(count)],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "fare": drawn.lognormal(3 + part / 10, 1, count).tolist(),
            "hour": drawn.integers(0, 24, count),
            "line": drawn.choice(LINES, count, p=weights / weights.sum()).tolist(),
            "due": pa.array([None if n % 10 < part else float(n) for n in range(count)], pa.float64()),
        }
    )


Grown = tuple[DatasetDrift, DatasetDrift]


@pytest.fixture(scope="module")
def grown() -> Grown:
    """Six appends; drift of the first version to the last, and to what came after the fourth.

    The rows were read before they went, so that nothing but profiles is left to tell of them.
    """
    ctx = memory_context()
    for part in range(6):
        append(ctx, "flights", rows(part))
    manifest = manifest_of(ctx, resolve(ctx, "dataset:flights"))
    for entry in manifest.entries:
        ctx.ports.objects.remove(entry.digest)
    return drift(ctx, "flights@1", "flights"), drift(ctx, "flights@1", "flights", since="flights@4")


def table_of(parts: Any) -> pa.Table:
    return pa.concat_tables([rows(part) for part in parts])


def of(found: DatasetDrift, column: str) -> ColumnDistance:
    return next(each for each in found.columns if each.column == column)


def there(table: pa.Table, column: str) -> NDArray[Any]:
    values = table[column].drop_null()
    values = values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
    found: NDArray[Any] = values.to_numpy()
    return found


@pytest.mark.parametrize("column", ["at", "fare", "hour", "due"])
def test_drift_of_numbers_is_that_of_the_rows_within_the_bounds(grown: Grown, column: str) -> None:
    first, last = there(rows(0), column), there(table_of(range(6)), column)
    found = of(grown[0], column)
    distance = found.kolmogorov_smirnov
    assert distance is not None
    assert distance.low - 1e-9 <= ks_2samp(first, last).statistic <= distance.high + 1e-9
    assert distance.high - distance.low < 0.04
    assert (found.values_before, found.values_after) == (len(first), len(last))
    assert found.stability is not None
    assert found.stability.low <= found.stability.value <= found.stability.high


def test_what_came_since_is_counted_exactly(grown: Grown) -> None:
    """Against the rows of the last two batches alone, in the bins of the first one's histogram."""
    found = of(grown[1], "fare")
    whole = of(grown[0], "fare")
    assert found.values_after == 6000
    edges = np.linspace(*_ends(there(rows(0), "fare")), 21)
    edges[-1] = np.nextafter(edges[-1], np.inf)
    sides = [
        bins.count_sorted(np.sort(there(table, "fare")), edges) for table in (rows(0), table_of(range(4, 6)))
    ]
    assert found.stability is not None
    assert found.stability.low == found.stability.high
    assert found.stability.value == pytest.approx(bins.population_stability(*sides), abs=1e-6)
    assert found.kolmogorov_smirnov is None
    assert whole.stability is not None
    assert found.stability.value > whole.stability.value  # the first batches do not dilute it


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    ordered = np.sort(values)
    low, high = (ordered[int(q * (len(values) - 1) + 0.5)] for q in (0.01, 0.99))
    return float(low), float(high)


@pytest.mark.parametrize(("at", "parts"), [(0, range(6)), (1, range(4, 6))])
def test_drift_of_texts_is_that_of_the_rows(grown: Grown, at: int, parts: Any) -> None:
    found = of(grown[at], "line")
    sides = [
        np.array([np.count_nonzero(np.array(table["line"].to_pylist()) == line) for line in LINES])
        for table in (rows(0), table_of(parts))
    ]
    for name in ("jensen_shannon", "total_variation"):
        box = getattr(found, name)
        assert box.value == pytest.approx(getattr(bins, name)(*sides), abs=1e-6)
        assert box.low == pytest.approx(box.high)


def test_missing_values_and_what_no_profile_says_are_told(grown: Grown) -> None:
    assert of(grown[0], "due").missing_after == pytest.approx(0.25)
    assert of(grown[1], "due").missing_after == pytest.approx(0.45)
    assert "1,000 different" in of(grown[0], "who").note
    assert grown[0].read_rows == ()
    order = [each.stability.value for each in grown[0].columns if each.stability]
    assert order == sorted(order, reverse=True)
    assert grown[0].columns[-1].column == "who"


def test_values_a_list_leaves_out_are_bounded() -> None:
    ctx = memory_context()
    drawn = np.random.default_rng(3)
    for _ in range(3):
        append(ctx, "words", pa.table({"word": [f"v{n}" for n in drawn.zipf(1.4, 4000) % 300]}))
    found = of(drift(ctx, "words@1", "words"), "word")
    first, last = (read(ctx, address)["word"].to_pylist() for address in ("words@1", "words"))
    names, counts = np.unique(first, return_counts=True)
    often = names[np.argsort(-counts)][:20]
    sides = []
    for side in (first, last):
        listed = [side.count(name) for name in often]
        sides.append(np.array([*listed, len(side) - sum(listed)]))
    box = found.total_variation
    assert box is not None
    assert box.low - 0.01 <= bins.total_variation(*sides) <= box.high + 0.01


@pytest.mark.parametrize("far", [float("inf"), 1.7e308])
def test_numbers_without_a_histogram_are_told_of(far: float) -> None:
    ctx = memory_context()
    for _ in range(2):
        append(ctx, "far", pa.table({"n": [-far, far] * 50, "near": [1.0, 2.0] * 50}))
    found = {each.column: each for each in drift(ctx, "far@1", "far@2", since="far@1").columns}
    assert (found["n"].values_before, found["n"].values_after) == (100, 100)
    assert (found["n"].stability, "no histogram" in found["n"].note) == (None, True)
    assert found["near"].stability is not None
    drift(ctx, "far@1", "far@2")


def test_since_asks_for_appends_alone() -> None:
    ctx = memory_context()
    for part in range(3):
        append(ctx, "flights", rows(part, 100))
    delete(ctx, "flights", where=col("hour").eq(3))
    with pytest.raises(Invalid, match="flights@4"):
        drift(ctx, "flights@1", "flights", since="flights@2")
    append(ctx, "others", rows(1, 100))
    with pytest.raises(Invalid, match="with rows added"):
        drift(ctx, "flights@1", "flights", since="others@1")


def test_what_a_merged_branch_took_out_is_no_append() -> None:
    ctx = memory_context()
    append(ctx, "flights", rows(0, 100))
    for name, takes in (("grown", False), ("cut", True)):
        before = resolve(ctx, "dataset:flights")
        branch(ctx, "flights", name)
        if takes:
            delete(ctx, "flights", where=col("hour").eq(3), branch=name)
        for part in (1, 2):
            append(ctx, "flights", rows(part, 50), branch=name)
        merged = merge(ctx, "flights", name)
        assert merged.facts["added"] == 100
        if not takes:
            assert "removed" not in merged.facts
            assert drift(ctx, "flights@1", "flights", since=str(before.ref)).columns[0].values_after <= 100
            continue
        assert merged.facts["rows"] == before.facts["rows"] + 100 - merged.facts["removed"]
        with pytest.raises(Invalid, match=f"look at dataset:flights@{merged.number}"):
            drift(ctx, "flights@1", "flights", since=str(before.ref))


def test_rows_are_read_where_there_is_no_profile_and_that_is_said() -> None:
    ctx = memory_context()
    append(ctx, "flights", rows(0))
    manifest = replace(manifest_of(ctx, resolve(ctx, "dataset:flights")), profile=None)
    draft = prepare(ctx, "old", manifest, facts={})
    ctx.write(lambda tx: publish(ctx, tx, draft))
    found = drift(ctx, "old", "flights")
    assert found.read_rows == ("dataset:old@1 has no profile",)
    distance = of(found, "fare").kolmogorov_smirnov
    assert distance is not None
    assert distance.value == 0.0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path) as workspace:
        yield workspace


def test_a_column_that_may_not_be_read_is_counted_alone(opened: Workspace) -> None:
    ctx = opened.context()
    for part in range(2):
        append(ctx, "flights", rows(part, 200))
    rule = PurposeRule(column="fare", allowed=("study",), otherwise="restricted")
    set_purposes(ctx, "flights", Purposes(ask="privacy@example.org", rules=(rule,)))
    found = of(opened.call("data.drift", before="flights@1", after="flights@2"), "fare")
    assert found.stability is None
    assert "privacy@example.org" in found.note
    seen = of(opened.call("data.drift", before="flights@1", after="flights@2", purpose="study"), "fare")
    assert seen.stability is not None
