"""Makes a model's inputs: online for a request, offline for a whole spine, equal bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Col, Scalar, evaluate
from loopwright.core.instants import duration
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.ports.online import Online
from loopwright.ports.tables import AsOfJoin, WindowJoin

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Assembler", "build"]

_NAN = float("nan")
Row = Mapping[str, Scalar]
_Getter = Callable[[Row, Sequence[Row]], Scalar]


class Assembler:
    """A service compiled against an online store: the hot path of serving. Thread safe."""

    def __init__(self, online: Online, service: FeatureService) -> None:
        self._online = online
        self._service = service
        self._asked = [(lookup.online_name, lookup.keys) for lookup in service.lookups]
        self._columns = [_column(service, output) for output in service.outputs]

    def vectors(self, rows: Sequence[Row], at_us: int) -> NDArray[np.float64]:
        """Inputs `(n, d) float64` of the rows as known at the instant (microseconds); NaN for no value."""
        read = self._online.read
        answers = [
            read(name, [tuple([row[column] for column in columns]) for row in rows], at_us)
            for name, columns in self._asked
        ]
        x = np.empty((len(rows), len(self._columns)))
        for i, row in enumerate(rows):
            found = [answer[i] for answer in answers]
            x[i] = [column(row, found) for column in self._columns]
        return x


def _reference(service: FeatureService, output: Output) -> _Getter | None:
    """A getter for an output that is one plain column, None for any other expression."""
    if not isinstance(output.expr, Col):
        return None
    name = output.expr.name
    if name in service.request.names:
        return lambda row, found: row[name]
    view, _, feature = name.partition(".")
    at = next(i for i, lookup in enumerate(service.lookups) if lookup.view == view)
    return lambda row, found: found[at][feature]


def _getter(service: FeatureService, output: Output) -> _Getter:
    plain = _reference(service, output)
    if plain is not None:
        return plain
    names = [lookup.view for lookup in service.lookups]

    def computed(row: Row, found: Sequence[Row]) -> Scalar:
        whole = dict(row)
        for view, features in zip(names, found, strict=True):
            whole.update({f"{view}.{feature}": value for feature, value in features.items()})
        return evaluate(output.expr, whole)

    return computed


def _column(service: FeatureService, output: Output) -> Callable[[Row, Sequence[Row]], float]:
    """One output as a float: a number as it is, a category as the index of its level, nothing as NaN."""
    getter = _getter(service, output)
    levels = service.categorical.get(output.name)
    if levels is not None:
        index = {level: float(i) for i, level in enumerate(levels)}
        return lambda row, found: index.get(getter(row, found), _NAN)  # type: ignore[arg-type]  # None is no level

    def number(row: Row, found: Sequence[Row]) -> float:
        value = getter(row, found)
        return _NAN if value is None else value  # type: ignore[return-value]  # a column of numbers by its schema

    return number


def _entity_spine(spine: pa.Table, lookup: Lookup, view: FeatureView, time: str) -> pa.Table:
    """The spine's key columns under the view's names, and the instant."""
    import pyarrow as pa

    columns = {entity: spine[column] for entity, column in zip(view.entity, lookup.keys, strict=True)}
    return pa.table({**columns, "__at": spine[time]})


def _looked_up(
    ctx: Context, spine: pa.Table, lookup: Lookup, view: FeatureView, *, source: pa.Table, time: str
) -> Mapping[str, Any]:
    """The view's features for every spine row, as columns named `view.feature`."""
    tables, asked, found = ctx.ports.tables, _entity_spine(spine, lookup, view, time), {}
    if view.windows:
        join = WindowJoin(keys=view.entity, time="__at", known_at=view.known_at, windows=view.windows)
        known = _known(source, view)
        joined = tables.join_windows(asked, known, join)
        found.update({f"{view.name}.{name}": joined[name] for name in view.windows})
    if view.latest:
        needed = list(
            dict.fromkeys([*view.entity, view.event_time, view.known_at, *filter(None, [view.order])])
        )
        kept = source.select([*needed, *(name for name in view.latest if name not in needed)])
        as_of = AsOfJoin(
            keys=view.entity,
            time="__at",
            event_time=view.event_time,
            known_at=view.known_at,
            order=view.order or None,
            ttl=duration(view.ttl),
            columns=view.latest,
        )
        joined = tables.join_as_of(asked, kept, as_of)
        found.update({f"{view.name}.{name}": joined[name] for name in view.latest})
    return found


def _known(source: pa.Table, view: FeatureView) -> pa.Table:
    """The source with a null known-at replaced by the event time."""
    import pyarrow.compute as pc

    filled = pc.coalesce(source[view.known_at], source[view.event_time])
    return source.set_column(source.column_names.index(view.known_at), view.known_at, filled)


def build(
    ctx: Context,
    service: FeatureService,
    *,
    views: Mapping[str, FeatureView],
    sources: Mapping[str, pa.Table],
    spine: pa.Table,
    time: str,
) -> pa.Table:
    """The spine's columns, then one float64 column per output, as known at each row's instant.

    An output named as a spine column replaces it. `sources` are the views' datasets by name.
    """
    import pyarrow as pa

    missing = [name for name in (*service.request.names, time) if name not in spine.column_names]
    if missing:
        raise Invalid(f"the spine lacks {', '.join(missing)}", hint=f"service {service.name!r} needs them")
    whole = {name: spine[name] for name in service.request.names}
    for lookup in service.lookups:
        view = views[lookup.view]
        whole.update(_looked_up(ctx, spine, lookup, view, source=sources[view.source], time=time))
    computed = ctx.ports.tables.compute(pa.table(whole), {o.name: o.expr for o in service.outputs})
    outputs = {o.name: _floats(computed[o.name], service.categorical.get(o.name)) for o in service.outputs}
    kept = {name: spine[name] for name in spine.column_names if name not in outputs}
    return pa.table({**kept, **outputs})


def _floats(column: Any, levels: tuple[str, ...] | None) -> Any:
    """A column as float64 with NaN for null; a category as the index of its level."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if levels is not None:
        column = pc.index_in(column, value_set=pa.array(levels), skip_nulls=True)
    return pc.fill_null(column.cast(pa.float64()), _NAN)
