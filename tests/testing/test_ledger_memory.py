"""The ledger in memory keeps the same contract as the stores."""

from __future__ import annotations

import pytest

from loopwright.ports.ledger import Ledger
from loopwright.testing.ledger import MemoryLedger
from loopwright.testing.ledger_suite import LedgerSuite


class TestMemoryLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self) -> Ledger:
        return MemoryLedger()

    @pytest.fixture
    def other(self) -> Ledger:
        return MemoryLedger()
