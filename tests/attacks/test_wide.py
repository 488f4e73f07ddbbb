"""A dataset of as many columns as one may have: every operation and page of it answers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from loopwright.data.conforming import COLUMNS_LIMIT
from loopwright.data.verbs import append
from tests.attacks.worlds import answered, furnished

ROWS = 12
PAGE_BYTES = 8 << 20
PAGES = (
    "/datasets/wide",
    "/datasets/wide?view=columns",
    "/datasets/wide/contract",
    "/datasets",
    "/api/v1/datasets/wide",
    "/api/v1/datasets/wide/rows",
    "/api/v1/datasets/wide/profile",
    "/api/v1/datasets/wide/contract/inferred",
    "/api/v1/datasets/wide/data",
)


@pytest.mark.slow
def test_very_many_columns_are_kept_shown_checked_and_profiled(tmp_path: Path) -> None:
    with furnished(tmp_path, is_serving=False) as world:
        ctx, call = world.workspace.context(), world.workspace.call
        append(ctx, "wide", pa.table({f"c{n}": [n % 7] * ROWS for n in range(COLUMNS_LIMIT)}))
        sizes = {}
        for page in PAGES:
            reply = world.ask("GET", page)
            answered(reply, page)
            sizes[page] = len(reply.body)
        assert max(sizes.values()) < PAGE_BYTES, sizes
        contract = call("data.infer_contract", name="wide").contract
        assert len(contract.columns) == COLUMNS_LIMIT
        call("data.set_contract", name="wide", contract=contract)
        report = call("data.check", name="wide", contract=contract)
        assert report.rows == ROWS
        append(ctx, "wide", pa.table({f"c{n}": [n % 7] * 2 for n in range(COLUMNS_LIMIT)}))
        assert call("data.show", name="wide").version.number == 2
        answered(world.ask("GET", "/datasets/wide"), "/datasets/wide")
