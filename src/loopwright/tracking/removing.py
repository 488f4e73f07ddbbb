"""Runs put in the trash and taken back; runs and experiments removed from it, their rows swept later."""

from __future__ import annotations

from loopwright.core.addresses import Address
from loopwright.core.errors import NotFound
from loopwright.core.nouns import LinkRole, Run
from loopwright.core.queries import RunQuery
from loopwright.engine.context import COLUMNS_READ, Context
from loopwright.engine.erased import forget_run
from loopwright.engine.operation import operation
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.tracking.experiments import KIND
from loopwright.tracking.lifecycle import delete_run, found_run, restore_run
from loopwright.tracking.sweeping import note

__all__ = ["remove_experiment", "remove_run", "some_runs", "trash_run", "untrash_run"]


def remove_run(ctx: Context, tx: Transaction, run_id: str) -> bool:
    """Remove a run that is in the trash; whether it was there to be removed."""
    try:
        run = found_run(ctx, tx, run_id)
    except NotFound:
        return False
    if run.deleted_at is None:
        return False
    tx.trash.remove_run(run.id, ctx.now())
    forget_run(tx, ctx.space, run.id)
    note(tx, ctx.space, f"run:{run.id}", documents=_needless(tx, run.id))
    payload = {"kind": run.kind, "name": run.name, "experiment": run.experiment}
    ctx.record(tx, "run.collected", f"run:{run.id}", payload)
    return True


def _needless(tx: Transaction, run_id: str) -> str:
    """The documents that say which columns the run read; none while versions it made descend from these."""
    made = any(link.role is LinkRole.OUTPUT for link in tx.runs.links(run_id))
    return "" if made else f"{COLUMNS_READ}{run_id}"


def some_runs(ctx: Context, tx: Transaction, experiment: str, limit: int) -> list[str]:
    """Ids of some runs of an experiment, in the trash or not."""
    query = RunQuery(experiments=(experiment,), lifecycle="all")
    found = tx.runs.search(ctx.space, query, PageRequest(limit=limit))
    return [each.run.id for each in found.items]


def remove_experiment(ctx: Context, tx: Transaction, experiment_id: str) -> bool:
    """Remove an experiment that is in the trash and has no runs left; whether it was removed."""
    try:
        asset = tx.assets.get(experiment_id)
    except NotFound:
        return False
    is_ours = (asset.space, asset.kind) == (ctx.space, KIND) and asset.deleted_at is not None
    if not is_ours or some_runs(ctx, tx, asset.name, 1):
        return False
    tx.trash.remove_asset(asset.id)
    ctx.record(tx, "asset.collected", Address(kind=KIND, name=asset.name), {"asset": asset.id})
    return True


@operation("runs.delete", scope="run:write", route="DELETE /runs/{run_id}")
def trash_run(ctx: Context, run_id: str) -> Run:
    """Put a run in the trash; it can be restored until its period there is over."""
    delete_run(ctx, run_id)
    return _run(ctx, run_id)


@operation("runs.restore", scope="run:write", route="POST /runs/{run_id}/restore")
def untrash_run(ctx: Context, run_id: str) -> Run:
    """Take a run out of the trash."""
    restore_run(ctx, run_id)
    return _run(ctx, run_id)


def _run(ctx: Context, run_id: str) -> Run:
    with ctx.read() as tx:
        return found_run(ctx, tx, run_id)
