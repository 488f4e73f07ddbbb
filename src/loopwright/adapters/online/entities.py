"""One entity of a view: its windows and its newest row, and the bytes that both are stored as."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from loopwright.adapters.online.compiled import CompiledView
from loopwright.adapters.online.marks import Kept
from loopwright.adapters.online.newest import Staircase
from loopwright.adapters.online.windowed import Windowed
from loopwright.core.errors import Corrupt
from loopwright.core.expressions import Scalar
from loopwright.ports.online import OnlineRow

__all__ = ["Entity", "Peek", "packer", "peeker"]

Peek = Callable[[bytes | memoryview, int, int], Mapping[str, Scalar]]
"""bytes, horizon and instant to the value of every feature"""


class _Packed(msgspec.Struct, array_like=True, gc=False):
    arrivals: int
    windows: tuple[Kept, ...]
    newest: tuple[Kept, ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Packed)


def _unpacked(view: CompiledView, data: bytes | memoryview) -> _Packed:
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(
            f"an entity of the online view {view.view.name} is damaged",
            hint="remove the online store and materialize again",
        ) from error


class Entity:
    """What is known of one entity of a view. Not thread safe."""

    __slots__ = ("_arrivals", "_newest", "_view", "_windowed")

    def __init__(self, view: CompiledView) -> None:
        self._view = view
        self._arrivals = 0
        self._windowed = Windowed(view) if view.spans else None
        self._newest = Staircase(view) if view.latest else None

    def __len__(self) -> int:
        return len(self._windowed or ()) + len(self._newest or ())

    def push(self, row: OnlineRow, horizon_us: int) -> bool:
        """Take a row in; False when it is there already or can be seen at no instant from the horizon on."""
        taken = False
        if self._windowed is not None:
            taken = self._windowed.push(self._kept(row, self._view.window_values(row.values)), horizon_us)
        if self._newest is not None:
            kept = self._kept(row, self._view.latest_values(row.values))
            taken = self._newest.push(kept, horizon_us) or taken
        self._arrivals += 1
        return taken

    def _kept(self, row: OnlineRow, values: tuple[Scalar, ...]) -> Kept:
        return Kept(row.event_us, row.known_us, row.order, self._arrivals, row.row_id, values)

    def read(self, at_us: int) -> Mapping[str, Scalar]:
        """The value of every feature at an instant."""
        if self._newest is None:
            found: dict[str, Scalar] = {}
        else:
            newest = self._newest.read(at_us)
            found = dict(self._view.empty_latest if newest is None else newest)
        if self._windowed is not None:
            self._windowed.read(at_us, found)
        return found

    def trim(self, horizon_us: int) -> int:
        """Forget what no instant from the horizon on can see; how many rows."""
        gone = 0 if self._windowed is None else self._windowed.trim(horizon_us)
        return gone + (0 if self._newest is None else self._newest.trim(horizon_us))

    def pack(self) -> bytes:
        """All of it as bytes."""
        windows = () if self._windowed is None else self._windowed.rows()
        newest = () if self._newest is None else self._newest.rows()
        return _ENCODER.encode((self._arrivals, windows, newest))

    @classmethod
    def unpack(cls, view: CompiledView, data: bytes | memoryview, horizon_us: int) -> Entity:
        """The entity that these bytes were made of, less what the horizon has passed; else `Corrupt`."""
        packed = _unpacked(view, data)
        entity = cls(view)
        entity._merge(packed.windows, packed.newest, horizon_us)
        entity._arrivals = packed.arrivals
        return entity

    def absorb(self, other: Entity, horizon_us: int) -> None:
        """Take in the rows of the same entity that came another way; what is there already stays as it is."""
        windows = () if other._windowed is None else other._windowed.rows()
        newest = () if other._newest is None else other._newest.rows()
        self._merge(windows, newest, horizon_us)
        self._arrivals = max(self._arrivals, other._arrivals)

    def _merge(self, windows: Sequence[Kept], newest: Sequence[Kept], horizon_us: int) -> None:
        if self._windowed is not None:
            for row in windows:
                self._windowed.push(row, horizon_us)
        if self._newest is not None:
            for row in newest:
                self._newest.push(row, horizon_us)


def peeker(view: CompiledView) -> Peek:
    """What answers as `unpack` and `read`, at less cost where the bytes hold the one row that can win."""
    names, ttl_us, empty, decode = view.latest, view.ttl_us, view.empty, _DECODER.decode

    def whole(data: bytes | memoryview, horizon_us: int, at_us: int) -> Mapping[str, Scalar]:
        return Entity.unpack(view, data, horizon_us).read(at_us)

    def peek(data: bytes | memoryview, horizon_us: int, at_us: int) -> Mapping[str, Scalar]:
        try:
            newest = decode(data).newest
        except (msgspec.DecodeError, UnicodeDecodeError):
            return whole(data, horizon_us, at_us)  # tells it
        if len(newest) != 1 or len(newest[0].values) != len(names):
            return whole(data, horizon_us, at_us)
        row = newest[0]
        event_us = row.event_us
        if event_us > at_us or row.known_us > at_us or (ttl_us and event_us < at_us - ttl_us):
            return empty
        return dict(zip(names, row.values))  # noqa: B905 - their lengths are compared above, at a third of the cost

    return whole if view.spans else peek


def packer(view: CompiledView) -> Callable[[OnlineRow, int], bytes | None] | None:
    """What gives the bytes of an entity with one row, as `push` and `pack`; None for a row that is expired.

    There is none for a view with windows, whose entities are worth keeping unpacked.
    """
    if view.spans or not view.latest:
        return None
    encode, ttl_us, values_of = _ENCODER.encode, view.ttl_us, view.latest_values

    def packed(row: OnlineRow, horizon_us: int) -> bytes | None:
        if ttl_us and row.event_us < horizon_us - ttl_us:
            return None
        kept = Kept(row.event_us, row.known_us, row.order, 0, row.row_id, values_of(row.values))
        return encode((1, (), (kept,)))

    return packed
