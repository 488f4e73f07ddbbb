"""Lets a challenger in: in shadow, then by growing sticky percentages, each step guarded; or stops it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.nouns import Decision, RunState, Verdict
from loopwright.core.policies import Fact, Finding
from loopwright.engine.context import Context
from loopwright.loops.incidents import open_data_incidents
from loopwright.loops.nouns import LoopSpec, RolloutState
from loopwright.loops.verdicts import next_share, rollout_guard, step_is_over
from loopwright.monitoring.comparison import compare_versions
from loopwright.ports.ledger import Transaction
from loopwright.registry.verbs import promote
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.serving.verbs import config_of, deploy
from loopwright.tracking.verbs import end, start

__all__ = ["advance", "begin", "current", "first_champion", "record_decision"]

_COLLECTION = "rollouts"
_FULL = 100.0


def current(ctx: Context, model: str) -> RolloutState | None:
    """The rollout of a model that is under way, or None."""
    with ctx.read() as tx:
        body = tx.documents.get(ctx.space, _COLLECTION, model)
    return None if body is None else msgspec.convert(body, RolloutState)


def begin(ctx: Context, spec: LoopSpec, challenger: int) -> RolloutState:
    """Put a challenger in shadow behind the champion."""
    config = config_of(ctx, spec.endpoint)
    champion = max(config.routes, key=lambda route: route.percent).version
    facts = {"challenger": challenger, "champion": champion, "endpoint": spec.endpoint}
    run = start(ctx, "rollout", f"{spec.model}@{challenger}", facts=facts)
    inside = ctx.under(run.id)
    deploy(
        inside,
        spec.endpoint,
        replace(config, shadow=(challenger,)),
        reason=f"challenger {challenger} in shadow",
    )
    state = RolloutState(run_id=run.id, challenger=challenger, champion=champion, step=-1, since=ctx.now())
    _keep(ctx, spec.model, state)
    return state


def _keep(ctx: Context, model: str, state: RolloutState | None) -> None:
    def work(tx: Transaction) -> None:
        if state is None:
            tx.documents.remove(ctx.space, _COLLECTION, model)
        else:
            tx.documents.put(ctx.space, _COLLECTION, model, msgspec.to_builtins(state))

    ctx.write(work)


def advance(ctx: Context, spec: LoopSpec) -> str:
    """Take the next step of the rollout under way if its time has come; what was done, in words."""
    state = current(ctx, spec.model)
    if state is None or not step_is_over(state, spec.rollout, ctx.now()):
        return ""
    difference = compare_versions(
        ctx,
        spec.monitor,
        challenger=state.challenger,
        champion=state.champion,
        start=state.since,
        end=ctx.now(),
    )
    finding = rollout_guard(spec.model, spec.rollout, difference, len(open_data_incidents(ctx)))
    decision = _decided(ctx, spec, state, finding, difference)
    if decision.verdict is Verdict.DENY:
        return _stopped(ctx, spec, state, decision)
    share = next_share(state, spec.rollout)
    inside = ctx.under(state.run_id)
    if share >= _FULL:
        return _finished(inside, spec, state, decision)
    _split(inside, spec, state, share)
    _keep(ctx, spec.model, replace(state, step=state.step + 1, since=ctx.now()))
    return f"challenger {state.challenger} answers {share:g} percent"


def _decided(
    ctx: Context, spec: LoopSpec, state: RolloutState, finding: Finding, difference: Fact | None
) -> Decision:
    challenger = Address(kind="model", name=spec.model, selector=ByNumber(state.challenger))
    decision = Decision(
        id=ctx.new_id(),
        space=ctx.space,
        policy=str(Address(kind="policy", name=f"rollout/{spec.model}")),
        subject=str(challenger),
        action="rollout",
        verdict=finding.verdict,
        reason=finding.reason if difference is not None else f"{finding.reason} (no row scored by both yet)",
        evidence=finding.evidence,
        at=ctx.now(),
        by=ctx.principal.name,
    )
    record_decision(ctx, decision)
    return decision


def record_decision(ctx: Context, decision: Decision) -> None:
    """Keep a decision with its event in one unit of work."""
    body = {"decision": decision.id, "verdict": decision.verdict.value, "policy": decision.policy}

    def work(tx: Transaction) -> None:
        tx.decisions.add(decision)
        ctx.record(tx, "decision.made", decision.subject, {**body, "action": decision.action})

    ctx.write(work)


def _split(ctx: Context, spec: LoopSpec, state: RolloutState, share: float) -> None:
    config = config_of(ctx, spec.endpoint)
    routes = (
        Route(version=state.champion, percent=_FULL - share),
        Route(version=state.challenger, percent=share),
    )
    both = (state.challenger, state.champion)
    changed: EndpointConfig = replace(config, routes=routes, shadow=both)
    deploy(ctx, spec.endpoint, changed, reason=f"challenger {state.challenger} at {share:g} percent")


def _finished(ctx: Context, spec: LoopSpec, state: RolloutState, decision: Decision) -> str:
    reason = f"rollout of version {state.challenger} held at every step (decision:{decision.id})"
    promote(ctx, spec.model, "champion", state.challenger, reason=reason)
    config = config_of(ctx, spec.endpoint)
    only = (Route(version=state.challenger, percent=_FULL),)
    deploy(ctx, spec.endpoint, replace(config, routes=only, shadow=()), reason=reason)
    end(ctx, state.run_id)
    _keep(ctx, spec.model, None)
    return f"version {state.challenger} is champion"


def _stopped(ctx: Context, spec: LoopSpec, state: RolloutState, decision: Decision) -> str:
    inside = ctx.under(state.run_id)
    config = config_of(ctx, spec.endpoint)
    only = (Route(version=state.champion, percent=_FULL),)
    reason = f"challenger {state.challenger} stopped: {decision.reason}"
    deploy(inside, spec.endpoint, replace(config, routes=only, shadow=()), reason=reason)
    end(ctx, state.run_id, RunState.FAILED, facts={"stopped": decision.reason})
    _keep(ctx, spec.model, None)
    return reason


def first_champion(ctx: Context, spec: LoopSpec, config: EndpointConfig, number: int) -> None:
    """Make a gated version champion and deploy it at once: there is nothing before it to compare with."""
    promote(ctx, spec.model, "champion", number, reason="the first version that passed its gate")
    deploy(ctx, spec.endpoint, config, reason="first deployment")
