"""Recorded behaviour of MLflow, group after group, on one server that is emptied between them."""

from __future__ import annotations

import random
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.app.processes import server
from tests.protocols.mlflow.groups import DONE_GROUPS
from tests.protocols.mlflow.replaying import replayed
from tests.protocols.mlflow.sessions.done import SESSIONS
from tests.protocols.mlflow.sessions.expecting import expected, seen
from tests.protocols.mlflow.test_sessions import RECEIVERS_HERE
from tests.protocols.mlflow.wire import sender


@contextmanager
def emptied(folder: Path, **environment: str) -> Iterator[Callable[[], str]]:
    """Empties one server at each call, and gives its address."""
    with server(folder, "--testing", **environment) as (_, said):

        def fresh() -> str:
            reset = urllib.request.Request(f"{said['url']}/api/v1/testing/reset", method="POST")
            with urllib.request.urlopen(reset, timeout=60) as answer:
                assert answer.status == 200
            return str(said["url"])

        yield fresh


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """A server as it is without settings."""
    with emptied(tmp_path_factory.mktemp("workspace")) as found:
        yield found


@pytest.fixture(scope="module")
def open_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """A server that may post to receivers of this machine."""
    with emptied(tmp_path_factory.mktemp("open"), **RECEIVERS_HERE) as found:
        yield found


@pytest.mark.slow
def test_every_group_twice_in_any_order(fresh: Callable[[], str]) -> None:
    """A group needs a server without anything of another one, and of itself."""
    for seed in (1, 2):
        groups = list(DONE_GROUPS)
        random.Random(seed).shuffle(groups)
        found = [line for group in groups for line in replayed(group, sender(fresh()))]
        assert not found, "\n".join([f"{len(found)} differences", *found])


@pytest.mark.peer
@pytest.mark.parametrize(("session", "major"), [each for each in SESSIONS if each[0] != "measuring"])
def test_clients_of_both_versions_begin_anew(
    session: str, major: str, open_one: Callable[[], str], tmp_path: Path
) -> None:
    """Both use the same names, so one server serves both only where it forgets everything between them."""
    assert seen(session, major, open_one(), tmp_path) == expected(session, major)
