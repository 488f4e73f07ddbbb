"""`lw.run`: what is logged is kept, here and on a server, however the program ends."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

import httpx
import pytest

from loopwright.app.recording import run
from loopwright.app.server import Server
from loopwright.client import Client
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Invalid, Unavailable
from loopwright.core.nouns import MetricPoint, RunState
from loopwright.engine.operation import Upload
from loopwright.surfaces.http import build_app
from loopwright.tracking.buffer import PointBuffer
from loopwright.workspace import Workspace


def points(to: Workspace | Client, run_id: str, key: str) -> list[MetricPoint]:
    found: list[MetricPoint] = []
    token = ""
    while True:
        page = to.call("runs.metric", run_id=run_id, key=key, limit=1000, token=token)
        found += page.items
        if not (token := page.next_token):
            return found


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / ".loopwright")


def test_a_block_is_a_run_with_all_that_was_logged(workspace: Workspace) -> None:
    with workspace, run("train", experiment="delays", params={"lr": 0.1}, to=workspace) as tracked:
        for step in range(5000):
            tracked.log({"auc": step / 5000}, step=step)
        tracked.param(depth=3)
        tracked.tag(owner="me")
        tracked.flush()
        assert len(points(workspace, tracked.id, "auc")) == 5000
        tracked.end()
        view = workspace.call("runs.show", run_id=tracked.id)
        assert view.run.state is RunState.FINISHED
        assert (view.run.params, view.run.tags) == ({"lr": "0.1", "depth": "3"}, {"owner": "me"})
        assert view.run.experiment == "delays"
        assert view.run.facts["environment"]["packages"] > 10
        assert view.run.facts["machine"]["cores"] >= 1


def test_an_error_fails_the_run_and_loses_nothing(workspace: Workspace) -> None:
    with workspace:
        tracked = run("bad", to=workspace)

        def fail() -> None:
            with tracked:
                tracked.log({"loss": 1.0})
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            fail()
        view = workspace.call("runs.show", run_id=tracked.id)
        assert view.run.state is RunState.FAILED
        assert view.run.facts["error"] == "ValueError: no"
        assert view.metrics["loss"].value == 1.0
        with pytest.raises(Invalid, match="not going"):
            tracked.log({"loss": 2.0})


def test_a_run_inside_a_run_is_its_child(workspace: Workspace) -> None:
    with workspace, run("outer", experiment="delays", to=workspace) as outer:
        with run("inner") as inner:
            assert inner.face is workspace
        with run("second", experiment="others") as second:
            pass
        found = [workspace.call("runs.show", run_id=each.id).run for each in (inner, second)]
        assert [each.parent_id for each in found] == [outer.id, outer.id]
        assert [each.experiment for each in found] == ["delays", "others"]


def test_each_call_of_a_function_is_a_run_with_its_arguments(workspace: Workspace) -> None:
    @run("fit", to=workspace)
    def fit(lr: float, rounds: int = 3) -> float:
        return lr * rounds

    with workspace:
        assert [fit(0.5), fit(0.25, rounds=4)] == [1.5, 1.0]
        found = workspace.call("runs.list").items
        assert [each.params for each in reversed(found)] == [
            {"lr": "0.5", "rounds": "3"},
            {"lr": "0.25", "rounds": "4"},
        ]


def test_each_call_of_a_coroutine_is_a_run_until_it_is_done(workspace: Workspace) -> None:
    @run("ask", to=workspace)
    async def ask(name: str) -> str:
        with run(f"of {name}") as inner:
            await asyncio.sleep(0)
        return inner.id

    async def both() -> list[str]:
        return list(await asyncio.gather(ask("a"), ask("b")))

    with workspace:
        inner = asyncio.run(both())
        outer = {each.id: each.params for each in workspace.call("runs.list").items if each.name == "ask"}
        parents = [workspace.call("runs.show", run_id=each).run.parent_id for each in inner]
        assert [outer[str(each)] for each in parents] == [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt])
def test_a_run_that_has_ended_is_gone_on_with(
    workspace: Workspace, ending: type[BaseException] | None
) -> None:
    def begin() -> None:
        with tracked:
            tracked.log({"loss": 1.0}, step=1)
            if ending is not None:
                raise ending

    with workspace:
        tracked = run("long", params={"lr": 0.1}, to=workspace)
        with pytest.raises(ending) if ending else nullcontext():
            begin()
        with run(
            "long", run_id=tracked.id, params={"lr": 0.1, "more": 1}, tags={"part": "2"}, to=workspace
        ) as on:
            assert workspace.call("runs.show", run_id=on.id).run.state is RunState.RUNNING
            on.log({"loss": 0.5}, step=2)
        view = workspace.call("runs.show", run_id=tracked.id)
        assert (view.run.state, "error" in view.run.facts) == (RunState.FINISHED, False)
        assert (view.run.params, view.run.tags) == ({"lr": "0.1", "more": "1"}, {"part": "2"})
        assert [point.step for point in points(workspace, tracked.id, "loss")] == [1, 2]
        events = workspace.call("journal.list", subject=f"run:{tracked.id}").items
        assert sorted(each.kind for each in events)[-2:] == ["run.resumed", "run.started"]


def test_only_a_block_goes_on_with_a_run(workspace: Workspace) -> None:
    with workspace, pytest.raises(Invalid, match="of its own"):
        run("fit", run_id="one", to=workspace)(len)


def test_a_server_takes_what_json_has_no_number_for(workspace: Workspace) -> None:
    with (
        workspace,
        Server(build_app(workspace), host="127.0.0.1", port=0) as server,
        Client(server.url) as client,
        run("far", to=client, system_metrics=True) as tracked,
    ):
        for value in (math.nan, math.inf, -math.inf, 0.5):
            tracked.log({"m": value}, step=1)
        tracked.end()
        values = [point.value for point in points(workspace, tracked.id, "m")]
        assert math.isnan(values[0])
        assert sorted(values[1:]) == [-math.inf, 0.5, math.inf]
        assert points(workspace, tracked.id, "system/memory_used_bytes")


KILLED = """
import os, sys, time
import loopwright as lw
with lw.run("killed") as run:
    print(run.id, flush=True)
    step = 0
    while True:
        step += 1
        run.log({"m": float(step)}, step=step)
        print(step, time.time(), flush=True)
        time.sleep(0.001)
"""


def test_a_killed_program_loses_a_second_at_most(tmp_path: Path) -> None:
    kept = {**os.environ, "LOOPWRIGHT_WORKSPACE": str(tmp_path / ".loopwright")}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], env=kept, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        time.sleep(3.0)
        process.send_signal(signal.SIGKILL)
        logged = [line.split() for line in process.stdout.read().splitlines()]
    steps = {int(words[0]): float(words[1]) for words in logged if len(words) == 2}
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        there = {point.step for point in points(workspace, run_id, "m")}
    end = max(steps.values())
    assert all(step in there for step, at in steps.items() if at < end - 1.0)


@pytest.mark.parametrize("where", ["here", "server"])
def test_what_a_run_began_with_is_kept_and_what_is_read_in_it_is_linked(
    workspace: Workspace, where: str
) -> None:
    with ExitStack() as stack:
        stack.enter_context(workspace)
        face: Workspace | Client = workspace
        if where == "server":
            server = stack.enter_context(Server(build_app(workspace)))
            face = stack.enter_context(Client(server.url))
        rows = Upload(chunks=[b"x\n1\n2\n"], media_type="text/csv")
        face.call("data.upload", name="numbers", upload=rows)
        with run("outer", to=face) as outer, run("inner", to=face) as inner:
            assert len(face.call("data.rows", name="numbers").items) == 2
            inner.keep("notes/a.txt", b"kept")
        face.call("data.rows", name="numbers")
        views = [face.call("runs.show", run_id=each.id) for each in (outer, inner)]
        assert [[str(link.version) for link in view.links] for view in views] == [[], ["dataset:numbers@1"]]
        assert views[1].run.tags["mlflow.parentRunId"] == outer.id
        facts = views[1].run.facts
        lock = face.call("runs.download", run_id=inner.id, path=facts["environment"]["file"]).file.read()
        assert digest_bytes(lock) == facts["environment"]["digest"]
        assert b"msgspec==" in lock
        diff = facts.get("code", {}).get("file")
        if diff:
            text = face.call("runs.download", run_id=inner.id, path=diff).file.read()
            assert digest_bytes(text) == facts["code"]["diff"]
        assert face.call("runs.download", run_id=inner.id, path="notes/a.txt").file.read() == b"kept"
        assert facts["command"][0].startswith("python")
        assert facts["machine"]["name"]


def test_a_caller_cannot_say_it_is_in_a_run_that_is_none(workspace: Workspace) -> None:
    with workspace, Server(build_app(workspace)) as server, httpx.Client(base_url=server.url) as client:
        answer = client.get("/api/v1/runs", headers={"loopwright-run": "nobody"})
        assert answer.status_code == 404


def test_a_program_that_ends_inside_its_run_keeps_all_of_it(tmp_path: Path) -> None:
    script = "import loopwright as lw\nrun = lw.run('left').start()\nrun.log({'m': 1.0})\nprint(run.id)"
    kept = {**os.environ, "LOOPWRIGHT_WORKSPACE": str(tmp_path / ".loopwright")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        view = workspace.call("runs.show", run_id=done.stdout.strip())
    assert view.run.state is RunState.KILLED
    assert view.metrics["m"].value == 1.0


def test_a_buffer_tries_again_what_cannot_be_written_for_a_while() -> None:
    written: list[MetricPoint] = []
    failures = [Unavailable("away"), Unavailable("away")]

    def write(batch: Sequence[MetricPoint]) -> None:
        if failures:
            raise failures.pop()
        written.extend(batch)

    buffer = PointBuffer(write, interval_s=0.01)
    for step in range(2500):
        buffer.add({"a": 1.0, "b": 2.0}, step)
    buffer.close()
    assert [point.step for point in written if point.key == "a"] == list(range(2500))
    assert len(written) == 5000
    with pytest.raises(Invalid):
        buffer.add({"a": 1.0}, 1)


def test_a_full_buffer_makes_the_caller_wait() -> None:
    written: list[int] = []
    buffer = PointBuffer(lambda batch: written.append(len(batch)), capacity=100, interval_s=60.0)
    for step in range(101):
        buffer.add({"a": 1.0}, step)
    assert sum(written) == 101
    buffer.close()


def test_what_cannot_be_written_is_the_callers_matter_only_when_nothing_more_fits() -> None:
    written: list[int] = []
    away = True

    def write(batch: Sequence[MetricPoint]) -> None:
        if away:
            raise Unavailable("away")
        written.extend(point.step for point in batch)

    buffer = PointBuffer(write, capacity=300, soon=100, interval_s=60.0)
    for step in range(300):
        buffer.add({"a": 1.0}, step)
    with pytest.raises(Unavailable):
        buffer.add({"a": 1.0}, 300)
    away = False
    buffer.add({"a": 1.0}, 301)
    for step in range(302, 402):
        buffer.add({"a": 1.0}, step)
    assert written == list(range(302))
    buffer.add({"a": 1.0}, 402)
    assert written == list(range(403))
    buffer.close()
