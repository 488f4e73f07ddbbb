"""Pure decisions of the registry: whether an alias may move."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.errors import PolicyBlocked
from loopwright.core.nouns import Decision, Event, Verdict, Version

__all__ = ["clearing_decision", "previous_number"]


def clearing_decision(
    version: Version, alias: str, policies: Sequence[str], decisions: Sequence[Decision]
) -> str | None:
    """The id of the newest `allow` that clears the version for the alias, None when no policy guards it.

    For every guarding policy the newest decision about this version counts. A missing one or a
    `deny` raises `PolicyBlocked`.
    """
    cleared: str | None = None
    for policy in policies:
        about = [d for d in decisions if d.policy.partition("@")[0] == policy]
        newest = max(about, key=lambda d: (d.at, d.id), default=None)
        if newest is None:
            raise PolicyBlocked(
                f"{version.ref} has no verdict of {policy}, which guards {alias!r}",
                hint="evaluate the gate first",
            )
        if newest.verdict is not Verdict.ALLOW:
            raise PolicyBlocked(
                f"{policy} refused {version.ref} for {alias!r}: {newest.reason}",
                decision_id=newest.id,
                hint=f"loopwright decisions show {newest.id}",
            )
        cleared = newest.id
    return cleared


def previous_number(events: Sequence[Event], alias: str, current: int) -> int | None:
    """What the alias pointed to before its present version, from its moves (newest first)."""
    for event in events:
        if event.payload.get("alias") == alias and event.payload.get("to") == current:
            before = event.payload.get("from")
            return None if before is None else int(before)
    return None
