"""Use cases of serving: deploy, split, shadow, roll back, list and show endpoints."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AssetName, ByNumber
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Alias, Json, LinkRole, Version
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import (
    Draft,
    asset_of,
    manifest_of,
    move_alias,
    prepare,
    publish,
    resolve,
    resolve_in,
)
from loopwright.features.formulas import check_computable
from loopwright.features.nouns import SERVICE
from loopwright.features.verbs import service_of
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.servable import service_of_model
from loopwright.serving.nouns import ENDPOINT, LIVE, EndpointConfig, EndpointView
from loopwright.serving.permitting import check_permitted
from loopwright.serving.rules import check_config, with_shadow, with_split

__all__ = ["config_of", "deploy", "endpoints", "rollback", "shadow", "show", "split"]

Percent = Annotated[float, msgspec.Meta(ge=0, le=100, description="share of keys in percent")]
_HISTORY = 20


@operation("serving.deploy", scope="endpoint:deploy", route="POST /endpoints/{endpoint}/deploy")
def deploy(ctx: Context, endpoint: AssetName, config: EndpointConfig, *, reason: str = "") -> Version:
    """Let an endpoint answer by a configuration from now on; the one before stays one rollback away.

    Features are looked up for its `purpose`, by the rights of who deploys it.
    """
    config = _pinned(ctx, check_config(config))
    with ctx.read() as tx:
        before = _live(ctx, tx, endpoint)
    draft = _draft(ctx, endpoint, config, None if before is None else before.number)
    return ctx.write(lambda tx: _route(ctx, tx, publish(ctx, tx, draft), config, reason))


@operation("serving.split", scope="endpoint:deploy", route="POST /endpoints/{endpoint}/split")
def split(
    ctx: Context, endpoint: AssetName, version: int, percent: Percent, *, reason: str = ""
) -> EndpointView:
    """Let a model version answer a percentage of the keys; the other versions share the rest as before."""
    config = with_split(config_of(ctx, endpoint), version, percent)
    deploy(ctx, endpoint, config, reason=reason or f"version {version} answers {percent:g} percent")
    return show(ctx, endpoint)


@operation("serving.shadow", scope="endpoint:deploy", route="POST /endpoints/{endpoint}/shadow")
def shadow(
    ctx: Context, endpoint: AssetName, version: int, *, shadowed: bool = True, reason: str = ""
) -> EndpointView:
    """Ask a model version behind every live call, without its answer being heard (or stop doing so)."""
    config = with_shadow(config_of(ctx, endpoint), version, shadowed=shadowed)
    state = "in" if shadowed else "out of"
    deploy(ctx, endpoint, config, reason=reason or f"version {version} {state} shadow")
    return show(ctx, endpoint)


@operation("serving.rollback", scope="endpoint:deploy", route="POST /endpoints/{endpoint}/rollback")
def rollback(ctx: Context, endpoint: AssetName, *, reason: str) -> EndpointView:
    """Go back to the configuration that answered before the present one."""
    if not reason.strip():
        raise Invalid("a rollback needs a reason", hint='add --reason "what went wrong"')
    with ctx.read() as tx:
        current = _live_or_fail(ctx, tx, endpoint)
        before = None if current.parent is None else tx.versions.get(current.asset_id, current.parent)
    if before is None:
        raise Conflict(f"endpoint {endpoint!r} had no configuration before", hint="deploy another one")
    config = _decoded(ctx, before)

    def work(tx: Transaction) -> Version:
        if _live_or_fail(ctx, tx, endpoint).number != current.number:
            raise Conflict(f"endpoint {endpoint!r} changed meanwhile", hint="look at it again, then repeat")
        return _route(ctx, tx, before, config, reason)

    ctx.write(work)
    return show(ctx, endpoint)


@operation("serving.list", scope="endpoint:read", route="GET /endpoints")
def endpoints(ctx: Context, *, limit: int = 100, token: str = "") -> Page[EndpointView]:
    """List endpoints with what they answer by now."""
    if not 1 <= limit <= 1000:
        raise Invalid(f"limit {limit} is out of range", hint="ask for 1 to 1000 endpoints")
    with ctx.read() as tx:
        page = tx.assets.page(ctx.space, ENDPOINT, PageRequest(limit=limit, token=token))
        found = [(asset.name, _pointer(ctx, tx, asset.name)) for asset in page.items]
    views = tuple(_view(ctx, name, *pair, ()) for name, pair in found if pair is not None)
    return Page(items=views, next_token=page.next_token)


@operation("serving.show", scope="endpoint:read", route="GET /endpoints/{endpoint}")
def show(ctx: Context, endpoint: AssetName) -> EndpointView:
    """Show what an endpoint answers by, and its latest configurations, newest first."""
    with ctx.read() as tx:
        pair = _pointer(ctx, tx, endpoint)
        if pair is None:
            raise _not_deployed(endpoint)
        history = tx.versions.page(pair[1].asset_id, PageRequest(limit=_HISTORY)).items
    return _view(ctx, endpoint, *pair, history)


def config_of(ctx: Context, endpoint: str) -> EndpointConfig:
    """The configuration an endpoint answers by now, else `NotFound`."""
    with ctx.read() as tx:
        version = _live_or_fail(ctx, tx, endpoint)
    return _decoded(ctx, version)


def _pinned(ctx: Context, config: EndpointConfig) -> EndpointConfig:
    """The configuration with its service fixed to a version; its sticky column has to be an input.

    `Invalid` where an input is made by a Python function that this process was not given, `Denied` where the
    features it looks up may not be read for its purpose.
    """
    told = config.service or service_of_model(ctx, config.model, config.routes[0].version)
    service = resolve(ctx, told, kind=SERVICE)
    definition = service_of(ctx, str(service.ref))
    check_computable(ctx.ports.functions, [output.expr for output in definition.outputs])
    if config.sticky:
        definition.request.column(config.sticky)
    check_permitted(ctx, config)
    return replace(config, service=str(service.ref))


def _draft(ctx: Context, endpoint: str, config: EndpointConfig, parent: int | None) -> Draft:
    facts: Json = {
        "model": config.model,
        "routes": {str(route.version): route.percent for route in config.routes},
        "shadow": list(config.shadow),
    }
    manifest = Manifest(kind=ENDPOINT, body=msgspec.to_builtins(config))
    return prepare(ctx, endpoint, manifest, facts=facts, parent=parent)


def _route(ctx: Context, tx: Transaction, version: Version, config: EndpointConfig, reason: str) -> Version:
    """Point `live` at the version and say so, once every model version it names is found."""
    for number in (*(route.version for route in config.routes), *config.shadow):
        address = Address(kind=MODEL, name=config.model, selector=ByNumber(number))
        ctx.touch(tx, LinkRole.INPUT, resolve_in(ctx, tx, address).ref)
    pointer = tx.aliases.get(version.asset_id, LIVE)
    if pointer is not None and pointer.number == version.number:
        return version
    move_alias(ctx, tx, version, LIVE, reason=reason)
    payload: Json = {
        "version": version.number,
        "from": None if pointer is None else pointer.number,
        **version.facts,
        "reason": reason,
    }
    ctx.record(tx, "endpoint.routed", Address(kind=ENDPOINT, name=version.name), payload)
    return version


def _pointer(ctx: Context, tx: Transaction, endpoint: str) -> tuple[Alias, Version] | None:
    asset = asset_of(ctx, tx, ENDPOINT, endpoint)
    pointer = tx.aliases.get(asset.id, LIVE)
    version = None if pointer is None else tx.versions.get(asset.id, pointer.number)
    return None if pointer is None or version is None else (pointer, version)


def _live(ctx: Context, tx: Transaction, endpoint: str) -> Version | None:
    if tx.assets.find(ctx.space, ENDPOINT, endpoint) is None:
        return None
    pair = _pointer(ctx, tx, endpoint)
    return None if pair is None else pair[1]


def _live_or_fail(ctx: Context, tx: Transaction, endpoint: str) -> Version:
    pair = _pointer(ctx, tx, endpoint)
    if pair is None:
        raise _not_deployed(endpoint)
    return pair[1]


def _not_deployed(endpoint: str) -> NotFound:
    return NotFound(f"endpoint {endpoint!r} was never deployed", hint="deploy a configuration first")


def _decoded(ctx: Context, version: Version) -> EndpointConfig:
    return msgspec.convert(manifest_of(ctx, version).body, EndpointConfig)


def _view(
    ctx: Context, name: str, pointer: Alias, version: Version, history: tuple[Version, ...]
) -> EndpointView:
    return EndpointView(
        name=name,
        version=version.number,
        config=_decoded(ctx, version),
        routed_at=pointer.moved_at,
        routed_by=pointer.moved_by,
        history=history,
    )
