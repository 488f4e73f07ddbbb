"""Which models were made of versions of datasets, by whatever runs lie between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loopwright.core.nouns import LinkRole, Version, VersionRef
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction

__all__ = ["models_of"]

_MODEL = "model"


def models_of(ctx: Context, tx: Transaction, versions: Sequence[Version]) -> list[Version]:
    """Every model made, by whatever runs lie between, from one of these versions of datasets."""
    waiting = [version.ref for version in versions]
    seen = {_named(ref): ref for ref in waiting}
    while waiting:
        made = {_named(ref): ref for ref in _made_from(ctx, tx, waiting.pop())}
        waiting += [ref for name, ref in made.items() if name not in seen]
        seen |= made
    found = [_version(ctx, tx, ref) for ref in seen.values() if ref.kind == _MODEL]
    return sorted((model for model in found if model is not None), key=lambda model: model.id)


def _named(ref: VersionRef) -> tuple[str, str, int]:
    """A version apart from its content, which may have been another when it was read."""
    return ref.kind, ref.name, ref.number


def _made_from(ctx: Context, tx: Transaction, ref: VersionRef) -> Iterator[VersionRef]:
    for run_id in tx.runs.users(ref.kind, ref.name, ref.number, LinkRole.INPUT, space=ctx.space):
        yield from (link.version for link in tx.runs.links(run_id) if link.role is LinkRole.OUTPUT)


def _version(ctx: Context, tx: Transaction, ref: VersionRef) -> Version | None:
    asset = tx.assets.find(ctx.space, ref.kind, ref.name)
    return None if asset is None else tx.versions.get(asset.id, ref.number)
