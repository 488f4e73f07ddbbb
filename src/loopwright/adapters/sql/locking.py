"""A lock between processes that write one SQLite file, held until a commit and its checkpoint are done.

SQLite before 3.51.3 may lose pages when one process folds the write-ahead log into the file at the very
instant in which another one writes. Whoever holds this lock does both alone, on every release of SQLite,
and is waited for with shorter pauses than SQLite's own.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from functools import partial
from pathlib import Path

from loopwright.core.errors import Unavailable

__all__ = ["FileLock"]

_LONGEST_PAUSE_S = 0.001
_HELD = "another process holds the ledger"


class FileLock:
    """An exclusive lock on a file of its own, for one thread at a time; a killed process lets go of it."""

    def __init__(self, path: Path, *, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._file: int | None = None
        self._is_held = False
        # A forked child shares the lock until it closes its copy of the file.
        os.register_at_fork(after_in_child=partial(_close_in_child, weakref.ref(self)))

    def acquire(self) -> None:
        """Wait for the lock; `Unavailable` when another process holds it for too long."""
        if self._is_held:
            return
        ends, pause = time.monotonic() + self._wait_s, 0.0001
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            while not _is_taken(self._file):
                if time.monotonic() >= ends:
                    raise self._unavailable(
                        "another process holds the ledger", "try again, or end that process"
                    )
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        except OSError as error:
            raise self._unavailable(
                f"the ledger cannot be written: {error.strerror}", "make file and folder writable"
            ) from error
        self._is_held = True

    def release(self) -> None:
        """Let go of it; nothing happens when it is not held."""
        if self._is_held and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._is_held = False

    def close(self) -> None:
        """Let go of the lock and its file."""
        file, self._file = self._file, None
        self._is_held = False
        if file is not None:
            os.close(file)

    def _unavailable(self, message: str, hint: str) -> Unavailable:
        return Unavailable(message, where=str(self._path), hint=hint)


def _is_taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _close_in_child(lock: weakref.ref[FileLock]) -> None:
    found = lock()
    if found is not None:
        found.close()
