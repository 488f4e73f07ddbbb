"""Tells listeners of committed events, in order, on a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from loopwright.core.nouns import Event

__all__ = ["CommitFeed", "Listener"]

log = logging.getLogger(__name__)

Listener = Callable[[tuple[Event, ...]], None]


class CommitFeed:
    """Listeners of one ledger. `offer` is called in the order of the commits and never waits."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Event, ...]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each commit that wrote events; gives what ends it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="ledger-feed", daemon=True)
                self._thread.start()

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not listener)

        return unsubscribe

    def offer(self, events: tuple[Event, ...]) -> None:
        """Queue the events of one commit."""
        if events and self._thread is not None:
            self._queue.put(events)

    def close(self) -> None:
        """Hand over what is queued and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            self._queue.put(())
            thread.join()

    def _loop(self) -> None:
        while events := self._queue.get():
            for listener in self._listeners:
                try:
                    listener(events)
                except Exception:  # last handler: what is committed stands, whatever a listener makes of it
                    log.exception("a listener of the ledger failed", extra={"first_seq": events[0].seq})
