"""What monitoring does on events: a watched dataset that grew is checked at once."""

from __future__ import annotations

from loopwright.core.addresses import parse_address
from loopwright.core.nouns import Event
from loopwright.engine.context import Context
from loopwright.engine.operation import on_event
from loopwright.monitoring.definitions import load
from loopwright.monitoring.nouns import MONITOR
from loopwright.monitoring.verbs import check_feed
from loopwright.ports.ledger import PageRequest

__all__ = ["on_version_published"]


@on_event("monitoring.feeds", "version.published")
def on_version_published(ctx: Context, event: Event) -> None:
    """Check the feed of every monitor that watches the dataset."""
    address = parse_address(event.subject)
    if address.kind != "dataset":
        return
    with ctx.read() as tx:
        names = [asset.name for asset in tx.assets.page(ctx.space, MONITOR, PageRequest(limit=1000)).items]
    for name in names:
        watched = {watch.dataset for watch in load(ctx, name).monitor.feeds}
        if address.name in watched:
            check_feed(ctx, name, address.name)
