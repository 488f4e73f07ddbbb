"""Pure decisions of the registry: whether an alias may move."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from loopwright.core.errors import PolicyBlocked
from loopwright.core.nouns import Decision, Verdict, Version

__all__ = ["clearing_decision", "trail"]

_APPROVAL = "policy:approval/"
_STAGE = "stage."


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
                hint=_way(version, alias, policy),
            )
        if newest.verdict is not Verdict.ALLOW:
            raise PolicyBlocked(
                f"{policy} refused {version.ref} for {alias!r}: {newest.reason}",
                decision_id=newest.id,
                hint=f"loopwright decisions show {newest.id}",
            )
        cleared = newest.id
    return cleared


def _way(version: Version, target: str, policy: str) -> str:
    """How a version comes by the verdict of a policy: somebody's approval, or that of a gate."""
    name = shlex.quote(version.name)
    if not policy.startswith(_APPROVAL):
        return f"evaluate the gate first: loopwright gate check {name} {version.number}"
    stage = target.removeprefix(_STAGE)
    goal = f"--alias {target}" if stage == target else f"--stage {stage}"
    return f"ask for approval: loopwright models request {name} --version {version.number} {goal}"


def trail(moves: Sequence[tuple[int | None, bool]], current: int) -> list[int]:
    """What an alias pointed to before its present version, oldest first, from its moves (oldest first).

    A move is the version it led to (None: the alias went) and whether it was a rollback: that takes back the
    move before it, so that the next one goes further back. An alias that was taken away begins anew.
    """
    before: list[int] = []
    for number, is_rollback in moves:
        if number is None:
            before.clear()
            continue
        if is_rollback and number in before:
            while before[-1] != number:
                before.pop()
        elif not before or before[-1] != number:
            before.append(number)
    return before[:-1] if before and before[-1] == current else before
