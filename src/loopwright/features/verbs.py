"""Use cases of features."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from loopwright.core.addresses import Address, AssetName, version_address
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.expressions import Scalar
from loopwright.core.instants import from_micros
from loopwright.core.nouns import Asset, Version
from loopwright.core.sizes import parse_size
from loopwright.data.catalogue import OWNER, Owner, TagWords, Text, describe_asset
from loopwright.data.nouns import DATASET
from loopwright.data.reading import schema_of
from loopwright.data.tagging import tags_along
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import asset_of, manifest_of, resolve
from loopwright.features.backfilling import backfills_of
from loopwright.features.feeding import Feed, live_view, online_rows
from loopwright.features.files import JoinReport, join_files
from loopwright.features.formulas import check_computable
from loopwright.features.holding import fill_again
from loopwright.features.kinds import view_types
from loopwright.features.materializing import materialize_view
from loopwright.features.nouns import (
    SERVICE,
    VIEW,
    FeatureService,
    FeatureView,
    LookupReply,
    Materialized,
    Purpose,
    ServiceDetail,
    ViewDetail,
    ViewSummary,
)
from loopwright.features.offline import build, matrix, view_of
from loopwright.features.plans import plan_of
from loopwright.features.publishing import define_service, define_view, service_of
from loopwright.features.rules import columns_read, made_of, store_name
from loopwright.features.training import training_set
from loopwright.ports.ledger import Page, PageRequest
from loopwright.ports.tables import AsOfJoin

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

__all__ = [
    "Feed",
    "build",
    "categorical_of",
    "define_service",
    "define_view",
    "describe",
    "features",
    "join",
    "lookup",
    "materialize",
    "matrix",
    "publish_service",
    "publish_view",
    "push",
    "service_of",
    "service_outputs",
    "show_service",
    "show_view",
    "training_set",
    "view_of",
]

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
Rows = Annotated[list[dict[str, Scalar]], msgspec.Meta(max_length=10_000, description="request rows")]
_LONGEST_S = 1e12
"""some thirty thousand years: no instant is older"""
Kind = Literal["feature_view", "feature_service"]


def service_outputs(ctx: Context, service: str) -> tuple[str, ...]:
    """The names of a service's model inputs, in order."""
    return service_of(ctx, service).names


def categorical_of(ctx: Context, service: str) -> Mapping[str, tuple[str, ...]]:
    """The levels of a service's categorical inputs."""
    return service_of(ctx, service).categorical


def push(ctx: Context, view: str, rows: pa.Table) -> int:
    """Push rows of a view's dataset to the online store; how many were new. Durable at the next flush."""
    each = live_view(ctx, view)
    return ctx.ports.online.push(each.store, online_rows(ctx, each.view, rows))


@operation("features.list", scope="feature:read", route="GET /features")
def features(
    ctx: Context, *, kind: Kind = "feature_view", limit: Limit = 100, token: str = ""
) -> Page[ViewSummary]:
    """List feature views, or feature services, by name."""
    with ctx.read() as tx:
        page = tx.assets.page(ctx.space, kind, PageRequest(limit=limit, token=token))
        newest = [(asset, tx.versions.latest(asset.id)) for asset in page.items]
    items = tuple(
        ViewSummary(
            kind=asset.kind,
            name=asset.name,
            version=version.number,
            features=int(version.facts.get("features", 0)),
            created_at=version.created_at,
            description=asset.description or version.description,
            portable=not version.facts.get("functions"),
        )
        for asset, version in newest
        if version is not None
    )
    return Page(items=items, next_token=page.next_token)


@operation("features.show", scope="feature:read", route="GET /features/views/{name}")
def show_view(ctx: Context, name: AssetName, *, version: str = "") -> ViewDetail:
    """Show a feature view: its definition, types, freshness online, the services that look it up."""
    view, found = view_of(ctx, _address(VIEW, name, version))
    source = resolve(ctx, Address(kind=DATASET, name=view.source))
    types = view_types(ctx, view, schema_of(manifest_of(ctx, source)))
    with ctx.read() as tx:
        tags = dict(asset_of(ctx, tx, VIEW, name).tags)
    return ViewDetail(
        version=found,
        view=view,
        types={column.name: str(column.type) for column in types.columns},
        watermark=_watermark(ctx, store_name(ctx.space, view.name, found.number)),
        services=_users_of(ctx, found, SERVICE, "views"),
        training_sets=_users_of(ctx, found, DATASET, "definitions"),
        not_portable=tuple(view.functions),
        owner=tags.pop(OWNER, ""),
        tags=tags,
        backfills=backfills_of(ctx, found),
        feature_tags=_tags_of(ctx, view, source),
    )


def _tags_of(ctx: Context, view: FeatureView, source: Version) -> dict[str, tuple[str, ...]]:
    """By feature, the tags of the columns that it is made of."""
    tags = tags_along(ctx, source, columns_read(view))
    told = {
        name: {tag for column in made_of(view, name) for tag in tags.get(column, ())}
        for name in view.features
    }
    return {name: tuple(sorted(each)) for name, each in told.items() if each}


def _address(kind: str, name: str, version: str) -> Address:
    return version_address(kind, name, version)


def _watermark(ctx: Context, store: str) -> datetime | None:
    try:
        found = ctx.ports.online.watermark(store)
    except NotFound:
        return None
    return None if found is None else from_micros(found)


def _users_of(ctx: Context, view: Version, kind: str, fact: str) -> tuple[str, ...]:
    """The newest versions of a kind that name a version of a view among their facts. O(assets)."""
    with ctx.read() as tx:
        assets = tx.assets.page(ctx.space, kind, PageRequest(limit=1000)).items
        newest = [tx.versions.latest(asset.id) for asset in assets]
    return tuple(
        str(version.ref)
        for version in newest
        if version is not None and version.deleted_at is None and str(view.ref) in version.facts.get(fact, ())
    )


@operation("features.service", scope="feature:read", route="GET /features/services/{name}")
def show_service(ctx: Context, name: AssetName, *, version: str = "") -> ServiceDetail:
    """Show a feature service: the model inputs it makes, in order, and from what."""
    found = resolve(ctx, _address(SERVICE, name, version))
    service = service_of(ctx, str(found.ref))
    return ServiceDetail(version=found, service=service, not_portable=tuple(service.functions))


@operation("features.describe", scope="feature:write", route="PATCH /features/views/{name}")
def describe(
    ctx: Context,
    name: AssetName,
    *,
    owner: Owner | None = None,
    description: Text | None = None,
    tags: TagWords | None = None,
) -> Asset:
    """Say whose a feature view is, what it is, and by which words it is found; what is not said stays.

    `tags` are keys or `key=value`, all that there shall be; an empty owner is none.
    """
    return describe_asset(ctx, VIEW, name, owner=owner, description=description, tags=tags)


@operation("features.publish_view", scope="feature:write", route="POST /features/views", status=201)
def publish_view(ctx: Context, view: FeatureView) -> Version:
    """Publish a feature view; the same definition again is the same version."""
    return define_view(ctx, view)


@operation("features.publish_service", scope="feature:write", route="POST /features/services", status=201)
def publish_service(ctx: Context, service: FeatureService) -> Version:
    """Publish a feature service with its views' versions settled."""
    return define_service(ctx, service)


@operation("features.materialize", scope="feature:write", route="POST /features/views/{name}/materialize")
def materialize(
    ctx: Context, name: AssetName, *, until: datetime | None = None, purpose: Purpose = ""
) -> Materialized:
    """Take what is known of a view until an instant (now) into the online store, from where it stands.

    Columns are read for the purpose; each lookup says its own.
    """
    each = live_view(ctx, Address(kind=VIEW, name=name))
    check_computable(ctx.ports.functions, each.view.derived.values())
    done = materialize_view(ctx, each, until or ctx.now(), purpose)
    fill_again(ctx)
    return done


@operation("features.lookup", scope="feature:read", route="POST /features/services/{name}/lookup")
def lookup(
    ctx: Context,
    name: AssetName,
    rows: Rows,
    *,
    at: datetime | None = None,
    looked_up: bool = False,
    purpose: Purpose = "",
) -> LookupReply:
    """Look the model inputs of request rows up online, as known at an instant (now).

    With `looked_up` the reply also has what the views said, texts too, before it became inputs. What the
    answers are made of is read for the purpose.
    """
    plan = plan_of(ctx, name, purpose, looked_up=looked_up)
    return plan.reply(rows, at or ctx.now(), looked_up=looked_up)


@operation("features.join", scope="feature:read", local=True)
def join(
    ctx: Context,
    *,
    spine: str,
    view: str,
    key: tuple[str, ...],
    time: str,
    event_time: str,
    out: str,
    known_at: str = "",
    order_by: str = "",
    ttl: float = 0.0,
    mode: Literal["known", "event"] = "known",
    prefix: str = "",
    zone: str = "",
    memory: str = "",
) -> JoinReport:
    """Join the newest row known at each instant, from Parquet files to a Parquet file.

    One row per row of the spine, in its order: all its columns, then those of the view but its keys,
    times and order. A row counts that happened no later than the instant and, in mode `known`, was
    known by then; the greatest event time wins, then known-at, then order. `ttl` is in seconds, 0 for
    no limit. `zone` declares the zone of times that are written without one. `memory`, such as 4GB, is what
    may be taken; without it half of the machine's. What does not fit waits in a folder beside the result.
    """
    if not 0 <= ttl <= _LONGEST_S:  # nor NaN
        raise Invalid(f"{ttl} is no ttl", hint="give seconds; 0 means no limit")
    if ttl and not timedelta(seconds=ttl):
        raise Invalid(f"a ttl of {ttl} seconds is less than a microsecond", hint="0 means no limit")
    asked = AsOfJoin(
        keys=key,
        time=time,
        event_time=event_time,
        known_at=known_at or None,
        order=order_by or None,
        ttl=timedelta(seconds=ttl),
        mode=mode,
        prefix=prefix,
        zone=zone,
    )
    return join_files(ctx, spine, view, out, join=asked, memory_bytes=parse_size(memory) if memory else None)
