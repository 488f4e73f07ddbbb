"""Keeps monitors: their definition and the bins their reference fixed, once and for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.errors import Invalid
from loopwright.core.instants import duration
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Version
from loopwright.data.verbs import read
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.features.nouns import VECTOR_PREFIX
from loopwright.features.verbs import service_of
from loopwright.monitoring.drift import ColumnBins, fit_bins
from loopwright.monitoring.nouns import MONITOR, FeedWatch, Monitor
from loopwright.serving.verbs import config_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Definition", "keep", "load", "watch_of"]

_FILE = "bins.json"
_DECODER = msgspec.json.Decoder(tuple[ColumnBins, ...])
_SCORE = ColumnBins(column="score", edges=tuple(at / 20 for at in range(1, 20)))


class Definition(NamedTuple):
    """A monitor as it was kept."""

    version: Version
    monitor: Monitor
    bins: tuple[ColumnBins, ...]


def keep(ctx: Context, name: str, monitor: Monitor) -> Version:
    """Publish a monitor with bins fitted on its reference's columns, one for every input of the endpoint."""
    feeds = [span for watch in monitor.feeds for span in (watch.window, watch.trailing)]
    for span in (monitor.every, monitor.trailing, *feeds):
        if not duration(span):
            raise Invalid(f"{span!r} is no time at all", hint="write spans such as 1d or 6h")
    reference = resolve(ctx, monitor.reference, kind="dataset")
    service = service_of(ctx, config_of(ctx, monitor.endpoint).service)
    features = [output.name for output in service.outputs]
    table = read(ctx, str(reference.ref), columns=[f"{VECTOR_PREFIX}{feature}" for feature in features])
    bins = [
        *(fit_bins(feature, _numbers(table, f"{VECTOR_PREFIX}{feature}")) for feature in features),
        _SCORE,
    ]
    data = msgspec.json.encode(bins)
    entry = ManifestEntry(path=_FILE, digest=ctx.ports.objects.put(data), size_bytes=len(data))
    body = msgspec.to_builtins(replace(monitor, reference=str(reference.ref)))
    manifest = Manifest(kind=MONITOR, entries=(entry,), body=body)
    draft = prepare(ctx, name, manifest, facts={"endpoint": monitor.endpoint, "inputs": len(features)})
    return ctx.write(lambda tx: publish(ctx, tx, draft))


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
