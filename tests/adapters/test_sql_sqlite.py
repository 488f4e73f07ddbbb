"""SQLite: the suite of the ledger, and what only a file can do to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.ports.ledger import Ledger
from loopwright.testing.ledger_suite import LedgerSuite


class TestSqliteLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[Ledger]:
        opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[Ledger]:
        opened = open_ledger(f"sqlite:///{tmp_path}/other.db")
        yield opened
        opened.close()
