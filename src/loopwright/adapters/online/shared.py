"""The online store on a server that several machines share: one packed value a view and key."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from loopwright.adapters.online.compiled import CompiledView
from loopwright.adapters.online.entities import Entity, peeker
from loopwright.adapters.online.views import GRACE_US, key_of, pack_key, refuse_before
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.expressions import Scalar
from loopwright.ports.online import OnlineRow, OnlineView

__all__ = ["Change", "Held", "SharedOnline", "Values"]

_AT_ONCE = 2000
_TAG_BYTES = 8
_LONG_AGO = -(1 << 62)

Key = tuple[Scalar, ...]


class Held(NamedTuple):
    """What a server has of a view: its watermark, and the value of each key that was asked for."""

    watermark: int | None
    values: Sequence[bytes | None]


class Change(NamedTuple):
    """A value to write where the one of this tag (None: no value at all) still stands."""

    key: bytes
    tag: bytes | None
    value: bytes


class Values(Protocol):
    """Bytes by view and key on a server; thread safe. A value begins with a tag of eight bytes."""

    def definitions(self) -> Mapping[str, bytes]:
        """The definitions of all views, by name."""

    def define(self, name: str, definition: bytes) -> bytes:
        """Keep a definition unless the name has one; the one that is kept."""

    def fetch(self, asked: Sequence[tuple[str, Sequence[bytes]]]) -> Sequence[Held]:
        """Values of keys of several views, in one round trip."""

    def swap(self, view: str, changes: Sequence[Change]) -> Sequence[bytes]:
        """Write each change whose tag still stands; the keys of those that were overtaken."""

    def raise_watermark(self, views: Sequence[str], watermark_us: int) -> None:
        """Raise the watermark of views that have a lower one or none."""

    def keys(self, view: str) -> Iterable[bytes]:
        """The keys of a view that have a value, in no order."""

    def remove(self, view: str, key: bytes) -> None:
        """Take a value away."""

    def close(self) -> None:
        """Let go of connections."""


class SharedOnline:
    """Online features on a server. Thread safe; every machine sees a push when it returned.

    What the port says of crashes holds for this process; what survives one of the server is the
    server's own matter. A push of a key that another process writes too is done again upon theirs.
    """

    at_hand = False

    def __init__(self, values: Values) -> None:
        self._values = values
        self._lock = threading.Lock()
        self._views: dict[str, CompiledView] = {}

    def _view(self, name: str) -> CompiledView:
        found = self._views.get(name)
        if found is None:
            self._load()
            found = self._views.get(name)
        if found is None:
            raise NotFound(
                f"there is no online view {name!r}", hint="define the feature view, then materialize it"
            )
        return found

    def _load(self) -> None:
        kept = self._values.definitions()
        with self._lock:
            for name, definition in kept.items():
                if name not in self._views:
                    self._views[name] = CompiledView(msgspec.msgpack.decode(definition, type=OnlineView))

    def define(self, view: OnlineView) -> None:
        """Make a view known; the same definition again is a no-op, another one of its name a `Conflict`."""
        known = self._views.get(view.name)
        definition = msgspec.msgpack.encode(view, order="deterministic")
        if known is None:
            compiled = CompiledView(view)
            kept = self._values.define(view.name, definition)
        else:
            compiled, kept = known, msgspec.msgpack.encode(known.view, order="deterministic")
        if kept != definition:
            raise Conflict(
                f"the online view {view.name!r} is defined otherwise already",
                hint="publish the definition as a new version",
            )
        with self._lock:
            self._views.setdefault(view.name, compiled)

    def push(self, view: str, rows: Sequence[OnlineRow]) -> int:
        """Take rows in; how many were new."""
        compiled = self._view(view)
        by_key: dict[bytes, list[OnlineRow]] = {}
        for row in rows:
            if None not in row.key:
                by_key.setdefault(pack_key(row.key), []).append(row)
        keys = list(by_key)
        taken = 0
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            while part:
                new, part = self._pushed(compiled, {key: by_key[key] for key in part})
                taken += new
        return taken

    def _pushed(self, view: CompiledView, rows: Mapping[bytes, list[OnlineRow]]) -> tuple[int, list[bytes]]:
        """How many rows were taken in for good, and the keys that another process was quicker with."""
        held = self._values.fetch([(view.view.name, list(rows))])[0]
        horizon = _LONG_AGO if held.watermark is None else held.watermark - GRACE_US
        changes: list[Change] = []
        taken: dict[bytes, int] = {}
        for (key, pushed), value in zip(rows.items(), held.values, strict=True):
            entity = _entity(view, value, horizon)
            count = sum(entity.push(row, horizon) for row in pushed)
            if count:
                entity.trim(horizon)
                taken[key] = count
                tag = None if value is None else value[:_TAG_BYTES]
                changes.append(Change(key, tag, os.urandom(_TAG_BYTES) + entity.pack()))
        overtaken = list(self._values.swap(view.view.name, changes)) if changes else []
        return sum(taken.values()) - sum(taken[key] for key in overtaken), overtaken

    def read(self, view: str, keys: Sequence[Key], at_us: int) -> Sequence[Mapping[str, Scalar]]:
        """For each key the value of every feature of the view, as known at the instant."""
        return self.read_many([(view, keys)], at_us)[0]

    def read_many(
        self, asked: Sequence[tuple[str, Sequence[Key]]], at_us: int
    ) -> Sequence[Sequence[Mapping[str, Scalar]]]:
        """The same for several views, in one round trip."""
        views = [self._view(name) for name, _ in asked]
        held = self._values.fetch([(name, [pack_key(key) for key in keys]) for name, keys in asked])
        found = []
        for view, each in zip(views, held, strict=True):
            horizon = _LONG_AGO if each.watermark is None else each.watermark - GRACE_US
            refuse_before(view, horizon, at_us)
            found.append(list(_answers(view, each.values, horizon, at_us)))
        return found

    def watermark(self, view: str) -> int | None:
        """Until when (microseconds) all that was known is in, or None."""
        self._view(view)
        return self._values.fetch([(view, ())])[0].watermark

    def flush(self, watermark_us: int, views: Sequence[str] | None = None) -> None:
        """Remember that all known until then is in; what was pushed is on the server already."""
        if views is None:
            self._load()
        names = list(self._views) if views is None else list(views)
        for name in names:
            self._view(name)
        self._values.raise_watermark(names, watermark_us)

    def keys(self, view: str) -> Iterable[Key]:
        """The entities of the values on the server."""
        self._view(view)
        return [key_of(packed) for packed in self._values.keys(view)]

    def forget(self, view: str, key: Key) -> int:
        """Erase an entity; how many rows went."""
        compiled, packed = self._view(view), pack_key(key)
        value = self._values.fetch([(view, [packed])])[0].values[0]
        self._values.remove(view, packed)
        return len(_entity(compiled, value, _LONG_AGO))

    def close(self) -> None:
        """Let go of the connections."""
        self._values.close()


def _entity(view: CompiledView, value: bytes | None, horizon_us: int) -> Entity:
    return Entity(view) if value is None else Entity.unpack(view, value[_TAG_BYTES:], horizon_us)


def _answers(
    view: CompiledView, values: Iterable[bytes | None], horizon_us: int, at_us: int
) -> Iterable[Mapping[str, Scalar]]:
    peek = peeker(view)
    for value in values:
        if value is None:
            yield view.empty
        else:
            yield peek(memoryview(value)[_TAG_BYTES:], horizon_us, at_us)
