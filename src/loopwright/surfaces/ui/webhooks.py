"""The pages of webhooks: who is told of what, one of them with what became of its last deliveries."""

from __future__ import annotations

from itertools import groupby

from loopwright.alerts.nouns import EVENTS
from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = ["webhook", "webhooks"]

_LIST = 100
_TRIES = 50
_UNUSED = "budget_policy"
"""there are no budgets here, so that nobody is ever told of one"""


def webhooks(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The webhooks with the last try of each, newest first, and the events that a new one may ask for."""
    page = desk.call("webhooks.list", limit=_LIST, token=query.get("token"))
    last = {}
    for each in page.items:
        tries = desk.call("webhooks.deliveries", webhook_id=each.id, limit=1)
        last[each.id] = tries.items[0] if tries.items else None
    return {"title": "Webhooks", "page": page, "last": last, "groups": _groups()}


def webhook(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A webhook and its last tries."""
    found = desk.call("webhooks.show", webhook_id=path["webhook_id"])
    tries = desk.call("webhooks.deliveries", webhook_id=found.id, limit=_TRIES, token=query.get("token"))
    return {"title": found.name, "section": "/models", "found": found, "page": tries}


def _groups() -> list[tuple[str, list[str]]]:
    """Events by what they are of: `("prompt_tag", ["prompt_tag.set", "prompt_tag.deleted"])`."""
    of = groupby(EVENTS, key=lambda event: event.partition(".")[0])
    return [(name, list(events)) for name, events in of if name != _UNUSED]
