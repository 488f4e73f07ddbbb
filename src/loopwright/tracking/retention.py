"""How long what is tracked is kept: each experiment may say so, and single runs may be pinned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.instants import parse_instant, to_micros
from loopwright.core.nouns import Asset, Run
from loopwright.core.queries import All, Comparison, Field, RunQuery, SortKey
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.tracking import experiments
from loopwright.tracking.experiments import KIND, by_name
from loopwright.tracking.lifecycle import RESTORED, open_run
from loopwright.tracking.rules import ENDED

__all__ = [
    "PINNED",
    "Retention",
    "is_pinned",
    "outlived",
    "pin_run",
    "retention_of",
    "set_retention",
    "show_retention",
]

PINNED = "loopwright.pinned"
"""the tag of a run that is never deleted by age"""
_FACT = "retention"
_PAGE = 500
_START = Field("attribute", "start_time")

Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment says of how long its runs are kept; None where it leaves that to the settings."""

    runs_days: Days | None = None
    """runs that ended longer ago are put in the trash, but pinned and registered ones; None: never"""
    trash_days: Days | None = None
    """how long they lie in the trash before they are collected; None: as the setting says"""


def retention_of(experiment: Asset) -> Retention:
    """What an experiment says."""
    return msgspec.convert(experiment.facts.get(_FACT, {}), Retention)


def is_pinned(run: Run) -> bool:
    """Whether a run is never deleted by age."""
    return run.tags.get(PINNED, "").lower() == "true"


@operation("experiments.retention", scope="experiment:read", route="GET /experiments/{name}/retention")
def show_retention(ctx: Context, name: str) -> Retention:
    """Show how long an experiment keeps its runs."""
    return retention_of(by_name(ctx, name))


@operation(
    "experiments.keep",
    scope="experiment:write",
    route="PUT /experiments/{name}/retention",
    command="experiments keep",
)
def set_retention(
    ctx: Context, name: str, *, runs_days: Days | None = None, trash_days: Days | None = None
) -> Retention:
    """Say how long an experiment keeps its runs, and how long they lie in the trash.

    Runs that ended more than `runs_days` days ago are put in the trash, but pinned ones, and those from
    which a model version was made. What is left out is unset.
    """
    wanted = Retention(runs_days=runs_days, trash_days=trash_days)
    told = {key: value for key, value in msgspec.to_builtins(wanted).items() if value is not None}
    experiment_id = by_name(ctx, name).id

    def work(tx: Transaction) -> Retention:
        asset = experiments.by_id(ctx, tx, experiment_id)
        rest = {key: value for key, value in asset.facts.items() if key != _FACT}
        changed = replace(asset, facts={**rest, _FACT: told} if told else rest, updated_at=ctx.now())
        tx.assets.update(changed)
        payload = {"asset": asset.id, "what": _FACT, **told}
        ctx.record(tx, "asset.changed", Address(kind=KIND, name=asset.name), payload)
        return wanted

    return ctx.write(work)


@operation("runs.pin", scope="run:write", route="POST /runs/{run_id}/pin")
def pin_run(ctx: Context, run_id: str, *, off: bool = False) -> Run:
    """Pin a run, so that it is never deleted by age; `off` lets it go again."""

    def work(tx: Transaction) -> Run:
        run = open_run(ctx, tx, run_id)
        tags = {key: value for key, value in run.tags.items() if key != PINNED}
        changed = replace(run, tags=tags if off else {**tags, PINNED: "true"})
        if changed != run:
            tx.runs.update(changed)
            ctx.record(tx, "run.changed", f"run:{run.id}", {"what": "unpinned" if off else "pinned"})
        return changed

    return ctx.write(work)


def outlived(ctx: Context, experiment: str, *, days: int) -> Iterator[Run]:
    """The runs of an experiment that ended longer ago and are not pinned, oldest first, read page by page."""
    cutoff = ctx.now() - timedelta(days=days)
    old = Comparison(_START, "<", to_micros(cutoff) // 1000)
    query = RunQuery(experiments=(experiment,), where=All((old,)), order=(SortKey(_START),))
    token = ""
    while True:
        with ctx.read() as tx:
            page = tx.runs.search(ctx.space, query, PageRequest(limit=_PAGE, token=token))
        yield from (each.run for each in page.items if _is_over(each.run, cutoff))
        token = page.next_token
        if not token:
            return


def _is_over(run: Run, cutoff: datetime) -> bool:
    if run.state not in ENDED or is_pinned(run):
        return False
    restored = run.facts.get(RESTORED)
    moments = [run.ended_at or run.started_at or run.created_at]
    if isinstance(restored, str):
        moments.append(parse_instant(restored))
    return max(moments) < cutoff
