"""Use cases of gates: define one, and ask for its verdict on measured facts."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AliasName, AssetName
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Decision, Signal, Version
from loopwright.core.policies import Fact
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.gates.logged import facts_of
from loopwright.gates.nouns import Check, Gate
from loopwright.gates.rules import hold, policy_name
from loopwright.ports.ledger import Transaction
from loopwright.registry.guarding import add_guard
from loopwright.registry.origins import version_at

__all__ = ["GateView", "check_version", "define", "gate_of", "judge", "put_gate", "show"]

_KIND = "policy"


class GateView(msgspec.Struct, frozen=True, kw_only=True):
    """A gate and the version of the policy that keeps it."""

    gate: Gate
    version: Version


def define(ctx: Context, gate: Gate) -> Version:
    """Keep the gate as a policy's version and let it guard its alias."""
    draft = prepare(ctx, policy_name(gate), Manifest(kind=_KIND, body=msgspec.to_builtins(gate)))
    version = ctx.write(lambda tx: publish(ctx, tx, draft))
    policy = str(Address(kind=_KIND, name=policy_name(gate)))
    ctx.write(lambda tx: add_guard(tx, ctx.space, gate.model, gate.alias, policy))
    return version


def gate_of(ctx: Context, model: str) -> tuple[Gate, Version]:
    """The newest gate of a model, else `NotFound`."""
    try:
        version = resolve(ctx, Address(kind=_KIND, name=f"gate/{model}"))
    except NotFound as error:
        raise NotFound(f"model:{model} has no gate", hint="define one with lw.gate(...)") from error
    return msgspec.convert(manifest_of(ctx, version).body, Gate), version


@operation("gates.show", scope="gate:read", route="GET /models/{name}/gate", command="gate show")
def show(ctx: Context, name: AssetName) -> GateView:
    """Show the gate of a model."""
    gate, version = gate_of(ctx, name)
    return GateView(gate=gate, version=version)


@operation("gates.put", scope="gate:write", route="PUT /models/{name}/gate", command="gate put")
def put_gate(
    ctx: Context, name: AssetName, checks: tuple[Check, ...], *, alias: AliasName = "champion"
) -> GateView:
    """Let an alias of a model move only to versions that hold these checks; the gate before is replaced."""
    if not checks:
        raise Invalid("a gate without checks lets everything pass", hint="give at least one check")
    gate = Gate(model=name, alias=alias, checks=checks)
    return GateView(gate=gate, version=define(ctx, gate))


@operation(
    "gates.check",
    scope="gate:write",
    route="POST /models/{name}/versions/{number}/gate",
    command="gate check",
)
def check_version(ctx: Context, name: AssetName, number: int) -> Decision:
    """Hold a version that was brought along against the model's gate; what was not logged does not hold.

    A version that was trained here is judged by its loop, on rows: `Conflict`.
    """
    gate, _ = gate_of(ctx, name)
    with ctx.read() as tx:
        candidate = version_at(ctx, tx, name, number)
    if candidate.facts.get("flavor") and candidate.facts.get("trained_until"):
        raise Conflict(
            f"{candidate.ref} was trained here: its loop judges it on rows, not by what was logged",
            hint="loopwright decisions list shows the verdict",
        )
    with ctx.read() as tx:
        facts, has_champion = facts_of(ctx, tx, gate, candidate)
    return judge(ctx, candidate, facts, has_champion=has_champion)


def judge(ctx: Context, candidate: Version, facts: tuple[Fact, ...], *, has_champion: bool) -> Decision:
    """Hold a candidate's gate against facts: the facts are kept as signals, the verdict as a decision."""
    gate, policy = gate_of(ctx, candidate.name)
    signals = tuple(_signal(ctx, candidate, fact) for fact in facts)
    named = tuple(replace(fact, signal_id=signal.id) for fact, signal in zip(facts, signals, strict=True))
    finding = hold(gate, named, has_champion=has_champion)
    decision = Decision(
        id=ctx.new_id(),
        space=ctx.space,
        policy=str(policy.ref),
        subject=str(candidate.ref),
        action="promote",
        verdict=finding.verdict,
        reason=finding.reason,
        evidence=finding.evidence,
        at=ctx.now(),
        by=ctx.principal.name,
    )

    def work(tx: Transaction) -> Decision:
        tx.signals.add(signals)
        tx.decisions.add(decision)
        ctx.record(
            tx,
            "decision.made",
            decision.subject,
            {"decision": decision.id, "verdict": decision.verdict.value, "policy": decision.policy},
        )
        return decision

    return ctx.write(work)


def _signal(ctx: Context, candidate: Version, fact: Fact) -> Signal:
    return Signal(
        id=ctx.new_id(),
        space=ctx.space,
        subject=str(candidate.ref),
        name=f"gate.{fact.name}",
        value=fact.value,
        at=ctx.now(),
        n=fact.n,
        low=fact.low,
        high=fact.high,
        facts={"detail": fact.detail} if fact.detail else {},
    )
