"""What alerts do on events: whoever asked to be told of one is told, by a durable job each."""

from __future__ import annotations

from loopwright.alerts.deliveries import enqueue_delivery
from loopwright.alerts.happenings import KINDS, told
from loopwright.alerts.keeping import all_webhooks, facts_of
from loopwright.alerts.nouns import Happening, WebhookStatus
from loopwright.core.nouns import Event
from loopwright.engine.context import Context
from loopwright.engine.operation import on_event
from loopwright.ports.ledger import Transaction

__all__ = ["on_change"]


@on_event("alerts.webhooks", *KINDS)
def on_change(ctx: Context, event: Event) -> None:
    """Enqueue a delivery for each active webhook that asked for what the line tells."""
    with ctx.read() as tx:
        facts = {asset.name: facts_of(asset) for asset in all_webhooks(ctx, tx)}
        active = {name: each for name, each in facts.items() if each.status is WebhookStatus.ACTIVE}
        found = told(ctx, tx, event) if active else None
    if found is None:
        return
    happening = Happening(event=found[0], data=found[1], at=event.wall_at, source=event.id)
    asked = [name for name, each in active.items() if happening.event in each.events]

    def work(tx: Transaction) -> None:
        for name in asked:
            enqueue_delivery(ctx, tx, name, happening)

    if asked:
        ctx.write(work)
