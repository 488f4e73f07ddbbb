"""Turns the checks of a gate and what was measured into facts, limits and a verdict; pure."""

from __future__ import annotations

from loopwright.core.policies import Fact, Finding, Limit, Policy, decide
from loopwright.gates.nouns import Check, Gate, Latency, Metric, NotWorse, Slices

__all__ = ["fact_name", "hold", "limits_of", "policy_name", "subject_of"]


def policy_name(gate: Gate) -> str:
    """The name of the policy asset that keeps the gate."""
    return f"gate/{gate.model}"


def subject_of(gate: Gate) -> str:
    """What the gate decides about, in words."""
    return f"promote {gate.model} to {gate.alias}"


def fact_name(check: Check) -> str:
    """The name of the fact a check is decided by."""
    match check:
        case Metric(metric=metric):
            return metric
        case Slices(column=column, metric=metric):
            return f"{metric} of the worst {column}"
        case Latency():
            return "latency p99 of one row (ms)"
        case NotWorse(than=than, metric=metric):
            return f"{metric} against {than}"


def limits_of(check: Check) -> tuple[Limit, ...]:
    """The limits a check stands for."""
    name = fact_name(check)
    match check:
        case Metric(at_least=at_least, at_most=at_most):
            low = () if at_least is None else (Limit(fact=name, comparison="at_least", value=at_least),)
            high = () if at_most is None else (Limit(fact=name, comparison="at_most", value=at_most),)
            return low + high
        case Slices(at_least=floor):
            return (Limit(fact=name, comparison="at_least", value=floor),)
        case Latency(p99_ms=p99_ms):
            return (Limit(fact=name, comparison="at_most", value=p99_ms),)
        case NotWorse(margin=margin):
            return (Limit(fact=name, comparison="at_least", value=-margin, bound="low"),)


def hold(gate: Gate, facts: tuple[Fact, ...], *, has_champion: bool) -> Finding:
    """Hold the whole gate against facts.

    A comparison with a champion is asked only where there is one; every other check must have its fact.
    """
    asked = [c for c in gate.checks if has_champion or not isinstance(c, NotWorse)]
    limits = tuple(limit for check in asked for limit in limits_of(check))
    return decide(Policy(name=policy_name(gate), guards=subject_of(gate), limits=limits), facts)
