"""Walks of searches: the ways that only very many runs take, taken with few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.adapters.sql.repositories import narrowing, searching
from loopwright.ports.ledger import Ledger
from loopwright.testing.ledger_searches import SearchSuite


class _Walked(SearchSuite):
    """Nothing is begun with what few pass, and two runs of one value are many."""

    @pytest.fixture(autouse=True)
    def _walks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(narrowing, "_SOME", 1)
        monkeypatch.setattr(searching, "_TIES", 1)
        monkeypatch.setattr(searching, "_REACH", 1)


class TestWalksOfSqlite(_Walked):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[Ledger]:
        opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
        yield opened
        opened.close()


class TestWalksOfPostgres(_Walked):
    @pytest.fixture
    def ledger(self, postgres_url: str) -> Iterator[Ledger]:
        opened = open_ledger(postgres_url)
        yield opened
        opened.close()
