"""Use cases of features: define, look up, materialise, build training sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AssetName
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar
from loopwright.core.instants import duration, from_micros, to_micros
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Json, LinkRole, Version
from loopwright.data.verbs import read
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.features.assembly import Assembler, build
from loopwright.features.nouns import SERVICE, VIEW, FeatureService, FeatureView, online_view
from loopwright.features.pushing import Pusher
from loopwright.features.rules import check_service, check_view
from loopwright.ports.ledger import PageRequest, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Vectors",
    "categorical_of",
    "define_service",
    "define_view",
    "lookup",
    "materialize",
    "offline",
    "pusher",
    "service_of",
    "service_outputs",
    "show_service",
    "show_view",
    "training_set",
    "view_of",
]

_LOOKUP_LIMIT = 1000


class Vectors(msgspec.Struct, frozen=True, kw_only=True):
    """Looked-up inputs: a row of numbers (None for nothing) per asked row, in the order of `outputs`."""

    outputs: tuple[str, ...]
    rows: tuple[tuple[float | None, ...], ...]
    at: datetime


def define_view(ctx: Context, view: FeatureView) -> Version:
    """Keep a view's definition as a version and make it known to the online store."""
    source = resolve(ctx, Address(kind="dataset", name=view.source))
    schema = manifest_of(ctx, source).schema
    if schema is None:
        raise Invalid(f"{source.ref} is not a table", hint="a view lives on a table")
    check_view(view, schema)
    draft = prepare(ctx, view.name, Manifest(kind=VIEW, body=msgspec.to_builtins(view)))
    version = ctx.write(lambda tx: publish(ctx, tx, draft))
    ctx.ports.online.define(online_view(view, version.number))
    return version


def view_of(ctx: Context, address: str | Address) -> tuple[FeatureView, Version]:
    """The view an address means (a bare name means its newest version)."""
    version = resolve(ctx, address, kind=VIEW)
    return msgspec.convert(manifest_of(ctx, version).body, FeatureView), version


def define_service(ctx: Context, service: FeatureService) -> Version:
    """Keep a service's definition as a version, with its views' versions fixed to the newest ones."""
    views = {lookup.view: view_of(ctx, Address(kind=VIEW, name=lookup.view)) for lookup in service.lookups}
    check_service(service, {name: view for name, (view, _) in views.items()})
    lookups = tuple(replace(item, version=views[item.view][1].number) for item in service.lookups)
    body = msgspec.to_builtins(replace(service, lookups=lookups))
    facts: Json = {
        "outputs": len(service.outputs),
        "views": [f"{n}@{v.number}" for n, (_, v) in views.items()],
    }
    draft = prepare(ctx, service.name, Manifest(kind=SERVICE, body=body), facts=facts)
    return ctx.write(lambda tx: publish(ctx, tx, draft))


def service_of(ctx: Context, address: str | Address) -> FeatureService:
    """The service an address means (a bare name means its newest version)."""
    version = resolve(ctx, address, kind=SERVICE)
    return msgspec.convert(manifest_of(ctx, version).body, FeatureService)


def service_outputs(ctx: Context, address: str) -> tuple[str, ...]:
    """Names of a service's outputs in order: the inputs of a model."""
    return tuple(output.name for output in service_of(ctx, address).outputs)


def categorical_of(ctx: Context, address: str) -> dict[str, tuple[str, ...]]:
    """Levels of a service's categorical outputs."""
    return dict(service_of(ctx, address).categorical)


def _views_of(ctx: Context, service: FeatureService) -> dict[str, tuple[FeatureView, Version]]:
    return {item.view: view_of(ctx, f"{VIEW}:{item.online_name}") for item in service.lookups}


def offline(ctx: Context, service: FeatureService, spine: pa.Table, *, time: str) -> pa.Table:
    """The spine with one float64 column per output, as known at each row's instant, from the newest data."""
    views = {name: view for name, (view, _) in _views_of(ctx, service).items()}
    sources = {view.source: read(ctx, f"dataset:{view.source}") for view in views.values()}
    return build(ctx, service, views=views, sources=sources, spine=spine, time=time)


def training_set(ctx: Context, service: str, spine: pa.Table, *, name: str, time: str) -> Version:
    """Keep the spine with its inputs as a dataset version that names the definitions it was made by."""
    version = resolve(ctx, service, kind=SERVICE)
    definition = service_of(ctx, str(version.ref))
    views = _views_of(ctx, definition)
    table = offline(ctx, definition, spine, time=time)
    data = ctx.ports.tables.write(table)
    digest = ctx.ports.objects.put(data)
    entry = ManifestEntry(path="part-00001.parquet", digest=digest, size_bytes=len(data), rows=table.num_rows)
    manifest = Manifest(
        kind="dataset",
        entries=(entry,),
        schema=ctx.ports.tables.schema_of(table),
        rows=table.num_rows,
        body={"service": str(version.ref), "service_digest": version.digest, "time": time},
    )
    draft = prepare(ctx, name, manifest, facts={"rows": table.num_rows, "service": str(version.ref)})

    def work(tx: Transaction) -> Version:
        for used in (version, *(found for _, found in views.values())):
            ctx.touch(tx, LinkRole.INPUT, used.ref)
        return publish(ctx, tx, draft)

    return ctx.write(work)


def _all_views(ctx: Context) -> list[tuple[FeatureView, int]]:
    with ctx.read() as tx:
        assets = tx.assets.page(ctx.space, VIEW, PageRequest(limit=1000)).items
    found = [view_of(ctx, Address(kind=VIEW, name=asset.name)) for asset in assets]
    return [(view, version.number) for view, version in found]


def pusher(ctx: Context) -> Pusher:
    """What hands new rows to the newest version of every view, online."""
    return Pusher(ctx.ports.online, _all_views(ctx))


def _reach(view: FeatureView) -> timedelta | None:
    """How far back rows can still matter; None is forever, where the newest row never expires."""
    if view.latest:
        ttl = duration(view.ttl)
        return None if ttl == timedelta(0) else ttl + timedelta(days=1)
    return max(duration(window.over) for window in view.windows.values())


def materialize(ctx: Context, until: datetime) -> dict[str, int]:
    """Push what became known until the instant and is not in the online store yet; rows by view.

    Begins at each view's watermark (or where its windows reach back to) and ends with a flush, so
    that it can be repeated after a crash.
    """
    counted: dict[str, int] = {}
    for view, number in _all_views(ctx):
        single = Pusher(ctx.ports.online, [(view, number)])
        name = f"{view.name}@{number}"
        mark, reach = ctx.ports.online.watermark(name), _reach(view)
        after = from_micros(mark) if mark is not None else None if reach is None else until - reach
        table = _between(read(ctx, f"dataset:{view.source}"), view, after, until)
        counted[name] = single.push(single.arrivals(view.source, table))
    ctx.ports.online.flush(to_micros(until))
    return counted


def _between(source: pa.Table, view: FeatureView, after: datetime | None, until: datetime) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.coalesce(source[view.known_at], source[view.event_time]).cast(pa.int64())
    keep = pc.less_equal(known, to_micros(until))
    if after is not None:
        keep = pc.and_(keep, pc.greater(known, to_micros(after)))
    return source.filter(keep)


@operation("features.show", scope="feature:read", route="GET /features/views/{name}", command="features show")
def show_view(ctx: Context, name: AssetName) -> FeatureView:
    """Show the newest definition of a feature view."""
    return view_of(ctx, Address(kind=VIEW, name=name))[0]


@operation("features.service", scope="feature:read", route="GET /features/services/{name}")
def show_service(ctx: Context, name: AssetName) -> FeatureService:
    """Show the newest definition of a feature service."""
    return service_of(ctx, Address(kind=SERVICE, name=name))


@operation("features.lookup", scope="feature:read", route="POST /features/services/{name}/lookup")
def lookup(ctx: Context, name: AssetName, rows: list[dict[str, Any]]) -> Vectors:
    """Look up the inputs of rows as known now, from the online store."""
    service = service_of(ctx, Address(kind=SERVICE, name=name))
    if not 1 <= len(rows) <= _LOOKUP_LIMIT:
        raise Invalid(f"{len(rows)} rows were asked for", hint=f"ask for 1 to {_LOOKUP_LIMIT} rows")
    for place, row in enumerate(rows):
        _check_row(service, place, row)
    x = Assembler(ctx.ports.online, service).vectors(rows, to_micros(ctx.now()))
    found = tuple(tuple(None if math.isnan(value) else float(value) for value in row) for row in x)
    return Vectors(outputs=tuple(output.name for output in service.outputs), rows=found, at=ctx.now())


def _check_row(service: FeatureService, place: int, row: Mapping[str, Scalar]) -> None:
    missing = [name for name in service.request.names if name not in row]
    if missing:
        raise Invalid(
            f"row {place} lacks {', '.join(missing)}", hint="give every request column, null where unknown"
        )
