"""What SIGTERM does to a program while it records runs: they end as killed, then it ends as ever.

Python's own answer to the signal is an end without `finally` and `atexit`, after which a run would be
running for ever. A handler stands only while runs are going that the main thread began, and only where there
was none. As with Ctrl-C, a call into native code is waited for.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from queue import SimpleQueue
from types import FrameType
from typing import Protocol

from loopwright.core.errors import LoopwrightError

__all__ = ["Terminable", "Terminations"]

log = logging.getLogger(__name__)

_GRACE_S = 8.0
"""how long runs may take to end: what stops containers kills after ten seconds"""


class Terminable(Protocol):
    """Something that is going and can be ended from any thread."""

    def terminated(self) -> None:
        """End because the program is told to; a second time nothing happens."""


class Terminations:
    """What is going in this process, with the handler that ends it; one for a process, as its signals are.

    The handler itself only passes word to a thread that waits for it: the main thread may have been stopped
    while it held a lock that the ending needs, so it goes on meanwhile.
    """

    def __init__(self) -> None:
        self._going: list[Terminable] = []
        self._words: SimpleQueue[None] | None = None
        self._is_told = False
        if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
            os.register_at_fork(after_in_child=self._forget)

    @property
    def is_told(self) -> bool:
        """Whether the program is ending by the signal."""
        return self._is_told

    def add(self, recorder: Terminable) -> None:
        """From now on the signal ends this too."""
        self._going.append(recorder)
        if not _is_main() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        if self._words is None:
            self._words = SimpleQueue()
            threading.Thread(
                target=self._wait, args=(self._words,), name="loopwright-terminations", daemon=True
            ).start()
        signal.signal(signal.SIGTERM, self._handle)

    def remove(self, recorder: Terminable) -> None:
        """It has ended; with the last one the handler goes, where it is still ours."""
        if recorder in self._going:
            self._going.remove(recorder)
        if not self._going and _is_main() and not self._is_told:
            self._restore()

    def _restore(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _forget(self) -> None:
        """A forked process began none of the runs and cannot end them: the signal ends it at once."""
        self._going, self._words, self._is_told = [], None, False
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_told or not self._going or self._words is None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._is_told = True
        self._words.put(None)

    def _wait(self, words: SimpleQueue[None]) -> None:
        """Until word comes: end what is going, the newest first, for a while; then the signal once more."""
        words.get()
        ending = threading.Thread(target=self._end, name="loopwright-ending", daemon=False)
        ending.start()  # a program that comes to its end by itself meanwhile waits for it
        ending.join(_GRACE_S)
        os.kill(os.getpid(), signal.SIGTERM)

    def _end(self) -> None:
        for recorder in self._going[::-1]:
            try:
                recorder.terminated()
            except LoopwrightError as error:  # the others have to end all the same
                log.warning("a run could not be ended: %s", error)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
