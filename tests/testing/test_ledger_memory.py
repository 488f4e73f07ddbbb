"""The ledger in memory keeps the same contract as the stores."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from loopwright.ports.ledger import Ledger
from loopwright.testing.ledger import MemoryLedger
from loopwright.testing.ledger_machine import LedgerMachine
from loopwright.testing.ledger_suite import LedgerSuite


class TestMemoryLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self) -> Ledger:
        return MemoryLedger()

    @pytest.fixture
    def other(self) -> Ledger:
        return MemoryLedger()


class MemoryMachine(LedgerMachine):
    def open_ledger(self) -> Ledger:
        return MemoryLedger()


def test_memory_holds_what_the_model_holds() -> None:
    few = settings(max_examples=40, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(MemoryMachine, settings=few)
