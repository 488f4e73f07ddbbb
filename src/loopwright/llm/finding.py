"""Traces found by what was recorded and said of them, and how two such questions meet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from loopwright.core.queries import All, Condition
from loopwright.core.traces import TraceQuery
from loopwright.engine.context import Context
from loopwright.llm.nouns import Whole
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking import experiments
from loopwright.tracking.dialects import TRACES
from loopwright.tracking.grammar import parse_filter, parse_order

__all__ = ["Correlation", "correlate", "npmi", "search", "there"]

_PRIOR = 0.5


class Correlation(msgspec.Struct, frozen=True, kw_only=True):
    """How two filters meet: counts, and their normalised pointwise mutual information from -1 to 1."""

    npmi: float
    """NaN where one of them meets nothing"""
    npmi_smoothed: float
    """the same with half a trace added to each of the four cases (Jeffreys' prior)"""
    filter1_count: int
    filter2_count: int
    joint_count: int
    total_count: int


def there(ctx: Context, tx: Transaction, experiment_ids: Sequence[str]) -> tuple[str, ...]:
    """The ids of those experiments that are there in this space."""
    found = (experiments.known(tx, ctx.space, each) for each in dict.fromkeys(experiment_ids))
    return tuple(each.id for each in found if each is not None)


def search(
    ctx: Context,
    experiment_ids: Sequence[str],
    text: str | None = None,
    order: Sequence[str] = (),
    *,
    page: PageRequest,
) -> Page[Whole]:
    """Traces of experiments that a filter is about, without their spans, with what was said of them."""
    where, keys = parse_filter(text, TRACES), parse_order(order, TRACES)
    with ctx.read() as tx:
        query = TraceQuery(experiments=there(ctx, tx, experiment_ids), where=where, order=keys)
        found = tx.traces.search(ctx.space, query, page)
        said = tx.assessments.of(ctx.space, [trace.id for trace in found.items])
    items = tuple(Whole(trace=each, assessments=tuple(said.get(each.id, ()))) for each in found.items)
    return Page(items=items, next_token=found.next_token)


def correlate(
    ctx: Context, experiment_ids: Sequence[str], first: str, second: str, base: str | None = None
) -> Correlation:
    """How two filters meet among the traces of experiments, or among those that a third is about."""
    beneath = parse_filter(base, TRACES)
    one, other = parse_filter(first, TRACES), parse_filter(second, TRACES)
    with ctx.read() as tx:
        names = there(ctx, tx, experiment_ids)

        def count(*asked: Condition | None) -> int:
            parts = tuple(each for each in asked if each is not None)
            return tx.traces.count(ctx.space, TraceQuery(experiments=names, where=All(parts)))

        total, alone, beside = count(beneath), count(beneath, one), count(beneath, other)
        joint = count(beneath, one, other)
    return Correlation(
        npmi=npmi(joint, alone, beside, total),
        npmi_smoothed=npmi(joint, alone, beside, total, prior=_PRIOR),
        filter1_count=alone,
        filter2_count=beside,
        joint_count=joint,
        total_count=total,
    )


def npmi(joint: int, first: int, second: int, total: int, *, prior: float = 0.0) -> float:
    """Normalised pointwise mutual information of two events, from -1 to 1, NaN where one never is.

    G. Bouma, Normalized (Pointwise) Mutual Information in Collocation Extraction, 2009, equation 9; `prior`
    is added to each of the four cases.
    """
    apart = (first - joint, second - joint, total - first - second + joint)
    if total <= 0 or first == 0 or second == 0 or min(joint, *apart) < 0:
        return math.nan
    if joint == 0 and prior == 0.0:
        return -1.0
    if apart == (0, 0, 0):
        return 1.0
    both, size = joint + prior, total + 4 * prior
    one, other = first + 2 * prior, second + 2 * prior
    information = (math.log(both) + math.log(size)) - (math.log(one) + math.log(other))
    return max(-1.0, min(1.0, information / -(math.log(both) - math.log(size))))
