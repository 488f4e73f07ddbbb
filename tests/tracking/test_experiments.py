"""Experiments: one name each, the trash keeps names and takes runs along, searches in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from loopwright.core.errors import Invalid, NotFound, Taken
from loopwright.core.queries import Lifecycle
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.tracking import experiments
from loopwright.tracking.lifecycle import NewRun, create_run, delete_run
from loopwright.tracking.verbs import start

_THEN = datetime(2024, 1, 1, tzinfo=UTC)


def _names(ctx: Context, text: str, lifecycle: Lifecycle = "active", *order: str) -> list[str]:
    page = PageRequest(limit=100)
    return [a.name for a in experiments.search(ctx, text, order, lifecycle=lifecycle, page=page).items]


def _kinds(ctx: Context) -> list[str]:
    with ctx.read() as tx:
        return [line.kind for line in tx.journal.read(0, 100)]


def test_the_default_one_is_there_from_the_start() -> None:
    ctx = memory_context()
    assert experiments.find(ctx, "0").name == "Default"
    assert experiments.by_name(ctx, "Default").id == "0"
    with pytest.raises(Taken):
        experiments.make(ctx, "Default")
    assert _kinds(ctx) == ["asset.created"]


def test_it_is_found_by_id_and_by_name() -> None:
    ctx = memory_context()
    made = experiments.make(ctx, "Größe/日本 'q'", tags={"team": "blue"})
    assert experiments.find(ctx, made.id) == experiments.by_name(ctx, made.name) == made
    assert experiments.located(made) == f"mlflow-artifacts:/{made.id}"
    with pytest.raises(NotFound):
        experiments.find(ctx, "73")
    with pytest.raises(Invalid):
        experiments.find(ctx, "../0")
    with pytest.raises(NotFound):
        experiments.by_name(ctx, "none")


def test_other_assets_and_other_spaces_are_no_experiments() -> None:
    ports = memory_ports()
    ctx, other = memory_context(ports), memory_context(ports, space="other")
    made = experiments.make(ctx, "mine")
    with pytest.raises(NotFound):
        experiments.find(other, made.id)


@pytest.mark.parametrize("name", ["", "   ", "\0", "n" * 501])
def test_a_name_is_something_to_see(name: str) -> None:
    with pytest.raises(Invalid):
        experiments.make(memory_context(), name)


def test_runs_follow_a_new_name() -> None:
    ctx = memory_context()
    made = experiments.make(ctx, "old")
    run = create_run(ctx, NewRun(experiment_id=made.id, started_at=_THEN))
    experiments.make(ctx, "taken")
    with pytest.raises(Taken):
        experiments.rename(ctx, made.id, "taken")
    assert experiments.rename(ctx, made.id, "new").name == "new"
    with ctx.read() as tx:
        assert tx.runs.get(run.id).experiment == "new"
    assert "asset.renamed" in _kinds(ctx)


def test_tags_come_and_go() -> None:
    ctx = memory_context()
    made = experiments.make(ctx, "e")
    experiments.set_tag(ctx, made.id, "a b", "1")
    assert experiments.set_tag(ctx, made.id, "a b", "2").tags == {"a b": "2"}
    assert experiments.unset_tag(ctx, made.id, "a b").tags == {}
    with pytest.raises(NotFound):
        experiments.unset_tag(ctx, made.id, "a b")
    for key in ("../up", "a$", "k" * 251):
        with pytest.raises(Invalid):
            experiments.set_tag(ctx, made.id, key, "x")


def test_the_trash_takes_its_runs_along_and_gives_back_those_alone() -> None:
    clock = SetClock()
    ctx = memory_context(memory_ports(clock=clock))
    made = experiments.make(ctx, "e")
    kept = create_run(ctx, NewRun(experiment_id=made.id, started_at=_THEN))
    gone = create_run(ctx, NewRun(experiment_id=made.id, started_at=_THEN))
    delete_run(ctx, gone.id)
    clock.advance(timedelta(seconds=1))
    experiments.trash(ctx, made.id)
    with ctx.read() as tx:
        assert tx.runs.get(kept.id).deleted_at is not None
    with pytest.raises(Taken, match="trash"):
        experiments.make(ctx, "e")
    with pytest.raises(Invalid, match="active"):
        experiments.set_tag(ctx, made.id, "a", "b")
    with pytest.raises(NotFound):
        experiments.trash(ctx, made.id)
    experiments.untrash(ctx, made.id)
    with ctx.read() as tx:
        assert tx.runs.get(kept.id).deleted_at is None
        assert tx.runs.get(gone.id).deleted_at is not None
    with pytest.raises(NotFound):
        experiments.untrash(ctx, made.id)


@pytest.mark.parametrize(
    "place",
    [
        "mlflow-artifacts:/a/../../etc",
        "mlflow-artifacts:/a/%2e%2e/b",
        "mlflow-artifacts:/a/%252e%252e/b",
        "mlflow-artifacts:/a\\..\\b",
        "file:///etc",
        "FILE:///etc",
        "/etc",
        "etc",
        "C:\\x",
        "http://127.0.0.1/x",
        "s3://b/a?x=1",
        "s3://b/a#f",
        "s3://b/\x00",
        "s3://b/a%00",
        "s3://user:pass@b/a",
        "s3://user%3apass%40b/a",
    ],
)
def test_a_place_that_leads_out_is_refused(place: str) -> None:
    ctx = memory_context()
    with pytest.raises(Invalid):
        experiments.make(ctx, "e", artifact_location=place)


def test_a_place_of_its_own_is_where_its_runs_are() -> None:
    ctx = memory_context()
    made = experiments.make(ctx, "e", artifact_location="mlflow-artifacts:/elsewhere/x/")
    run = create_run(ctx, NewRun(experiment_id=made.id, started_at=_THEN))
    assert run.facts["artifact_uri"] == f"mlflow-artifacts:/elsewhere/x/{run.id}/artifacts"


def test_searches_are_by_words_and_by_page() -> None:
    ctx = memory_context()
    for name, team in (("a", "red"), ("b", "blue"), ("c", "blue")):
        experiments.make(ctx, name, tags={"team": team})
    experiments.trash(ctx, experiments.by_name(ctx, "b").id)
    assert _names(ctx, "tags.team = 'blue'") == ["c"]
    assert _names(ctx, "tags.team = 'blue' OR name = 'a'", "all", "name DESC") == ["c", "b", "a"]
    assert _names(ctx, "name LIKE '_'", "deleted") == ["b"]
    assert _names(ctx, "tags.team IS NULL") == ["Default"]
    first = experiments.search(ctx, order=("name",), page=PageRequest(limit=2))
    rest = experiments.search(ctx, order=("name",), page=PageRequest(limit=2, token=first.next_token))
    assert [a.name for a in (*first.items, *rest.items)] == ["Default", "a", "c"]
    assert not rest.next_token


def test_by_hand_they_are_named() -> None:
    ctx = memory_context()
    experiments.create(ctx, "e")
    start(ctx, "training", "r", experiment="made by its run")
    assert {a.name for a in experiments.experiments(ctx).items} == {"Default", "e", "made by its run"}
    assert experiments.rename_experiment(ctx, "e", "f").name == "f"
    assert experiments.delete(ctx, "f").deleted_at is not None
    assert experiments.show(ctx, "f").deleted_at is not None
    assert experiments.restore(ctx, "f").deleted_at is None
    with pytest.raises(Invalid):
        experiments.experiments(ctx, limit=0)
