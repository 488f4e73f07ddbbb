"""What is deleted lies in the trash for its period, comes back whole, or goes with all that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.core.addresses import Address, ByNumber
from loopwright.core.errors import Invalid, NotFound, Taken
from loopwright.core.nouns import JobState, Json, LinkRole, MetricPoint, Run, VersionRef
from loopwright.engine.context import COLUMNS_READ, Context
from loopwright.engine.jobs import claim
from loopwright.engine.platform import lineage
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.loops import trash
from loopwright.loops.lying import TrashItem, TrashKind
from loopwright.ports.ledger import PageRequest
from loopwright.registry import logged, registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.registry.places import place_for
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.tracking import experiments, lifecycle
from loopwright.tracking.artifacts import found, opened, store
from loopwright.tracking.homes import at_place
from loopwright.tracking.paths import file_path
from loopwright.tracking.removing import trash_run, untrash_run
from loopwright.tracking.retention import pin_run, set_retention, show_retention
from tests.registry.worlds import made_experiment, made_run, made_version, put_file

BEGIN = datetime.now(UTC)
"""of this day, since objects are as old as the real clock says"""


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ctx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Context]:
    """The same over every kind of ledger."""
    if request.param == "memory":
        yield memory_context(memory_ports(clock=SetClock(BEGIN)))
        return
    is_server = request.param == "postgresql"
    url = str(request.getfixturevalue("postgres_url")) if is_server else f"sqlite:///{tmp_path}/l.db"
    ledger = open_ledger(url)
    yield memory_context(memory_ports(ledger=ledger, clock=SetClock(BEGIN)))
    ledger.close()


def days(ctx: Context, count: float) -> None:
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    clock.advance(timedelta(days=count))


def lying(ctx: Context, kind: TrashKind | None = None) -> list[TrashItem]:
    items: list[TrashItem] = []
    token = ""
    while True:
        page = trash.items(ctx, kind=kind, limit=2, token=token)
        items += page.items
        token = page.next_token
        if not token:
            return items


def collected(ctx: Context, *, due: bool = True, dry_run: bool = False) -> dict[str, object]:
    job = trash.empty(ctx, due=due, dry_run=dry_run)
    return trash.carry_out(ctx, job)


def kept_run(ctx: Context, experiment_id: str, name: str = "kept") -> Run:
    """A run with a metric, a file, a param, which has ended."""
    run = made_run(ctx, experiment_id)
    points = [MetricPoint(key="auc", value=n / 10, step=n, at_us=n) for n in range(10)]
    ctx.write(lambda tx: tx.metrics.log(run.id, points))
    put_file(ctx, f"run:{run.id}", "model/a.txt", f"{name} {run.id}".encode())
    return lifecycle.change_run(ctx, run.id, state=run.state.FINISHED, ended_at=ctx.now(), name=name)


def read_place(ctx: Context, place: str, path: str) -> bytes:
    asked = file_path(place.removeprefix("mlflow-artifacts:/") + f"/{path}")
    with opened(ctx, found(ctx, lambda tx: at_place(tx, ctx.space, asked))) as file:
        return file.read()


# -- runs ------------------------------------------------------------------------------------


def test_a_run_lies_for_its_period_and_then_is_gone_with_its_files(ctx: Context) -> None:
    home = made_experiment(ctx)
    run, other = kept_run(ctx, home, "one"), kept_run(ctx, home, "two")
    trash_run(ctx, run.id)
    (item,) = lying(ctx)
    assert (item.kind, item.id, item.place, item.files) == ("run", run.id, "home", 1)
    assert item.due_at - item.deleted_at == timedelta(days=30)
    days(ctx, 29)
    assert collected(ctx)["removed"] == 0
    days(ctx, 2)
    told = collected(ctx, dry_run=True)
    assert (told["removed"], told["size_bytes"]) == (1, item.size_bytes)
    assert lying(ctx) == [item]
    told = collected(ctx)
    assert (told["removed"], told["rows"], told["objects"]) == (1, 11, 1)
    assert lying(ctx) == []
    with pytest.raises(NotFound):
        lifecycle.restore_run(ctx, run.id)
    with pytest.raises(NotFound):
        trash.restore(ctx, "run", run.id)
    with ctx.read() as tx:
        assert tx.metrics.count(other.id, "auc") == 10
        assert len(list(tx.artifacts.under(ctx.space, f"run:{other.id}", ""))) == 1
    assert collected(ctx) | {"dry_run": False} == collected(ctx)


def test_a_run_comes_back_whole(ctx: Context) -> None:
    run = kept_run(ctx, made_experiment(ctx))
    trash_run(ctx, run.id)
    days(ctx, 40)
    assert trash.restore(ctx, "run", "kept").id == run.id
    assert lying(ctx) == []
    with ctx.read() as tx:
        assert tx.metrics.count(run.id, "auc") == 10
    trash_run(ctx, run.id)
    assert untrash_run(ctx, run.id).deleted_at is None


def test_a_name_that_several_runs_have_is_not_enough(ctx: Context) -> None:
    home = made_experiment(ctx)
    runs = [kept_run(ctx, home, "same") for _ in range(2)]
    for run in runs:
        trash_run(ctx, run.id)
    with pytest.raises(Invalid, match="2 runs"):
        trash.restore(ctx, "run", "same")
    assert trash.restore(ctx, "run", runs[0].id).title == "same"


def test_the_run_of_a_registered_version_is_held_while_the_version_lives(ctx: Context) -> None:
    run = kept_run(ctx, made_experiment(ctx))
    registered.create(ctx, "delay")
    made = versions.create(ctx, "delay", NewVersion(source=f"runs:/{run.id}/model", run_id=run.id))
    trash_run(ctx, run.id)
    days(ctx, 31)
    (item,) = lying(ctx)
    assert item.held_by == ("model:delay@1",)
    assert (collected(ctx)["removed"], collected(ctx, due=False)["held"]) == (0, 1)
    assert place_for(ctx, made) == f"runs:/{run.id}/model"
    versions.delete(ctx, "delay", 1)
    assert collected(ctx, due=False)["removed"] == 2
    assert lying(ctx) == []
    days(ctx, 2)
    assert collected(ctx)["objects"] == 0


def test_lineage_names_a_removed_run(ctx: Context) -> None:
    run = kept_run(ctx, made_experiment(ctx))
    registered.create(ctx, "delay")
    versions.create(ctx, "delay", NewVersion(source=f"runs:/{run.id}/model", run_id=run.id))
    versions.delete(ctx, "delay", 1)
    trash_run(ctx, run.id)
    collected(ctx, due=False)
    graph = lineage(ctx, f"run:{run.id}")
    assert {node.id: node.detail for node in graph.nodes}[f"run:{run.id}"] == "removed"
    assert len(graph.edges) == 1
    with ctx.read() as tx:
        assert [link.role for link in tx.runs.links(run.id)] == [LinkRole.OUTPUT]


# -- by age ------------------------------------------------------------------------------------


def test_runs_over_the_age_of_their_experiment_go_to_the_trash(ctx: Context) -> None:
    home, other = made_experiment(ctx), made_experiment(ctx, "other")
    old, pinned, source = (kept_run(ctx, home, name) for name in ("old", "pinned", "source"))
    going, elsewhere = made_run(ctx, home), kept_run(ctx, other, "elsewhere")
    pin_run(ctx, pinned.id)
    registered.create(ctx, "delay")
    versions.create(ctx, "delay", NewVersion(source=f"runs:/{source.id}/model", run_id=source.id))
    set_retention(ctx, "home", runs_days=10, trash_days=5)
    assert show_retention(ctx, "home").runs_days == 10
    days(ctx, 11)
    young = kept_run(ctx, home, "young")
    assert collected(ctx, dry_run=True)["retired"] == 1
    assert collected(ctx)["retired"] == 1
    assert [item.id for item in lying(ctx)] == [old.id]
    days(ctx, 4)
    assert collected(ctx)["removed"] == 0
    days(ctx, 2)
    assert collected(ctx)["removed"] == 1
    with ctx.read() as tx:
        for run in (pinned, source, going, elsewhere, young):
            assert tx.runs.get(run.id).deleted_at is None
    pin_run(ctx, pinned.id, off=True)
    assert collected(ctx)["retired"] == 1
    assert trash.restore(ctx, "run", pinned.id).title == "pinned"
    assert collected(ctx)["retired"] == 0
    set_retention(ctx, "home")
    days(ctx, 100)
    assert collected(ctx)["retired"] == 0


def test_which_columns_a_run_read_goes_with_it_unless_what_it_made_descends_from_them(ctx: Context) -> None:
    home = made_experiment(ctx)
    reader, maker = kept_run(ctx, home, "reader"), kept_run(ctx, home, "maker")
    read, made = (
        VersionRef(kind="dataset", name=name, number=1, digest="0" * 64) for name in ("people", "sums")
    )
    for run in (reader, maker):
        inside = ctx.under(run.id)
        ctx.write(partial(inside.touch, role=LinkRole.INPUT, version=read, columns=("city",)))
        if run is maker:
            ctx.write(partial(inside.touch, role=LinkRole.OUTPUT, version=made))
        trash_run(ctx, run.id)
    assert read_by(ctx, reader) == read_by(ctx, maker) == {str(read): {"columns": ["city"]}}
    assert collected(ctx, due=False)["removed"] == 2
    assert read_by(ctx, reader) == {}
    assert read_by(ctx, maker) == {str(read): {"columns": ["city"]}}


def read_by(ctx: Context, run: Run) -> dict[str, Json]:
    with ctx.read() as tx:
        return dict(tx.documents.all(ctx.space, f"{COLUMNS_READ}{run.id}"))


# -- experiments -------------------------------------------------------------------------------


def test_an_experiment_keeps_its_name_until_it_is_collected(ctx: Context) -> None:
    home = made_experiment(ctx)
    run = kept_run(ctx, home)
    model = logged.create(ctx, home, "net", source_run_id=run.id)
    experiments.trash(ctx, home)
    assert [item.kind for item in lying(ctx)] == ["experiment", "run"]
    with pytest.raises(Taken):
        made_experiment(ctx)
    days(ctx, 31)
    assert collected(ctx)["removed"] == 2
    assert made_experiment(ctx) != home
    with pytest.raises(NotFound):
        experiments.untrash(ctx, home)
    with pytest.raises(NotFound):
        logged.show(ctx, model.id, trashed=True)


def test_an_experiment_waits_for_the_run_of_a_version(ctx: Context) -> None:
    home = made_experiment(ctx)
    run, other = kept_run(ctx, home), kept_run(ctx, home)
    registered.create(ctx, "delay")
    versions.create(ctx, "delay", NewVersion(source=f"runs:/{run.id}/model", run_id=run.id))
    experiments.trash(ctx, home)
    days(ctx, 31)
    told = collected(ctx)
    assert (told["removed"], told["held"]) == (1, 2)
    assert [(item.kind, item.id) for item in lying(ctx)] == [("experiment", home), ("run", run.id)]
    assert trash.restore(ctx, "experiment", "home").id == home
    with ctx.read() as tx:
        assert tx.runs.get(run.id).deleted_at is None
        with pytest.raises(NotFound):
            tx.runs.get(other.id)


# -- models, versions, prompts, logged models -----------------------------------------------------


def test_a_model_comes_back_with_its_versions_and_aliases(ctx: Context) -> None:
    made_version(ctx, "delay")
    made_version(ctx, "delay")
    versions.set_alias(ctx, "delay", "champion", 2)
    versions.delete(ctx, "delay", 1)
    days(ctx, 1)
    registered.delete(ctx, "delay")
    made_version(ctx, "delay", "s3://other/x")
    assert [(item.kind, item.title) for item in lying(ctx)] == [("model", "delay")]
    with pytest.raises(Taken):
        trash.restore(ctx, "model", "delay")
    registered.rename(ctx, "delay", "second")
    trash.restore(ctx, "model", "delay")
    assert registered.show(ctx, "delay").aliases[0].number == 2
    with pytest.raises(NotFound):
        versions.show(ctx, "delay", 1)
    trash.restore(ctx, "version", "delay@1")
    assert versions.show(ctx, "delay", 1).aliases == ()


def test_the_number_of_a_collected_version_is_not_used_again(ctx: Context) -> None:
    made_version(ctx, "delay")
    made_version(ctx, "delay")
    versions.delete(ctx, "delay", 2)
    days(ctx, 31)
    assert collected(ctx)["removed"] == 1
    with pytest.raises(NotFound):
        trash.restore(ctx, "version", "delay@2")
    assert made_version(ctx, "delay").number == 3
    assert resolve(ctx, Address(kind="model", name="delay", selector=ByNumber(1))).number == 1


def test_prompts_are_told_from_models(ctx: Context) -> None:
    tags = {"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Say it."}
    registered.create(ctx, "summary", tags=tags)
    versions.create(ctx, "summary", NewVersion(source="dummy-source", tags=tags))
    registered.delete(ctx, "summary")
    made_version(ctx, "delay")
    registered.delete(ctx, "delay")
    assert [item.title for item in lying(ctx, "prompt")] == ["summary"]
    with pytest.raises(NotFound):
        trash.restore(ctx, "model", "summary")
    trash.restore(ctx, "prompt", "summary")
    days(ctx, 31)
    assert collected(ctx)["removed"] == 1
    registered.create(ctx, "delay")


def test_a_version_keeps_its_files_though_its_origin_loses_them(ctx: Context) -> None:
    home = made_experiment(ctx)
    model = logged.create(ctx, home, "net")
    logged.finalize(ctx, model.id, model.state.READY)
    put_file(ctx, f"logged_model:{model.id}", "MLmodel", b"flavors: {}")
    put_file(ctx, f"logged_model:{model.id}", "deep/w.bin", b"\1\2")
    registered.create(ctx, "delay")
    made = versions.create(ctx, "delay", NewVersion(source=f"models:/{model.id}", model_id=model.id))
    assert place_for(ctx, made) == model.artifact_uri
    logged.delete(ctx, model.id)
    days(ctx, 31)
    assert collected(ctx)["removed"] == 1
    days(ctx, 2)
    collected(ctx)
    place = place_for(ctx, made)
    assert place == f"mlflow-artifacts:/versions/{made.id}/artifacts"
    assert place_for(ctx, made) == place
    assert read_place(ctx, place, "MLmodel") == b"flavors: {}"
    assert read_place(ctx, place, "deep/w.bin") == b"\1\2"
    asked = file_path(f"versions/{made.id}/artifacts/MLmodel")
    with pytest.raises(Invalid, match="never change"):
        store(ctx, lambda tx: at_place(tx, ctx.space, asked), b"other")
    versions.delete(ctx, "delay", 1)
    with pytest.raises(NotFound):
        read_place(ctx, place, "MLmodel")
    days(ctx, 31)
    collected(ctx)
    days(ctx, 31)
    with ctx.read() as tx:
        assert not list(tx.artifacts.under(ctx.space, f"model_version:{made.id}", ""))


def test_a_version_has_the_files_it_was_made_of_though_its_run_writes_others(ctx: Context) -> None:
    run = kept_run(ctx, made_experiment(ctx))
    registered.create(ctx, "delay")
    made = versions.create(ctx, "delay", NewVersion(source=f"runs:/{run.id}/model", run_id=run.id))
    before = ctx.ports.objects.get(manifest_of(ctx, made).entries[0].digest)
    put_file(ctx, f"run:{run.id}", "model/a.txt", b"another")
    assert read_place(ctx, place_for(ctx, made), "a.txt") == before


# -- asked for ---------------------------------------------------------------------------------


def test_a_collection_is_asked_for_where_something_is_due_once_an_hour(ctx: Context) -> None:
    run = kept_run(ctx, made_experiment(ctx))
    assert trash.collect_due(ctx) == 0
    trash_run(ctx, run.id)
    assert trash.collect_due(ctx) == 0
    days(ctx, 31)
    assert [trash.collect_due(ctx) for _ in range(2)] == [1, 1]
    with ctx.read() as tx:
        (job,) = tx.jobs.page(ctx.space, PageRequest(), state=JobState.QUEUED).items
    taken = claim(ctx, "worker", ("trash.collect",))
    assert taken is not None
    assert taken.id == job.id
    assert trash.carry_out(ctx, taken)["removed"] == 1
    days(ctx, 1)
    assert trash.collect_due(ctx) == 0


def test_the_trash_of_another_space_is_its_own(ctx: Context) -> None:
    run = kept_run(ctx, made_experiment(ctx))
    trash_run(ctx, run.id)
    elsewhere = Context(ctx.ports, principal=ctx.principal, space="other")
    assert lying(elsewhere) == []
    with pytest.raises(NotFound):
        trash.restore(elsewhere, "run", run.id)
    assert collected(elsewhere, due=False)["removed"] == 0
    assert len(lying(ctx)) == 1
