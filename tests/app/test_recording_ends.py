"""`lw.run` where programs are unlike the pattern: bad numbers, generators, exits, forks, servers away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from loopwright.app import recording
from loopwright.app.capturing import environment_lock
from loopwright.app.recording import Recorder, run
from loopwright.app.server import Server
from loopwright.client import Client
from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.core.nouns import Run, RunState
from loopwright.surfaces.http import build_app
from loopwright.workspace import Workspace

Face = Workspace | Client


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / ".loopwright") as opened:
        yield opened


def kept(face: Face, recorder: Recorder) -> tuple[Run, dict[str, float]]:
    view = face.call("runs.show", run_id=recorder.id)
    return view.run, {key: point.value for key, point in view.metrics.items()}


# -- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "step", "named"),
    [
        ({"loss": None}, 0, "'loss' is no number but NoneType"),
        ({"loss": "low"}, 0, "'loss' is no number but str"),
        ({"loss": np.ones(2)}, 0, "'loss' is no number but ndarray"),
        ({"loss": 10**400}, 0, "'loss' is no number but int"),
        (0.5, 0, "float holds no metrics"),
        ({"": 1.0}, 0, "bad name"),
        ({3: 1.0}, 0, "'3' has a bad name"),
        ({"k" * 251: 1.0}, 0, "bad name"),
        ({"nul\x00": 1.0}, 0, "bad name"),
        ({"half \ud800": 1.0}, 0, "bad name"),
        ({"loss": 1.0}, 1.5, "'1.5' is no whole number"),
        ({"loss": 1.0}, None, "no whole number"),
        ({"loss": 1.0}, 1 << 63, "too large"),
    ],
)
def test_what_can_be_no_point_is_refused_at_once_and_holds_nothing_up(
    workspace: Workspace, metrics: Any, step: Any, named: str
) -> None:
    with run("train", to=workspace) as tracked:
        tracked.log({"before": 1.0}, step=np.int64(7))
        with pytest.raises(Invalid, match=named):
            tracked.log(metrics, step=step)
        tracked.log({"after": np.float32(0.5), "flag": True})
    found, values = kept(workspace, tracked)
    assert values == {"before": 1.0, "after": 0.5, "flag": 1.0}
    assert found.state is RunState.FINISHED


def test_a_value_is_what_it_was_when_it_was_logged(workspace: Workspace) -> None:
    with run("train", to=workspace) as tracked:
        loss = np.array(1.0)
        tracked.log({"loss": loss})
        loss += 41
    assert kept(workspace, tracked)[1] == {"loss": 1.0}


def test_a_run_whose_points_were_lost_is_no_finished_one(workspace: Workspace) -> None:
    tracked = run("train", to=workspace)

    def deleted() -> None:
        with tracked:
            workspace.call("runs.delete", run_id=tracked.id)
            tracked.log({"loss": 1.0})
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:  # not what became of the run
        deleted()
    assert "could not be ended" in caught.value.__notes__[0]


# -- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SystemExit(), RunState.FINISHED),
        (SystemExit(0), RunState.FINISHED),
        (SystemExit(1), RunState.FAILED),
        (SystemExit("no data"), RunState.FAILED),
        (KeyboardInterrupt(), RunState.KILLED),
        (asyncio.CancelledError(), RunState.KILLED),
        (MemoryError(), RunState.FAILED),
    ],
)
def test_the_state_says_how_the_block_ended(
    workspace: Workspace, error: BaseException, state: RunState
) -> None:
    tracked = run("train", to=workspace)

    def block() -> None:
        with tracked:
            raise error

    with pytest.raises(type(error)):
        block()
    found = kept(workspace, tracked)[0]
    assert found.state is state
    assert ("error" in found.facts) is (state is not RunState.FINISHED)


def test_runs_that_end_out_of_turn_are_nobodys_parents(workspace: Workspace) -> None:
    first, second = run("first", to=workspace).start(), run("second", to=workspace).start()
    first.end()
    with run("third", to=workspace) as third:
        pass
    second.end()
    with run("fourth", to=workspace) as fourth:
        pass
    parents = [kept(workspace, each)[0].parent_id for each in (first, second, third, fourth)]
    assert parents == [None, first.id, second.id, None]
    assert repr(fourth) == f"<run fourth {fourth.id} ended>"


class Away:
    """A workspace behind a line that breaks: before a call arrives, or before its answer does."""

    def __init__(self, workspace: Workspace, *, is_carried_out: bool) -> None:
        self._workspace, self._is_carried_out = workspace, is_carried_out
        self.failures = 2

    def call(self, name: str, /, **arguments: Any) -> Any:
        if name == "runs.end" and self.failures:
            self.failures -= 1
            if self._is_carried_out:
                self._workspace.call(name, **arguments)
            raise Unavailable("no answer")
        return self._workspace.call(name, **arguments)


@pytest.mark.parametrize("is_carried_out", [True, False])
def test_a_server_that_is_away_at_the_end_is_waited_for(
    workspace: Workspace, is_carried_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_PAUSE_S", 0.01)
    away = Away(workspace, is_carried_out=is_carried_out)
    if is_carried_out:
        away.failures = 1
    with run("train", to=cast("Workspace", away)) as tracked:  # it is all that a recorder asks of one
        tracked.log({"loss": 1.0})
    found, values = kept(workspace, tracked)
    assert (found.state, values, away.failures) == (RunState.FINISHED, {"loss": 1.0}, 0)


def test_an_end_that_is_refused_is_told(workspace: Workspace) -> None:
    tracked = run("train", to=workspace).start()
    workspace.call("runs.end", run_id=tracked.id)
    with pytest.raises(Conflict, match="cannot become"):
        tracked.end()


# -- decorated -----------------------------------------------------------------------------------


def test_a_generator_s_run_goes_on_while_it_is_read(workspace: Workspace) -> None:
    @run("batches", to=workspace)
    def batches(count: int) -> Iterator[int]:
        with run("inner") as inner:
            for number in range(count):
                yield number
                inner.log({"read": 1.0}, step=number)

    reader = batches(3)
    assert workspace.call("runs.list").items == ()
    assert next(reader) == 0
    with run("reader's own", to=workspace) as own:
        assert next(reader) == 1
    assert list(reader) == [2]
    found = {each.name: each for each in workspace.call("runs.list").items}
    assert kept(workspace, own)[0].parent_id is None
    assert found["inner"].parent_id == found["batches"].id
    assert (found["batches"].params, found["batches"].state) == ({"count": "3"}, RunState.FINISHED)


def test_a_generator_is_closed_told_of_errors_and_returns(workspace: Workspace) -> None:
    @run("steps", to=workspace)
    def steps() -> Any:
        try:
            yield 1
        except KeyError:
            yield 2
        return 3

    def all_of() -> Iterator[int]:
        returned = yield from steps()
        yield returned

    reader = steps()
    assert (next(reader), reader.throw(KeyError())) == (1, 2)
    reader.close()
    left = steps()
    next(left)
    with pytest.raises(ValueError, match="theirs"):
        left.throw(ValueError("theirs"))
    assert list(all_of()) == [1, 3]
    states = [each.state for each in workspace.call("runs.list").items]
    assert states == [RunState.FINISHED, RunState.FAILED, RunState.FINISHED]


def test_an_asynchronous_generator_s_run_goes_on_while_it_is_read(workspace: Workspace) -> None:
    @run("batches", to=workspace)
    async def batches(count: int) -> AsyncIterator[str]:
        for number in range(count):
            await asyncio.sleep(0)
            with run(f"inner {number}") as inner:
                yield inner.id

    async def both() -> list[list[str]]:
        async def read(count: int) -> list[str]:
            return [each async for each in batches(count)]

        return list(await asyncio.gather(read(2), read(1)))

    ids = asyncio.run(both())
    found = {each.id: each for each in workspace.call("runs.list").items}
    outer = {each.params["count"]: each.id for each in found.values() if each.name == "batches"}
    assert [{found[each].parent_id for each in some} for some in ids] == [{outer["2"]}, {outer["1"]}]
    assert {each.state for each in found.values()} == {RunState.FINISHED}


def test_a_bare_decorator_takes_the_function_s_name(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_WORKSPACE", str(workspace.settings.folder))

    @run
    def fit(lr: float) -> float:
        return lr

    assert fit(0.5) == 0.5
    assert [(each.name, each.params) for each in workspace.call("runs.list").items] == [
        ("fit", {"lr": "0.5"})
    ]


# -- threads, processes --------------------------------------------------------------------------


def test_a_run_of_another_thread_names_its_parent(workspace: Workspace) -> None:
    with run("outer", experiment="delays", to=workspace) as outer:

        def work(number: int) -> None:
            with run(f"part {number}", parent=outer.id, to=workspace, tags={"part": number}) as part:
                part.log({"x": float(number)})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    children = workspace.call("runs.show", run_id=outer.id).children
    assert sorted(each.name for each in children) == ["part 0", "part 1", "part 2"]
    assert {each.experiment for each in children} == {"delays"}
    assert {each.tags["part"] for each in children} == {"0", "1", "2"}
    with pytest.raises(NotFound):
        run("orphan", parent="nobody", to=workspace).start()


FORKED = """
import multiprocessing, os, sys
import loopwright as lw
from loopwright.core.errors import LoopwrightError

def work(number):
    try:
        outer.log({f"of {number}": number})
        with lw.run(f"part {number}") as part:
            part.log({"x": number})
    except LoopwrightError as error:
        return type(error).__name__
    return "done"

with lw.run("outer", experiment="delays") as outer:
    outer.log({"before": 1})
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(*sorted(pool.map_async(work, range(2)).get(60)), flush=True)
    child = os.fork()
    if child == 0:
        outer.log({"child": 1}) if len(sys.argv) > 1 else None
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
    outer.log({"after": 1})
print(outer.id)
"""


@pytest.mark.slow
def test_a_forked_process_goes_on_over_a_server(workspace: Workspace, tmp_path: Path) -> None:
    with Server(build_app(workspace)) as server:
        found = program(FORKED, "log", folder=tmp_path, LOOPWRIGHT_URL=server.url)
    assert found[:-1] == ["done", "done"]
    view = workspace.call("runs.show", run_id=found[-1])
    assert view.run.state is RunState.FINISHED
    assert sorted(view.metrics) == ["after", "before", "child", "of 0", "of 1"]
    assert sorted((each.name, each.state.value) for each in view.children) == [
        ("part 0", "finished"),
        ("part 1", "finished"),
    ]


@pytest.mark.slow
def test_a_forked_process_is_told_that_a_workspace_is_not_its_own(tmp_path: Path) -> None:
    """SQLite's locks are a process's: what was opened before a fork must not be written after it."""
    found = program(FORKED, folder=tmp_path, LOOPWRIGHT_URL="")
    assert found[:-1] == ["Conflict", "Conflict"]
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        view = workspace.call("runs.show", run_id=found[-1])
    assert (view.run.state, sorted(view.metrics)) == (RunState.FINISHED, ["after", "before"])


def program(text: str, *arguments: str, folder: Path, **environment: str) -> list[str]:
    """The words a program prints that ends well."""
    script = folder / "program.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, *arguments],
        env={**os.environ, "LOOPWRIGHT_WORKSPACE": str(folder / ".loopwright"), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_server_that_went_is_waited_for_and_gets_every_point(tmp_path: Path) -> None:
    """The server is ended in the midst of a run, whose end waits until there is one again."""
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        first = Server(build_app(workspace), host="127.0.0.1", port=0)
        first.start()
        port = int(first.url.rpartition(":")[2])
        again: list[Server] = []

        def begin_again() -> None:
            again.append(Server(build_app(workspace), host="127.0.0.1", port=port))
            again[0].start()

        with Client(first.url) as client:
            with run("far", to=client) as tracked:
                tracked.log({"m": 0.0}, step=0)
                tracked.flush()
                first.stop()
                tracked.log({"m": 1.0}, step=1)
                with pytest.raises(Unavailable):
                    tracked.flush()
                later = threading.Timer(0.5, begin_again)
                later.start()
            later.join()
            found = kept(workspace, tracked)
            again[0].stop()
    assert (found[0].state, found[1]) == (RunState.FINISHED, {"m": 1.0})


# -- what is captured ----------------------------------------------------------------------------


def test_the_lock_names_what_importlib_finds() -> None:
    from importlib.metadata import distributions

    wanted = {f"{each.metadata['Name']}=={each.version}" for each in distributions()}
    assert set(environment_lock().splitlines()) == wanted
