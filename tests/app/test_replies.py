"""Replies written in one piece stand on the wire as those sent the usual way."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from loopwright.app.assembling import assemble
from loopwright.app.server import Server
from loopwright.surfaces.http import REPLY
from loopwright.workspace import Workspace, load_settings

ASKED = "/api/2.0/mlflow/experiments/get?experiment_id=0"


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Two servers of one workspace: the second one's applications find no way to reply at once."""
    with Workspace.open(settings=load_settings({"workspace": str(tmp_path)})) as workspace:
        app = assemble(workspace)

        async def usual(scope: Scope, receive: Receive, send: Send) -> None:
            scope.pop(REPLY, None)
            await app(scope, receive, send)

        with Server(app) as quick, Server(usual) as other:
            yield quick.port, other.port


def _asked(connection: http.client.HTTPConnection, method: str, **headers: str) -> tuple[object, ...]:
    connection.request(method, ASKED, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    kept = sorted((name, value) for name, value in reply.getheaders() if name.lower() != "date")
    return reply.status, reply.version, kept, re.sub(rb"\d{10,}", b"", body)


def test_both_ways_say_the_same(ports: tuple[int, int]) -> None:
    replies: list[list[tuple[object, ...]]] = []
    for port in ports:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        replies.append([_asked(connection, "GET"), _asked(connection, "GET"), _asked(connection, "HEAD")])
        replies[-1].append(_asked(connection, "GET", Connection="close"))
        assert connection.sock is None, "the server was asked to hang up"
        connection.close()
    quick, usual = replies
    assert quick == usual
    names = {name.lower() for name, _ in quick[0][2]}  # type: ignore[attr-defined]  # a list of pairs
    assert {"content-type", "content-length", "x-content-type-options"} <= names
    assert ("connection", "close") in quick[3][2]  # type: ignore[operator]  # as above
