"""Runs as clients make them: begun, moved from state to state, renamed, put in the trash and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import format_instant
from loopwright.core.nouns import Asset, Json, MetricPoint, Run, RunState
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.tracking import experiments
from loopwright.tracking.limits import KEY, TAG, check_keys, check_length, cut
from loopwright.tracking.names import hex_id, made_up_name
from loopwright.tracking.rules import ENDED, is_resumed, moved

__all__ = [
    "NAME_TAG",
    "PARENT_TAG",
    "RESTORED",
    "NewRun",
    "change_run",
    "create_run",
    "delete_run",
    "found_run",
    "no_run",
    "open_run",
    "restore_run",
]

NAME_TAG = "mlflow.runName"
PARENT_TAG = "mlflow.parentRunId"
RESTORED = "restored_at"
"""the fact of a run that came back from the trash: it is as young as that again"""
_KIND = "run"


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of a run it begins."""

    experiment_id: str
    name: str = ""
    user: str = ""
    started_at: datetime
    tags: Mapping[str, str] = {}


def found_run(ctx: Context, tx: Transaction, run_id: str) -> Run:
    """The run of the context's space; `NotFound` when it has none of that id."""
    try:
        run = tx.runs.get(run_id)
    except NotFound:
        raise no_run(run_id) from None
    if run.space != ctx.space:
        raise no_run(run_id)
    return run


def no_run(run_id: str) -> NotFound:
    """The error for an id that no run has."""
    return NotFound(f"Run with id={run_id[:100]} not found", hint="loopwright runs list")


def open_run(ctx: Context, tx: Transaction, run_id: str) -> Run:
    """The run, if it takes anything; `Invalid` when it is in the trash."""
    run = found_run(ctx, tx, run_id)
    if run.deleted_at is not None:
        raise Invalid(
            f"The run {run.id} must be in the 'active' state. Current state is deleted.",
            hint="restore it first",
        )
    return run


def create_run(ctx: Context, new: NewRun) -> Run:
    """Begin a run in an experiment; one without a name is given one."""
    named = new.tags.get(NAME_TAG, "")
    if new.name and named and new.name != named:
        raise Invalid(
            f"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{new.name[:100]}', mlflow.runName='{named[:100]}')."
        )
    run_id = hex_id(ctx.new_id())
    name = new.name or named or made_up_name(run_id)
    check_length("run_name", name, KEY)
    check_keys(list(new.tags), "key", "tags[{}].key")

    def work(tx: Transaction) -> Run:
        experiment = _open_experiment(ctx, tx, new.experiment_id)
        run = _begun(ctx, new, run_id, name, experiment)
        tx.runs.add(run)
        ctx.record(
            tx, "run.started", f"run:{run.id}", {"kind": run.kind, "name": name, "parent": run.parent_id}
        )
        return run

    return ctx.write(work)


def _open_experiment(ctx: Context, tx: Transaction, experiment_id: str) -> Asset:
    found = experiments.by_id(ctx, tx, experiment_id)
    if found.deleted_at is not None:
        raise Invalid(
            f"The experiment {found.id} must be in the 'active' state. Current state is deleted.",
            hint="restore it first",
        )
    return found


def _begun(ctx: Context, new: NewRun, run_id: str, name: str, experiment: Asset) -> Run:
    facts: Json = {
        "experiment_id": experiment.id,
        "artifact_uri": f"{experiments.located(experiment)}/{run_id}/artifacts",
    }
    if new.user:
        facts["user_id"] = new.user
    return Run(
        id=run_id,
        space=ctx.space,
        kind=_KIND,
        name=name,
        state=RunState.RUNNING,
        created_at=ctx.now(),
        created_by=ctx.principal.name,
        experiment=experiment.name,
        parent_id=new.tags.get(PARENT_TAG),
        started_at=new.started_at,
        tags={**cut(new.tags, TAG), NAME_TAG: name},
        facts=facts,
    )


def change_run(
    ctx: Context,
    run_id: str,
    *,
    state: RunState | None = None,
    ended_at: datetime | None = None,
    name: str = "",
) -> Run:
    """Move a run to a state, tell when it ended, give it another name; what is not given stays."""
    check_length("run_name", name, KEY)

    def work(tx: Transaction) -> Run:
        points = _latest(tx, run_id) if state in ENDED else ()
        run = open_run(ctx, tx, run_id)
        to = run.state if state is None else moved(run, state)
        changed = replace(run, state=to, ended_at=ended_at or run.ended_at)
        if name:
            changed = replace(changed, name=name, tags={**run.tags, NAME_TAG: name})
        if changed != run:
            tx.runs.update(changed)
            _tell(ctx, tx, run, changed, points)
        return changed

    return ctx.write(work)


def _latest(tx: Transaction, run_id: str) -> tuple[MetricPoint, ...]:
    """The latest points of a run, asked for before the run: a store over a wire answers both at once."""
    try:
        return tx.runs.latest([run_id])[0].metrics
    except NotFound:
        raise no_run(run_id) from None


def _tell(ctx: Context, tx: Transaction, before: Run, after: Run, points: Sequence[MetricPoint]) -> None:
    """The lines of the journal for a change of state; `points` are the latest of one that ended."""
    if before.state is after.state:
        return
    payload: Json = {"kind": after.kind, "name": after.name}
    subject = f"run:{after.id}"
    if is_resumed(before, after.state):
        ctx.record(tx, "run.resumed", subject, payload)
    if after.state in ENDED:
        kind = "run.finished" if after.state is RunState.FINISHED else "run.failed"
        content = digest_value([after.params, after.facts, {each.key: each for each in points}])
        ctx.record(tx, kind, subject, {**payload, "content": content})


def delete_run(ctx: Context, run_id: str, *, reason: str = "") -> None:
    """Put a run in the trash; one that is there stays there."""
    _trashed(ctx, run_id, "run.deleted", ctx.now(), reason)


def restore_run(ctx: Context, run_id: str) -> None:
    """Take a run out of the trash; one that is not there stays as it is."""
    _trashed(ctx, run_id, "run.restored", None)


def _trashed(ctx: Context, run_id: str, kind: str, deleted_at: datetime | None, reason: str = "") -> None:
    def work(tx: Transaction) -> None:
        run = found_run(ctx, tx, run_id)
        if (run.deleted_at is None) is not (deleted_at is None):
            facts = run.facts if deleted_at else {**run.facts, RESTORED: format_instant(ctx.now())}
            tx.runs.update(replace(run, deleted_at=deleted_at, facts=facts))
            payload: Json = {"kind": run.kind, "name": run.name}
            ctx.record(tx, kind, f"run:{run.id}", {**payload, "reason": reason} if reason else payload)

    ctx.write(work)
