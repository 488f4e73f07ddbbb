"""Words of the features slice: views, services that put them together, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec

from loopwright.core.expressions import Expr, Scalar, Window
from loopwright.core.nouns import Version
from loopwright.core.schema import ColumnType, Schema

__all__ = [
    "SERVICE",
    "VECTOR_PREFIX",
    "VIEW",
    "Backfill",
    "FeatureService",
    "FeatureView",
    "Formula",
    "FreeFunction",
    "Lookup",
    "LookupReply",
    "Materialized",
    "Output",
    "Purpose",
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


Purpose = Annotated[
    str,
    msgspec.Meta(max_length=100, description="what columns are read for, where they are ruled by purpose"),
]


class FreeFunction(msgspec.Struct, frozen=True, kw_only=True, tag="python"):
    """A free Python function of values of one row: a feature that is not portable.

    It is known by its name and by the digest of its source text; the text itself is not kept, and nothing is
    ever run that a store holds. Only a process that was given the function computes it.
    """

    name: str
    """its module and name, `delays.features.heat`"""
    digest: str
    """of its source text"""
    reads: tuple[str, ...]
    """what it is given, in order; an instant is its microseconds, no value is None"""
    gives: ColumnType


Formula: TypeAlias = Expr | FreeFunction
"""what a feature is made by: the closed algebra, which every engine computes alike, or a function"""


class FeatureView(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an entity's rows in a dataset: values of the newest row, aggregates over windows.

    Only rows count that were known at the instant that is asked about: `known_at <= T`, where a null
    known-at (or none declared) is the event time. `latest` columns are those of the row of the
    greatest event time, no older than `ttl`, and `derived` features are made of that row's columns;
    `windows` aggregate the rows with known-at in `(T - over, T]`.
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
    derived: Mapping[str, Formula] = {}
    windows: Mapping[str, Window] = {}
    identity: tuple[str, ...] = ()
    """columns that tell rows apart; empty: the dataset's keys, else all columns that the view reads"""
    description: str = ""

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return (*self.newest, *self.windows)

    @property
    def newest(self) -> tuple[str, ...]:
        """The names of the features that the newest row alone decides."""
        return (*self.latest, *sorted(self.derived))  # a mapping has lost its order once it was published

    @property
    def functions(self) -> dict[str, FreeFunction]:
        """Its features that are not portable, by name."""
        return {name: each for name, each in self.derived.items() if isinstance(each, FreeFunction)}


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
    """One input of a model: made of request columns and of features named `view.feature`."""

    name: str
    expr: Formula


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

    @property
    def functions(self) -> dict[str, FreeFunction]:
        """Its inputs that are not portable, by name."""
        return {each.name: each.expr for each in self.outputs if isinstance(each.expr, FreeFunction)}


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
    """address of the feature service's version; empty where features were named one by one"""
    service_digest: str
    sources: Mapping[str, str]
    """address of the dataset version each view was read from, by view version"""
    time: str
    split: Split | None = None
    definitions: Mapping[str, str] = {}
    """the digest of each version of a view or service that it was made by, by address"""
    features: tuple[str, ...] = ()
    """the columns that are features, in order"""
    label: str = ""
    spine: str = ""
    """address of the dataset version whose rows it has"""
    made_of: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
    """by feature, the columns of each dataset that it is made of"""


class Materialized(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken into the online store."""

    view: str
    rows: int
    watermark: datetime


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """A past period of a view that was computed window by window, or is being."""

    view: str
    """address of the version of the view"""
    start: datetime
    end: datetime
    every: str
    into: str = ""
    """the dataset that its values at the end of each window are kept in; empty: the online store"""
    done_until: datetime | None = None
    """up to here every window is done, and durable; None before the first"""
    rows: int = 0
    """rows that were new"""
    purpose: str = ""
    """what its columns are read for"""
    begun_at: datetime
    updated_at: datetime

    @property
    def is_done(self) -> bool:
        """Whether all of the period is done."""
        return self.done_until is not None and self.done_until >= self.end


class ViewSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view or service in a list."""

    kind: str
    name: str
    version: int
    features: int
    created_at: datetime
    description: str = ""
    portable: bool = True
    """whether every engine and process computes it: no feature is a free Python function"""


class ViewDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view: its definition, how fresh it is, who uses it."""

    version: Version
    view: FeatureView
    types: Mapping[str, str]
    watermark: datetime | None
    """until when all known rows are in the online store"""
    services: tuple[str, ...]
    """addresses of the newest services that look it up"""
    training_sets: tuple[str, ...] = ()
    """addresses of the newest datasets that were made by it"""
    not_portable: tuple[str, ...] = ()
    """its features that only a process with their Python function computes"""
    owner: str = ""
    tags: Mapping[str, str] = {}
    backfills: tuple[Backfill, ...] = ()
    """the newest ones of this version"""
    feature_tags: Mapping[str, tuple[str, ...]] = {}
    """tags of the columns that its features are made of, such as `pii.email`"""


class ServiceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A feature service: its definition."""

    version: Version
    service: FeatureService
    not_portable: tuple[str, ...] = ()
    """its model inputs that only a process with their Python function computes"""


class LookupReply(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a model for each request row, in the order of `outputs`, as known at an instant."""

    service: str
    at: datetime
    outputs: tuple[str, ...]
    rows: tuple[tuple[float | None, ...], ...]
    """None for no value"""
    looked_up: tuple[Mapping[str, Scalar], ...] = ()
    """what the views said, by `view.feature`; empty unless it is asked for"""
