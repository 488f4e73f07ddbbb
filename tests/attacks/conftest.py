"""One victim for a module of attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.victims import Victim, attacked


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with attacked(tmp_path_factory.mktemp("victim")) as found:
        yield found
