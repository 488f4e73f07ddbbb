"""MLflow's own clients see of our server what they see of MLflow's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.app.processes import server
from tests.protocols.mlflow.sessions.done import SESSIONS
from tests.protocols.mlflow.sessions.expecting import expected, seen

RECEIVERS_HERE = {"LOOPWRIGHT_WEBHOOK_HTTP": "true", "LOOPWRIGHT_WEBHOOK_NETWORKS": "127.0.0.0/8"}

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def address_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address of a server that only clients of one version talk to: both use the same names."""
    with ExitStack() as running:

        @cache
        def address(major: str) -> str:
            folder = tmp_path_factory.mktemp(f"workspace-{major}")
            return str(running.enter_context(server(folder, **RECEIVERS_HERE))[1]["url"])

        yield address


@pytest.mark.parametrize(("session", "major"), SESSIONS)
def test_a_session_sees_what_it_saw_of_mlflow(
    session: str, major: str, address_for: Callable[[str], str], tmp_path: Path
) -> None:
    assert seen(session, major, address_for(major), tmp_path) == expected(session, major)
