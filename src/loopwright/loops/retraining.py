"""The daily round of a loop: check, carry a rollout on, ask for a new model when one is due."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from loopwright.core.addresses import Address, AssetName
from loopwright.core.errors import NotFound
from loopwright.core.instants import duration, parse_instant
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Decision, Event, Job, Json, Run, Verdict, Version
from loopwright.core.policies import Finding
from loopwright.engine.context import Context
from loopwright.engine.operation import on_event, on_job, operation
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.engine.schedule import Schedule, put_schedule
from loopwright.loops.incidents import incident_windows, open_data_incidents
from loopwright.loops.nouns import LoopSpec
from loopwright.loops.rollout import advance, begin, current, record_decision
from loopwright.loops.training import submit, train
from loopwright.loops.verdicts import asks_for_training, may_train
from loopwright.monitoring.comparison import promised_auc, realised_facts
from loopwright.monitoring.verbs import check_day
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.tracking.verbs import tracked

__all__ = ["LoopView", "daily_round", "define", "loop_of", "on_alarm", "retrain", "show"]

_KIND = "policy"
_DAILY = "loops.daily"


class LoopView(msgspec.Struct, frozen=True, kw_only=True):
    """A loop and the version of the policy that keeps it."""

    spec: LoopSpec
    version: Version


def _name(model: str) -> str:
    return f"loop/{model}"


def define(ctx: Context, spec: LoopSpec) -> Version:
    """Keep the loop as a policy's version, and do its round every day of the platform's clock."""
    draft = prepare(ctx, _name(spec.model), Manifest(kind=_KIND, body=msgspec.to_builtins(spec)))

    def work(tx: Transaction) -> Version:
        version = publish(ctx, tx, draft)
        schedule = Schedule(
            name=_name(spec.model), operation=_DAILY, arguments={"model": spec.model}, every="1d"
        )
        put_schedule(ctx, tx, schedule)
        return version

    return ctx.write(work)


def loop_of(ctx: Context, model: str) -> LoopView:
    """The newest loop of a model, else `NotFound`."""
    try:
        version = resolve(ctx, Address(kind=_KIND, name=_name(model)))
    except NotFound as error:
        raise NotFound(f"model:{model} has no loop", hint="define one with lw.loop(...)") from error
    return LoopView(spec=msgspec.convert(manifest_of(ctx, version).body, LoopSpec), version=version)


@operation("loops.show", scope="loop:read", route="GET /loops/{model}", command="loop show")
def show(ctx: Context, model: AssetName) -> LoopView:
    """Show how a model is kept right: training, triggers, rollout."""
    return loop_of(ctx, model)


@on_job(_DAILY)
def daily_round(ctx: Context, job: Job) -> Json:
    """Check the day that ended at the tick, carry the rollout on, then ask whether a new model is due."""
    view = loop_of(ctx, job.arguments["model"])
    tick = parse_instant(job.arguments["tick"])
    for ago in (2, 1):  # the day before again: most of its labels have arrived since
        check_day(ctx, view.spec.monitor, tick - timedelta(days=ago), tick - timedelta(days=ago - 1))
    done = advance(ctx, view.spec)
    why = _asked(ctx, view.spec, tick)
    trained = retrain(ctx, view, why) if why else None
    return {"rollout": done, "asked": why, "decision": trained.id if trained else None}


def _asked(ctx: Context, spec: LoopSpec, tick: datetime) -> str:
    if current(ctx, spec.model) is not None:
        return ""
    last = _last_training(ctx, spec.model)
    if last is not None and ctx.now() - last.created_at < duration(spec.retrain.cooldown):
        return ""
    gap, auc = realised_facts(ctx, spec.monitor, tick - duration(spec.retrain.window), tick)
    return asks_for_training(spec.retrain, gap, auc, promised_auc(ctx, spec.model))


def _last_training(ctx: Context, model: str) -> Run | None:
    with ctx.read() as tx:
        found = tx.runs.page(ctx.space, PageRequest(limit=1), kind="training", experiment=model).items
    return found[0] if found else None


def retrain(ctx: Context, view: LoopView, why: str) -> Decision:
    """Decide whether a training that is asked for may start; if so: train, judge, begin the rollout."""
    spec, last = view.spec, _last_training(ctx, view.spec.model)
    finding = may_train(
        spec.model,
        open_incidents=len(open_data_incidents(ctx)),
        rollouts=0 if current(ctx, spec.model) is None else 1,
        since_last=None if last is None else ctx.now() - last.created_at,
        rule=spec.retrain,
    )
    decision = _decision(ctx, view, finding, why)
    record_decision(ctx, decision)
    if decision.verdict is Verdict.ALLOW:
        with tracked(ctx, "retraining", f"retrain {spec.model}", experiment=None, facts={"why": why}) as run:
            params = _known_params(last)
            trained, data = train(
                run, spec.training, reason=why, excluded=incident_windows(ctx), params=params
            )
            verdict = submit(run, spec.training, trained, data)
        if verdict.verdict is Verdict.ALLOW:
            begin(ctx, spec, trained.version.number)
    return decision


def _known_params(last: Run | None) -> Json | None:
    """The parameters found by the first search, so that a retraining does not search again."""
    return None if last is None else dict(last.facts.get("params", {})) or None


def _decision(ctx: Context, view: LoopView, finding: Finding, why: str) -> Decision:
    said = "may start" if finding.verdict is Verdict.ALLOW else finding.reason
    return Decision(
        id=ctx.new_id(),
        space=ctx.space,
        policy=str(view.version.ref),
        subject=str(Address(kind="model", name=view.spec.model)),
        action="retrain",
        verdict=finding.verdict,
        reason=f"asked because {why}; {said}",
        evidence=finding.evidence,
        at=ctx.now(),
        by=ctx.principal.name,
    )


@on_event("loops.alarm", "incident.opened")
def on_alarm(ctx: Context, event: Event) -> None:
    """Drift of an input asks for a new model too; the verdict says no while its incident is open."""
    with ctx.read() as tx:
        names = [a.name for a in tx.assets.page(ctx.space, _KIND, PageRequest(limit=1000)).items]
    for name in names:
        if name.startswith("loop/"):
            columns = ", ".join(event.payload.get("columns", [])) or "its inputs"
            retrain(ctx, loop_of(ctx, name.removeprefix("loop/")), f"{columns} drifted ({event.subject})")
