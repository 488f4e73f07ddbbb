"""A hundred senders of great files who take their time: the others are served, great files of theirs too."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from loopwright.app.server import Server
from loopwright.surfaces.http import build_app
from loopwright.surfaces.http.host import Limits
from loopwright.surfaces.mlflow import artifacts, experiments, runs
from loopwright.surfaces.mlflow.application import MlflowApp
from loopwright.surfaces.senders import Pace
from loopwright.tracking import verbs
from loopwright.workspace import Workspace, load_settings

SENDERS = 100
BEGUN = b"x" * 1_200_000
"""more than is taken without a thread"""
GREAT = b"y" * 3_000_000
PACE = Pace(each_bytes=50_000, over_s=0.4)
PATIENCE_S = 30.0


class Served(NamedTuple):
    """A server, and where a run's files are in both protocols."""

    port: int
    places: dict[str, tuple[str, str]]

    def ask(self, method: str, target: str, body: bytes | None = None) -> int:
        """The status of one request."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            line.request(method, target, body)
            answer = line.getresponse()
            answer.read()
            return answer.status
        finally:
            line.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = load_settings({"workspace": str(tmp_path / ".loopwright")}, environment={})
    with Workspace.open(settings=found) as workspace:
        run = verbs.start(workspace.context(), "run", "r", experiment="e")
        home = workspace.call("experiments.show", name="e").id
        routes = (*experiments.routes(), *runs.routes(), *artifacts.routes(10**9, pace=PACE))
        protocol = MlflowApp(workspace, routes)
        limits = Limits(upload_pace=PACE)
        app = build_app(workspace, mounts=[("/api", protocol)], protocols=(protocol,), limits=limits)
        with Server(app) as server:
            of_run = f"/api/2.0/mlflow-artifacts/artifacts/{home}/{run.id}/artifacts"
            ours = f"/api/v1/runs/{run.id}/artifacts/content?path="
            yield Served(server.port, {"mlflow": ("PUT", f"{of_run}/"), "api": ("POST", ours)})


@contextmanager
def trickling(served: Served, method: str, target: str) -> Iterator[None]:
    """A hundred who send a beginning, and then a few bytes now and then."""
    over = threading.Event()
    with ExitStack() as stack:
        lines = []
        for number in range(SENDERS):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), PATIENCE_S))
            head = f"{method} {target}slow{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000000"
            line.sendall(head.encode() + b"\r\nContent-Type: application/octet-stream\r\n\r\n" + BEGUN)
            line.setblocking(False)
            lines.append(line)

        def drip() -> None:
            while not over.wait(0.05):
                for line in lines:
                    with suppress(OSError):
                        line.send(b"drip")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["mlflow", "api"])
def test_a_hundred_slow_senders_keep_nobody_out(served: Served, protocol: str) -> None:
    method, place = served.places[protocol]
    with trickling(served, method, place):
        for number in range(10):
            assert served.ask("GET", "/healthz") == 200
            for way, target in served.places.values():
                assert served.ask(way, f"{target}small{number}", b"x" * 2000) == 200
        for number in range(3):
            assert served.ask(method, f"{place}great{number}", GREAT) == 200
    of_slow = served.places["api"][1].replace("content?path=", "")
    assert served.ask("GET", of_slow.removesuffix("/") + "?limit=1000") == 200
