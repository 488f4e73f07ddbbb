"""PostgreSQL: the suite of the ledger, and what only a server can do to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.ports.ledger import Ledger
from loopwright.testing.ledger_suite import LedgerSuite


class TestPostgresLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self, postgres_url: str) -> Iterator[Ledger]:
        opened = open_ledger(postgres_url)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, postgres_url: str) -> Iterator[Ledger]:
        opened = open_ledger(f"{postgres_url}_other")
        yield opened
        opened.close()
