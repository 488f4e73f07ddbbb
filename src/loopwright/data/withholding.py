"""What is told of columns that may not be read for a purpose, and whom to ask; what contracts may compare."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from loopwright.core.addresses import Address, parse_address
from loopwright.core.errors import Denied, NotFound
from loopwright.core.expressions import Expr, columns_of
from loopwright.core.nouns import Json, Version
from loopwright.data.allowing import refusals
from loopwright.data.nouns import DATASET, Contract, RuleResult
from loopwright.data.planning import freshness_name
from loopwright.engine.context import Context
from loopwright.engine.publishing import BRANCH, branch_name, resolve

__all__ = ["check_compared", "check_quarantined", "results_withheld", "withheld_from"]

_TOLD = ("type", "count", "nulls", "distinct", "bounds")
"""what a profile says of a column that tells no value of it"""


def withheld_from(ctx: Context, version: Version, profile: Json, purpose: str) -> Json:
    """The profile; of columns that may not be read counts alone, and `withheld`: why, and whom to ask."""
    refused = refusals(ctx, version, tuple(profile["columns"]), purpose)
    if not refused:
        return profile
    columns = {
        name: column if name not in refused else _counts(column, refused[name])
        for name, column in profile["columns"].items()
    }
    told = {key: value for key, value in profile.items() if key not in {"correlations", "pairs"}}
    return {**told, "columns": columns}


def _counts(column: Json, refusal: Denied) -> Json:
    counts = {key: column[key] for key in _TOLD if key in column}
    return {**counts, "withheld": f"{refusal.message}: {refusal.hint}"}


def check_quarantined(ctx: Context, name: str, columns: Collection[str], purpose: str) -> None:
    """Raise `Denied` when a column of rows in quarantine may not be read for a purpose."""
    _check(ctx, Address(kind=DATASET, name=name), columns, purpose)


def check_compared(ctx: Context, contract: Contract, purpose: str) -> None:
    """Raise `Denied` when a contract compares with columns elsewhere that may not be read for the purpose.

    Which values break a reference, and how far a distribution is from a baseline, tell what is there.
    """
    for rule in contract.references:
        _check(ctx, Address(kind=DATASET, name=rule.dataset), (rule.to,), purpose)
    for spread in contract.distributions:
        if spread.baseline:
            _check(ctx, parse_address(spread.baseline, kind=DATASET), (spread.column,), purpose)


def check_condition(ctx: Context, name: str, branch: str, where: Expr, purpose: str) -> None:
    """Raise `Denied` when a column that a condition asks for may not be read for the purpose."""
    kind, place = (BRANCH, branch_name(name, branch)) if branch else (DATASET, name)
    _check(ctx, Address(kind=kind, name=place), columns_of(where), purpose)


def _check(ctx: Context, address: Address, columns: Collection[str], purpose: str) -> None:
    try:
        found: Version | str = resolve(ctx, address)
    except NotFound:  # there is no version yet
        found = address.name
    for refusal in refusals(ctx, found, columns, purpose).values():
        raise refusal


def results_withheld(
    ctx: Context, contract: Contract, results: Sequence[RuleResult], newest: Version | str
) -> list[RuleResult]:
    """The results as they may be kept: how old a column's newest instant is only where anybody may read it.

    `newest` is the version that the batch follows, or the name of a dataset without one.
    """
    columns = {freshness_name(rule): rule.column for rule in contract.freshness}
    refused = refusals(ctx, newest, set(columns.values()), "") if columns else {}
    return [
        each
        if (refusal := refused.get(columns.get(each.rule, ""))) is None or each.value is None
        else replace(
            each,
            found=f"{'within' if each.held else 'beyond'} the limit, its age is withheld: {refusal.message}",
            value=None,
        )
        for each in results
    ]
