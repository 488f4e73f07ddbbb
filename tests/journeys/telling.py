"""Tells a shortened story in a process of its own, as somebody at a terminal would."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

__all__ = ["DAYS", "Told", "command", "copied", "finished", "line", "run"]

DAYS = 3
_PATIENCE_S = 570.0


class Told:
    """A story that has ended: its folder, what it wrote, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary: dict[str, Any] = json.loads((folder / "told.json").read_text())
        self.code = int((folder / "code").read_text())
        self.said = (folder / "said.txt").read_text()

    @property
    def workspace(self) -> Path:
        """The workspace's folder, where commands look for it from `folder`."""
        return self.folder / ".loopwright"


def command(days: int) -> list[str]:
    """The arguments that tell a story of so many days in the folder one stands in."""
    place = ["--workspace", ".loopwright", "--json", "told.json"]
    return ["demo", "--days", str(days), "--once", "--port", "0", *place]


def line(*args: str) -> list[str]:
    """The command line of a process."""
    return [sys.executable, "-m", "loopwright", *args]


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a folder, with no setting from outside."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
    return subprocess.run(
        line(*args), cwd=folder, env=kept, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )


def finished(factory: pytest.TempPathFactory) -> Told:
    """The story of three days, told once in a test run, however many files and workers ask for it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "story"
    with (base / "story.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            done = run(folder, *command(DAYS))
            (folder / "said.txt").write_text(done.stdout + done.stderr)
            (folder / "code").write_text(str(done.returncode))
    if not (folder / "told.json").exists():
        pytest.fail(f"the story wrote nothing:\n{(folder / 'said.txt').read_text()}")
    return Told(folder)


def copied(told: Told, folder: Path) -> Path:
    """A copy of the workspace to do something to; the folder commands are run in."""
    shutil.copytree(told.workspace, folder / ".loopwright")
    return folder
