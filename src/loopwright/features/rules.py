"""Pure decisions of the features slice: which definitions hold together, and what they ask of the engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from loopwright.core.addresses import check_name
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, col, columns_of
from loopwright.core.instants import duration
from loopwright.core.schema import ColumnType, Schema
from loopwright.features.nouns import FeatureService, FeatureView, Formula, FreeFunction, Lookup
from loopwright.ports.online import OnlineView
from loopwright.ports.tables import AsOfJoin, WindowJoin

__all__ = [
    "TIME",
    "as_of_join",
    "check_outputs",
    "check_service",
    "check_view",
    "columns_for",
    "columns_read",
    "feature_of",
    "features_used",
    "known_within",
    "longest_window",
    "made_of",
    "online_view",
    "pinned",
    "reads_of",
    "request_columns",
    "store_name",
    "stored_columns",
    "value_columns",
    "window_join",
]

TIME = "loopwright_asked_at"
"""the column of the instant in a spine that is given to the joins"""


def store_name(space: str, name: str, number: int) -> str:
    """What the online store calls a version of a view: `weather@3`, in another space `space/weather@3`."""
    return f"{name}@{number}" if space == "default" else f"{space}/{name}@{number}"


def reads_of(formula: Formula) -> frozenset[str]:
    """The names of all columns that a formula is made of."""
    return frozenset(formula.reads) if isinstance(formula, FreeFunction) else columns_of(formula)


def made_of(view: FeatureView, name: str) -> tuple[str, ...]:
    """The dataset's columns that the values of a feature are made of."""
    if name in view.windows:
        return tuple(sorted(columns_of(view.windows[name].expr)))
    return tuple(sorted(reads_of(view.derived[name]))) if name in view.derived else (name,)


def columns_for(view: FeatureView, names: Iterable[str]) -> tuple[str, ...]:
    """The dataset's columns that some features of a view are read from: their own, the entity, the times."""
    own = [column for name in names for column in made_of(view, name)]
    return tuple(dict.fromkeys([*view.entity, *_times(view), *own]))


def _times(view: FeatureView) -> list[str]:
    return [name for name in (view.event_time, view.known_at, view.order) if name is not None]


def stored_columns(view: FeatureView) -> tuple[str, ...]:
    """The dataset's columns that the online store keeps of a row, beside what is derived of it."""
    return _columns(view, with_derived=False)


def value_columns(view: FeatureView) -> tuple[str, ...]:
    """The dataset's columns that the view's features are made of."""
    return _columns(view, with_derived=True)


def _columns(view: FeatureView, *, with_derived: bool) -> tuple[str, ...]:
    read = list(view.latest)
    for formula in view.derived.values() if with_derived else ():
        read += sorted(reads_of(formula))
    for window in view.windows.values():
        read += sorted(columns_of(window.expr))
    return tuple(dict.fromkeys(read))


def columns_read(view: FeatureView) -> tuple[str, ...]:
    """The dataset's columns that a view reads, each once."""
    return tuple(dict.fromkeys([*view.entity, *_times(view), *value_columns(view), *view.identity]))


def check_view(view: FeatureView, source: Schema) -> None:
    """Raise `Invalid` unless the view's columns are in the dataset and its features make sense."""
    check_name(view.name)
    if "@" in view.name or "." in view.name:
        raise Invalid(f"the view's name {view.name!r} has a dot or an @", hint="choose a name without them")
    if not view.entity:
        raise Invalid(f"the view {view.name!r} names no entity", hint="give the columns that name one")
    if not view.features:
        raise Invalid(
            f"the view {view.name!r} has no features", hint="give `latest` columns, `derived` or `windows`"
        )
    for name in columns_read(view):
        if name not in source.names:
            raise Invalid(
                f"the view {view.name!r} reads {name!r}, which dataset:{view.source} does not have",
                hint=f"its columns are {', '.join(source.names)}",
            )
    for time in (view.event_time, view.known_at):
        if time is not None and source.column(time).type is not ColumnType.INSTANT:
            raise Invalid(
                f"the column {time!r} of dataset:{view.source} is no instant", hint="give times with a zone"
            )
    _check_features(view)


def _check_features(view: FeatureView) -> None:
    twice = [name for name, count in Counter(view.features).items() if count > 1]
    if twice:
        raise Invalid(f"the view {view.name!r} has the feature {twice[0]!r} twice", hint="rename one")
    _check_derived(view)
    apart = {*view.entity, view.event_time, view.known_at, view.order}
    for name in view.latest:
        if name in apart:
            raise Invalid(
                f"{name!r} of the view {view.name!r} is a key or a time, which is no feature",
                hint="keep a copy of the column in the dataset to use it as one",
            )
    if duration(view.ttl) < duration("0"):
        raise Invalid(f"the ttl of {view.name!r} is negative", hint="0 means no limit")
    for name, window in view.windows.items():
        if duration(window.over) <= duration("0"):
            raise Invalid(
                f"the window {name!r} of {view.name!r} is empty", hint="give it a length, such as 6h"
            )


def _check_derived(view: FeatureView) -> None:
    read = {*columns_read(view)}
    for name, formula in view.derived.items():
        if name in read:
            raise Invalid(
                f"the feature {name!r} of the view {view.name!r} has the name of a column it reads",
                hint="give what is derived a name of its own",
            )
        if not reads_of(formula):
            raise Invalid(
                f"the feature {name!r} of the view {view.name!r} is made of no column",
                hint="a constant is no feature: name a column of the source",
            )


def longest_window(view: FeatureView) -> int:
    """The length of the view's longest window in microseconds, 0 without one."""
    return max((duration(each.over) // duration("1us") for each in view.windows.values()), default=0)


def known_within(view: FeatureView, after: int | None, until: int) -> Expr:
    """Known after one instant and until another; where no known-at is given, by the event time."""
    event = _between(view.event_time, after, until)
    if view.known_at is None or view.known_at == view.event_time:
        return event
    return _between(view.known_at, after, until) | (col(view.known_at).is_null() & event)


def _between(name: str, after: int | None, until: int) -> Expr:
    return col(name) <= until if after is None else (col(name) > after) & (col(name) <= until)


def online_view(view: FeatureView, store: str) -> OnlineView:
    """What the online store keeps of a view."""
    return OnlineView(name=store, ttl=duration(view.ttl), latest=view.newest, windows=dict(view.windows))


def as_of_join(view: FeatureView, prefix: str = "") -> AsOfJoin:
    """The join of the view's newest row."""
    return AsOfJoin(
        keys=view.entity,
        time=TIME,
        event_time=view.event_time,
        known_at=view.known_at,
        order=view.order,
        ttl=duration(view.ttl),
        columns=view.latest,
        prefix=prefix,
    )


def window_join(view: FeatureView, prefix: str = "") -> WindowJoin:
    """The join of the view's windows."""
    return WindowJoin(
        keys=view.entity,
        time=TIME,
        known_at=view.known_at or view.event_time,
        event_time=view.event_time,
        order=view.order,
        windows={f"{prefix}{name}": window for name, window in view.windows.items()},
    )


def pinned(lookup: Lookup, view: FeatureView, number: int, store: str) -> Lookup:
    """The lookup with its view's version, its keys and its place in the online store settled."""
    unknown = [name for name in lookup.keys if name not in view.entity]
    if unknown:
        raise Invalid(
            f"{unknown[0]!r} is not in the entity of the view {view.name!r}",
            hint=f"its entity is {', '.join(view.entity)}",
        )
    keys = {name: lookup.keys.get(name, name) for name in view.entity}
    return replace(
        lookup,
        view=f"{view.name}@{number}",
        keys=keys,
        alias=lookup.name,
        store=store,
        columns=tuple(keys.values()),
    )


def feature_of(reference: str, lookups: tuple[Lookup, ...]) -> tuple[int, str] | None:
    """Which lookup and which of its features a reference means; None for a request column."""
    for place, lookup in enumerate(lookups):
        if reference.startswith(f"{lookup.name}."):
            return place, reference[len(lookup.name) + 1 :]
    return None


def features_used(service: FeatureService) -> tuple[tuple[str, ...], ...]:
    """For each lookup, the features that some output refers to, in the order they are first used."""
    used: list[dict[str, None]] = [{} for _ in service.lookups]
    for output in service.outputs:
        for reference in sorted(reads_of(output.expr)):
            found = feature_of(reference, service.lookups)
            if found is not None:
                used[found[0]][found[1]] = None
    return tuple(tuple(names) for names in used)


def request_columns(service: FeatureService) -> tuple[str, ...]:
    """The request columns that some output or key needs, in the request's order."""
    needed = {name for lookup in service.lookups for name in lookup.columns}
    for output in service.outputs:
        needed |= {name for name in reads_of(output.expr) if feature_of(name, service.lookups) is None}
    return tuple(name for name in service.request.names if name in needed)


def check_service(service: FeatureService, views: tuple[FeatureView, ...]) -> None:
    """Raise `Invalid` unless every reference of the service (its lookups settled) means something."""
    check_name(service.name)
    if not service.outputs:
        raise Invalid(f"the service {service.name!r} has no outputs", hint="list the model's inputs")
    for what, names in (
        ("output", service.names),
        ("request column", service.request.names),
        ("lookup", tuple(lookup.name for lookup in service.lookups)),
    ):
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise Invalid(f"the service has the {what} {twice[0]!r} twice", hint="give each its own name")
    for lookup in service.lookups:
        for column in lookup.columns:
            _check_request(service, column, f"a key of {lookup.name}")
    for output in service.outputs:
        for reference in reads_of(output.expr):
            _check_reference(service, views, output.name, reference)
    for name in service.categorical:
        if name not in service.names:
            raise Invalid(
                f"the categorical {name!r} is no output", hint=f"the outputs are {', '.join(service.names)}"
            )


def _check_request(service: FeatureService, column: str, what: str) -> None:
    if column not in service.request.names:
        raise Invalid(
            f"{what} asks for the request column {column!r}, which is not given",
            hint=f"the request has {', '.join(service.request.names)}; features are written view.feature",
        )


def _check_reference(
    service: FeatureService, views: tuple[FeatureView, ...], output: str, reference: str
) -> None:
    found = feature_of(reference, service.lookups)
    if found is None:
        _check_request(service, reference, f"the output {output!r}")
        return
    place, feature = found
    if feature not in views[place].features:
        raise Invalid(
            f"the output {output!r} asks for {reference!r}, which the view does not have",
            hint=f"its features are {', '.join(views[place].features)}",
        )


def check_outputs(service: FeatureService, types: Mapping[str, ColumnType]) -> None:
    """Raise `Invalid` unless outputs are numbers, and texts where they are categorical."""
    for output in service.outputs:
        kind, is_level = types[output.name], output.name in service.categorical
        if is_level and kind is not ColumnType.STRING:
            raise Invalid(f"the categorical {output.name!r} is {kind}, not a text", hint="levels are texts")
        if not is_level and kind is ColumnType.STRING:
            raise Invalid(
                f"the output {output.name!r} is a text, which no model takes",
                hint="list its levels under `categorical`",
            )
