"""What a gate can know of a version that was brought along: the metrics that were logged, nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping

from loopwright.core.nouns import Version
from loopwright.core.policies import Fact
from loopwright.engine.context import Context
from loopwright.gates.nouns import Check, Gate, Metric, NotWorse
from loopwright.gates.rules import fact_name
from loopwright.ports.ledger import Transaction
from loopwright.registry.comparing import metrics_of

__all__ = ["facts_of"]


def facts_of(ctx: Context, tx: Transaction, gate: Gate, candidate: Version) -> tuple[tuple[Fact, ...], bool]:
    """The facts of a gate that were logged of a version, and whether there is another to compare it with.

    A metric is the newest value of the run or the logged model it came from. A comparison has no interval,
    since the rows are not there, so that it never holds; slices and latency are not measured.
    """
    mine = metrics_of(ctx, tx, candidate)
    others: dict[str, Mapping[str, float]] = {}
    for check in gate.checks:
        if isinstance(check, NotWorse) and check.than not in others:
            other = _pointed(tx, candidate, check.than)
            if other is not None:
                others[check.than] = metrics_of(ctx, tx, other)
    source = f"run:{candidate.run_id}" if candidate.run_id else "its logged model"
    found = (_fact(check, mine, others, source) for check in gate.checks)
    return tuple(fact for fact in found if fact is not None), bool(others)


def _pointed(tx: Transaction, candidate: Version, alias: str) -> Version | None:
    """The other version an alias points to, or None."""
    pointer = tx.aliases.get(candidate.asset_id, alias)
    if pointer is None or pointer.number == candidate.number:
        return None
    return tx.versions.get(candidate.asset_id, pointer.number)


def _fact(
    check: Check, mine: Mapping[str, float], others: Mapping[str, Mapping[str, float]], source: str
) -> Fact | None:
    match check:
        case Metric(metric=metric):
            value = mine.get(metric, math.nan)
            detail = f"as logged by {source}"
        case NotWorse(metric=metric, than=than):
            value = mine.get(metric, math.nan) - others.get(than, {}).get(metric, math.nan)
            detail = "of logged values, without an interval: the rows of both are needed for one"
        case _:
            return None
    return Fact(name=fact_name(check), value=value, detail=detail) if math.isfinite(value) else None
