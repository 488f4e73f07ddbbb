"""Holds a batch against its contract: what is broken, and which rows are kept out for which reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Version
from loopwright.core.schema import Schema
from loopwright.data.keys import repeated, unreferred
from loopwright.data.nouns import DATASET, Contract, Reference, Severity
from loopwright.data.reading import read_version
from loopwright.data.rules import Asked, Broken, asked_of, schema_faults, volume_faults
from loopwright.engine.context import Context
from loopwright.engine.publishing import resolve

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Inspection", "inspect"]


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: broken rules, and masks `(n,)` of the rows each quarantining rule keeps out."""

    broken: tuple[Broken, ...]
    masks: Mapping[str, NDArray[np.bool_]]

    def kept_out(self, rows: int) -> NDArray[np.bool_]:
        """`(n,)`: which rows go to quarantine, for whatever reason."""
        import numpy as np

        found = np.zeros(rows, dtype=np.bool_)
        for mask in self.masks.values():
            found |= mask
        return found


def inspect(
    ctx: Context, contract: Contract, table: pa.Table, schema: Schema, newest: Version | None
) -> Inspection:
    """Hold every rule against the batch, which is to follow `newest`.

    Columns come first, since no row can be judged by wrong ones.
    """
    faults = schema_faults(contract, schema)
    if faults:
        return Inspection(broken=faults, masks={})
    broken, masks = _rows(ctx, asked_of(contract), table)
    for rule, severity, mask in _sets(ctx, contract, table, newest):
        if failed := int(mask.sum()):
            broken.append(_broken(rule, severity, failed, table.num_rows))
            if severity == "quarantine":
                masks[rule] = mask
    found = Inspection(broken=tuple(broken), masks=masks)
    kept_out = int(found.kept_out(table.num_rows).sum())
    volume = volume_faults(contract, table.num_rows, kept_out)
    return Inspection(broken=(*found.broken, *volume), masks=masks)


def _broken(rule: str, severity: Severity, failed: int, rows: int, limit: str = "") -> Broken:
    found = f"{failed:,} of {rows:,} rows break it"
    return Broken(rule=rule, severity=severity, found=found, limit=limit, rows=failed)


def _rows(
    ctx: Context, asked: Sequence[Asked], table: pa.Table
) -> tuple[list[Broken], dict[str, NDArray[np.bool_]]]:
    """One scan for all checks; a second one for the masks of those that quarantine and failed."""
    results = ctx.ports.tables.check(table, [item.check for item in asked])
    failed = [(item, result) for item, result in zip(asked, results, strict=True) if result.failed]
    broken = [
        _broken(item.check.name, item.severity, result.failed, result.rows, item.limit)
        for item, result in failed
    ]
    kept_out = [item for item, _ in failed if item.severity == "quarantine"]
    if not kept_out:
        return broken, {}
    held = ctx.ports.tables.compute(table, {item.check.name: item.check.expr for item in kept_out})
    masks = {
        item.check.name: ~held.column(item.check.name).fill_null(not item.check.null_fails).to_numpy()
        for item in kept_out
    }
    return broken, masks


def _sets(
    ctx: Context, contract: Contract, table: pa.Table, newest: Version | None
) -> list[tuple[str, Severity, NDArray[np.bool_]]]:
    found: list[tuple[str, Severity, NDArray[np.bool_]]] = []
    for key in contract.unique:
        _check_there(table, key.columns)
        earlier = None
        if key.within == "dataset" and newest is not None:
            earlier = read_version(ctx, newest, columns=key.columns)
        found.append((f"{' + '.join(key.columns)} is unique", key.severity, repeated(table, key, earlier)))
    for reference in contract.references:
        _check_there(table, (reference.column,))
        rule = f"{reference.column} occurs in {reference.dataset}.{reference.to}"
        found.append((rule, reference.severity, unreferred(table, reference, _known(ctx, reference))))
    return found


def _check_there(table: pa.Table, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in table.column_names]:
        raise Invalid(
            f"the contract asks for the column {missing[0]!r}, which the batch lacks",
            hint="name it in the contract's columns, so that batches without it are refused with a decision",
        )


def _known(ctx: Context, reference: Reference) -> pa.Table:
    version = resolve(ctx, Address(kind=DATASET, name=reference.dataset))
    return read_version(ctx, version, columns=(reference.to,))
