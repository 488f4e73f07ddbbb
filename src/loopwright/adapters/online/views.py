"""A view in memory: its entities, those that changed since the last flush, and how far it may forget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from loopwright.adapters.online.compiled import CompiledView
from loopwright.adapters.online.database import Stored
from loopwright.adapters.online.entities import Entity, packer, peeker
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar
from loopwright.core.instants import duration, format_instant, from_micros
from loopwright.ports.online import GRACE, OnlineRow, OnlineView

__all__ = ["GRACE_US", "LiveView", "key_of", "pack_key", "refuse_before"]

Key = tuple[Scalar, ...]

GRACE_US = GRACE // duration("1us")
"""how far before its watermark a view still answers, in microseconds"""
_SWEEP_SHARE = 8

_ENCODE = msgspec.msgpack.Encoder().encode
_KEYS = msgspec.msgpack.Decoder(tuple[bool | int | float | str, ...])


def refuse_before(view: CompiledView, horizon_us: int, at_us: int) -> None:
    """`Invalid` for an instant whose rows the view may have forgotten."""
    if at_us < horizon_us:
        begins = format_instant(from_micros(horizon_us))
        raise Invalid(
            f"the online view {view.view.name} begins at {begins}",
            hint="ask for a later instant, or join the history offline",
        )


def pack_key(key: Key) -> bytes:
    """A key as bytes."""
    return _ENCODE(key)


def key_of(packed: bytes) -> Key:
    """The key that these bytes were made of."""
    return _KEYS.decode(packed)


class LiveView:
    """Entities by key; one that was stored and not asked for yet stays as bytes. Not thread safe."""

    def __init__(self, view: OnlineView) -> None:
        self.compiled = CompiledView(view)
        self._peek = peeker(self.compiled)
        self._pack = packer(self.compiled)
        self.watermark: int | None = None
        self.changed: set[Key] = set()
        self._horizon_us = -(1 << 62)
        self._swept_us = self._horizon_us
        self._entities: dict[Key, Entity] = {}
        self._stored: dict[Key, bytes] = {}

    def push(self, rows: Iterable[OnlineRow]) -> int:
        """Take rows in; how many were new."""
        taken, horizon = 0, self._horizon_us
        entities, stored, changed = self._entities, self._stored, self.changed
        for row in rows:
            key = row.key
            if None in key:
                continue
            entity = entities.get(key)
            if entity is None and key in stored:
                entity = self._entity(key)
            if self._begin(row, horizon) if entity is None else entity.push(row, horizon):
                taken += 1
                changed.add(key)
        return taken

    def _begin(self, row: OnlineRow, horizon_us: int) -> bool:
        """Take an entity's first row in: as bytes where they do for answers, until a second one comes."""
        if self._pack is None:
            entity = Entity(self.compiled)
            self._entities[row.key] = entity
            return entity.push(row, horizon_us)
        packed = self._pack(row, horizon_us)
        if packed is None:
            return False
        self._stored[row.key] = packed
        return True

    def _entity(self, key: Key) -> Entity | None:
        """An entity, unpacked when it was only stored yet."""
        found = self._entities.get(key)
        if found is None and (packed := self._stored.get(key)) is not None:
            found = self._unpacked(key, packed)
        return found

    def read(self, keys: Sequence[Key], at_us: int) -> list[Mapping[str, Scalar]]:
        """The features of each key at an instant; `Invalid` when the view has forgotten what it needs."""
        refuse_before(self.compiled, self._horizon_us, at_us)
        found: list[Mapping[str, Scalar]] = []
        entities, stored, peek, horizon = self._entities, self._stored, self._peek, self._horizon_us
        empty, has_windows = self.compiled.empty, bool(self.compiled.spans)
        for key in keys:
            entity = entities.get(key)
            if entity is not None:
                found.append(entity.read(at_us))
            elif (packed := stored.get(key)) is None:
                found.append(empty)
            elif has_windows:  # running sums are worth keeping
                found.append(self._unpacked(key, packed).read(at_us))
            else:
                found.append(peek(packed, horizon, at_us))
        return found

    def _unpacked(self, key: Key, packed: bytes) -> Entity:
        del self._stored[key]
        entity = self._entities[key] = Entity.unpack(self.compiled, packed, self._horizon_us)
        return entity

    def advance(self, watermark_us: int) -> None:
        """Raise the watermark, and forget what is out of reach once in an eighth of the longest window.

        What is stored of an entity may hold more: it is trimmed when it is read or written again.
        """
        if self.watermark is not None and watermark_us <= self.watermark:
            return
        self.watermark = watermark_us
        self._horizon_us = watermark_us - GRACE_US
        if self._horizon_us - self._swept_us > self.compiled.keep_us // _SWEEP_SHARE:
            self._swept_us = self._horizon_us
            for key, entity in self._entities.items():
                if entity.trim(self._horizon_us) and not len(entity):
                    self.changed.add(key)

    def take_changed(self) -> tuple[list[Stored], list[tuple[str, bytes]]]:
        """What changed as it is to be stored, and the keys of what is empty now."""
        name, pack, entities, stored = self.compiled.view.name, pack_key, self._entities, self._stored
        full: list[Stored] = []
        empty: list[tuple[str, bytes]] = []
        for key in self.changed:
            entity = entities.get(key)
            if entity is None and (packed := stored.get(key)) is not None:
                full.append(Stored(name, pack(key), packed))
                continue
            if entity is not None:
                entity.trim(self._horizon_us)
            if entity is None or not len(entity):
                empty.append((name, pack(key)))
                entities.pop(key, None)
            else:
                full.append(Stored(name, pack(key), entity.pack()))
        self.changed = set()
        return full, empty

    def absorb(self, packed_key: bytes, content: bytes) -> None:
        """Take in what is stored of an entity; rows of our own that are not stored yet are kept."""
        key = key_of(packed_key)
        own = self._entity(key) if key in self.changed else None
        if own is None:
            self._entities.pop(key, None)
            self._stored[key] = content
        else:
            self._entities[key] = Entity.unpack(self.compiled, content, self._horizon_us)
            self._entities[key].absorb(own, self._horizon_us)

    def forget(self, key: Key) -> int:
        """Drop an entity; how many rows it had."""
        entity = self._entity(key)
        self._entities.pop(key, None)
        self.changed.discard(key)
        return 0 if entity is None else len(entity)

    def keys(self) -> list[Key]:
        """The entities that anything is kept of."""
        return [*(key for key, entity in self._entities.items() if len(entity)), *self._stored]

    def forget_marked(self, wanted: str, mark: Callable[[bytes], str]) -> None:
        """Drop the entity whose key has this mark."""
        for key in [*self._entities, *self._stored]:
            if mark(pack_key(key)) == wanted:
                self._stored.pop(key, None)
                self.forget(key)
