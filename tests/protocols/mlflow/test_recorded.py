"""Our server answers as MLflow's did, field by field, group by group."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app.processes import server
from tests.protocols.mlflow.groups import DONE_GROUPS
from tests.protocols.mlflow.replaying import replayed
from tests.protocols.mlflow.wire import Sender, sender


@pytest.fixture(scope="module")
def send(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    with server(tmp_path_factory.mktemp("workspace")) as (_, said):
        yield sender(said["url"])


@pytest.mark.parametrize("group", DONE_GROUPS)
def test_replies_are_as_recorded(group: str, send: Sender) -> None:
    found = replayed(group, send)
    assert not found, "\n".join([f"{len(found)} differences", *found])
