"""A warm process that forks itself for each point: the child does one piece of work and is killed in it.

A child counts its steps: every call that makes something durable or takes something away (fsync, replace,
link, unlink, times), and every statement that changes a database, its commits among them. It kills itself
right before the step that was asked for, or is killed from outside after a while.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Ended", "Killer", "killer", "main"]

_CALLS = ("fsync", "replace", "rename", "link", "unlink", "remove", "utime", "fchmod", "mkdir")
_NEVER = 1 << 62
_PATIENCE_S = 60.0
_ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How a child ended."""

    status: int
    """0: it came to its end; -9: it was killed; another: it failed"""
    steps: int
    """how many steps it had taken"""
    took_s: float
    """since the work began"""


class _Steps:
    """The steps of a child, in memory that its parent sees after its death too."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 16)  # how many, and when the work began
        self._stop = _NEVER
        self.is_counting = False

    @property
    def taken(self) -> int:
        return int.from_bytes(self._shared[:8], "little")

    @property
    def begun_ns(self) -> int:
        """When the work itself began, 0 before."""
        return int.from_bytes(self._shared[8:], "little")

    def begin(self, stop: int) -> None:
        self._stop, self.is_counting = stop, True
        self._shared[8:] = time.monotonic_ns().to_bytes(8, "little")

    def take(self) -> None:
        if not self.is_counting:
            return
        if self.taken >= self._stop:
            os.kill(os.getpid(), signal.SIGKILL)
        self._shared[:8] = (self.taken + 1).to_bytes(8, "little")


def _watched(call: Callable[..., Any], steps: _Steps) -> Callable[..., Any]:
    def watched(*args: Any, **more: Any) -> Any:
        steps.take()
        return call(*args, **more)

    return watched


def _watch(steps: _Steps) -> None:
    """Count from now on, in this process, which is a child of its own."""
    for name in _CALLS:
        setattr(os, name, _watched(getattr(os, name), steps))
    connect = sqlite3.connect

    def told(statement: str) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "--")):
            steps.take()

    def watched(*args: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **more)
        connection.set_trace_callback(told)
        return connection

    for module in (sqlite3, sqlite3.dbapi2):
        setattr(module, "connect", watched)  # noqa: B010 - mypy knows no such assignment


def _child(work: str, folder: str, stop: int, steps: _Steps) -> None:
    """Do a piece of work, `module:name`: a function of a folder that yields where the counting begins."""
    _watch(steps)
    module, _, name = work.partition(":")
    doing = getattr(import_module(module), name)(Path(folder))
    next(doing)
    steps.begin(stop)
    next(doing, None)
    steps.is_counting = False


def _forked(work: str, folder: str, stop: int, steps: _Steps) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _child(work, folder, stop, steps)
        status = 0
    except BaseException:  # noqa: BLE001 - the child's last handler, which tells it
        traceback.print_exc()
    finally:
        os._exit(status)


def _ended(pid: int, steps: _Steps, after_s: float | None) -> Ended:
    if after_s is not None:
        while not steps.begun_ns and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.0002)
        time.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(status, steps.taken, (time.monotonic_ns() - steps.begun_ns) / 1e9)


def main() -> None:
    """Carry out requests from standard input, a line each, until it ends."""
    for module in sys.argv[1:]:
        import_module(module)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        children = []
        for each in asked["children"]:
            steps = _Steps()
            stop = _NEVER if each["stop"] is None else each["stop"]
            children.append((_forked(each["work"], asked["folder"], stop, steps), steps, each["after_s"]))
        told = [_ended(*child) for child in children]
        replies.write(json.dumps(told) + "\n")
        replies.flush()


class Killer:
    """Asks the warm process for children that are killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        folder: Path,
        *works: str,
        stops: Sequence[int | None] = (),
        after_s: Sequence[float | None] = (),
    ) -> list[Ended]:
        """Do pieces of work at once, each in a child; `stops` are the steps before which they die."""
        count = len(works)
        children = [
            {"work": work, "stop": stop, "after_s": late}
            for work, stop, late in zip(
                works, stops or [None] * count, after_s or [None] * count, strict=True
            )
        ]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "children": children}) + "\n")
        self._process.stdin.flush()
        return [Ended(*each) for each in json.loads(self._process.stdout.readline())]


@contextmanager
def killer(*modules: str) -> Iterator[Killer]:
    """The warm process, with these modules loaded and nothing of them used yet."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.faults.killing import main; main()", *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    try:
        yield Killer(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(_PATIENCE_S)
        process.stdout.close()
