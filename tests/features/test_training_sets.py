"""Training sets: versions that say how they were made, with splits that are kept."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.errors import Invalid
from loopwright.core.nouns import LinkRole, Run, RunState
from loopwright.data.verbs import read
from loopwright.engine.context import Context
from loopwright.engine.platform import lineage
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.nouns import Split
from loopwright.features.verbs import build, matrix, service_of, training_set
from tests.features import worlds
from tests.features.worlds import HOUR, START


@pytest.fixture(scope="module")
def ctx() -> Context:
    made = worlds.context()
    worlds.published(made)
    return made


def test_is_a_version_of_the_spine_and_the_inputs(ctx: Context) -> None:
    spine = worlds.questions(80)
    version = training_set(ctx, "delays", spine, name="train/delays", time="asked_at")
    table = read(ctx, str(version.ref))
    service = service_of(ctx, "delays")
    assert table.column_names == [*spine.column_names, *(f"x_{name}" for name in service.names)]
    assert table.select(spine.column_names).to_pylist() == spine.to_pylist()
    built = matrix(service, build(ctx, service, spine, "asked_at"))
    assert matrix(service, table).tobytes() == built.tobytes()
    assert version.facts["rows"] == 80
    again = training_set(ctx, "delays", spine, name="train/delays", time="asked_at")
    assert again.id == version.id


def test_says_what_it_was_made_from(ctx: Context) -> None:
    run = Run(
        id="r1",
        space="default",
        kind="training",
        name="t",
        state=RunState.RUNNING,
        created_at=ctx.now(),
        created_by="tester",
    )
    ctx.write(lambda tx: tx.runs.add(run))
    inside = ctx.under("r1")
    version = training_set(inside, "delays", worlds.questions(10), name="train/linked", time="asked_at")
    facts = manifest_of(ctx, version).body["facts"]
    service = resolve(ctx, "delays", kind="feature_service")
    assert facts["service"] == str(service.ref)
    assert facts["service_digest"] == service.digest
    assert facts["sources"]["feature_view:origin_weather@1"] == "dataset:weather@1"
    with ctx.read() as tx:
        links = tx.runs.links("r1")
    inputs = {str(link.version) for link in links if link.role is LinkRole.INPUT}
    assert {"dataset:departures@1", "dataset:weather@1", str(service.ref), "feature_view:plane@1"} <= inputs
    assert [str(link.version) for link in links if link.role is LinkRole.OUTPUT] == [str(version.ref)]


def instant(hours: float) -> datetime:
    return START + hours * HOUR


def parts(ctx: Context, split: Split, spine: pa.Table) -> list[str]:
    version = training_set(ctx, "delays", spine, name="train/split", time="asked_at", split=split)
    assert manifest_of(ctx, version).body["facts"]["split"]
    found: list[str] = read(ctx, str(version.ref))["split"].to_pylist()
    return found


def test_lineage_knows_it_without_a_run(ctx: Context) -> None:
    version = training_set(ctx, "delays", worlds.questions(12), name="train/alone", time="asked_at")
    up = {edge.source for edge in lineage(ctx, str(version.ref)).edges if edge.target == str(version.ref)}
    assert up == set(version.facts["reads"]) >= {"dataset:weather@1", "feature_view:origin_weather@1"}
    assert str(version.ref) in {edge.target for edge in lineage(ctx, "dataset:weather@1").edges}


def test_a_split_by_time_goes_by_each_rows_instant(ctx: Context) -> None:
    spine = worlds.questions(100)
    split = Split(until={"train": instant(20), "valid": instant(30)}, rest="test")
    expected = [
        "train" if at < instant(20) else "valid" if at < instant(30) else "test"
        for at in spine["asked_at"].to_pylist()
    ]
    assert parts(ctx, split, spine) == expected


def test_a_split_by_chance_is_the_same_every_time(ctx: Context) -> None:
    spine = worlds.questions(400)
    split = Split(shares={"train": 3.0, "test": 1.0}, seed=5)
    found = parts(ctx, split, spine)
    assert found == parts(ctx, split, spine)
    assert found != parts(ctx, Split(shares=split.shares, seed=6), spine)
    assert 0.65 < np.mean([name == "train" for name in found]) < 0.85


def test_a_grouped_split_keeps_groups_together(ctx: Context) -> None:
    spine = worlds.questions(200)
    found = parts(ctx, Split(shares={"train": 1.0, "test": 1.0}, seed=1, group="carrier"), spine)
    of_group: dict[str, set[str]] = {}
    for carrier, part in zip(spine["carrier"].to_pylist(), found, strict=True):
        of_group.setdefault(carrier, set()).add(part)
    assert all(len(names) == 1 for names in of_group.values())


@pytest.mark.parametrize(
    "split",
    [
        Split(),
        Split(until={"train": START}, shares={"train": 1.0}),
        Split(shares={"train": -1.0, "test": 2.0}),
        Split(shares={"train": 0.0}),
    ],
)
def test_a_split_that_means_nothing_is_refused(ctx: Context, split: Split) -> None:
    with pytest.raises(Invalid) as caught:
        parts(ctx, split, worlds.questions(5))
    assert caught.value.hint
