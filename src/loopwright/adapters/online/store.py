"""The online store on one machine: answers from memory, kept in a SQLite file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from loopwright.adapters.online.database import Batch, Database, Overtaken, Stored
from loopwright.adapters.online.views import LiveView, pack_key
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.expressions import Scalar
from loopwright.ports.online import OnlineRow, OnlineView

__all__ = ["SqliteOnline"]

_LOOK_S = 0.2


class SqliteOnline:
    """Online features in memory, durable at `flush`. Thread safe.

    Reading takes no lock of the file and never waits for the disk, so it may be done on an event loop
    (5 microseconds a view and key). Several processes may share the file: each sees what another
    flushed within a fifth of a second, and rows that two of them pushed are put together.
    """

    at_hand = True

    def __init__(self, path: Path, *, mark: Callable[[bytes], str] = digest_bytes) -> None:
        """`mark` is a keyed digest, the same in all processes: a plain one could be found out by trying."""
        self._database = Database(path)
        self._mark = mark
        self._lock = threading.RLock()
        self._flushing = threading.Lock()
        self._views: dict[str, LiveView] = {}
        self._generation = -1
        self._data_version = 0
        self._look_at = 0.0
        self._catch_up()

    def _catch_up(self) -> None:
        """Take in what is in the file and was not when we last looked. Never while a flush is under way."""
        self._data_version = self._database.data_version()
        news = self._database.news(self._generation)
        with self._lock:
            for name, definition in news.definitions:
                if name not in self._views:
                    self._views[name] = LiveView(msgspec.msgpack.decode(definition, type=OnlineView))
            for view, digest in news.forgotten:
                self._views[view].forget_marked(digest, self._mark)
            for view, key, content in news.entities:
                self._views[view].absorb(key, content)
            for view, watermark in news.watermarks.items():
                self._views[view].advance(watermark)
            self._generation = news.generation

    def _look(self) -> None:
        """Catch up when another process wrote, at most five times a second."""
        now = time.monotonic()
        if now < self._look_at or not self._flushing.acquire(blocking=False):
            return
        try:
            self._look_at = now + _LOOK_S
            if self._database.data_version() != self._data_version:
                self._catch_up()
        finally:
            self._flushing.release()

    def _view(self, name: str) -> LiveView:
        found = self._views.get(name)
        if found is None:
            raise NotFound(
                f"there is no online view {name!r}", hint="define the feature view, then materialize it"
            )
        return found

    def define(self, view: OnlineView) -> None:
        """Make a view known; the same definition again is a no-op, another one of its name a `Conflict`."""
        definition = msgspec.msgpack.encode(view, order="deterministic")
        with self._flushing:
            known = self._views.get(view.name)
            if known is None:
                kept, generation = self._database.add_view(view.name, definition)
                self._adopt(generation)
            else:
                kept = msgspec.msgpack.encode(known.compiled.view, order="deterministic")
            if kept != definition:
                raise Conflict(
                    f"the online view {view.name!r} is defined otherwise already",
                    hint="publish the definition as a new version",
                )
            with self._lock:
                self._views.setdefault(view.name, LiveView(view))

    def _adopt(self, generation: int) -> None:
        """Count a write of our own as seen, unless another process wrote before it."""
        if generation == self._generation + 1:
            self._generation = generation

    def push(self, view: str, rows: Sequence[OnlineRow]) -> int:
        """Take rows in; how many were new."""
        with self._lock:
            return self._view(view).push(rows)

    def read(
        self, view: str, keys: Sequence[tuple[Scalar, ...]], at_us: int
    ) -> Sequence[Mapping[str, Scalar]]:
        """For each key the value of every feature of the view, as known at the instant."""
        self._look()
        with self._lock:
            return self._view(view).read(keys, at_us)

    def read_many(
        self, asked: Sequence[tuple[str, Sequence[tuple[Scalar, ...]]]], at_us: int
    ) -> Sequence[Sequence[Mapping[str, Scalar]]]:
        """The same for several views, as they are at one moment."""
        self._look()
        with self._lock:
            return [self._view(view).read(keys, at_us) for view, keys in asked]

    def watermark(self, view: str) -> int | None:
        """The greatest known-at (microseconds) that is durably taken in, or None."""
        self._look()
        with self._lock:
            return self._view(view).watermark

    def flush(self, watermark_us: int, views: Sequence[str] | None = None) -> None:
        """Make everything pushed durable and raise the watermark of these views (None: of every view)."""
        with self._flushing:
            with self._lock:
                names = list(self._views) if views is None else list(views)
                raised = [(self._view(name), name) for name in names]
            self._save({name: watermark_us for _, name in raised})
            with self._lock:
                for view, _ in raised:
                    view.advance(watermark_us)

    def _save(self, watermarks: Mapping[str, int]) -> None:
        """Write what changed; when another process wrote meanwhile, its rows are taken in first."""
        while not self._is_saved(watermarks):
            self._catch_up()

    def _is_saved(self, watermarks: Mapping[str, int]) -> bool:
        with self._lock:
            taken = {name: view.changed for name, view in self._views.items()}
            batch = self._batch(watermarks)
        saved = False
        try:
            self._generation = self._database.save(batch, expect=self._generation)
            saved = True
        except Overtaken:
            pass
        finally:
            if not saved:
                self._put_back(taken)
        return saved

    def _put_back(self, taken: Mapping[str, set[tuple[Scalar, ...]]]) -> None:
        with self._lock:
            for name, keys in taken.items():
                self._views[name].changed |= keys

    def _batch(self, watermarks: Mapping[str, int]) -> Batch:
        full: list[Stored] = []
        empty: list[tuple[str, bytes]] = []
        for view in self._views.values():
            stored, emptied = view.take_changed()
            full += stored
            empty += emptied
        return Batch(full, empty, watermarks)

    def keys(self, view: str) -> Sequence[tuple[Scalar, ...]]:
        """The entities in memory, which are those in the file and those that wait to be flushed."""
        self._look()
        with self._lock:
            return self._view(view).keys()

    def forget(self, view: str, key: tuple[Scalar, ...]) -> int:
        """Erase an entity; how many rows went. Its bytes are overwritten in the file.

        What stays of its key is the mark by which other processes know what to forget.
        """
        with self._flushing:
            packed = pack_key(key)
            with self._lock:
                gone = self._view(view).forget(key)
            self._adopt(self._database.forget(view, packed, self._mark(packed)))
            return gone

    def close(self) -> None:
        """Make durable what was pushed, and let go of the file."""
        with self._flushing:
            self._save({})
            self._database.close()
