"""What a contract found in the batch of a version, as signals about the version."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loopwright.core.nouns import Signal, Version
from loopwright.data.nouns import RuleResult
from loopwright.engine.context import Context

__all__ = ["CHECK", "results_in", "signals_of"]

CHECK = "check."
"""before the rule in a signal's name"""


def signals_of(ctx: Context, version: Version, results: Sequence[RuleResult]) -> tuple[Signal, ...]:
    """A signal a rule: what was measured, else the share of rows or groups that break it, else 0 if it held.

    Its facts are the result but for the keys of failing rows and for figures, which are values of data.
    """
    return tuple(
        Signal(
            id=ctx.new_id(),
            space=ctx.space,
            subject=str(version.ref),
            name=f"{CHECK}{each.rule}",
            value=_value(each),
            at=ctx.now(),
            n=each.rows or None,
            unit="share" if each.value is None else "",
            facts=msgspec.to_builtins(msgspec.structs.replace(each, first=(), figures="")),
        )
        for each in results
    )


def _value(result: RuleResult) -> float:
    if result.value is not None:
        return result.value
    return result.failed / result.rows if result.rows else float(not result.held)


def results_in(signals: Sequence[Signal]) -> tuple[RuleResult, ...]:
    """The results among signals about a version."""
    return tuple(
        msgspec.convert(signal.facts, RuleResult) for signal in signals if signal.name.startswith(CHECK)
    )
