"""Stages: where versions stand for clients that know no aliases, and their moves."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.registry.guarding import cleared, stage_target
from loopwright.registry.nouns import KIND, Stage
from loopwright.registry.origins import version_at
from loopwright.registry.registered import noted_stages, stage_of

__all__ = ["read_stage", "transition"]

_ACTIVE = frozenset({Stage.STAGING, Stage.PRODUCTION})


def read_stage(text: str) -> Stage:
    """The stage that a word means, in whatever letters; `Invalid` for another word."""
    for stage in Stage:
        if stage.lower() == text.lower():
            return stage
    raise Invalid(
        f"Invalid Model Version stage: {text[:100]}.",
        hint=f"the stages are {', '.join(Stage)}",
        where="stage",
    )


def transition(ctx: Context, name: str, number: int, to: Stage, *, archive_others: bool = False) -> Version:
    """Put a version on a stage, and those that were there in the archive where that is asked for.

    `PolicyBlocked` where policies guard the stage and did not allow the version.
    """
    if archive_others and to not in _ACTIVE:
        raise Invalid(
            "Model version transition cannot archive existing model versions because "
            f"'{to.value}' is not an active stage.",
            hint="archive others with Staging or Production only",
        )

    def work(tx: Transaction) -> Version:
        now = ctx.now()  # one for all of them, which the order of lists tells by
        version = version_at(ctx, tx, name, number)
        if stage_of(version) is not to:
            cleared(ctx, tx, version, stage_target(to.value))
        moved = _moved(ctx, tx, version, to, now)
        if archive_others:
            for other in list(tx.versions.among(ctx.space, KIND, name=name)):
                if other.number != number and other.deleted_at is None and stage_of(other) is to:
                    _moved(ctx, tx, other, Stage.ARCHIVED, now)
        asset = replace(tx.assets.get(moved.asset_id), updated_at=now)
        tx.assets.update(noted_stages(tx, asset))
        return moved

    return ctx.write(work)


def _moved(ctx: Context, tx: Transaction, version: Version, to: Stage, now: datetime) -> Version:
    moved = replace(version, stage="" if to is Stage.NONE else to.value, updated_at=now)
    tx.versions.update(moved)
    payload = {"what": "stage", "from": stage_of(version).value, "to": to.value}
    ctx.record(tx, "version.changed", version.ref, payload)
    return moved
