"""Holds a batch against its contract: the rows that are let in, and those that are set aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.nouns import Version
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import refusals
from loopwright.data.conforming import arrow_type
from loopwright.data.contracts import HeldContract, inspected
from loopwright.data.inspecting import Inspection
from loopwright.data.mixed_times import mixed_times
from loopwright.data.nouns import DATASET, RuleResult
from loopwright.data.streams import prepare_segment
from loopwright.engine.context import Context
from loopwright.ports.ledger import Segment, Transaction

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["QUARANTINED_AT", "REASON", "Admitted", "admitted", "quarantine_stream", "set_aside"]

REASON, QUARANTINED_AT = "reason", "quarantined_at"


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract made of a batch."""

    rows: Any
    """the rows that may be published, an Arrow table"""
    segment: Segment | None = None
    """the others, kept but not indexed yet"""
    reasons: dict[str, int] = {}
    warnings: tuple[str, ...] = ()
    results: tuple[RuleResult, ...] = ()
    """what became of each rule of the contract"""


def quarantine_stream(dataset: str) -> str:
    """The stream that keeps a dataset's rows in quarantine."""
    return f"quarantine/{dataset}"


def admitted(
    ctx: Context, held: HeldContract | None, rows: pa.Table, name: str, newest: Version | None
) -> Admitted:
    """Hold rows of the platform's types against a contract; `PolicyBlocked` when it blocks the batch."""
    found, judgement = inspected(ctx, held, rows, name, newest)
    kept_out = found.kept_out(rows.num_rows)
    segment = _quarantined(ctx, name, rows, found, kept_out) if kept_out.any() else None
    return Admitted(
        rows=rows if segment is None else rows.filter(_arrow(~kept_out)),
        segment=segment,
        reasons={rule: int(mask.sum()) for rule, mask in found.masks.items()},
        warnings=(
            *judgement.warnings,
            *mixed_times(rows, lambda column: not refusals(ctx, name, [column], "")),
        ),
        results=found.results,
    )


def set_aside(
    ctx: Context, tx: Transaction, dataset: str, segment: Segment, reasons: Mapping[str, int]
) -> None:
    """Index the rows kept out, in the unit of work that publishes the others."""
    tx.segments.add(segment)
    payload = {"dataset": dataset, "rows": segment.rows, "reasons": dict(reasons)}
    ctx.record(tx, "quarantine.added", Address(kind=DATASET, name=dataset), payload)


def _arrow(mask: NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    return pa.array(mask)


def _quarantined(
    ctx: Context, name: str, rows: pa.Table, found: Inspection, kept_out: NDArray[np.bool_]
) -> Segment:
    """The rows kept out, with their reasons, as a segment that is not indexed yet."""
    import numpy as np
    import pyarrow as pa

    reasons = [
        "; ".join(rule for rule, mask in found.masks.items() if mask[at]) for at in np.flatnonzero(kept_out)
    ]
    bad = rows.filter(_arrow(kept_out))
    taken = {REASON, QUARANTINED_AT}
    bad = bad.rename_columns([f"value_{n}" if n in taken else n for n in bad.column_names])
    now = ctx.now()
    times = pa.array([now] * len(reasons), arrow_type(ColumnType.INSTANT))
    bad = bad.append_column(REASON, pa.array(reasons, pa.string())).append_column(QUARANTINED_AT, times)
    return prepare_segment(ctx, quarantine_stream(name), bad, now, now, {"rules": sorted(found.masks)})
