"""Holds a batch against its contract: what is broken, and which rows are kept out for which reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Version
from loopwright.core.schema import Schema
from loopwright.data.keys import repeated, unreferred
from loopwright.data.nouns import DATASET, Contract, RuleResult, UniqueKey
from loopwright.data.planning import (
    Before,
    key_columns,
    key_name,
    plan_of,
    reference_name,
    results_of,
    rows_result,
)
from loopwright.data.profiled import profile_of
from loopwright.data.rows import json_rows
from loopwright.data.rules import Asked, Broken, asked_of, named_elsewhere, schema_faults, volume_faults
from loopwright.data.sought import earlier_keys, known_values
from loopwright.data.withholding import results_withheld
from loopwright.engine.context import Context
from loopwright.engine.publishing import resolve
from loopwright.ports.scans import FailedRows, FailingRow

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Inspection", "before_of", "broken_of", "inspect"]

_FIRST = 10


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: broken rules, and masks `(n,)` of the rows each quarantining rule keeps out."""

    broken: tuple[Broken, ...]
    masks: Mapping[str, NDArray[np.bool_]]
    results: tuple[RuleResult, ...] = ()
    """of every rule, whether it held or not"""

    def kept_out(self, rows: int) -> NDArray[np.bool_]:
        """`(n,)`: which rows go to quarantine, for whatever reason."""
        import numpy as np

        found = np.zeros(rows, dtype=np.bool_)
        for mask in self.masks.values():
            found |= mask
        return found


def inspect(
    ctx: Context, contract: Contract, table: pa.Table, schema: Schema, newest: Version | None, *, name: str
) -> Inspection:
    """Hold every rule against the batch of the dataset `name`, which is to follow `newest`.

    Columns come first, since no row can be judged by wrong ones. Then one scan for all rules, and the
    masks of those that quarantine rows and do not hold.
    """
    faults = schema_faults(contract, schema)
    if faults:
        return Inspection(broken=faults, masks={})
    _check_there(table, _named(contract))
    before = before_of(ctx, contract, newest, table)
    with ctx.ports.scanner.open(table) as held:
        scanned = held.scan(plan_of(contract, before, unique=False))
    results = results_withheld(ctx, contract, results_of(contract, before, scanned), newest or name)
    masks = _masks(ctx, contract, table, before, results)
    for key in contract.unique:
        earlier = earlier_keys(ctx, key, table, newest)
        mask = repeated(table, key, earlier.values)
        results.append(msgspec.structs.replace(_key_result(contract, key, mask, table), how=earlier.how))
        if key.severity == "quarantine" and mask.any():
            masks[key_name(key)] = mask
    found = Inspection(broken=broken_of(results), masks=masks, results=tuple(results))
    kept_out = int(found.kept_out(table.num_rows).sum()) if masks else 0
    volume = volume_faults(contract, table.num_rows, kept_out)
    return msgspec.structs.replace(found, broken=(*found.broken, *volume))


def before_of(
    ctx: Context, contract: Contract, newest: Version | None, table: pa.Table | None = None
) -> Before:
    """What the rules compare with: the last version, baselines, and what is referred to.

    Where the batch is at hand, of what is referred to those values that it has.
    """
    known = {
        reference_name(rule): known_values(ctx, rule, None if table is None else table.column(rule.column))
        for rule in contract.references
    }
    compares = contract.comparisons or contract.distributions
    addresses = {rule.baseline for rule in contract.distributions if rule.baseline}
    last = profile_of(ctx, newest) if compares and newest is not None else None
    found = {address: profile_of(ctx, resolve(ctx, address, kind=DATASET)) for address in addresses}
    return Before(
        now=ctx.now(),
        last_rows=None if newest is None else _last_rows(newest),
        last=None if last is None else last.profile,
        baselines={address: each.profile for address, each in found.items()},
        read_rows={
            address: each.because
            for address, each in (*found.items(), ("", last))
            if each is not None and each.because
        },
        known={name: each.values for name, each in known.items()},
        how={name: each.how for name, each in known.items()},
    )


def _last_rows(version: Version) -> int:
    found = version.facts.get("added", version.facts.get("rows"))
    return int(found or 0)


def broken_of(results: Sequence[RuleResult]) -> tuple[Broken, ...]:
    """The rules that did not hold, as a verdict takes them."""
    return tuple(
        Broken(rule=each.rule, severity=each.severity, found=each.found, limit=each.limit, rows=each.failed)
        for each in results
        if not each.held
    )


def _masks(
    ctx: Context, contract: Contract, table: pa.Table, before: Before, results: Sequence[RuleResult]
) -> dict[str, NDArray[np.bool_]]:
    torn = {each.rule for each in results if not each.held and each.severity == "quarantine"}
    if not torn:
        return {}
    masks = _row_masks(ctx, [asked for asked in asked_of(contract) if asked.check.name in torn], table)
    for rule in contract.references:
        if reference_name(rule) in torn:
            masks[reference_name(rule)] = unreferred(table, rule, before.known[reference_name(rule)])
    return masks


def _row_masks(ctx: Context, asked: Sequence[Asked], table: pa.Table) -> dict[str, NDArray[np.bool_]]:
    if not asked:
        return {}
    held = ctx.ports.tables.compute(table, {item.check.name: item.check.expr for item in asked})
    return {
        item.check.name: ~held.column(item.check.name).fill_null(not item.check.null_fails).to_numpy()
        for item in asked
    }


def _key_result(contract: Contract, key: UniqueKey, mask: NDArray[np.bool_], table: pa.Table) -> RuleResult:
    import numpy as np

    places = np.flatnonzero(mask)
    first = places[:_FIRST]
    keys = json_rows(table.select(list(key_columns(contract))).take(first)) if first.size else []
    found = FailedRows(
        failed=int(places.size),
        first=tuple(FailingRow(row=int(at), key=row) for at, row in zip(first, keys, strict=True)),
    )
    return rows_result(key_name(key), key.severity, found, table.num_rows)


def _named(contract: Contract) -> list[str]:
    found = {name for key in contract.unique for name in key.columns}
    found |= {rule.column for rule in contract.references}
    return sorted(found | named_elsewhere(contract))


def _check_there(table: pa.Table, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in table.column_names]:
        raise Invalid(
            f"the contract asks for the column {missing[0]!r}, which the batch lacks",
            hint="name it in the contract's columns, so that batches without it are refused with a decision",
        )
