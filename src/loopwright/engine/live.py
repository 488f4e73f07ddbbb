"""The live feed: committed events (and light progress notes) for whoever listens right now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from loopwright.core.nouns import Event, Json

__all__ = ["LiveFeed", "Note", "Subscription"]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth showing that is not journaled: a rate, a progress. `topic` says what about."""

    topic: str
    body: Json


class Subscription:
    """One listener's bounded queue; `missed` says that it was too slow and must read the journal again."""

    def __init__(self, limit: int, wake: Callable[[], None] | None) -> None:
        self._items: deque[Event | Note] = deque()
        self._limit = limit
        self._wake = wake
        self._ready = threading.Condition()
        self.missed = False

    def offer(self, items: Iterable[Event | Note]) -> None:
        """Take items in; what is over the limit is dropped and `missed` is set."""
        with self._ready:
            for item in items:
                if len(self._items) >= self._limit:
                    self.missed = True
                    break
                self._items.append(item)
            self._ready.notify()
        if self._wake is not None:
            self._wake()

    def drain(self, timeout_s: float = 0.0) -> list[Event | Note]:
        """All items there are, waiting at most `timeout_s` for a first one."""
        with self._ready:
            if not self._items and timeout_s > 0:
                self._ready.wait(timeout_s)
            found = list(self._items)
            self._items.clear()
            return found


class LiveFeed:
    """Hands committed events to all subscribers; never waits for one of them. Thread safe."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._notes: dict[str, Note] = {}
        self._lock = threading.Lock()

    def subscribe(self, *, limit: int = 1000, wake: Callable[[], None] | None = None) -> Subscription:
        """A new listener; `wake` is called (from any thread) when something arrived."""
        subscription = Subscription(limit, wake)
        with self._lock:
            self._subscriptions.add(subscription)
            subscription.offer(self._notes.values())
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """The listener has gone."""
        with self._lock:
            self._subscriptions.discard(subscription)

    def publish(self, items: Iterable[Event | Note]) -> None:
        """Hand items to everybody; the newest note of each topic is kept for those who come later."""
        batch = list(items)
        with self._lock:
            for item in batch:
                if isinstance(item, Note):
                    self._notes[item.topic] = item
            listeners = list(self._subscriptions)
        for listener in listeners:
            listener.offer(batch)
