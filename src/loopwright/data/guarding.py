"""Publishes policies that guard a dataset, which keeps its name from then on: they are found by it."""

from __future__ import annotations

from loopwright.core.nouns import Version
from loopwright.data.nouns import DATASET
from loopwright.engine.context import Context
from loopwright.engine.publishing import Draft, hold_name, publish
from loopwright.ports.ledger import Transaction

__all__ = ["publish_guard"]


def publish_guard(ctx: Context, tx: Transaction, draft: Draft, name: str) -> Version:
    """The next version of a policy that guards the dataset of a name, which need not be there yet."""
    hold_name(tx, ctx.space, DATASET, name, "policies that guard it go by it")
    return publish(ctx, tx, draft)
