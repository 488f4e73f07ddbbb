"""Words of the features slice: views, services that put them together, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from loopwright.core.expressions import Expr, Scalar, Window
from loopwright.core.nouns import Version
from loopwright.core.schema import Schema

__all__ = [
    "SERVICE",
    "VECTOR_PREFIX",
    "VIEW",
    "FeatureService",
    "FeatureView",
    "Lookup",
    "LookupReply",
    "Materialized",
    "Output",
    "ServiceDetail",
    "Split",
    "TrainingFacts",
    "ViewDetail",
    "ViewSummary",
]

VIEW = "feature_view"
SERVICE = "feature_service"
VECTOR_PREFIX = "x_"
"""before the name of a model input, where it stands beside columns that may have the same name"""


class FeatureView(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an entity's rows in a dataset: columns of the newest row, aggregates over windows.

    Only rows count that were known at the instant that is asked about: `known_at <= T`, where a null
    known-at (or none declared) is the event time. `latest` columns are those of the row of the
    greatest event time, no older than `ttl`; `windows` aggregate the rows with known-at in
    `(T - over, T]`.
    """

    name: str
    entity: tuple[str, ...]
    """columns that name the entity"""
    source: str
    """name of the dataset"""
    event_time: str
    known_at: str | None = None
    order: str | None = None
    """column that decides between rows of one event time and known-at; else the later row wins"""
    ttl: str = "0"
    """how old the newest row may be, `0` without end"""
    latest: tuple[str, ...] = ()
    windows: Mapping[str, Window] = {}
    identity: tuple[str, ...] = ()
    """columns that tell rows apart; empty: the dataset's keys, else all columns that the view reads"""
    description: str = ""

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return (*self.latest, *self.windows)


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """A view that is read for each request."""

    view: str
    """its name, or its name and version (`weather@3`); publishing the service settles the version"""
    keys: Mapping[str, str] = {}
    """request column by entity column; those that are not named have the same name"""
    alias: str = ""
    """what its features are called by, `<alias>.<feature>`; empty: the view's name"""
    store: str = ""
    """the view's name in the online store; settled when the service is published"""
    columns: tuple[str, ...] = ()
    """the request columns in the order of the entity; settled when the service is published"""

    @property
    def name(self) -> str:
        """What its features are called by."""
        return self.alias or self.view.partition("@")[0]


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a model: an expression over request columns and features named `view.feature`."""

    name: str
    expr: Expr


class FeatureService(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a model, in order: what the caller gives, what is looked up, what is made of both.

    An input is a number; null is NaN. One named in `categorical` is a text, given to the model as
    the place of its level, NaN for a level that is not listed.
    """

    name: str
    request: Schema
    lookups: tuple[Lookup, ...] = ()
    outputs: tuple[Output, ...] = ()
    categorical: Mapping[str, tuple[str, ...]] = {}
    description: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the model's inputs, in order."""
        return tuple(output.name for output in self.outputs)


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """How rows of a training set are put into parts, kept with it; the column `split` names the part.

    Exactly one of: `until` (part by the instant its rows end before, the last part takes the rest),
    or `shares` of chance (`seed`; with `group`, all rows of one value of that column stay together).
    """

    until: Mapping[str, datetime] = {}
    rest: str = "test"
    """name of the part after the last instant"""
    shares: Mapping[str, float] = {}
    seed: int = 0
    group: str = ""


class TrainingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a training set's body says: how it was made, so that it can be made again."""

    service: str
    """address of the feature service's version"""
    service_digest: str
    sources: Mapping[str, str]
    """address of the dataset version each view was read from, by view version"""
    time: str
    split: Split | None = None


class Materialized(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken into the online store."""

    view: str
    rows: int
    watermark: datetime


class ViewSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view or service in a list."""

    kind: str
    name: str
    version: int
    features: int
    created_at: datetime
    description: str = ""


class ViewDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view: its definition, how fresh it is, who uses it."""

    version: Version
    view: FeatureView
    types: Mapping[str, str]
    watermark: datetime | None
    """until when all known rows are in the online store"""
    services: tuple[str, ...]
    """addresses of the newest services that look it up"""


class ServiceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A feature service: its definition."""

    version: Version
    service: FeatureService


class LookupReply(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a model for each request row, in the order of `outputs`, as known at an instant."""

    service: str
    at: datetime
    outputs: tuple[str, ...]
    rows: tuple[tuple[float | None, ...], ...]
    """None for no value"""
    looked_up: tuple[Mapping[str, Scalar], ...]
    """what the views said, by `view.feature`"""
