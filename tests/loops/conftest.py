"""What tests of the loops share."""

from __future__ import annotations

from datetime import timedelta

import pytest

from loopwright.loops import erasing


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No erasure waits for a writer of another process: there is none."""
    monkeypatch.setattr(erasing, "_SETTLED", timedelta(0))
