"""Quantiles in profiles of versions, which grow, shrink and forget, against numpy over all rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from loopwright.core.errors import PolicyBlocked
from loopwright.core.expressions import col
from loopwright.core.instants import parse_instant, to_micros
from loopwright.core.schema import ColumnType
from loopwright.data.appending import append
from loopwright.data.checking import checks
from loopwright.data.contracts import define_contract
from loopwright.data.nouns import ColumnRule, Contract, Distribution
from loopwright.data.profiles import merged_profile
from loopwright.data.reading import read
from loopwright.data.verbs import delete
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.loops import erasing
from loopwright.stats.sketches import ERROR
from loopwright.workspace import Workspace
from tests.loops.conftest import at_once

__all__ = ["at_once"]

PARTS = 12


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with Workspace.open(tmp_path_factory.mktemp("quantiles") / ".loopwright") as opened:
        yield opened.context()


def rows(part: int, count: int = 700) -> pa.Table:
    drawn = np.random.default_rng(part)
    at = 1_500_000_000_000_000 + part * 10**9 + drawn.integers(0, 10**10, count)
    return pa.table(
        {
            "who": [f"w{part}-{n}" for n in range(count)],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "fare": drawn.lognormal(3 + part / 10, 1, count).tolist(),
            "stops": drawn.integers(0, 4, count),
        }
    )


def profile(ctx: Context, name: str) -> dict[str, Any]:
    digest = manifest_of(ctx, resolve(ctx, f"dataset:{name}")).profile
    assert digest is not None
    found: dict[str, Any] = json.loads(ctx.ports.objects.get(digest))
    return found


def check(ctx: Context, name: str) -> None:
    """Every quantile of every column is a value that is there, as near to its rank as is promised."""
    told, table = profile(ctx, name)["columns"], read(ctx, name)
    for column in ("at", "fare", "stops"):
        values = table.column(column)
        plain = values.cast(pa.int64()) if column == "at" else values
        rising = np.sort(plain.to_numpy())
        assert told[column]["rank_error"] <= 1.5 * ERROR
        for share, value in told[column]["quantiles"].items():
            number = to_micros(parse_instant(value)) if column == "at" else value
            q = float(share)
            first, last = (np.searchsorted(rising, number, side) for side in ("left", "right"))
            assert first < last
            off = max(first - q * (rising.size - 1), q * (rising.size - 1) - (last - 1), 0)
            assert off <= 2 * told[column]["rank_error"] * rising.size * np.sqrt(q * (1 - q)) + 1.5


def test_quantiles_stay_right_over_appends_and_deletes(ctx: Context) -> None:
    for part in range(PARTS):
        append(ctx, "trips", rows(part), event_time="at")
    check(ctx, "trips")
    assert profile(ctx, "trips")["columns"]["stops"]["rank_error"] == 0
    delete(ctx, "trips", where=(col("fare") > 300) | (col("who").eq("w3-5")))
    check(ctx, "trips")


def test_a_sketch_stays_small(ctx: Context) -> None:
    for part in range(PARTS):
        append(ctx, "small", rows(part))
    sketch = profile(ctx, "small")["columns"]["fare"]["sketch"]
    assert sketch["n"] == 700 * PARTS
    assert len(sketch["values"]) == len(sketch["steps"]) < 300


def test_an_erased_row_leaves_no_number_in_any_sketch(ctx: Context) -> None:
    marked = [1234.56789, 2345.67891]
    for part, fare in enumerate(marked):
        table = rows(part)
        odd = pa.table({"who": ["w-gone"], "at": table["at"].slice(0, 1), "fare": [fare], "stops": [2]})
        append(ctx, "erased", pa.concat_tables([table, odd.cast(table.schema)]))
    append(ctx, "erased", rows(9))
    everything = b"".join(item.read_bytes() for item in objects(ctx))
    assert all(str(fare).encode() in everything for fare in marked)
    proof = erasing.erase(ctx, ("who=w-gone",))
    assert proof.left == 0
    for item in objects(ctx):
        assert not any(str(fare).encode() in item.read_bytes() for fare in marked), item.name
    check(ctx, "erased")


def objects(ctx: Context) -> list[Path]:
    return [item for item in ctx.ports.folder.rglob("*") if item.is_file()]


def test_a_profile_of_before_there_were_sketches_goes_on(ctx: Context) -> None:
    first = ctx.ports.tables.profile(rows(1))
    second = ctx.ports.tables.profile(rows(2), like=first)
    for column in first["columns"].values():
        column.pop("sketch", None)
    found = merged_profile(first, second)["columns"]["fare"]
    assert "sketch" not in found
    assert found["quantiles"]["0.5"] == pytest.approx(np.median(both("fare")), rel=0.2)


def both(column: str) -> list[float]:
    values: list[float] = pa.concat_tables([rows(1), rows(2)]).column(column).to_pylist()
    return values


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 3.0])
def test_a_distribution_by_ranks_is_as_two_samples_say(ctx: Context, shift: float) -> None:
    name, drawn = f"ranks{shift}", np.random.default_rng(11)
    parts = [pa.table({"x": drawn.normal(size=800)}) for _ in range(6)]
    for part in parts:
        append(ctx, name, part)
    batch = drawn.normal(shift, 1, 1500)
    rule = Distribution(
        column="x", at_most=0.06, baseline=f"dataset:{name}@6", measure="kolmogorov_smirnov", severity="block"
    )
    held = Contract(name=name, columns=(ColumnRule(name="x", type=ColumnType.FLOAT),), distributions=(rule,))
    define_contract(ctx, name, held)
    before = pa.concat_tables(parts)["x"].to_numpy()
    true = float(ks_2samp(before, batch).statistic)
    try:
        done = append(ctx, name, pa.table({"x": batch}), contract=name)
        told = checks(ctx, name, version=str(done.version.number))[-1].value
        assert told is not None
        assert abs(told - true) <= 1 / 80 + ERROR + 0.002
    except PolicyBlocked:
        assert true > 0.06 - (1 / 80 + ERROR)
    else:
        assert true <= 0.06 + 1 / 80 + ERROR


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([-1.7e308, 1.7e308, 1.0], [2.0, 3.0, -1.7e308]),
        ([1.0, 2.0], [-1.7e308, 1.6e308]),
        ([np.inf, 1.0, 1.0], [2.0, 4.0]),
        ([1.0, 2.0], [-np.inf, 3.0]),
        ([1e200, -1e200], [1.0, 5.0]),
        ([np.nan, np.nan], [1.0, 5.0]),
        ([3.0], [4.0]),
    ],
)
def test_the_greatest_numbers_are_profiled_and_appended_to(
    tmp_path: Path, first: list[float], second: list[float]
) -> None:
    """The greatest doubles stand for missing values in files of simulations and of sensors."""
    with Workspace.open(tmp_path / ".loopwright") as opened:
        made = opened.context()
        for part in (first, second):
            append(made, "grown", pa.table({"n": part, "other": part[::-1]}))
        found = opened.call("data.profile", name="grown")["columns"]["n"]
    rows = np.array([*first, *second])
    rows = rows[~np.isnan(rows)]
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = {"mean": rows.mean(), "std": rows.std(ddof=1)}
    for measure, value in wanted.items():
        shown = value if np.isfinite(value) else None
        assert found[measure] == (shown if shown is None else pytest.approx(shown)), measure
    if found["histogram"] is not None:
        assert np.isfinite(found["histogram"]["edges"]).all()
    json.dumps(found, allow_nan=False)


def test_a_column_may_have_several_rules_of_its_spread(tmp_path: Path) -> None:
    """By several measures, and one that warns before another blocks."""
    rules = (
        Distribution(column="n", measure="population_stability", at_most=0.1),
        Distribution(column="n", measure="population_stability", at_most=0.5, severity="block"),
        Distribution(column="n", measure="kolmogorov_smirnov", at_most=0.1),
    )
    columns = (ColumnRule(name="n", type=ColumnType.FLOAT),)
    rows = pa.table({"n": np.arange(300.0)})
    with Workspace.open(tmp_path / ".loopwright") as opened:
        made = opened.context()
        append(made, "spread", rows)
        define_contract(made, "spread", Contract(name="spread", columns=columns, distributions=rules))
        append(made, "spread", rows, contract="spread")
        with pytest.raises(PolicyBlocked):
            append(made, "spread", pa.table({"n": np.full(300, 7.0)}), contract="spread")
        told = [each for each in checks(made, "spread") if "spread as" in each.rule]
    assert len(told) == 3
    assert len({each.rule for each in told}) == 2
    assert all(each.held for each in told)
