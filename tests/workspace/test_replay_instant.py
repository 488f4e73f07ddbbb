"""A workspace lives at the instant of its replay: for every process, and after it was cut off too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.adapters.world import FollowingClock, KeptInstant, ReplayClock
from loopwright.app.main import command_tree
from loopwright.core.errors import Invalid
from loopwright.core.nouns import JobState
from loopwright.surfaces.cli import carry_out
from loopwright.workspace import Workspace, load_settings

START = datetime(2013, 7, 1, 5, tzinfo=UTC)
REPLAYER = """
import sys, time
from datetime import datetime, UTC
from loopwright.workspace import ReplayClock, Workspace

clock = ReplayClock(datetime(2013, 7, 1, 5, tzinfo=UTC))
with Workspace.open(sys.argv[1], clock=clock) as workspace, workspace.replaying():
    clock.advance(datetime(2013, 8, 9, 10, 11, tzinfo=UTC))
    print("there", flush=True)
    time.sleep(60)
"""


def opened(folder: Path, clock: ReplayClock | None = None) -> Workspace:
    settings = load_settings({"workspace": str(folder)}, environment={}, folder=folder.parent)
    return Workspace.open(settings=settings, clock=clock)


def is_wall(at: datetime) -> bool:
    return abs(at - datetime.now(UTC)) < timedelta(minutes=1)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis takes naive ends
def test_an_instant_is_read_as_it_was_kept(tmp_path_factory: pytest.TempPathFactory, at: datetime) -> None:
    path = tmp_path_factory.mktemp("kept") / "instant"
    kept, elsewhere = KeptInstant(path), KeptInstant(path)
    assert elsewhere.read() is None
    kept.keep(at)
    assert elsewhere.read() == FollowingClock(elsewhere).now() == at
    kept.close()
    assert elsewhere.read() == at
    kept.forget()
    assert elsewhere.read() is None
    assert is_wall(FollowingClock(elsewhere).now())


def test_others_follow_keep_the_instant_of_a_replay_that_was_left_off_and_let_go_at_its_end(
    tmp_path: Path,
) -> None:
    folder, clock = tmp_path / "w", ReplayClock(START)
    with opened(folder, clock) as replayer:
        with replayer.replaying():
            clock.advance(START)
            with opened(folder) as other:
                assert other.context().now() == START
                clock.advance(START + timedelta(days=3))
                assert other.context().now() == START + timedelta(days=3)
                assert is_wall(other.context().ports.clock.wall())
                with pytest.raises(Invalid):
                    clock.advance(START)
        clock.advance(START + timedelta(days=9))  # after the block nobody is told
        with opened(folder) as later:
            assert later.context().now() == START + timedelta(days=3)
        replayer.end_replay()
        with opened(folder) as later:
            assert is_wall(later.context().now())


def test_a_killed_replay_leaves_its_instant(tmp_path: Path) -> None:
    replay = subprocess.Popen(
        [sys.executable, "-c", REPLAYER, str(tmp_path / "w")], stdout=subprocess.PIPE, text=True
    )
    assert replay.stdout is not None
    assert replay.stdout.readline() == "there\n"
    os.kill(replay.pid, signal.SIGKILL)
    replay.wait()
    replay.stdout.close()
    with opened(tmp_path / "w") as later:
        assert later.context().now() == datetime(2013, 8, 9, 10, 11, tzinfo=UTC)


def test_a_job_is_left_to_the_replay_and_done_by_its_clock(tmp_path: Path) -> None:
    folder, clock = tmp_path / "w", ReplayClock(START)
    with opened(folder, clock) as replayer, opened(folder) as before:
        asked = before.call("trash.empty", dry_run=True)
        assert before.settle_beside()
        assert before.call("jobs.show", job_id=asked.id).state is JobState.DONE
        with replayer.replaying():
            clock.advance(START)
            with opened(folder) as other:
                asked = other.call("trash.empty", dry_run=True)
                assert asked.created_at == START
                assert not other.settle_beside()
                assert other.call("jobs.show", job_id=asked.id).state is JobState.QUEUED
                replayer.settle()
                assert other.call("jobs.show", job_id=asked.id).state is JobState.DONE


def test_the_command_line_waits_for_the_replay_to_do_its_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, clock, done = tmp_path / "w", ReplayClock(START), threading.Event()

    def replay(workspace: Workspace) -> None:
        while not done.wait(0.05):
            clock.advance(clock.now() + timedelta(minutes=1))
            workspace.settle()

    with opened(folder, clock) as replayer, replayer.replaying():
        clock.advance(START)
        thread = threading.Thread(target=replay, args=(replayer,))
        thread.start()
        try:
            command = ["trash", "empty", "--dry-run", "--workspace", str(folder), "--json"]
            code = carry_out(command_tree(), command)
        finally:
            done.set()
            thread.join()
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert told["state"] == "done"
    assert told["created_at"].startswith("2013-07-01T")
