"""How the aliases of a model moved, read from the journal, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from loopwright.core.addresses import Address, AliasName, AssetName
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.nouns import Asset, Event, Version
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import asset_of, move_alias
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.registry.nouns import KIND, Promotion
from loopwright.registry.rules import trail

__all__ = ["AliasMove", "back", "history", "moves_of", "rollback"]

_PAGE = 500
_CHAMPION = "champion"


class AliasMove(msgspec.Struct, frozen=True, kw_only=True):
    """One move of an alias."""

    at: datetime
    by: str
    number: int | None
    """the version it pointed to from then on; None when it was taken away"""
    previous: int | None
    reason: str = ""
    decision: str | None = None
    is_rollback: bool = False


def moves_of(ctx: Context, tx: Transaction, asset: Asset, alias: str) -> list[AliasMove]:
    """Every move of an alias, oldest first, also of the time when the model had another name."""
    lines = sorted(_lines(ctx, tx, asset), key=lambda event: event.seq)
    ours = (e for e in lines if e.payload.get("alias") == alias)
    return [_move(event) for event in ours if event.payload.get("asset", asset.id) == asset.id]


def _lines(ctx: Context, tx: Transaction, asset: Asset) -> Iterator[Event]:
    names = {asset.name}
    for renamed in _walk(ctx, tx, f"asset:{asset.id}", "asset.renamed"):
        names |= {str(renamed.payload.get("from")), str(renamed.payload.get("to"))}
    for name in names:
        yield from _walk(ctx, tx, str(Address(kind=KIND, name=name)), "alias.")


def _walk(ctx: Context, tx: Transaction, subject: str, kind: str) -> Iterator[Event]:
    token = ""
    while True:
        request = PageRequest(limit=_PAGE, token=token)
        page = tx.journal.page(ctx.space, request, subject=subject, kind=kind)
        yield from page.items
        token = page.next_token
        if not token:
            return


def _move(event: Event) -> AliasMove:
    body = event.payload
    return AliasMove(
        at=event.at,
        by=event.principal,
        number=body.get("to"),
        previous=body.get("from"),
        reason=str(body.get("reason", "")),
        decision=body.get("decision"),
        is_rollback=bool(body.get("rollback")),
    )


@operation(
    "registry.history",
    scope="model:read",
    route="GET /models/{name}/aliases/{alias}/history",
    command="models history",
)
def history(ctx: Context, name: AssetName, alias: AliasName) -> tuple[AliasMove, ...]:
    """Show how an alias of a model moved, newest first: when, by whom, why, by which decision."""
    with ctx.read() as tx:
        return tuple(reversed(moves_of(ctx, tx, asset_of(ctx, tx, KIND, name), alias)))


@operation(
    "models.rollback", scope="model:promote", route="POST /models/{name}/rollback", command="models rollback"
)
def rollback(ctx: Context, name: AssetName, *, reason: str, alias: AliasName = _CHAMPION) -> Promotion:
    """Point an alias (the champion) back at the version it pointed to before; again goes further back.

    That version was allowed once already. `Conflict` when the alias never pointed elsewhere.
    """
    return back(ctx, name, alias, reason)


def back(ctx: Context, name: str, alias: str, reason: str) -> Promotion:
    """As `rollback`."""
    if not reason.strip():
        raise Invalid("a rollback needs a reason", hint='add --reason "what went wrong"')

    def work(tx: Transaction) -> Promotion:
        asset = asset_of(ctx, tx, KIND, name)
        current = tx.aliases.get(asset.id, alias)
        if current is None:
            raise NotFound(f"model:{name} has no alias {alias!r}", hint="promote a version first")
        target = _target(ctx, tx, asset, alias, current.number)
        moved = move_alias(ctx, tx, target, alias, reason=reason, is_rollback=True)
        return Promotion(model=name, alias=moved, version=target, previous=current.number)

    return ctx.write(work)


def _target(ctx: Context, tx: Transaction, asset: Asset, alias: str, current: int) -> Version:
    """The newest version the alias pointed to before that still stands."""
    before = trail([(m.number, m.is_rollback) for m in moves_of(ctx, tx, asset, alias)], current)
    for number in reversed(before):
        version = tx.versions.get(asset.id, number)
        if version is not None and version.deleted_at is None:
            return version
    told = f"{', '.join(map(str, before))} is in the trash" if before else "it pointed to no version before"
    raise Conflict(
        f"{alias!r} of model:{asset.name} cannot go back from version {current}: {told}",
        hint="promote a version by number",
    )
