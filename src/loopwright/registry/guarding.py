"""Which policies guard an alias, and the moves of aliases that they let pass."""

from __future__ import annotations

from loopwright.core.addresses import Address
from loopwright.core.errors import PolicyBlocked
from loopwright.core.nouns import Decision, Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import hold_name, move_alias
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.registry.nouns import KIND, Promotion
from loopwright.registry.rules import clearing_decision

__all__ = [
    "add_guard",
    "cleared",
    "drop",
    "drop_guard",
    "guarded_aliases",
    "guards",
    "point",
    "set_guards",
    "stage_target",
]

_GUARDS = "guards"


def guards(tx: Transaction, space: str, name: str, alias: str) -> tuple[str, ...]:
    """Addresses (without version) of the policies that guard an alias of a model."""
    body = tx.documents.get(space, _GUARDS, f"{name}/{alias}")
    return tuple(body["policies"]) if body else ()


def guarded_aliases(tx: Transaction, space: str, name: str) -> tuple[str, ...]:
    """The aliases of a model that policies guard, by name."""
    kept = tx.documents.all(space, _GUARDS, start=f"{name}/", end=f"{name}0")  # 0 is what follows /
    named = ((key.removeprefix(f"{name}/"), body) for key, body in kept.items())
    return tuple(alias for alias, body in named if "/" not in alias and body["policies"])


def set_guards(tx: Transaction, space: str, name: str, alias: str, policies: tuple[str, ...]) -> None:
    """From now on the alias moves only to versions every one of these policies allowed."""
    tx.documents.put(space, _GUARDS, f"{name}/{alias}", {"policies": list(policies)})
    hold_name(tx, space, KIND, name, f"policies guard its alias {alias!r}")


def add_guard(tx: Transaction, space: str, name: str, alias: str, policy: str) -> None:
    """Let one policy more guard the alias, beside those that do."""
    known = guards(tx, space, name, alias)
    if policy not in known:
        set_guards(tx, space, name, alias, (*known, policy))


def drop_guard(tx: Transaction, space: str, name: str, alias: str, policy: str) -> None:
    """Let a policy no longer guard the alias; nothing happens when it does not."""
    left = tuple(each for each in guards(tx, space, name, alias) if each != policy)
    tx.documents.put(space, _GUARDS, f"{name}/{alias}", {"policies": list(left)})


def cleared(ctx: Context, tx: Transaction, wanted: Version, target: str) -> str | None:
    """The decision by which a version may move to an alias or a stage, None where nothing guards it.

    `PolicyBlocked` when a policy that guards it has no verdict about the version, or refused it.
    """
    policies = guards(tx, ctx.space, wanted.name, target)
    about: tuple[Decision, ...] = ()
    if policies:
        about = tx.decisions.page(ctx.space, PageRequest(limit=200), subject=str(wanted.ref)).items
    return clearing_decision(wanted, target, policies, about)


def stage_target(stage: str) -> str:
    """By which name policies guard a stage: one that no alias can have."""
    return f"stage.{stage}"


def point(ctx: Context, tx: Transaction, wanted: Version, alias: str, reason: str = "") -> Promotion:
    """Point an alias at a version once every policy that guards it allowed that; else `PolicyBlocked`."""
    decision_id = cleared(ctx, tx, wanted, alias)
    before = tx.aliases.get(wanted.asset_id, alias)
    if before is not None and before.number == wanted.number:
        return Promotion(model=wanted.name, alias=before, version=wanted, previous=wanted.number)
    moved = move_alias(ctx, tx, wanted, alias, decision_id=decision_id, reason=reason)
    previous = before.number if before else None
    return Promotion(model=wanted.name, alias=moved, version=wanted, previous=previous)


def drop(ctx: Context, tx: Transaction, version: Version, alias: str) -> None:
    """Take an alias away from a version; `PolicyBlocked` when policies guard it."""
    if guards(tx, ctx.space, version.name, alias):
        raise PolicyBlocked(
            f"policies guard {alias!r} of model:{version.name}: it can move, but not go",
            hint="point it at another version first",
        )
    tx.aliases.remove(version.asset_id, alias)
    payload = {"alias": alias, "from": version.number, "asset": version.asset_id}
    ctx.record(tx, "alias.removed", Address(kind=KIND, name=version.name), payload)
