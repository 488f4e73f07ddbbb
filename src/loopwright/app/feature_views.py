"""`lw.source` and `lw.feature_view`: features as a program declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from loopwright.app.faces import Face, face_at, table_from, upload_of, waited
from loopwright.app.feature_functions import FeatureFunction, hand_over
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Col, Expr, Window
from loopwright.core.instants import duration, format_duration, parse_instant
from loopwright.core.nouns import Version
from loopwright.data.nouns import DatasetBody
from loopwright.features.nouns import Backfill, FeatureView, Formula, Materialized

__all__ = [
    "DefinedView",
    "Feature",
    "Instant",
    "Kept",
    "Source",
    "feature_view",
    "instant_of",
    "kept_name",
    "named_features",
    "source",
]

Feature: TypeAlias = Expr | Window | FeatureFunction
Instant: TypeAlias = datetime | str


class Kept(Protocol):
    """A dataset, as `lw.dataset` gives it."""

    @property
    def name(self) -> str:
        """Its name."""

    def address(self) -> str:
        """The address of its newest version."""


def kept_name(rows: Any) -> str:
    """The name of a dataset that is given as a value; empty for anything else."""
    name = getattr(rows, "name", None)
    return name if isinstance(name, str) and callable(getattr(rows, "address", None)) else ""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What feature views are made of: a dataset, and which of its columns are times, keys and order."""

    dataset: str
    event_time: str
    known_at: str = ""
    keys: tuple[str, ...] = ()
    order: str = ""


def source(
    rows: Any,
    *,
    name: str = "",
    event_time: str = "",
    known_at: str = "",
    keys: str | Sequence[str] = (),
    order: str = "",
    zone: str = "",
    to: Face | None = None,
) -> Source:
    """Declare what features are made of: a dataset or its name, a file (Parquet, CSV, NDJSON) or a frame.

    The rows of a file or frame become those of the dataset `name` (else it is called as the file); the same
    rows again change nothing. `event_time` says when a row happened and `known_at` when it could first be
    known (no value: when it happened), each by a column; a dataset has both declared with it. `keys` tell
    rows apart, `order` decides between rows of one instant. `zone` declares the zone of times that are
    written without one; else they are refused.
    """
    wanted = (keys,) if isinstance(keys, str) else tuple(keys)
    with face_at(to) as face:
        dataset = rows if isinstance(rows, str) and not _is_file(rows) else kept_name(rows)
        if dataset and zone:
            raise Invalid(
                f"dataset:{dataset} has instants, which need no zone", hint="leave zone out, or name a file"
            )
        if not dataset:
            dataset = name or _stem(rows)
            face.call(
                "data.upload",
                name=dataset,
                upload=upload_of(table_from(rows, zone)),
                how="overwrite",
                event_time=event_time,
                known_at=known_at,
                keys=wanted,
            )
        body = _body_of(face, dataset)
    found = event_time or body.event_time
    if not found:
        raise Invalid(f"dataset:{dataset} has no event time", hint="name the column: event_time=")
    return Source(
        dataset=dataset,
        event_time=found,
        known_at=known_at or body.known_at or "",
        keys=wanted or body.keys,
        order=order,
    )


def _is_file(text: str) -> bool:
    return Path(text).is_file() or Path(text).suffix in {".parquet", ".csv", ".ndjson", ".jsonl", ".arrow"}


def _stem(rows: Any) -> str:
    if not isinstance(rows, str | Path):
        raise Invalid("the rows have no name", hint="name the dataset that they become: name=")
    return Path(rows).name.partition(".")[0]


def _body_of(face: Face, dataset: str) -> DatasetBody:
    return msgspec.convert(face.call("data.show", name=dataset).body, DatasetBody)


class DefinedView:
    """A published version of a feature view; made by `lw.feature_view`."""

    def __init__(
        self,
        definition: FeatureView,
        version: Version,
        functions: Sequence[FeatureFunction] = (),
        to: Face | None = None,
    ) -> None:
        self.definition = definition
        self.version = version
        self.functions = tuple(functions)
        self._to = to

    @property
    def name(self) -> str:
        """Its name."""
        return self.definition.name

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return self.definition.features

    def __getitem__(self, feature: str) -> str:
        """The reference of a feature in this version, `weather@3:temp`; `*` for all."""
        if feature != "*" and feature not in self.features:
            raise Invalid(
                f"the view {self.name!r} has no feature {feature!r}",
                hint=f"its features are {', '.join(self.features)}",
            )
        return f"{self.name}@{self.version.number}:{feature}"

    def __repr__(self) -> str:
        return f"<{self.version.ref}: {', '.join(self.features)}>"

    def materialize(self, until: Instant | None = None, *, purpose: str = "") -> Materialized:
        """Take what is known until an instant (now) into the online store, from where it stands.

        `Denied` where a column of the view may not be read for the purpose.
        """
        with face_at(self._to) as face:
            hand_over(face, self.functions)
            until = instant_of(until) if until is not None else None
            done: Materialized = face.call(
                "features.materialize", name=self.name, until=until, purpose=purpose
            )
            return done

    def backfill(
        self,
        start: Instant,
        end: Instant,
        *,
        every: str = "1d",
        into: str = "",
        again: bool = False,
        purpose: str = "",
    ) -> Backfill:
        """Compute a past period, a window at a time; called again it goes on where it was cut off.

        It fills the online store, where what is newer stays; with `into` the values at the end of each window
        become rows of that dataset. `again` begins anew.
        """
        with face_at(self._to) as face:
            hand_over(face, self.functions)
            job = face.call(
                "features.backfill",
                name=self.name,
                start=instant_of(start),
                end=instant_of(end),
                every=every,
                version=str(self.version.number),
                into=into,
                again=again,
                purpose=purpose,
            )
            return msgspec.convert(waited(face, job).result, Backfill)


def instant_of(when: Instant) -> datetime:
    """An instant, from its text too."""
    return parse_instant(when) if isinstance(when, str) else when


def feature_view(
    name: str,
    *,
    source: str | Source | Kept,
    entity: str | Sequence[str],
    features: Sequence[Any] | Mapping[str, Feature],
    event_time: str = "",
    known_at: str = "",
    order: str = "",
    ttl: str | timedelta = "0",
    owners: str | Sequence[str] = (),
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    to: Face | None = None,
) -> DefinedView:
    """Publish a feature view: what is known of an entity (the columns that name it) by the rows of a source.

    A feature is a column or an expression of the newest row (no older than `ttl`), an aggregate over a window
    of time (`lw.col("delay").mean("6h")`), or a Python function (`lw.feature_function`). In a list a column
    is called by its name and an aggregate `delay_mean_6h`; what has no name is given one by `("late", ...)`,
    or all of them are by a mapping. What is published has columns first, then the rest by name. The same
    definition again is the same version; owners, description and tags stand beside it and make no new one.
    """
    with face_at(to) as face:
        declared = _declared(face, source)
        named = named_features(features)
        functions = tuple(each for each in named.values() if isinstance(each, FeatureFunction))
        definition = FeatureView(
            name=name,
            entity=(entity,) if isinstance(entity, str) else tuple(entity),
            source=declared.dataset,
            event_time=event_time or declared.event_time,
            known_at=known_at or declared.known_at or None,
            order=order or declared.order or None,
            ttl=format_duration(duration(ttl)),
            identity=declared.keys,
            **_sorted_out(named),
        )
        hand_over(face, functions)
        version = face.call("features.publish_view", view=definition)
        _describe(face, name, owners, description, tags)
    return DefinedView(definition, version, functions, to)


def _declared(face: Face, source: str | Source | Kept) -> Source:
    if isinstance(source, Source):
        return source
    if not isinstance(source, str):
        source = source.name
    body = _body_of(face, source)
    times = {"event_time": body.event_time or "", "known_at": body.known_at or ""}
    return Source(dataset=source, keys=body.keys, **times)


def _describe(
    face: Face,
    name: str,
    owners: str | Sequence[str],
    description: str | None,
    tags: Mapping[str, str] | None,
) -> None:
    told: dict[str, Any] = {}
    if owners:
        told["owner"] = owners if isinstance(owners, str) else ", ".join(owners)
    if description is not None:
        told["description"] = description
    if tags is not None:
        told["tags"] = tuple(f"{key}={value}" if value else key for key, value in tags.items())
    if told:
        face.call("features.describe", name=name, **told)


def named_features(features: Sequence[Any] | Mapping[str, Feature]) -> dict[str, Feature]:
    """The features by name, in order; `Invalid` for one that has none, or a name that is there twice."""
    pairs = features.items() if isinstance(features, Mapping) else map(_named, features)
    found: dict[str, Feature] = {}
    for name, feature in pairs:
        if name in found:
            raise Invalid(f"the feature {name!r} is there twice", hint='name one: ("name", expression)')
        found[name] = feature
    return found


def _named(feature: Any) -> tuple[str, Feature]:
    match feature:
        case str():
            return feature, Col(feature)
        case (str() as name, each):
            return name, each
        case Col():
            return feature.name, feature
        case Window(expr=Col(name=column)):
            return f"{column}_{feature.op}_{feature.over}", feature
        case FeatureFunction():
            return feature.name, feature
    raise Invalid("a feature has no name", hint='give it one: ("name", expression)')


def _sorted_out(named: Mapping[str, Feature]) -> dict[str, Any]:
    """As a definition has them: columns under their own names, what is derived, windows."""
    latest: list[str] = []
    derived: dict[str, Formula] = {}
    windows: dict[str, Window] = {}
    for name, feature in named.items():
        match feature:
            case Window():
                windows[name] = feature
            case Col(name=column) if column == name:
                latest.append(name)
            case FeatureFunction():
                derived[name] = feature.definition
            case msgspec.Struct():
                derived[name] = feature
            case _:
                raise Invalid(
                    f"the feature {name!r} is a {type(feature).__name__}",
                    hint="give an expression, or a function marked by lw.feature_function",
                )
    kept = {"derived": dict(sorted(derived.items())), "windows": dict(sorted(windows.items()))}
    return {"latest": tuple(latest), **kept}  # in the order in which it will be read again
