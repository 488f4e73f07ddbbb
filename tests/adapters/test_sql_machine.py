"""Any sequence of units of work leaves what plain Python says, on SQLite and PostgreSQL."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from loopwright.adapters.sql import open_ledger
from loopwright.ports.ledger import Ledger
from loopwright.testing.ledger_machine import LedgerMachine
from loopwright.testing.postgres import PostgresServer

FEW = settings(max_examples=25, stateful_step_count=30, deadline=None)
MANY = settings(max_examples=400, stateful_step_count=60, deadline=None)


class SqliteMachine(LedgerMachine):
    def open_ledger(self) -> Ledger:
        self.folder = tempfile.TemporaryDirectory()
        return open_ledger(f"sqlite:///{Path(self.folder.name)}/ledger.db")

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


def server_machine(server: PostgresServer) -> type[LedgerMachine]:
    class ServerMachine(LedgerMachine):
        def open_ledger(self) -> Ledger:
            return open_ledger(server.url(f"m{uuid.uuid4().hex[:12]}"))

    return ServerMachine


def test_sqlite_holds_what_the_model_holds() -> None:
    run_state_machine_as_test(SqliteMachine, settings=FEW)


def test_a_server_holds_what_the_model_holds(postgres_server: PostgresServer) -> None:
    few = settings(FEW, max_examples=8)
    run_state_machine_as_test(server_machine(postgres_server), settings=few)


@pytest.mark.slow
def test_sqlite_holds_what_the_model_holds_for_long() -> None:
    run_state_machine_as_test(SqliteMachine, settings=MANY)
