"""What `settle` and `replaying` promise, and that a workspace is not made anew over what is left of one."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loopwright.core.errors import Conflict, Corrupt, Unavailable
from loopwright.engine.schedule import Schedule, put_schedule
from loopwright.serving.verbs import deploy
from loopwright.workspace import ReplayClock, Workspace, load_settings
from loopwright.workspace.settings import Settings
from tests.serving.real import serve
from tests.serving.worlds import ENDPOINT, config, row

DAILY = Schedule(name="tidy", operation="data.compact", every="1d")


def opened(folder: Path) -> Workspace:
    return Workspace.open(settings=settings_of(folder))


def settings_of(folder: Path) -> Settings:
    return load_settings({"workspace": str(folder)}, environment={}, folder=folder.parent)


@pytest.mark.parametrize("is_started", [False, True])
def test_route_changes_are_in_force_when_settle_returns(tmp_path: Path, is_started: bool) -> None:
    with opened(tmp_path / "w") as here, opened(tmp_path / "w") as elsewhere:
        serve(here.context())
        assert here.runtime.predict(ENDPOINT, [row()]).versions == [1]
        if is_started:
            here.runtime.start()
        for changer in (here, elsewhere):
            for version in (2, 1):
                deploy(changer.context(), ENDPOINT, config((version, 100.0)))
                here.settle()
                assert here.runtime.predict(ENDPOINT, [row()]).versions == [version]


def test_settling_in_several_threads_ends(tmp_path: Path) -> None:
    with opened(tmp_path / "w") as workspace:
        serve(workspace.context())
        workspace.start()
        threads = [threading.Thread(target=workspace.settle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in (2, 1, 2):
            deploy(workspace.context(), ENDPOINT, config((version, 100.0)))
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        workspace.settle()
        assert workspace.runtime.predict(ENDPOINT, [row()]).versions == [2]


def test_while_one_replays_others_read_and_do_not_work(tmp_path: Path) -> None:
    with opened(tmp_path / "w") as replayer, opened(tmp_path / "w") as other:
        with replayer.replaying():
            assert other.call("assets.list").items == ()
            with pytest.raises(Conflict, match="is in a replay"):
                other.start()
            with pytest.raises(Conflict, match="worked in by another"), other.replaying():
                pass
        other.start()
        with pytest.raises(Conflict, match="worked in by another"), replayer.replaying():
            pass


def test_a_replay_does_what_is_due_though_one_that_was_killed_still_has_the_lease(tmp_path: Path) -> None:
    clock = ReplayClock(datetime(2013, 7, 1, tzinfo=UTC))
    with opened(tmp_path / "w") as killed:
        killed.settle()  # leads from here on, and never says that it ended
        with (
            Workspace.open(settings=settings_of(tmp_path / "w"), clock=clock) as again,
            again.replaying(),
        ):
            ctx = again.context()
            ctx.write(lambda tx: put_schedule(ctx, tx, DAILY))
            for day in (2, 3):
                clock.advance(datetime(2013, 7, day, tzinfo=UTC))
                again.settle()
                jobs = again.call("jobs.list").items
                assert [job.operation for job in jobs] == ["data.compact"] * (day - 1)


@pytest.mark.parametrize("left", [b"", None, b"\0" * 4096])
def test_no_ledger_is_made_over_what_is_left_of_a_workspace(tmp_path: Path, left: bytes | None) -> None:
    folder = tmp_path / "w"
    with opened(folder) as workspace:
        workspace.ports.objects.put(b"content")
    ledger = folder / "ledger.db"
    ledger.unlink()
    if left is not None:
        ledger.write_bytes(left)
    with pytest.raises(Corrupt, match="objects are there"):
        opened(folder)
    (folder / "objects").rename(tmp_path / "objects")
    (folder / "journal.heads").write_bytes(b"a head")
    with pytest.raises(Corrupt, match=r"journal\.heads are there"):
        opened(folder)


def test_a_folder_that_was_only_begun_is_a_new_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    (folder / "objects" / "drafts").mkdir(parents=True)
    (folder / "ledger.db").write_bytes(b"")
    with opened(folder) as workspace:
        assert workspace.call("journal.verify").ok


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"")
    with pytest.raises(Unavailable, match="is a file"):
        opened(tmp_path / "w")
