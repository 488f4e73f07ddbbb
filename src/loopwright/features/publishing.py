"""Keeps definitions and training sets as versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import LinkRole, Version
from loopwright.core.schema import Schema
from loopwright.data.nouns import DATASET, DatasetBody
from loopwright.data.reading import body_of, schema_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.features.kinds import output_types, view_types
from loopwright.features.nouns import SERVICE, VIEW, FeatureService, FeatureView, Split, TrainingFacts
from loopwright.features.offline import Sources, build, sources_of, view_of
from loopwright.features.rules import (
    check_outputs,
    check_service,
    check_view,
    online_view,
    pinned,
    store_name,
)
from loopwright.features.splits import split_rows
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["define_service", "define_view", "service_of", "training_set"]


def define_view(ctx: Context, view: FeatureView) -> Version:
    """Publish a feature view (the same definition again is the same version) and make it known online.

    Its dataset must exist; `Invalid` names what does not fit the dataset's columns.
    """
    source = manifest_of(ctx, resolve(ctx, Address(kind=DATASET, name=view.source)))
    schema = schema_of(source)
    settled = replace(view, identity=view.identity or body_of(source).keys)
    check_view(settled, schema)
    view_types(ctx, settled, schema)
    manifest = Manifest(kind=VIEW, body=msgspec.to_builtins(settled))
    facts = {"features": len(view.features), "source": view.source}
    draft = prepare(ctx, view.name, manifest, facts=facts, description=view.description)
    version = ctx.write(lambda tx: publish(ctx, tx, draft))
    ctx.ports.online.define(online_view(settled, store_name(ctx.space, view.name, version.number)))
    return version


def define_service(ctx: Context, service: FeatureService) -> Version:
    """Publish a feature service with its views' versions settled; the same again is the same version.

    `Invalid` names a reference that means nothing, an output that is no number, a key that is not given.
    """
    found = [view_of(ctx, lookup.view) for lookup in service.lookups]
    lookups = tuple(
        pinned(lookup, view, version.number, store_name(ctx.space, view.name, version.number))
        for lookup, (view, version) in zip(service.lookups, found, strict=True)
    )
    settled = replace(service, lookups=lookups)
    check_service(settled, tuple(view for view, _ in found))
    types = tuple(_types_of(ctx, view) for view, _ in found)
    check_outputs(settled, output_types(ctx, settled, types))
    manifest = Manifest(kind=SERVICE, body=msgspec.to_builtins(settled))
    facts = {"features": len(service.outputs), "views": [str(version.ref) for _, version in found]}
    draft = prepare(ctx, service.name, manifest, facts=facts, description=service.description)
    return ctx.write(lambda tx: publish(ctx, tx, draft))


def _types_of(ctx: Context, view: FeatureView) -> Schema:
    source = manifest_of(ctx, resolve(ctx, Address(kind=DATASET, name=view.source)))
    return view_types(ctx, view, schema_of(source))


def service_of(ctx: Context, address: str | Address) -> FeatureService:
    """A published feature service by name or address."""
    version = resolve(ctx, address, kind=SERVICE)
    return msgspec.convert(manifest_of(ctx, version).body, FeatureService)


def training_set(
    ctx: Context,
    service: str,
    spine: pa.Table,
    *,
    name: str,
    time: str,
    split: Split | None = None,
) -> Version:
    """Build the model inputs of each spine row as known at its instant, and keep them as a dataset's version.

    The version has every spine column, a column `split` where one is asked for, and `x_<output>` for
    each model input. Its body says which service, view and dataset versions it was made from; they
    become inputs of the current run. The same content is the same version.
    """
    version = resolve(ctx, service, kind=SERVICE)
    definition = msgspec.convert(manifest_of(ctx, version).body, FeatureService)
    sources = sources_of(ctx, definition)
    asked = spine if split is None else split_rows(spine, split, time)
    table = build(ctx, definition, asked, time, sources)
    facts = TrainingFacts(
        service=str(version.ref),
        service_digest=version.digest,
        sources={
            str(view.ref): str(dataset.ref)
            for view, dataset in zip(sources.view_versions, sources.datasets, strict=True)
        },
        time=time,
        split=split,
    )
    draft = prepare(ctx, name, _manifest(ctx, table, time, facts), facts={"rows": table.num_rows})

    def work(tx: Transaction) -> Version:
        for source in _inputs(sources):
            ctx.touch(tx, LinkRole.INPUT, source.ref)
        ctx.touch(tx, LinkRole.INPUT, version.ref)
        return publish(ctx, tx, draft)

    return ctx.write(work)


def _inputs(sources: Sources) -> list[Version]:
    return list({version.id: version for version in (*sources.view_versions, *sources.datasets)}.values())


def _manifest(ctx: Context, table: pa.Table, time: str, facts: TrainingFacts) -> Manifest:
    data = ctx.ports.tables.write(table)
    entry = ManifestEntry(
        path="part-00001.parquet",
        digest=ctx.ports.objects.put(data),
        size_bytes=len(data),
        rows=table.num_rows,
    )
    body = DatasetBody(event_time=time, facts=msgspec.to_builtins(facts))
    return Manifest(
        kind=DATASET,
        entries=(entry,),
        schema=ctx.ports.tables.schema_of(table),
        rows=table.num_rows,
        body=msgspec.to_builtins(body),
    )
