"""Versions of models that callers bring along: made, read, described, aliased, put in the trash, found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.errors import Invalid, PolicyBlocked
from loopwright.core.manifests import Manifest, encode_manifest
from loopwright.core.nouns import Asset, Json, Link, LinkRole, Version
from loopwright.core.queries import Condition, Field, SortKey
from loopwright.engine.context import Context
from loopwright.engine.publishing import marks_of, tell_marks
from loopwright.ports.ledger import LineKey, LinesAsked, Transaction, VersionLine
from loopwright.registry.guarding import drop, guards, point
from loopwright.registry.naming import check_alias_name, check_tag, check_tags, is_prompt
from loopwright.registry.nouns import KIND, LOGGED, NewVersion, Promotion, RegisteredVersion
from loopwright.registry.origins import Origin, origin_of, run_in, version_at, version_meant
from loopwright.registry.registered import model_of, noted_stages
from loopwright.registry.sources import OtherVersion
from loopwright.tracking.at_hand import (
    Found,
    Values,
    mark_of,
    page_of,
    pinned,
    pinned_tags,
    predicate,
    told_texts,
)
from loopwright.tracking.dialects import MODEL_VERSIONS
from loopwright.tracking.grammar import models_only, parse_filter, parse_order

__all__ = [
    "by_alias",
    "create",
    "delete",
    "describe",
    "place_of",
    "search",
    "set_alias",
    "set_tag",
    "show",
    "source_of",
    "unset_alias",
    "unset_tag",
]

_MADE = "mlflow.modelVersions"
"""the tag of a logged model that lists the versions made of it"""


def source_of(version: Version) -> str:
    """Where a version says it comes from; one trained here is its own place."""
    return _told_source(version.facts, version.ref)


def _told_source(facts: Json, address: object) -> str:
    return str(facts.get("source") or f"loopwright:/{address}")


def place_of(version: Version) -> str:
    """Where clients fetch its files."""
    return str(version.facts.get("place") or source_of(version))


def create(ctx: Context, name: str, new: NewVersion) -> Version:
    """Make the next version of a model of files that are there already: they are named by digest, not copied.

    `NotFound` when there is no such model, `Invalid` when the source is no place for one.
    """
    check_tags(new.tags)
    with ctx.read() as tx:
        _check_kind(model_of(ctx, tx, name), new)
        origin = origin_of(ctx, tx, new)
    digest, data = encode_manifest(_manifest(origin))
    ctx.ports.objects.put(data)
    size_bytes = len(data) + sum(entry.size_bytes for entry in origin.entries)

    def work(tx: Transaction) -> Version:
        asset = model_of(ctx, tx, name)
        newest = tx.versions.latest(asset.id)
        marks = marks_of(ctx, tx, origin.run_id or None)
        version = Version(
            id=ctx.new_id(),
            space=ctx.space,
            asset_id=asset.id,
            kind=KIND,
            name=asset.name,
            number=newest.number + 1 if newest else 1,
            digest=digest,
            size_bytes=size_bytes,
            created_at=ctx.now(),
            created_by=ctx.principal.name,
            run_id=origin.run_id or None,
            facts=_facts(new, origin),
            tags={**new.tags, **marks},
            description=new.description,
        )
        _keep(ctx, tx, asset, version)
        tell_marks(ctx, tx, version, marks)
        return version

    return ctx.write(work)


def _check_kind(asset: Asset, new: NewVersion) -> None:
    if is_prompt(asset.tags) != is_prompt(new.tags):
        raise Invalid(
            f"Invalid model version: model:{asset.name} is {'' if is_prompt(asset.tags) else 'no '}prompt",
            hint="a prompt has versions that are prompts, a model has none",
        )


def _manifest(origin: Origin) -> Manifest:
    told = {"source": origin.source, "run_id": origin.run_id, "model_id": origin.model_id}
    body = {key: value for key, value in told.items() if value}
    return Manifest(kind=KIND, entries=origin.entries, body={**body, **origin.body})


def _facts(new: NewVersion, origin: Origin) -> Json:
    place = "" if origin.place == origin.source else origin.place
    told = {"source": origin.source, "place": place, "model_id": origin.model_id, "run_link": new.run_link}
    return {key: value for key, value in told.items() if value}


def _keep(ctx: Context, tx: Transaction, asset: Asset, version: Version) -> None:
    tx.versions.add(version)
    tx.assets.update(replace(asset, updated_at=version.created_at))
    if version.run_id and run_in(ctx, tx, version.run_id) is not None:
        made = Link(run_id=version.run_id, role=LinkRole.OUTPUT, version=version.ref, at=version.created_at)
        tx.runs.link(made)
    model = tx.assets.find(ctx.space, LOGGED, str(version.facts.get("model_id", "")))
    if model is not None:
        tx.assets.update(replace(model, tags={**model.tags, _MADE: _listed(model, version)}))
    payload = {"digest": version.digest, "run": version.run_id}
    ctx.record(tx, "version.published", version.ref, payload)


def _listed(model: Asset, version: Version) -> str:
    """The versions made of a logged model, as its clients read them; what else they wrote there is lost."""
    try:
        before = msgspec.json.decode(model.tags.get(_MADE, "[]"), type=list[Json])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        before = []
    return json.dumps([*before, {"name": version.name, "version": version.number}])


def show(ctx: Context, name: str, number: int) -> RegisteredVersion:
    """A version with the aliases that point to it."""
    with ctx.read() as tx:
        return _whole(tx, version_at(ctx, tx, name, number))


def _whole(tx: Transaction, version: Version) -> RegisteredVersion:
    pointing = (each.alias for each in tx.aliases.of(version.asset_id) if each.number == version.number)
    return RegisteredVersion(version=version, aliases=tuple(pointing))


def describe(ctx: Context, name: str, number: int, description: str) -> Version:
    """Give a version another description."""

    def changed(version: Version) -> Version:
        return replace(version, description=description, updated_at=ctx.now())

    return _change(ctx, name, number, changed, "description")


def set_tag(ctx: Context, name: str, number: int, key: str, value: str) -> Version:
    """Set a tag of a version; a tag is a note beside it, so that the time of its last change stays."""
    check_tag(key, value)

    def changed(version: Version) -> Version:
        return replace(version, tags={**version.tags, key: value})

    return _change(ctx, name, number, changed, f"tag {key}", tag=key)


def unset_tag(ctx: Context, name: str, number: int, key: str) -> Version:
    """Take a tag of a version away; nothing happens when it has none of that name."""

    def changed(version: Version) -> Version:
        return replace(version, tags={each: text for each, text in version.tags.items() if each != key})

    return _change(ctx, name, number, changed, f"tag {key}", tag=key, removed=True)


def _change(
    ctx: Context,
    name: str,
    number: int,
    changed: Callable[[Version], Version],
    what: str,
    **more: str | bool,
) -> Version:
    def work(tx: Transaction) -> Version:
        before = version_at(ctx, tx, name, number)
        after = changed(before)
        if after != before:
            tx.versions.update(after)
            ctx.record(tx, "version.changed", after.ref, {"what": what, **more})
        return after

    return ctx.write(work)


def delete(ctx: Context, name: str, number: int) -> None:
    """Put a version in the trash with its aliases; its number is not used again.

    `PolicyBlocked` when an alias that policies guard points to it.
    """

    def work(tx: Transaction) -> None:
        version = version_at(ctx, tx, name, number)
        pointing = _whole(tx, version).aliases
        guarded = [alias for alias in pointing if guards(tx, ctx.space, name, alias)]
        if guarded:
            raise PolicyBlocked(
                f"{version.ref} is {guarded[0]!r}, which policies guard: it cannot be deleted",
                hint="point the alias at another version first",
            )
        for alias in pointing:
            drop(ctx, tx, version, alias)
        tx.versions.update(replace(version, deleted_at=ctx.now()))
        asset = replace(tx.assets.get(version.asset_id), updated_at=ctx.now())
        tx.assets.update(noted_stages(tx, asset) if version.stage else asset)
        ctx.record(tx, "version.deleted", version.ref, {"digest": version.digest})

    ctx.write(work)


def set_alias(ctx: Context, name: str, alias: str, number: int) -> Promotion:
    """Point an alias at a version; one that policies guard moves only where they allowed it."""
    check_alias_name(alias)
    return ctx.write(lambda tx: point(ctx, tx, version_at(ctx, tx, name, number), alias))


def unset_alias(ctx: Context, name: str, alias: str) -> None:
    """Take an alias away; nothing happens when the model has none of that name."""

    def work(tx: Transaction) -> None:
        asset = model_of(ctx, tx, name)
        pointer = tx.aliases.get(asset.id, alias)
        if pointer is not None:
            drop(ctx, tx, version_at(ctx, tx, name, pointer.number), alias)

    ctx.write(work)


def by_alias(ctx: Context, name: str, alias: str) -> RegisteredVersion:
    """The version that an alias points to, of `latest` the newest; `Invalid` when there is no such alias."""
    with ctx.read() as tx:
        return _whole(tx, version_meant(ctx, tx, OtherVersion(name, alias, is_alias=True)))


def search(
    ctx: Context, *, where: str = "", order: Sequence[str] = (), limit: int = 10_000, token: str = ""
) -> Found[Version]:
    """Versions that a filter of MLflow's grammar is about (prompts where it asks), newest change first."""
    condition = models_only(parse_filter(where, MODEL_VERSIONS))
    keys = parse_order(order, MODEL_VERSIONS)
    with ctx.read() as tx:
        page = _in_order(ctx, tx, condition, keys, limit=limit, token=token)
        found = tx.versions.those([line.id for line in page.items])
    return Found(items=tuple(found), next_token=page.next_token)


def _in_order(
    ctx: Context, tx: Transaction, where: Condition, keys: tuple[SortKey, ...], *, limit: int, token: str
) -> Found[VersionLine]:
    """A page in an order, which the ledger gives piece by piece."""
    holds = predicate(where, _look)
    mark = mark_of(token, [str if key.field.key == "name" else int for key in keys])
    asked = LinesAsked(
        limit=min(limit + _SPARE, _PIECE),
        name=pinned(where, "name"),
        run_id=pinned(where, "run_id") or None,
        tags=pinned_tags(where),
        told=told_texts(where),
        sources=told_texts(where, ("source_path",), tags=False),
        order=tuple(LineKey(_KINDS[key.field.key], key.descending) for key in keys),
        after=None if mark is None else tuple(mark),
    )
    there: list[VersionLine] = []
    while len(there) <= limit:
        piece = tx.versions.ordered_lines(ctx.space, KIND, asked)
        there += filter(holds, piece)
        if len(piece) < asked.limit:
            break
        behind = tuple(_place(piece[-1], key) for key in keys)
        asked = replace(asked, after=behind, limit=min(2 * asked.limit, _PIECE))
    return page_of(there[: limit + 1], _place, keys, limit=limit)


def _look(line: VersionLine, field: Field) -> Values:
    if field.kind == "tag":
        value = _TAGS(line.tags_json).get(field.key)
        return () if value is None else (value,)
    return (_ATTRIBUTES[field.key](line),)


def _place(line: VersionLine, key: SortKey) -> str | int:
    return _ATTRIBUTES[key.field.key](line)


def _source(line: VersionLine) -> str:
    address = Address(kind=KIND, name=line.name, selector=ByNumber(line.number))
    return _told_source(msgspec.json.decode(line.facts_json, type=Json), address)


_KINDS: dict[str, Literal["name", "number", "made", "changed"]] = {
    "name": "name",
    "version_number": "number",
    "creation_timestamp": "made",
    "last_updated_timestamp": "changed",
}
_SPARE, _PIECE = 50, 10_000
_TAGS = msgspec.json.Decoder(dict[str, str]).decode
_ATTRIBUTES: dict[str, Callable[[VersionLine], str | int]] = {
    "name": lambda line: line.name,
    "version_number": lambda line: line.number,
    "run_id": lambda line: line.run_id or "",
    "source_path": _source,
    "creation_timestamp": lambda line: line.created_us // 1000,
    "last_updated_timestamp": lambda line: line.changed_us // 1000,
}
