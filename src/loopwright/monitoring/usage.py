"""How a view's features stand where they are used: in training, in what was served of late, in replays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.errors import NotFound
from loopwright.core.nouns import Json, Signal, Version
from loopwright.data.allowing import refusals
from loopwright.data.profiled import stored_profile
from loopwright.data.reading import read_version
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.nouns import VECTOR_PREFIX, FeatureService
from loopwright.features.rules import reads_of
from loopwright.features.verbs import service_of
from loopwright.monitoring.readings import SKEW
from loopwright.ports.ledger import PageRequest
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import body_of
from loopwright.serving.history import predictions
from loopwright.serving.nouns import stream_of
from loopwright.serving.verbs import config_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["FeatureUse", "InputShares", "Shares", "counted", "edges_of", "profiled", "uses_of"]

_BINS = 24
_ENDPOINTS = 100
_SPAN = timedelta(days=7)


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Which share of the values lies in each bin (the outer ones take what lies beyond), and of no value."""

    n: int
    bins: tuple[float, ...]
    missing: float
    mean: float | None


class InputShares(msgspec.Struct, frozen=True, kw_only=True):
    """An input of a model that is made of a view's features: in training and as served."""

    name: str
    edges: tuple[float, ...]
    """between the bins"""
    training: Shares
    served: Shares
    because: str = ""
    """why rows of the training set were read; empty: its profile said the shares"""


class FeatureUse(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that looks a view up."""

    endpoint: str
    model: str
    """address of the version that answers most"""
    service: str
    training_set: str
    start: datetime
    end: datetime
    """what was served in between is told of"""
    inputs: tuple[InputShares, ...]
    withheld: Mapping[str, str] = {}
    """inputs that may not be read for the purpose: why, and whom to ask"""
    skew: Signal | None
    """the newest replay of logged vectors"""


def uses_of(ctx: Context, view: str, until: datetime, purpose: str = "") -> tuple[FeatureUse, ...]:
    """Endpoints whose model reads the view, with the last week of values served before an instant.

    Of inputs that are made of columns that may not be read for the purpose no shares are told.
    """
    return tuple(_uses(ctx, view, until, purpose))


def _uses(ctx: Context, view: str, until: datetime, purpose: str) -> Iterator[FeatureUse]:
    with ctx.read() as tx:
        endpoints = tx.assets.page(ctx.space, "endpoint", PageRequest(limit=_ENDPOINTS)).items
    for endpoint in endpoints:
        try:
            found = _use(ctx, endpoint.name, view, until, purpose)
        except NotFound:  # an endpoint that answers nothing now, or whose training set went
            continue
        if found is not None:
            yield found


def _use(ctx: Context, endpoint: str, view: str, until: datetime, purpose: str) -> FeatureUse | None:
    config = config_of(ctx, endpoint)
    number = max(config.routes, key=lambda route: route.percent).version
    model = resolve(ctx, Address(kind=MODEL, name=config.model, selector=ByNumber(number)))
    body = body_of(ctx, model)
    service = service_of(ctx, body.service)
    names = _inputs_from(service, view)
    if not names:
        return None
    columns = {f"{VECTOR_PREFIX}{name}": name for name in names}
    refused = refusals(ctx, resolve(ctx, body.training_set), tuple(columns), purpose)
    names = [name for column, name in columns.items() if column not in refused]
    until = _last_served(ctx, endpoint, until)
    start = until - _SPAN
    return FeatureUse(
        endpoint=endpoint,
        model=str(model.ref),
        service=body.service,
        training_set=body.training_set,
        start=start,
        end=until,
        inputs=_shares(ctx, endpoint, body, names, (start, until)),
        withheld={columns[column]: f"{error.message}: {error.hint}" for column, error in refused.items()},
        skew=_newest_skew(ctx, endpoint),
    )


def _last_served(ctx: Context, endpoint: str, until: datetime) -> datetime:
    """The end of what was logged by then, or that instant where nothing was."""
    with ctx.read() as tx:
        logged = tx.segments.between(ctx.space, stream_of(endpoint), None, until)
    return min(until, max((segment.end for segment in logged), default=until) + timedelta(microseconds=1))


def _inputs_from(service: FeatureService, view: str) -> list[str]:
    """The outputs that are made of the view's features."""
    prefixes = tuple(f"{each.name}." for each in service.lookups if each.view.partition("@")[0] == view)
    return [
        output.name
        for output in service.outputs
        if prefixes and any(name.startswith(prefixes) for name in reads_of(output.expr))
    ]


def _shares(
    ctx: Context, endpoint: str, body: ModelBody, names: list[str], span: tuple[datetime, datetime]
) -> tuple[InputShares, ...]:
    if not names:
        return ()
    columns = [f"{VECTOR_PREFIX}{name}" for name in names]
    trained = _trained(ctx, resolve(ctx, body.training_set), columns)
    served = predictions(ctx, endpoint, *span, columns=columns)
    found = []
    for name, column in zip(names, columns, strict=True):
        edges, shares, because = trained[column]
        logged = served[column].to_numpy() if column in served.column_names else np.empty(0)
        found.append(
            InputShares(
                name=name,
                edges=tuple(edges.tolist()),
                training=shares,
                served=counted(logged.astype(np.float64), edges),
                because=because,
            )
        )
    return tuple(found)


def _trained(
    ctx: Context, training_set: Version, columns: list[str]
) -> dict[str, tuple[Floats, Shares, str]]:
    """Edges and shares of each column by the profile of the training set; rows of what it does not say."""
    stored = stored_profile(ctx, manifest_of(ctx, training_set))
    told = {} if stored is None else stored["columns"]
    found = {
        column: (*shown, "")
        for column in columns
        if column in told and (shown := profiled(told[column])) is not None
    }
    missing = [column for column in columns if column not in found]
    if not missing:
        return found
    because = f"{training_set.ref} has no {'profile' if stored is None else 'histogram of it'}"
    rows = read_version(ctx, training_set, columns=missing)
    for column in missing:
        values = rows[column].to_numpy().astype(np.float64)
        edges = edges_of(values)
        found[column] = (edges, counted(values, edges), because)
    return found


def profiled(told: Json) -> tuple[Floats, Shares] | None:
    """Edges and exact shares by a column's profile, as `counted` has them; None without a histogram.

    The edges are the histogram's, the last one moved by one float so that it is the end of its bin here too.
    """
    rows = told["count"] + told["nulls"]
    if told["count"] == told.get("nan", 0):
        return np.zeros(0), Shares(n=rows, bins=(0.0,), missing=float(rows > 0), mean=None)
    shape = told.get("histogram")
    if not shape:
        return None
    edges = np.asarray(shape["edges"], dtype=np.float64)
    edges[-1] = np.nextafter(edges[-1], np.inf)
    counts = np.array([shape["below"], *shape["counts"], shape["above"]])
    there = int(counts.sum())
    shares = tuple((counts / max(there, 1)).tolist())
    return edges, Shares(n=rows, bins=shares, missing=1 - there / rows, mean=told.get("mean"))


def edges_of(values: Floats) -> Floats:
    """Ends of bins of one width over all but the outermost hundredths."""
    there = values[np.isfinite(values)]
    if not len(there):
        return np.zeros(0)
    low, high = np.quantile(there, (0.01, 0.99))
    if low == high:
        return np.array([low])
    return np.linspace(low, high, _BINS - 1)


def counted(values: Floats, edges: Floats) -> Shares:
    """Which share of the values lies between which edges; what is not finite is missing."""
    there = values[np.isfinite(values)]
    counts = np.bincount(np.searchsorted(edges, there, side="right"), minlength=len(edges) + 1)
    return Shares(
        n=len(values),
        bins=tuple((counts / max(len(there), 1)).tolist()),
        missing=1 - len(there) / len(values) if len(values) else 0.0,
        mean=float(there.mean()) if len(there) else None,
    )


def _newest_skew(ctx: Context, endpoint: str) -> Signal | None:
    with ctx.read() as tx:
        return tx.signals.latest(ctx.space, str(Address(kind="endpoint", name=endpoint)), SKEW)
