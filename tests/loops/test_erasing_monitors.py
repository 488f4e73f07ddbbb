"""A monitor whose reference loses rows while its bins are fitted has those of the rows that are left."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from loopwright.data.appending import append
from loopwright.data.reading import read
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.monitoring import definitions
from loopwright.monitoring.nouns import Monitor
from loopwright.monitoring.verbs import define
from loopwright.serving.verbs import deploy
from tests.loops.test_erasing import WHO
from tests.loops.test_erasing_meanwhile import erased_before
from tests.serving.worlds import ENDPOINT, config, world

OTHERS = [100.0 * n for n in range(10)]
THEIRS, EDGE = 4711.25, 2805.625
"""a distance that only the rows which go have, and the edge half-way between it and the next one below"""


@pytest.fixture
def ctx() -> Context:
    made = world()
    deploy(made, ENDPOINT, config((1, 100.0)))
    return made


def profiled(ctx: Context) -> None:
    append(
        ctx,
        "history",
        pa.table(
            {
                "passenger": [*(f"p{n}" for n in range(10)), *[WHO] * 10],
                "x_carrier": pa.array([1.0] * 20),
                "x_distance": pa.array([*OTHERS, *[THEIRS] * 10]),
                "x_late_month": pa.array([2.0] * 20),
            }
        ),
    )


def unprofiled(ctx: Context) -> None:
    """As earlier releases kept training sets."""
    profiled(ctx)
    manifest = replace(manifest_of(ctx, resolve(ctx, "dataset:history")), profile=None)
    draft = prepare(ctx, "history", manifest, facts={}, parent=1)
    ctx.write(lambda tx: publish(ctx, tx, draft))


def monitor() -> Monitor:
    return Monitor(endpoint=ENDPOINT, labels="landings", reference="dataset:history")


def edges(ctx: Context, name: str) -> dict[str, tuple[float, ...]]:
    return {each.column: each.edges for each in definitions.load(ctx, name).bins}


@pytest.mark.parametrize("kept", [profiled, unprofiled])
def test_bins_are_fitted_again_on_what_an_erasure_left(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, kept: Any
) -> None:
    kept(ctx)
    before = define(ctx, "before", monitor())
    assert EDGE in edges(ctx, "before")["distance"]
    left = erased_before(ctx, monkeypatch, definitions, "prepare")
    made = define(ctx, "meanwhile", monitor())
    assert left == [0]
    assert read(ctx, "history").column("x_distance").to_pylist() == OTHERS
    define(ctx, "after", monitor())
    assert edges(ctx, "meanwhile") == edges(ctx, "after")
    assert len(edges(ctx, "meanwhile")["distance"]) == 9
    assert manifest_of(ctx, made).body["reference"] == str(resolve(ctx, "dataset:history").ref)
    assert telling(ctx) == {entry.digest for entry in manifest_of(ctx, before).entries}


def telling(ctx: Context) -> set[str]:
    """Objects that tell the edge: what was kept before the erasure began, and nothing else."""
    objects, text = ctx.ports.objects, str(EDGE).encode()
    return {each.digest for each in objects.list() if text in objects.get(each.digest)}
