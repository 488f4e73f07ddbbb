"""Row checks: all of them in one scan, and a second scan only for the positions of what failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from loopwright.adapters.tables.compile import compile_condition
from loopwright.ports.tables import RowCheck, RowCheckResult

__all__ = ["check_rows"]

_FIRST = 10
_FEW_ROWS = 20_000
"""up to here handing checks to a pool of threads costs more than the checks (800 rows: 8.8 against 1.4 ms)"""


def check_rows(frame: pl.DataFrame, checks: Sequence[RowCheck]) -> tuple[RowCheckResult, ...]:
    """How many rows fail each check, and the positions of the first ten of them."""
    failing = [_failing(check, frame.schema) for check in checks]
    if not failing or frame.height == 0:
        return tuple(RowCheckResult(name=check.name, failed=0, rows=frame.height) for check in checks)
    counts = _row(frame, [flag.sum().alias(str(i)) for i, flag in enumerate(failing)])
    flags = {i: failing[i] for i, count in enumerate(counts) if count}
    first = _positions(frame, flags)
    return tuple(
        RowCheckResult(name=check.name, failed=counts[i], rows=frame.height, first=first.get(i, ()))
        for i, check in enumerate(checks)
    )


def _row(frame: pl.DataFrame, asked: Sequence[pl.Expr]) -> tuple[Any, ...]:
    """The one row that aggregates of a frame come to."""
    found = frame.select_seq(asked) if frame.height <= _FEW_ROWS else frame.lazy().select(asked).collect()
    return found.row(0)


def _failing(check: RowCheck, schema: pl.Schema) -> pl.Expr:
    held = compile_condition(check.expr, schema).fill_null(not check.null_fails)
    return (~held) & pl.int_range(pl.len()).ge(0)


def _positions(frame: pl.DataFrame, flags: dict[int, pl.Expr]) -> dict[int, tuple[int, ...]]:
    if not flags:
        return {}
    asked = [flag.arg_true().head(_FIRST).implode().alias(str(i)) for i, flag in flags.items()]
    found = _row(frame, asked)
    return {i: tuple(positions) for i, positions in zip(flags, found, strict=True)}
