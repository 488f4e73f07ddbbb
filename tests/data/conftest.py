"""Workspaces that tests of data begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.adapters.objects import FolderObjects
from loopwright.adapters.sql import open_ledger
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context, memory_ports


@pytest.fixture
def ctx() -> Context:
    """An empty one in memory; modules that want another one say so."""
    return memory_context()


@pytest.fixture
def ctx_on_disk(tmp_path: Path) -> Iterator[Context]:
    """An empty one whose every byte can be looked at."""
    objects = FolderObjects(tmp_path / "objects", durable=False)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield memory_context(memory_ports(ledger=ledger, objects=objects))
    ledger.close()
