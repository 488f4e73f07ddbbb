"""What tests of the loops share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from loopwright.engine.context import Context
from loopwright.loops import erasing
from loopwright.workspace import Workspace


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No erasure waits for a writer of another process: there is none."""
    monkeypatch.setattr(erasing, "_SETTLED", timedelta(0))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace of its own, empty."""
    with Workspace.open(tmp_path / ".loopwright") as opened:
        yield opened


@pytest.fixture
def ctx(workspace: Workspace) -> Context:
    """What its operations are called with."""
    return workspace.context()
