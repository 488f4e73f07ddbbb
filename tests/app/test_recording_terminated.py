"""SIGTERM, as schedulers and containers send it, ends the runs of a program and then the program as ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.app.recording import run
from loopwright.core.nouns import RunState
from loopwright.workspace import Workspace

SOURCES = Path(__file__).parents[2] / "src"
PATIENCE_S = 60


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "here" / ".loopwright") as opened:
        yield opened


def program(folder: Path, lines: str) -> subprocess.Popen[str]:
    """A training script that says `ready` when it may be stopped."""
    (folder / "train.py").write_text(f"import os, signal, sys, time\nimport loopwright as lw\n{lines}")
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    begun = subprocess.Popen(
        [sys.executable, "train.py"],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert begun.stdout is not None
    assert begun.stdout.readline() == "ready\n", begun.communicate()[1]
    return begun


def stopped(begun: subprocess.Popen[str]) -> tuple[int, str]:
    begun.send_signal(signal.SIGTERM)
    told, errors = begun.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in errors, errors
    return begun.returncode, told


def test_a_terminated_program_ends_its_runs_as_killed_with_every_point(tmp_path: Path) -> None:
    lines = """
with lw.run("outer"):
    with lw.run("inner", system_metrics=True) as run:
        for step in range(5_000):
            run.log({"loss": 1.0}, step=step)
        print("ready", flush=True)
        while True:
            run.log({"waited": 1.0})
            time.sleep(0.001)
"""
    code, _ = stopped(program(tmp_path, lines))
    assert code == -signal.SIGTERM
    with Workspace.open(tmp_path / ".loopwright") as opened:
        found = {each.name: each for each in opened.call("runs.list").items}
        assert {name: each.state for name, each in found.items()} == {
            "outer": RunState.KILLED,
            "inner": RunState.KILLED,
        }
        assert "SIGTERM" in found["inner"].facts["error"]
        assert opened.call("runs.show", run_id=found["inner"].id).metrics["loss"].step == 4_999


def test_the_handler_of_a_program_is_its_own(tmp_path: Path) -> None:
    lines = """
def mine(number, frame):
    print("mine", flush=True)
    sys.exit(3)

signal.signal(signal.SIGTERM, mine)
with lw.run("train"):
    print("ready", flush=True)
    time.sleep(60)
"""
    assert stopped(program(tmp_path, lines)) == (3, "mine\n")
    with Workspace.open(tmp_path / ".loopwright") as opened:
        assert [each.state for each in opened.call("runs.list").items] == [RunState.FAILED]


def test_a_handler_that_is_set_within_the_run_may_hand_on_to_ours(tmp_path: Path) -> None:
    lines = """
with lw.run("train"):
    before = signal.getsignal(signal.SIGTERM)
    def mine(number, frame):
        print("mine", flush=True)
        before(number, frame)
    signal.signal(signal.SIGTERM, mine)
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""
    begun = program(tmp_path, lines)
    code, told = stopped(begun)
    assert (code, told.splitlines()[0]) == (-signal.SIGTERM, "mine")
    with Workspace.open(tmp_path / ".loopwright") as opened:
        assert [each.state for each in opened.call("runs.list").items] == [RunState.KILLED]


def test_a_run_that_cannot_be_ended_does_not_keep_the_program(tmp_path: Path) -> None:
    lines = """
import threading
from loopwright.app import recording, terminating
terminating._GRACE_S = 0.2
recording.Recorder.terminated = lambda self: threading.Event().wait()
with lw.run("train"):
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""
    code, _ = stopped(program(tmp_path, lines))
    assert code == -signal.SIGTERM


def test_nothing_is_left_behind_and_a_forked_process_ends_at_once(workspace: Workspace) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL, "these tests run in a main thread without a handler"
    with run("train", to=workspace):
        assert signal.getsignal(signal.SIGTERM) is not before
        with run("within", to=workspace):
            pass
        assert signal.getsignal(signal.SIGTERM) is not before
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_thread_sets_no_handler(workspace: Workspace) -> None:
    seen: list[object] = []

    def work() -> None:
        with run("train", to=workspace):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
