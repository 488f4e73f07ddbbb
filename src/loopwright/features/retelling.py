"""Keeps what a view said at past instants as rows of a dataset, one for each entity it knew of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from loopwright.core.addresses import Address, parse_address
from loopwright.core.errors import Corrupt, Invalid, NotFound
from loopwright.core.expressions import Window, col
from loopwright.core.instants import format_duration, from_micros, to_micros
from loopwright.core.nouns import LinkRole, Version
from loopwright.data.descent import MADE_OF
from loopwright.data.nouns import DATASET
from loopwright.data.reading import read_version
from loopwright.data.rewriting import upsert
from loopwright.engine.context import Context
from loopwright.engine.erased import Renewed, anew
from loopwright.engine.publishing import resolve
from loopwright.features.histories import Histories
from loopwright.features.nouns import Backfill, FeatureView
from loopwright.features.offline import view_of
from loopwright.features.rules import TIME, longest_window, made_of
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AT", "Retelling"]

AT = "at"
"""the column of the instant that the values are of"""
_SEEN = "loopwright_seen"


class Retelling:
    """A backfill into a dataset: what its view said of each entity at some instants.

    The source is read once, and joined to the entities at several instants together.
    """

    def __init__(self, ctx: Context, asked: Backfill, last: datetime, purpose: str = "") -> None:
        self._ctx, self._into = ctx, asked.into
        self._view, self._version = view_of(ctx, parse_address(asked.view))
        if AT in (*self._view.features, *self._view.entity):
            raise Invalid(
                f"the view {self._view.name!r} has a column {AT!r}, which is what the instants are called",
                hint="rename it to keep the values in a dataset",
            )
        self._telling = _telling(self._view)
        self._last, self._purpose = last, purpose
        anew(ctx, self._read)

    def _read(self) -> None:
        """Read the source as it is now."""
        ctx, telling = self._ctx, self._telling
        self._dataset = resolve(ctx, Address(kind=DATASET, name=self._view.source))
        self._histories = Histories(ctx, [(telling, self._dataset, telling.features)], self._purpose)
        self._entities = self._known_by(self._last)

    @property
    def entities(self) -> int:
        """How many there may be at an instant."""
        count: int = self._entities.num_rows
        return count

    def _known_by(self, last: datetime) -> pa.Table:
        """Each entity that has an event by the last instant."""
        view = self._view
        within = col(view.event_time) <= to_micros(last)
        rows = read_version(self._ctx, self._dataset, columns=view.entity, where=within)
        return rows.select(list(view.entity)).drop_null().group_by(list(view.entity)).aggregate([])

    def keep(self, instants: Sequence[datetime]) -> int:
        """Keep the values at some instants, in the place of those there are; how many rows are new.

        Where rows were erased from the source since it was read, it is read again first.
        """

        def work() -> int:
            try:
                return self._kept(instants)
            except (Renewed, NotFound, Corrupt):
                self._read()
                raise

        return anew(self._ctx, work)

    def _kept(self, instants: Sequence[datetime]) -> int:
        if not self.entities:
            return 0
        table = self._values(instants)
        if not table.num_rows:
            return 0
        ctx, version = self._ctx, self._version
        facts = {
            "view": str(version.ref),
            "digest": version.digest,
            "sources": {str(version.ref): str(self._dataset.ref)},
            MADE_OF: {name: {self._view.source: made_of(self._view, name)} for name in self._view.features},
        }
        made = (version, self._dataset)
        done = upsert(
            ctx,
            self._into,
            table,
            keys=(*self._view.entity, AT),
            facts=facts,
            reads=tuple(str(each.ref) for each in made),
            sources=tuple(each.ref for each in made),
            also=lambda tx, _: _touch(ctx, tx, made),
        )
        return done.rows

    def _values(self, instants: Sequence[datetime]) -> pa.Table:
        """`entity, at, features` of each entity that has a row which is seen, by instant."""
        import pyarrow.compute as pc

        view, telling = self._view, self._telling
        asked = self._questions(instants)
        found = self._histories.features(
            telling, self._dataset, asked, (*telling.latest, *telling.derived, *telling.windows)
        )
        is_seen = pc.greater(found.column(_SEEN), 0) if view.windows else None
        if view.newest:
            has_newest = found.column(view.event_time).is_valid()
            is_seen = has_newest if is_seen is None else pc.or_(is_seen, has_newest)
        table = asked.rename_columns([*view.entity, AT])
        for name in view.features:
            table = table.append_column(name, found.column(name))
        return table.filter(is_seen)

    def _questions(self, instants: Sequence[datetime]) -> pa.Table:
        """All entities at the first instant, then at the next."""
        import numpy as np
        import pyarrow as pa

        count = self.entities
        table = self._entities.take(pa.array(np.tile(np.arange(count), len(instants))))
        micros = np.repeat(np.array([to_micros(at) for at in instants], dtype=np.int64), count)
        return table.append_column(TIME, pa.array(micros).cast(pa.timestamp("us", "UTC")))


def _touch(ctx: Context, tx: Transaction, made: Iterable[Version]) -> None:
    for version in made:
        ctx.touch(tx, LinkRole.INPUT, version.ref)


def _telling(view: FeatureView) -> FeatureView:
    """The view, with what says whether an entity has a newest row, or one in a window."""
    latest = tuple(dict.fromkeys([*view.latest, view.event_time])) if view.newest else ()
    over = format_duration(from_micros(longest_window(view)) - from_micros(0))
    counted: dict[str, Window] = {_SEEN: col(view.event_time).is_null().count(over)} if view.windows else {}
    return replace(view, latest=latest, windows={**view.windows, **counted})
