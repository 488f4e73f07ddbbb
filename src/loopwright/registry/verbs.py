"""Use cases of the registry."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from loopwright.core.addresses import Address, AliasName, AssetName, ByNumber, check_alias
from loopwright.core.errors import Invalid
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Json, LinkRole, Version
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import (
    manifest_of,
    prepare,
    publish,
    resolve,
    resolve_in,
)
from loopwright.ports.ledger import Transaction
from loopwright.ports.predictors import FitResult, Predictor
from loopwright.registry import comparing, versions
from loopwright.registry.guarding import guards, point, set_guards
from loopwright.registry.naming import check_alias_name
from loopwright.registry.nouns import KIND, Comparison, ModelBody, Promotion
from loopwright.registry.origins import version_at
from loopwright.registry.rolling import back

__all__ = [
    "annotate",
    "body_of",
    "compare",
    "files_of",
    "guard",
    "guards",
    "load",
    "promote",
    "register",
    "remove",
    "rollback",
]


def register(
    ctx: Context, name: str, fitted: FitResult, body: ModelBody, *, description: str = ""
) -> Version:
    """Keep a fitted model as the next version of a model; its files are objects, its body the manifest's."""
    entries = tuple(
        ManifestEntry(path=path, digest=ctx.ports.objects.put(data), size_bytes=len(data))
        for path, data in sorted(fitted.files.items())
    )
    manifest = Manifest(kind=KIND, entries=entries, body=msgspec.to_builtins(body))
    facts: Json = {
        "flavor": body.flavor,
        "features": len(body.features),
        "trained_until": str(body.trained_until),
    }
    draft = prepare(ctx, name, manifest, facts=facts, description=description, learned=True)
    return ctx.write(lambda tx: publish(ctx, tx, draft))


def body_of(ctx: Context, version: Version) -> ModelBody:
    """The body of a model version's manifest; `Invalid` for a version that was not trained here."""
    try:
        return msgspec.convert(manifest_of(ctx, version).body, ModelBody)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"{version.ref} was brought along, not trained here: it does not say what its inputs are",
            hint="name a version that loopwright trained",
        ) from error


def files_of(ctx: Context, version: Version) -> Mapping[str, bytes]:
    """The framework's files of a model version, verified."""
    return {entry.path: ctx.ports.objects.get(entry.digest) for entry in manifest_of(ctx, version).entries}


def load(ctx: Context, address: str) -> tuple[Version, ModelBody, Predictor]:
    """Load the model version an address means, and link it to the current run."""
    version = resolve(ctx, address, kind=KIND)
    body = body_of(ctx, version)
    predictor = ctx.ports.frameworks[body.flavor].load(files_of(ctx, version))
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, version.ref))
    return version, body, predictor


def guard(ctx: Context, name: str, alias: str, policies: tuple[str, ...]) -> None:
    """From now on the alias moves only to versions every one of these policies allowed."""

    def work(tx: Transaction) -> None:
        if guards(tx, ctx.space, name, alias) == policies:
            return
        set_guards(tx, ctx.space, name, check_alias(alias), policies)
        ctx.record(tx, "setting.changed", f"model:{name}", {"alias": alias, "guards": list(policies)})

    ctx.write(work)


@operation("registry.promote", scope="model:promote", route="POST /models/{name}/aliases/{alias}")
def promote(ctx: Context, name: AssetName, alias: AliasName, version: int, *, reason: str = "") -> Promotion:
    """Point an alias at a version once every policy that guards the alias allowed it."""

    def work(tx: Transaction) -> Promotion:
        wanted = resolve_in(ctx, tx, Address(kind=KIND, name=name, selector=ByNumber(version)))
        return point(ctx, tx, wanted, check_alias_name(check_alias(alias)), reason)

    return ctx.write(work)


@operation("registry.rollback", scope="model:promote", route="POST /models/{name}/aliases/{alias}/rollback")
def rollback(ctx: Context, name: AssetName, alias: AliasName, *, reason: str) -> Promotion:
    """Point an alias back at the version it pointed to before; that version was allowed once already."""
    return back(ctx, name, alias, reason)


@operation("registry.compare", scope="model:read", route="GET /models/{name}/compare")
def compare(ctx: Context, name: AssetName, left: int, right: int) -> Comparison:
    """Show what differs between two versions of a model: params, metrics, importance, files, tags."""
    return comparing.compare(ctx, name, left, right)


@operation("registry.annotate", scope="model:write", route="PATCH /models/{name}/versions/{number}")
def annotate(
    ctx: Context,
    name: AssetName,
    number: int,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    drop_tags: tuple[str, ...] = (),
) -> Version:
    """Give a version another description, set tags of it, and take others away."""

    def work(tx: Transaction) -> Version:
        version = version_at(ctx, tx, name, number)
        if description is not None and description != version.description:
            version = versions.describe(ctx, name, number, description)
        for key, value in (tags or {}).items():
            version = versions.set_tag(ctx, name, number, key, value)
        for key in drop_tags:
            version = versions.unset_tag(ctx, name, number, key)
        return version

    return ctx.write(work)


@operation("registry.remove", scope="model:write", route="DELETE /models/{name}/versions/{number}")
def remove(ctx: Context, name: AssetName, number: int) -> Version:
    """Put a version of a model in the trash, with its aliases; its number is not used again."""
    with ctx.read() as tx:
        there = version_at(ctx, tx, name, number)
    versions.delete(ctx, name, number)
    return there
