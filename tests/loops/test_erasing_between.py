"""What was computed of rows before they were erased, and is kept after it, brings nobody back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from loopwright.core.errors import Conflict
from loopwright.core.instants import to_micros
from loopwright.core.schema import ColumnType
from loopwright.data import deriving, exploring, labelling
from loopwright.data.appending import append
from loopwright.data.contracts import define_contract
from loopwright.data.folders import add_folder
from loopwright.data.nouns import ColumnRule, Contract, Volume
from loopwright.data.reading import read
from loopwright.engine.context import Context
from loopwright.engine.erased import MARK_TAG
from loopwright.engine.operation import Upload
from loopwright.engine.publishing import resolve
from loopwright.features import backfilling, feeding, retelling, training
from loopwright.features.backfilling import backfill_view
from loopwright.features.nouns import Backfill
from loopwright.features.verbs import define_view, materialize
from loopwright.loops import erasing
from loopwright.loops.trained import models_of
from loopwright.ports.predictors import FitResult
from loopwright.registry import registered, versions
from loopwright.registry.nouns import ModelBody, NewVersion
from loopwright.registry.verbs import register
from loopwright.tracking.intake import set_tag
from loopwright.tracking.lifecycle import PARENT_TAG
from loopwright.workspace import Workspace
from tests.loops.test_erasing import START, WHO, holding
from tests.loops.test_erasing_meanwhile import erased_before
from tests.loops.test_erasing_online import answer, trips, view

DAY = timedelta(days=1)
ROWS = [("p1", "a", 1.0), (WHO, "b", 2.0), ("p2", "c", 3.0), (WHO, "a", 4.0)]
DOCUMENT = "# Trips\n\n```data\ntrips = trips\n```\n\n```sql all\nSELECT passenger AS who FROM trips\n```\n"


@pytest.fixture
def ctx(workspace: Workspace) -> Context:
    made = workspace.context()
    append(made, "trips", trips(*ROWS), event_time="at", keys=("passenger", "flight"))
    define_view(made, view("both", "passenger", "flight"))
    define_view(made, view("last", "flight", latest=("passenger", "fare")))
    return made


def erase(ctx: Context) -> erasing.Erasure:
    return erasing.erase(ctx, (f"passenger={WHO}",))


def inside(ctx: Context, workspace: Workspace, parent: str | None = None) -> Context:
    return ctx.under(workspace.call("runs.start", name="by hand", parent=parent).id)


def told(ctx: Context, name: str, column: str = "passenger") -> list[str]:
    return sorted({row[column] for row in read(ctx, name).to_pylist()})


# ------------------------------------------------------------------- what is a function of versions alone


def training_set(ctx: Context) -> None:
    training.make_training_set(ctx, "made", "trips", features=("both:fare",))


def derived(ctx: Context) -> None:
    deriving.derive(ctx, "made", "SELECT passenger, fare * 2 AS twice FROM trips")


def backfilled(ctx: Context) -> None:
    asked = Backfill(
        view="feature_view:both@1",
        start=START,
        end=START + 2 * DAY,
        every="1d",
        into="made",
        begun_at=START,
        updated_at=START,
    )
    backfill_view(ctx, asked)


def queue(ctx: Context) -> None:
    asked: dict[str, Any] = {"dataset": "trips", "question": "Late?", "choices": ("yes", "no")}
    labelling.open_queue(ctx, "late", **asked)


def labels(ctx: Context) -> None:
    labelling.publish(ctx, "late")


def explored(ctx: Context) -> None:
    chunks = iter([DOCUMENT.encode()])
    exploring.save(ctx, "made", Upload(chunks=chunks, media_type="text/markdown"))


PURE: dict[str, tuple[Callable[[Context], None], Any, str]] = {
    "a training set": (training_set, training, "_kept"),
    "a derived dataset": (derived, deriving, "write_together"),
    "a backfill": (backfilled, retelling, "upsert"),
    "a queue of labels": (queue, labelling, "_opened"),
    "an exploration": (explored, exploring, "prepare"),
}


@pytest.mark.parametrize("kind", PURE)
def test_what_is_made_of_versions_is_made_again_of_what_is_left(
    ctx: Context, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, module, name = PURE[kind]
    left = erased_before(ctx, monkeypatch, module, name)
    make(inside(ctx, workspace))
    assert left == [0]
    assert holding(ctx.ports.folder) == []
    if kind in {"a training set", "a derived dataset", "a backfill"}:
        assert told(ctx, "made") == ["p1", "p2"]
    if kind == "a queue of labels":
        assert workspace.call("labels.show", queue="late").items == 2
    if kind == "an exploration":
        assert results(ctx) == [("p1",), ("p2",)]


def results(ctx: Context) -> list[Any]:
    return sorted(row for cell in exploring.show(ctx, "made").cells for row in cell.rows)


def test_labels_are_published_of_the_rows_that_a_queue_still_has(
    ctx: Context, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(ctx)
    for who in ("ann", "bob"):
        for item in range(4):
            workspace.call("labels.answer", queue="late", item=item, choice="yes", annotator=who)
    left = erased_before(ctx, monkeypatch, labelling, "write_together")
    labels(ctx)
    assert left == [0]
    assert told(ctx, "late-labels") == ["p1", "p2"]
    assert holding(ctx.ports.folder) == []


# ------------------------------------------------------------------------------- what programs compute


def appended(ctx: Context, table: pa.Table, _: Path) -> None:
    append(ctx, "mine", table)


def as_folder(ctx: Context, table: pa.Table, place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "rows.csv").write_text("passenger\n" + "\n".join(table.column("passenger").to_pylist()) + "\n")
    add_folder(ctx, "mine", place)


@pytest.mark.parametrize("keep", [appended, as_folder])
@pytest.mark.parametrize("where", ["in the run", "in a part of it"])
def test_a_run_keeps_no_rows_that_were_erased_after_it_read_them(
    ctx: Context,
    workspace: Workspace,
    tmp_path: Path,
    keep: Callable[[Context, pa.Table, Path], None],
    where: str,
) -> None:
    run = inside(ctx, workspace)
    rows = read(run, "trips")
    erase(ctx)
    by = run if where == "in the run" else inside(ctx, workspace, run.run_id)
    with pytest.raises(Conflict, match="rows were erased from dataset:trips@1") as refused:
        keep(by, rows, tmp_path / "out")
    assert "new run" in refused.value.hint
    assert holding(ctx.ports.folder) == []
    fresh = inside(ctx, workspace)
    keep(fresh, read(fresh, "trips"), tmp_path / "out")
    keep(fresh, read(fresh, "trips"), tmp_path / "out")
    assert resolve(ctx, "dataset:mine").number >= 1
    assert holding(ctx.ports.folder) == []


def test_rows_that_a_contract_keeps_out_are_refused_too(ctx: Context, workspace: Workspace) -> None:
    append(ctx, "mine", trips(("p9", "z", 9.0)))
    rule = ColumnRule(name="fare", type=ColumnType.FLOAT, min=8.0)
    define_contract(ctx, "mine", Contract(name="mine", columns=(rule,), volume=Volume(max_quarantined=1.0)))
    run = inside(ctx, workspace)
    rows = read(run, "trips")
    erase(ctx)
    with pytest.raises(Conflict, match="rows were erased"):
        append(run, "mine", rows)
    assert holding(ctx.ports.folder) == []


def test_a_run_that_read_something_else_goes_on(ctx: Context, workspace: Workspace) -> None:
    append(ctx, "other", pa.table({"x": [1]}))
    run = inside(ctx, workspace)
    read(run, "other")
    erase(ctx)
    append(run, "mine", pa.table({"x": [2]}))
    append(run, "mine", pa.table({"x": [3]}))
    assert read(ctx, "mine").column("x").to_pylist() == [2, 3]


def test_who_reads_what_was_resolved_before_is_known_too(ctx: Context, workspace: Workspace) -> None:
    """An erasure between the look at the version and the line that says the run read it."""
    from loopwright.core.nouns import LinkRole

    former = resolve(ctx, "dataset:trips")
    erase(ctx)
    run = inside(ctx, workspace)
    run.write(lambda tx: run.touch(tx, LinkRole.INPUT, former.ref))
    with pytest.raises(Conflict, match="rows were erased"):
        append(run, "mine", pa.table({"x": [2]}))


def test_what_a_run_read_before_the_first_erasure_is_known_whatever_it_reads_after_it(
    ctx: Context, workspace: Workspace
) -> None:
    append(ctx, "other", pa.table({"x": [1]}))
    run = inside(ctx, workspace)
    rows = read(run, "trips")
    erase(ctx)
    read(run, "other")
    with pytest.raises(Conflict, match="rows were erased from dataset:trips@1"):
        append(run, "mine", rows)
    read(run, "trips")
    with pytest.raises(Conflict, match="rows were erased from dataset:trips@1"):
        append(run, "mine", rows)
    assert holding(ctx.ports.folder) == []


def test_runs_that_are_parts_of_one_another_keep_what_they_make(ctx: Context, workspace: Workspace) -> None:
    """Clients of MLflow say by a tag which run is the parent, and nobody looks whether that can be."""
    erase(ctx)
    one, two = (workspace.call("runs.start", name=name).id for name in ("one", "two"))
    for run, parent in ((one, two), (two, one)):
        set_tag(ctx, run, PARENT_TAG, parent)
    append(ctx.under(one), "mine", pa.table({"x": [2]}))
    assert read(ctx, "mine").column("x").to_pylist() == [2]


# ----------------------------------------------------------------------------------------------- models


def body(of: str) -> ModelBody:
    return ModelBody(
        flavor="lightgbm",
        service="feature_service:s@1",
        features=("x",),
        categorical={},
        objective="binary",
        params={},
        rounds=1,
        seed=0,
        training_set=of,
        trained_until=START,
        code="c",
        importance={},
    )


def fitted(ctx: Context, name: str) -> Any:
    return register(ctx, name, FitResult(flavor="lightgbm", files={"m": b"m"}, importance={}), body("trips"))


def test_a_model_that_is_kept_after_the_erasure_is_marked_and_not_refused(
    ctx: Context, workspace: Workspace
) -> None:
    run, free = inside(ctx, workspace), inside(ctx, workspace)
    read(run, "trips")
    proof = erase(ctx)
    assert proof.models == ()
    version = fitted(run, "risk")
    assert version.tags == {MARK_TAG: proof.id}
    assert resolve(ctx, "model:risk").tags == {MARK_TAG: proof.id}
    read(free, "trips")
    assert fitted(free, "later").tags == {}
    with ctx.read() as tx:
        lines = [line for line in tx.journal.read(0, 1000) if line.kind == "version.marked"]
    assert [(line.subject, line.payload["erasure"]) for line in lines] == [("model:risk@1", proof.id)]


def test_a_version_of_a_registered_model_is_marked_too(ctx: Context, workspace: Workspace) -> None:
    """As clients of MLflow make them: of files that a run logged."""
    run = inside(ctx, workspace)
    read(run, "trips")
    registered.create(ctx, "brought")
    proof = erase(ctx)
    new = NewVersion(source="s3://elsewhere/model", run_id=run.run_id, tags={"of": "me"})
    assert versions.create(ctx, "brought", new).tags == {"of": "me", MARK_TAG: proof.id}
    assert resolve(ctx, "model:brought").tags == {"of": "me", MARK_TAG: proof.id}


def test_a_model_that_is_kept_while_it_goes_on_is_in_the_proof(
    ctx: Context, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = inside(ctx, workspace)
    read(run, "trips")

    made = list[Any]()

    def late(*given: Any) -> Any:
        found = models_of(*given)
        if not made:  # the erasure has looked, and has not told yet
            made.append(fitted(run, "risk"))
        return found

    monkeypatch.setattr(erasing, "models_of", late)
    proof = erase(ctx)
    assert made[0].tags == {}
    assert proof.models == ("model:risk@1",)
    assert resolve(ctx, "model:risk").tags == {MARK_TAG: proof.id}


# ---------------------------------------------------------------------------------------------- lookups


@pytest.mark.parametrize("name", ["both", "last"])
@pytest.mark.parametrize("how", ["first", "again", "below"])
def test_what_was_read_for_lookups_before_is_read_again(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    store = f"{name}@1"
    if how != "first":
        materialize(ctx, name, until=START + (DAY if how == "below" else timedelta(seconds=1)))
    left = erased_before(ctx, monkeypatch, feeding, "each_online_row")
    if how == "below":
        asked = Backfill(
            view=f"feature_view:{store}",
            start=START,
            end=START + DAY / 2,
            every="12h",
            begun_at=START,
            updated_at=START,
        )
        backfilling.backfill_view(ctx, asked)
    else:
        materialize(ctx, name, until=START + DAY)
    assert left == [0]
    ctx.ports.online.flush(to_micros(START + DAY))
    assert {WHO, "b"}.isdisjoint(key[0] for key in ctx.ports.online.keys(store))
    expected = {"passenger": "p1", "fare": 1.0, "n": 1} if name == "last" else {"fare": 1.0, "n": 1}
    assert answer(ctx, store, *(("a",) if name == "last" else ("p1", "a"))) == expected
    assert holding(ctx.ports.folder) == []


# --------------------------------------------------------------------------- between two holders of one


class Late:
    """Stands before a holder, and lets somebody else write just before that one is asked to erase."""

    def __init__(self, holder: Any, write: Callable[[], object]) -> None:
        self._holder, self._write = holder, write
        self.name = holder.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._holder, name)

    def erase(self, *given: Any) -> Any:
        if self._write is not None:
            write, self._write = self._write, None  # type: ignore[assignment]  # once
            write()
        return self._holder.erase(*given)


@pytest.mark.parametrize("write", [queue, explored])
def test_what_is_kept_between_two_holders_goes_with_a_second_pass(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, write: Callable[[Context], None]
) -> None:
    *others, last = erasing.HOLDERS
    monkeypatch.setattr(erasing, "HOLDERS", (*others, Late(last, lambda: write(ctx))))
    proof = erase(ctx)
    assert proof.left == 0
    assert holding(ctx.ports.folder) == []
    assert len(erasing.erasures(ctx)) == 1
