"""Holds rows of any source against a contract, without a workspace: `lw.check`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from loopwright.core.errors import Invalid
from loopwright.core.sizes import parse_size
from loopwright.data.checking import CheckReport, check_source
from loopwright.data.declaring import contract as contract_from
from loopwright.data.planning import Before
from loopwright.workspace.catalogue import scanner_of

__all__ = ["check"]


def check(
    contract: object, rows: object, *, engine: Literal["polars", "duckdb"] = "polars", memory: str = ""
) -> CheckReport:
    """What a contract says of rows, in one scan; nothing is kept and nothing raised for rows that break it.

    `contract` is a declaration, its value or JSON form, or a schema of Pandera. `rows` is a frame or lazy
    frame of Polars, a pandas frame, an Arrow table, batches or a reader of them, or paths of Parquet, CSV or
    NDJSON files; lazy frames and streams are read to their end. Rules that refer to other versions or
    datasets need a workspace: `Invalid`. `memory`, such as `4GB`, is what the process may take (half of the
    machine's): keys that do not fit wait in temporary files, with the same answers.
    """
    chosen = contract_from(contract)
    if chosen.references or chosen.comparisons or chosen.distributions:
        raise Invalid(
            f"contract {chosen.name!r} compares with other versions or datasets",
            hint="check a version of a dataset: the operation data.check",
        )
    scanner = scanner_of(engine, parse_size(memory) if memory else None)
    return check_source(scanner, chosen, rows, Before(now=datetime.now(UTC)))
