"""Scratch folders: gone with the block, after a kill at the next start, and never another one's."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.core.errors import Unavailable
from loopwright.engine.scratch import scratch

HOLDER = """
import sys, time
from pathlib import Path
from loopwright.engine.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "rows").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    time.sleep(60)
"""


def fail_within(place: Path) -> None:
    with scratch(place) as folder:
        (folder / "below").mkdir()
        (folder / "below" / "rows").write_bytes(b"x")
        raise ZeroDivisionError


def test_it_goes_with_the_block_and_its_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_within(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_at_the_next_start_and_what_a_live_one_holds_stays(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").write_bytes(b"kept")
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        with scratch(tmp_path) as first, scratch(tmp_path) as second:
            assert (held / "rows").stat().st_size == 1000
            assert len({held, first, second}) == 3
            assert all(each.is_dir() for each in (held, first, second))
        holder.send_signal(signal.SIGKILL)
    assert held.is_dir()
    with scratch(tmp_path):
        assert not held.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_place_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere"), scratch(tmp_path / "nowhere"):
        pass


def test_a_link_of_that_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rows").write_bytes(b"kept")
    (tmp_path / ".loopwright-scratch-link").symlink_to(tmp_path / "other")
    with scratch(tmp_path):
        pass
    assert (tmp_path / "other" / "rows").read_bytes() == b"kept"
