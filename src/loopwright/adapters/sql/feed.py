"""Tells listeners of committed events, in order, on a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from itertools import chain

from loopwright.core.nouns import Event

__all__ = ["CommitFeed", "Listener"]

log = logging.getLogger(__name__)

Listener = Callable[[tuple[Event, ...]], None]

_GATHER_S = 0.02
"""how long events wait for further ones when all listeners are patient with them: a thread that wakes at
each commit meets the two that commit and reply in the interpreter, which costs more than the telling"""


class CommitFeed:
    """Listeners of one ledger. `offer` is called in the order of the commits and never waits."""

    def __init__(self) -> None:
        self._listeners: tuple[tuple[Listener, tuple[str, ...]], ...] = ()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Event, ...]] = queue.SimpleQueue()
        self._hurried = threading.Event()
        self._thread: threading.Thread | None = None

    def subscribe(self, listener: Listener, *, patient: tuple[str, ...] = ()) -> Callable[[], None]:
        """Call `listener` with what commits wrote, see `ports.ledger.Ledger`; gives what ends it."""
        mine = (listener, patient)
        with self._lock:
            self._listeners = (*self._listeners, mine)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="ledger-feed", daemon=True)
                self._thread.start()

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not mine)

        return unsubscribe

    def offer(self, events: tuple[Event, ...]) -> None:
        """Queue the events of one commit."""
        if events and self._thread is not None:
            self._queue.put(events)
            if not all(self._can_wait(event) for event in events):
                self._hurried.set()

    def close(self) -> None:
        """Hand over what is queued and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            self._queue.put(())
            self._hurried.set()
            thread.join()

    def _can_wait(self, event: Event) -> bool:
        return all(event.kind.startswith(patient) for _, patient in self._listeners)

    def _loop(self) -> None:
        goes_on = True
        while goes_on:
            self._hurried.clear()
            commits = [self._queue.get()]
            commits += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            goes_on = () not in commits
            self._tell(tuple(chain.from_iterable(commits)))
            self._hurried.wait(_GATHER_S)

    def _tell(self, events: tuple[Event, ...]) -> None:
        for listener, _ in self._listeners if events else ():
            try:
                listener(events)
            except Exception:  # last handler: what is committed stands, whatever a listener makes of it
                log.exception("a listener of the ledger failed", extra={"first_seq": events[0].seq})
