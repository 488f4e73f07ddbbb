"""Published services made ready to be asked, and held while they are the newest: the hot path of lookups."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.expressions import Scalar
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Version
from loopwright.data.nouns import DATASET
from loopwright.data.reading import permitted
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.assembly import Assembler
from loopwright.features.nouns import SERVICE, FeatureService, LookupReply
from loopwright.features.offline import view_of
from loopwright.features.rules import columns_for, features_used
from loopwright.ports.functions import Functions
from loopwright.ports.online import Online

__all__ = ["Asker", "LookupPlan", "LookupPlans", "check_asked", "plan_of"]

_FRESH_S = 1.0
_HELD_AT_MOST = 1024

_Row = Mapping[str, Scalar]
_Looked = Sequence[Sequence[_Row]]
_Told = msgspec.Struct | dict[str, Scalar]
"""what the views said of a row, as it is encoded"""


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    """A `LookupReply` as it is written at once: NaN becomes null where it is encoded."""

    service: str
    at: datetime
    outputs: msgspec.Raw
    rows: list[list[float]]
    looked_up: Sequence[_Told]


class _Shape:
    """How what the lookups say of a row is put under its full names: one struct for all of it."""

    def __init__(self, names: Sequence[str], found: Sequence[_Row]) -> None:
        fields = [
            f"{name}.{feature}" for name, values in zip(names, found, strict=True) for feature in values
        ]
        short = [f"f{place}" for place in range(len(fields))]
        renamed = dict(zip(short, fields, strict=True))
        is_clear = len(set(fields)) == len(fields)
        self._told = msgspec.defstruct("Told", short, rename=renamed, gc=False) if is_clear else None
        self._fields = tuple(fields)
        self._gets = tuple(_taker(tuple(values)) for values in found)

    def _values(self, found: Sequence[_Row]) -> tuple[Scalar, ...]:
        return tuple(chain.from_iterable(map(_call, self._gets, found)))

    def told(self, looked: _Looked) -> Sequence[_Told]:
        """What to encode for each row."""
        told = self._told
        if told is None:  # two lookups whose full names meet: the later one counts
            return self.named(looked)
        if len(self._gets) == 1:
            get = self._gets[0]
            return [told(*get(values)) for values in looked[0]]
        return [told(*self._values(found)) for found in zip(*looked, strict=True)]

    def named(self, looked: _Looked) -> list[dict[str, Scalar]]:
        """The values of each row by their full names."""
        return [
            dict(zip(self._fields, self._values(found), strict=True)) for found in zip(*looked, strict=True)
        ]


def _call(get: Callable[[_Row], tuple[Scalar, ...]], values: _Row) -> tuple[Scalar, ...]:
    return get(values)


def _taker(features: tuple[str, ...]) -> Callable[[_Row], tuple[Scalar, ...]]:
    """What takes these values out of a mapping, in whatever order it has them."""
    if len(features) > 1:
        return itemgetter(*features)
    return lambda values: tuple(values[feature] for feature in features)


class LookupPlan:
    """A version of a feature service, compiled. Thread safe."""

    def __init__(
        self, online: Online, version: Version, service: FeatureService, functions: Functions
    ) -> None:
        self.version = version
        self.service = service
        self.lookups = len(service.lookups)
        self.calls = bool(service.functions)
        """whether Python functions of somebody's own are called for an answer"""
        self._assembler = Assembler(online, service, functions)
        self._outputs = service.names
        self._address = str(version.ref)
        self._written = msgspec.Raw(msgspec.json.encode(service.names))
        self._names = tuple(lookup.name for lookup in service.lookups)
        self._shape: _Shape | None = None

    def reply(self, rows: Sequence[_Row], at: datetime, *, looked_up: bool = False) -> LookupReply:
        """The model inputs of request rows as known at an instant, and, if asked, what the views said."""
        vectors, looked = self._found(rows, at)
        told: Sequence[dict[str, Scalar]] = ()
        if looked_up:
            shape = self._shaped(looked)
            told = [{} for _ in rows] if shape is None else shape.named(looked)
        return LookupReply(
            service=self._address,
            at=at,
            outputs=self._outputs,
            rows=tuple(tuple(None if math.isnan(x) else x for x in vector) for vector in vectors),
            looked_up=tuple(told),
        )

    def written(self, rows: Sequence[_Row], at: datetime, *, looked_up: bool = False) -> bytes:
        """The same as JSON."""
        vectors, looked = self._found(rows, at)
        told: Sequence[_Told] = ()
        if looked_up:
            shape = self._shaped(looked)
            told = [{} for _ in rows] if shape is None else shape.told(looked)
        return msgspec.json.encode(
            _Written(service=self._address, at=at, outputs=self._written, rows=vectors, looked_up=told)
        )

    def _found(self, rows: Sequence[_Row], at: datetime) -> tuple[list[list[float]], _Looked]:
        looked = self._assembler.looked_up(rows, to_micros(at))
        vectors: list[list[float]] = self._assembler.assembled(rows, looked).tolist()
        return vectors, looked

    def _shaped(self, looked: _Looked) -> _Shape | None:
        """The form of what was looked up, the same for every row; None where nothing was."""
        if self._shape is None and looked and looked[0]:
            self._shape = _Shape(self._names, [found[0] for found in looked])
        return self._shape if looked else None


def plan_of(ctx: Context, name: str, purpose: str = "", *, looked_up: bool = False) -> LookupPlan:
    """The newest version of a service, read and compiled; `Denied` where it may not be asked for that."""
    plan = _compiled(ctx, resolve(ctx, Address(kind=SERVICE, name=name)))
    check_asked(ctx, plan.service, purpose, looked_up=looked_up)
    return plan


def check_asked(ctx: Context, service: FeatureService, purpose: str, *, looked_up: bool) -> None:
    """Raise `Denied` when a column that the answers are read from may not be read for a purpose.

    These are columns of the sources: those that the model inputs are made of, or, where what the views said
    is told too, those of all features of the views. So lookups are refused what training sets are refused.
    """
    for lookup, names in zip(service.lookups, features_used(service), strict=True):
        view, _ = view_of(ctx, lookup.view)
        told = view.features if looked_up else names
        if told:
            source = resolve(ctx, Address(kind=DATASET, name=view.source))
            permitted(ctx, source, columns_for(view, told), purpose=purpose)


def _compiled(ctx: Context, version: Version) -> LookupPlan:
    service = msgspec.convert(manifest_of(ctx, version).body, FeatureService)
    return LookupPlan(ctx.ports.online, version, service, ctx.ports.functions)


class Asker(NamedTuple):
    """Who asks a service, what for, and whether what the views said is to be told."""

    space: str
    service: str
    principal: str
    purpose: str
    looked_up: bool


class LookupPlans:
    """Plans by service, and who may ask them for what. Thread safe.

    What an asker may do is decided when it is first asked, with the plan, and looked at again after a
    second, which is how long a change of another process may stay unseen; what this process changed is told
    by `drop`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[Asker, tuple[LookupPlan, float]] = {}
        self._dropped = 0

    def at_hand(self, asker: Asker) -> LookupPlan | None:
        """The plan when the asker was let to it within the last second; never waits."""
        held = self._held.get(asker)
        return None if held is None or self._clock() > held[1] else held[0]

    def load(self, ctx: Context, asker: Asker) -> LookupPlan:
        """The plan of the newest version, compiled only where that is another.

        `NotFound` without one, `Denied` where it may not be asked for that.
        """
        until, dropped = self._clock() + _FRESH_S, self._dropped
        version = resolve(ctx, Address(kind=SERVICE, name=asker.service))
        plan = self._compiled_before(asker, version) or _compiled(ctx, version)
        check_asked(ctx, plan.service, asker.purpose, looked_up=asker.looked_up)
        if dropped == self._dropped:
            if len(self._held) >= _HELD_AT_MOST:
                self._held.clear()
            self._held[asker] = (plan, until)
        return plan

    def _compiled_before(self, asker: Asker, version: Version) -> LookupPlan | None:
        """The plan of a version where this asker, or another one of a moment ago, has it."""
        mine = self._held.get(asker)
        held = [mine] if mine is not None else list(self._held.values())
        return next((plan for plan, _ in held if plan.version.id == version.id), None)

    def drop(self) -> None:
        """Forget all: something changed."""
        self._dropped += 1
        self._held.clear()
