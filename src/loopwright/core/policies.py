"""Evaluates a policy: facts in, a verdict with its evidence out. A policy never measures."""

from __future__ import annotations

from typing import Literal

import msgspec

from loopwright.core.nouns import Evidence, Verdict

__all__ = ["Fact", "Finding", "Limit", "Policy", "decide"]

Comparison = Literal["at_least", "at_most", "equals"]


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a policy: the fact it asks for and what must hold of it.

    `bound` says which end of the fact's interval has to hold: its value, its low or its high end.
    A fact that is missing does not hold unless `optional`.
    """

    fact: str
    comparison: Comparison
    value: float
    bound: Literal["value", "low", "high"] = "value"
    optional: bool = False
    label: str = ""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A pure rule kept as data: it allows when every limit holds."""

    name: str
    guards: str
    """what it decides about: `promote model:arrival-delay champion`, `retrain ...`"""
    limits: tuple[Limit, ...]


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something measured earlier, with its interval and sample size where it has them."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    signal_id: str | None = None
    detail: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says about given facts."""

    verdict: Verdict
    reason: str
    evidence: tuple[Evidence, ...]


_SIGNS = {"at_least": ">=", "at_most": "<=", "equals": "="}


def _holds(comparison: Comparison, found: float, limit: float) -> bool:
    if comparison == "at_least":
        return found >= limit
    if comparison == "at_most":
        return found <= limit
    return found == limit


def _shown(fact: Fact) -> str:
    span = f" [{fact.low:.4g}, {fact.high:.4g}]" if fact.low is not None and fact.high is not None else ""
    sample = f" n={fact.n:,}" if fact.n is not None else ""
    return f"{fact.value:.4g}{span}{sample}"


def _asked(limit: Limit) -> str:
    end = "" if limit.bound == "value" else f"{limit.bound} end "
    return f"{end}{_SIGNS[limit.comparison]} {limit.value:.4g}"


def _line(limit: Limit, fact: Fact | None) -> Evidence:
    check = limit.label or limit.fact
    if fact is None:
        return Evidence(check=check, held=limit.optional, found="not measured", limit=_asked(limit))
    found = {"value": fact.value, "low": fact.low, "high": fact.high}[limit.bound]
    held = found is not None and _holds(limit.comparison, found, limit.value)
    signals = (fact.signal_id,) if fact.signal_id else ()
    return Evidence(
        check=check,
        held=held,
        found=_shown(fact),
        limit=_asked(limit),
        signal_ids=signals,
        detail=fact.detail,
    )


def decide(policy: Policy, facts: tuple[Fact, ...]) -> Finding:
    """Hold every limit against the facts; all must hold, and NaN never holds."""
    known = {fact.name: fact for fact in facts}
    evidence = tuple(_line(limit, known.get(limit.fact)) for limit in policy.limits)
    failed = [line for line in evidence if not line.held]
    if not failed:
        return Finding(
            verdict=Verdict.ALLOW,
            reason=f"all {len(evidence)} checks held",
            evidence=evidence,
        )
    said = "; ".join(f"{line.check} was {line.found}, asked {line.limit}" for line in failed)
    return Finding(verdict=Verdict.DENY, reason=said, evidence=evidence)
