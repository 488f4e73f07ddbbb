"""Keeps monitors: their definition and the bins their reference fixed, once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.errors import Invalid
from loopwright.core.instants import duration
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import LinkRole, Version
from loopwright.core.schema import ColumnType
from loopwright.data.profiled import stored_profile
from loopwright.data.reading import permitted, read_version, schema_of
from loopwright.engine.context import Context
from loopwright.engine.erased import anew
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve, taken_back
from loopwright.features.nouns import VECTOR_PREFIX
from loopwright.features.verbs import service_of
from loopwright.monitoring.drift import ColumnBins, fit_bins, profiled_bins
from loopwright.monitoring.feed_rows import why_read
from loopwright.monitoring.nouns import MONITOR, FeedWatch, Monitor, RowsRead
from loopwright.serving.verbs import config_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Definition", "keep", "load", "rows_read", "watch_of"]

_FILE = "bins.json"
_DECODER = msgspec.json.Decoder(tuple[ColumnBins, ...])
_SCORE = ColumnBins(column="score", edges=tuple(at / 20 for at in range(1, 20)), because="")


class Definition(NamedTuple):
    """A monitor as it was kept; one kept by an earlier release has bins that were fitted on rows."""

    version: Version
    monitor: Monitor
    bins: tuple[ColumnBins, ...]


def keep(ctx: Context, name: str, monitor: Monitor) -> Version:
    """Publish a monitor with bins fitted on its reference's columns, one for every input of the endpoint."""
    feeds = [span for watch in monitor.feeds for span in (watch.window, watch.trailing)]
    for span in (monitor.every, monitor.trailing, *feeds):
        if not duration(span):
            raise Invalid(f"{span!r} is no time at all", hint="write spans such as 1d or 6h")
    return anew(ctx, lambda: _kept(ctx, name, monitor))


def _kept(ctx: Context, name: str, monitor: Monitor) -> Version:
    """Fit the bins on what the reference holds now, and publish them."""
    reference = resolve(ctx, monitor.reference, kind="dataset")
    service = service_of(ctx, config_of(ctx, monitor.endpoint).service)
    features = [output.name for output in service.outputs]
    bins = [*_fitted(ctx, reference, features), _SCORE]
    data = msgspec.json.encode(bins)
    entry = ManifestEntry(path=_FILE, digest=ctx.ports.objects.put(data), size_bytes=len(data))
    body = msgspec.to_builtins(replace(monitor, reference=str(reference.ref)))
    manifest = Manifest(kind=MONITOR, entries=(entry,), body=body)
    facts = {"endpoint": monitor.endpoint, "inputs": len(features)}
    draft = prepare(ctx, name, manifest, facts=facts, sources=(reference.ref,))
    with taken_back(ctx, draft.objects):
        return ctx.write(lambda tx: publish(ctx, tx, draft))


def _fitted(ctx: Context, reference: Version, features: Sequence[str]) -> list[ColumnBins]:
    """Bins of each feature by the reference's profile; rows are read of what that does not say, alone."""
    columns = [f"{VECTOR_PREFIX}{feature}" for feature in features]
    permitted(ctx, reference, columns)
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, reference.ref))
    manifest = manifest_of(ctx, reference)
    for column in columns:
        _check_number(manifest, column)
    stored = stored_profile(ctx, manifest)
    told = {} if stored is None else stored["columns"]
    found = {
        column: profiled_bins(feature, told[column])
        for feature, column in zip(features, columns, strict=True)
        if column in told
    }
    missing = [column for column in columns if found.get(column) is None]
    table = read_version(ctx, reference, columns=missing) if missing else None
    because = f"{reference.ref} has no profile"
    if stored is not None:
        because = f"the profile of {reference.ref} was made before there were sketches"
    return [
        found.get(column) or fit_bins(feature, _numbers(table, column), because=because)
        for feature, column in zip(features, columns, strict=True)
    ]


def _check_number(manifest: Manifest, column: str) -> None:
    kind = schema_of(manifest).column(column).type
    if kind not in {ColumnType.INT, ColumnType.FLOAT, ColumnType.BOOL}:
        raise Invalid(
            f"the reference's column {column!r} is of type {kind}, not a number",
            hint="give a training set of the endpoint's feature service",
        )


def rows_read(ctx: Context, definition: Definition) -> tuple[RowsRead, ...]:
    """For what a monitor reads rows of datasets, and why; profiles and counts say all the rest.

    Of a watched feed: why a check that is made now would read them.
    """
    fitted: dict[str, list[str]] = {}
    for each in definition.bins:
        if each.because and each.column != _SCORE.column:
            fitted.setdefault(each.because, []).append(each.column)
    bins = [
        RowsRead(what=f"bins of {', '.join(columns)}, once, at the definition", because=because)
        for because, columns in fitted.items()
    ]
    watches = [
        RowsRead(what=f"the last {watch.trailing} of {watch.dataset}, at each check", because=because)
        for watch in definition.monitor.feeds
        if (because := why_read(ctx, watch))
    ]
    return (*bins, *watches)


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = table[name].to_numpy().astype(np.float64, copy=False)
    return found


def load(ctx: Context, name: str) -> Definition:
    """The newest definition of a monitor, else `NotFound`."""
    version = resolve(ctx, Address(kind=MONITOR, name=name))
    manifest = manifest_of(ctx, version)
    entry = next(entry for entry in manifest.entries if entry.path == _FILE)
    bins = _DECODER.decode(ctx.ports.objects.get(entry.digest))
    return Definition(version, msgspec.convert(manifest.body, Monitor), bins)


def watch_of(name: str, monitor: Monitor, dataset: str) -> FeedWatch:
    """How a monitor watches a dataset, else `Invalid` that says what it watches."""
    for watch in monitor.feeds:
        if watch.dataset == dataset:
            return watch
    watched = ", ".join(watch.dataset for watch in monitor.feeds) or "nothing"
    raise Invalid(f"monitor {name!r} does not watch {dataset!r}", hint=f"it watches {watched}")
