"""The trash: shown, given back, and collected when its period is over, in steps that may be cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Annotated

import msgspec

from loopwright.core.errors import Corrupt, Invalid, NotFound
from loopwright.core.nouns import Asset, Job, Json, Run
from loopwright.engine.collection import collect_objects
from loopwright.engine.context import Context
from loopwright.engine.jobs import enqueue
from loopwright.engine.operation import on_job, operation
from loopwright.loops.lying import Source, TrashItem, TrashKind, lying, page_of_trash
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.registry import removing as registry
from loopwright.registry.requests import expire_open
from loopwright.tracking import experiments
from loopwright.tracking import removing as tracking
from loopwright.tracking.experiments import KIND as EXPERIMENT
from loopwright.tracking.lifecycle import delete_run, restore_run
from loopwright.tracking.retention import outlived, retention_of
from loopwright.tracking.sweeping import has_swept, sweep

__all__ = ["Restored", "carry_out", "collect_due", "empty", "items", "restore", "retire"]

_JOB = "trash.collect"
_GRACE = timedelta(hours=24)
_SHOWN = 200
_GOING: tuple[Source, ...] = ("versions", "runs", "assets")
"""experiments go after their runs"""

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What is back."""

    kind: TrashKind
    id: str
    title: str


class _Report(msgspec.Struct):
    """What a collection did, or would do."""

    dry_run: bool
    retired: int = 0
    """runs put in the trash because their experiment keeps none so old"""
    removed: int = 0
    held: int = 0
    """what stays although its period is over: a model version came from it"""
    files: int = 0
    size_bytes: int = 0
    rows: int = 0
    """points and files swept"""
    objects: int = 0
    object_bytes: int = 0
    """what went from the object store, since nothing needs it any more"""
    told: str = ""
    gone: list[TrashItem] = []
    """the first two hundred"""


# -- by hand -------------------------------------------------------------------------------


@operation("trash.list", scope="trash:read", route="GET /trash")
def items(
    ctx: Context, *, kind: TrashKind | None = None, limit: Limit = 100, token: str = ""
) -> Page[TrashItem]:
    """List what is in the trash: versions, models, prompts, logged models, experiments, then runs."""
    return page_of_trash(ctx, PageRequest(limit=limit, token=token), kind)


@operation("trash.restore", scope="trash:write", route="POST /trash/{kind}/{id}/restore")
def restore(ctx: Context, kind: TrashKind, id: str) -> Restored:
    """Take something out of the trash by its id, or by its name (a version as `name@3`)."""
    found = _found(ctx, kind, id)
    match kind:
        case "run":
            restore_run(ctx, found.id)
        case "experiment":
            experiments.untrash(ctx, found.id)
        case "model" | "prompt":
            registry.restore_model(ctx, found.id)
        case "logged_model":
            registry.restore_logged(ctx, found.id)
        case "version":
            registry.restore_version(ctx, found.id)
    return Restored(kind=kind, id=found.id, title=found.title)


def _found(ctx: Context, kind: TrashKind, wanted: str) -> TrashItem:
    """The newest in the trash of that id or name."""
    source: Source = "runs" if kind == "run" else "versions" if kind == "version" else "assets"
    alike = [item for item in lying(ctx, source) if item.kind == kind and wanted in {item.id, item.title}]
    exact = [item for item in alike if item.id == wanted]
    if not alike:
        raise NotFound(f"there is no {kind} {wanted[:100]!r} in the trash", hint="loopwright trash list")
    if kind == "run" and not exact and len(alike) > 1:
        raise Invalid(f"{len(alike)} runs named {wanted[:100]!r} are in the trash", hint="give the id of one")
    return (exact or alike)[-1]


@operation("trash.empty", scope="trash:write", route="POST /trash/empty")
def empty(ctx: Context, *, due: bool = False, dry_run: bool = False) -> Job:
    """Collect all that is in the trash, or only what is due; a dry run tells what would go, with sizes.

    What a registered version came from stays. It is done in the background, and goes on after a crash.
    """
    return enqueue(ctx, _JOB, {"due": due, "dry_run": dry_run})


# -- carried out -----------------------------------------------------------------------------


@on_job(_JOB)
def carry_out(ctx: Context, job: Job) -> Json:
    """Collect what a job asks for: every step is a unit of work, and the next attempt goes on from there."""
    report = _Report(dry_run=bool(job.arguments.get("dry_run")))
    is_due_only = bool(job.arguments.get("due", True))
    if is_due_only:
        report.retired = retire(ctx, dry_run=report.dry_run)
    for source in _GOING:
        for item in _ripe(ctx, source, is_due_only=is_due_only):
            _take(ctx, item, report)
    if not report.dry_run:
        report.rows = sweep(ctx)
        if report.removed or report.rows:
            _take_objects(ctx, report)
    told: Json = msgspec.to_builtins(report)
    return told


def _ripe(ctx: Context, source: Source, *, is_due_only: bool) -> Iterator[TrashItem]:
    """What may go of a source."""
    return (item for item in lying(ctx, source) if not is_due_only or item.due_at <= ctx.now())


def _take(ctx: Context, item: TrashItem, report: _Report) -> None:
    if item.held_by:
        report.held += 1
        return
    if report.dry_run or _removed(ctx, item):
        report.removed += 1
        report.files += item.files
        report.size_bytes += item.size_bytes
        if len(report.gone) < _SHOWN:
            report.gone.append(item)
    elif item.kind == EXPERIMENT:
        report.held += 1


def _removed(ctx: Context, item: TrashItem) -> bool:
    """Remove one thing, if it is still there to be removed."""
    if item.kind == "experiment":
        return _experiment_removed(ctx, item)
    steps: dict[str, Callable[[Context, Transaction, str], bool]] = {
        "run": _run_removed,
        "version": registry.remove_version,
        "model": registry.remove_model,
        "prompt": registry.remove_model,
        "logged_model": registry.remove_logged,
    }
    step = steps[item.kind]
    return ctx.write(lambda tx: step(ctx, tx, item.id))


def _run_removed(ctx: Context, tx: Transaction, run_id: str) -> bool:
    """As `remove_run`, asking again what holds it: a version may have been made of it meanwhile."""
    return not registry.made_from(tx, ctx.space, run_id) and tracking.remove_run(ctx, tx, run_id)


def _experiment_removed(ctx: Context, item: TrashItem) -> bool:
    """Remove an experiment without runs, and the logged models that belong to it before."""
    with ctx.read() as tx:
        if tracking.some_runs(ctx, tx, item.title, 1):
            return False
        models = registry.logged_of(ctx, tx, item.id)
    for model in models:
        ctx.write(partial(_with_its_experiment, ctx, model))
    return ctx.write(lambda tx: tracking.remove_experiment(ctx, tx, item.id))


def _with_its_experiment(ctx: Context, model: Asset, tx: Transaction) -> None:
    registry.trash_logged(ctx, tx, model.name)
    registry.remove_logged(ctx, tx, model.id)


def _take_objects(ctx: Context, report: _Report) -> None:
    """Remove what nothing needs any more; a version that cannot be read keeps everything there is."""
    try:
        found = collect_objects(ctx, dry_run=False, grace=_GRACE)
    except Corrupt as error:
        report.told = str(error)
        return
    report.objects, report.object_bytes = found.removed, found.removed_bytes


# -- by age ----------------------------------------------------------------------------------


def retire(ctx: Context, *, dry_run: bool = False) -> int:
    """Put the runs in the trash that their experiment keeps no longer; how many there were."""
    count = 0
    for run, days in _outlived(ctx):
        if not dry_run:
            delete_run(ctx, run.id, reason=f"its experiment keeps runs for {days} days")
        count += 1
    return count


def _outlived(ctx: Context) -> Iterator[tuple[Run, int]]:
    """Runs over the age of their experiment that no version came from."""
    for asset in experiments.every(ctx):
        days = retention_of(asset).runs_days
        if days is None or asset.deleted_at is not None:
            continue
        for run in outlived(ctx, asset.name, days=days):
            with ctx.read() as tx:
                is_held = bool(registry.made_from(tx, ctx.space, run.id))
            if not is_held:
                yield run, days


def collect_due(ctx: Context) -> int:
    """Ask for a collection in every space where something is due, one an hour; how many were asked for.

    Requests nobody answered in time expire with it.
    """
    with ctx.read() as tx:
        spaces = tx.trash.spaces()
    asked = 0
    for space in spaces:
        inside = Context(ctx.ports, principal=ctx.principal, space=space)
        expire_open(inside)
        if _is_something_due(inside):
            enqueue(inside, _JOB, {"due": True}, key=f"trash/{ctx.now():%Y-%m-%dT%H}")
            asked += 1
    return asked


def _is_something_due(ctx: Context) -> bool:
    if not has_swept(ctx) or next(_outlived(ctx), None) is not None:
        return True
    return any(
        item.due_at <= ctx.now() and not item.held_by for source in _GOING for item in lying(ctx, source)
    )
