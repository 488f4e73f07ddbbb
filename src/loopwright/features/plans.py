"""Published services made ready to be asked, and held while they are the newest: the hot path of lookups."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.expressions import Scalar
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.assembly import Assembler
from loopwright.features.nouns import SERVICE, FeatureService, LookupReply
from loopwright.ports.online import Online

__all__ = ["LookupPlan", "LookupPlans", "plan_of"]

_FRESH_S = 1.0
_HELD_AT_MOST = 256

_Row = Mapping[str, Scalar]


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """A `LookupReply` as it is written at once: NaN becomes null where it is encoded."""

    service: str
    at: datetime
    outputs: msgspec.Raw
    rows: list[list[float]]
    looked_up: list[dict[str, Scalar]]


class _Names(dict[str, str]):
    """A feature's name with that of its lookup before it, made once."""

    def __init__(self, lookup: str) -> None:
        self._lookup = lookup

    def __missing__(self, feature: str) -> str:
        name = self[feature] = f"{self._lookup}.{feature}"
        return name


class LookupPlan:
    """A version of a feature service, compiled. Thread safe."""

    def __init__(self, online: Online, version: Version, service: FeatureService) -> None:
        self.version = version
        self.lookups = len(service.lookups)
        self._assembler = Assembler(online, service)
        self._outputs = service.names
        self._address = str(version.ref)
        self._written = msgspec.Raw(msgspec.json.encode(service.names))
        self._names = tuple(_Names(lookup.name) for lookup in service.lookups)

    def reply(self, rows: Sequence[_Row], at: datetime) -> LookupReply:
        """The model inputs of request rows as known at an instant, and what the views said."""
        vectors, told = self._found(rows, at)
        return LookupReply(
            service=self._address,
            at=at,
            outputs=self._outputs,
            rows=tuple(tuple(None if math.isnan(x) else x for x in vector) for vector in vectors),
            looked_up=tuple(told),
        )

    def written(self, rows: Sequence[_Row], at: datetime) -> bytes:
        """The same as JSON."""
        vectors, told = self._found(rows, at)
        return msgspec.json.encode(
            _Told(service=self._address, at=at, outputs=self._written, rows=vectors, looked_up=told)
        )

    def _found(self, rows: Sequence[_Row], at: datetime) -> tuple[list[list[float]], list[dict[str, Scalar]]]:
        looked = self._assembler.looked_up(rows, to_micros(at))
        vectors: list[list[float]] = self._assembler.assembled(rows, looked).tolist()
        told: list[dict[str, Scalar]] = [{} for _ in rows]
        for names, found in zip(self._names, looked, strict=True):
            for row, values in zip(told, found, strict=True):
                for feature, value in values.items():
                    row[names[feature]] = value
        return vectors, told


def plan_of(ctx: Context, name: str) -> LookupPlan:
    """The newest version of a service, read and compiled."""
    return _compiled(ctx, resolve(ctx, Address(kind=SERVICE, name=name)))


def _compiled(ctx: Context, version: Version) -> LookupPlan:
    service = msgspec.convert(manifest_of(ctx, version).body, FeatureService)
    return LookupPlan(ctx.ports.online, version, service)


class LookupPlans:
    """Plans by space and name. Thread safe.

    One is looked at again after a second, which is how long a change of another process may stay unseen;
    what this process changed is told by `drop`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str], tuple[LookupPlan, float]] = {}
        self._dropped = 0

    def at_hand(self, space: str, name: str) -> LookupPlan | None:
        """The plan when it was looked at within the last second; never waits."""
        held = self._held.get((space, name))
        return None if held is None or self._clock() > held[1] else held[0]

    def load(self, ctx: Context, name: str) -> LookupPlan:
        """The plan of the newest version, compiled only where that is another; `NotFound` without one."""
        place, until, dropped = (ctx.space, name), self._clock() + _FRESH_S, self._dropped
        before = self._held.get(place)
        version = resolve(ctx, Address(kind=SERVICE, name=name))
        same = before is not None and before[0].version.id == version.id
        plan = before[0] if before is not None and same else _compiled(ctx, version)
        if dropped == self._dropped:
            if len(self._held) >= _HELD_AT_MOST:
                self._held.clear()
            self._held[place] = (plan, until)
        return plan

    def drop(self) -> None:
        """Forget all: something changed."""
        self._dropped += 1
        self._held.clear()
