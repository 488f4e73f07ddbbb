"""Keeps definitions as versions."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Version
from loopwright.core.schema import Schema
from loopwright.data.nouns import DATASET
from loopwright.data.reading import body_of, schema_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.features.kinds import output_types, view_types
from loopwright.features.nouns import SERVICE, VIEW, FeatureService, FeatureView
from loopwright.features.offline import view_of
from loopwright.features.rules import (
    check_outputs,
    check_service,
    check_view,
    online_view,
    pinned,
    store_name,
)

__all__ = ["define_service", "define_view", "service_of"]


def define_view(ctx: Context, view: FeatureView) -> Version:
    """Publish a feature view (the same definition again is the same version) and make it known online.

    Its dataset must exist; `Invalid` names what does not fit the dataset's columns.
    """
    source = manifest_of(ctx, resolve(ctx, Address(kind=DATASET, name=view.source)))
    schema = schema_of(source)
    settled = replace(view, identity=view.identity or body_of(source).keys)
    check_view(settled, schema)
    view_types(ctx, settled, schema)
    body = msgspec.to_builtins(settled)
    if not settled.derived:
        del body["derived"]  # what was published before there was such a thing stays the same version
    manifest = Manifest(kind=VIEW, body=body)
    facts = {"features": len(view.features), "source": view.source, "functions": len(view.functions)}
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
