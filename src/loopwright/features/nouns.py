"""Feature views and services: what is kept of a source by entity, and the inputs made of it."""

from __future__ import annotations

import msgspec

from loopwright.core.expressions import Expr, Window
from loopwright.core.instants import duration
from loopwright.core.schema import Schema
from loopwright.ports.online import OnlineView

__all__ = [
    "SERVICE",
    "VIEW",
    "FeatureService",
    "FeatureView",
    "Lookup",
    "Output",
    "feature_names",
    "online_view",
]

VIEW = "feature_view"
SERVICE = "feature_service"


class FeatureView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an entity at an instant, from the rows of one dataset.

    `latest` columns are those of the row with the greatest event time that was known by then and is
    no older than `ttl` (`0`: of any age). `windows` aggregate the rows that became known in a window
    that ends then. A row whose `known_at` is null counts as known at its event time.
    """

    name: str
    entity: tuple[str, ...]
    """columns of the source that together name the entity"""
    source: str
    """name of a dataset"""
    event_time: str
    known_at: str
    order: str = ""
    """column that decides between rows of equal event time and known-at: the greatest wins"""
    row_id: str = ""
    """column that names a row, so that one pushed twice counts once; empty: entity, event time, known-at"""
    ttl: str = "0"
    latest: tuple[str, ...] = ()
    windows: dict[str, Window] = {}


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """A view that is asked, and which request columns name its entity."""

    view: str
    keys: tuple[str, ...]
    """request columns, in the order of the view's entity"""
    version: int = 0
    """of the view; fixed when the service is defined"""

    @property
    def online_name(self) -> str:
        """The view's name in the online store."""
        return f"{self.view}@{self.version}"


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a model: an expression over request columns and `view.feature`."""

    name: str
    expr: Expr


class FeatureService(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a model, in order, and what the caller has to give for them."""

    name: str
    request: Schema
    lookups: tuple[Lookup, ...]
    outputs: tuple[Output, ...]
    categorical: dict[str, tuple[str, ...]] = {}
    """levels of the outputs that are categories: the input is the index of the level, NaN for another one"""


def feature_names(view: FeatureView) -> tuple[str, ...]:
    """The features of a view: its latest columns, then its windows."""
    return (*view.latest, *view.windows)


def online_view(view: FeatureView, number: int) -> OnlineView:
    """What the online store is told of a version of a view."""
    return OnlineView(
        name=f"{view.name}@{number}", ttl=duration(view.ttl), latest=view.latest, windows=view.windows
    )
