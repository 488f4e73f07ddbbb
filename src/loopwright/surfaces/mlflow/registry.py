"""Registered models, their versions, stages and aliases, and prompts, which are models with a tag."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loopwright.core.errors import Invalid
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion, RegisteredModel, RegisteredVersion
from loopwright.registry.places import place_for
from loopwright.registry.registered import stage_of
from loopwright.registry.stages import read_stage, transition
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, Pair, pairs, shown
from loopwright.tracking.limits import check_size

__all__ = ["routes", "tags_of"]

_READ, _WRITE, _MOVE = "model:read", "model:write", "model:promote"
_MODELS, _VERSIONS = "registered-models", "model-versions"
_BY_R: dict[str, Any] = {"TRUE": True, "FALSE": False}
_MOST_MODELS, _MOST_VERSIONS = 1_000, 200_000


class Named(Message, frozen=True):
    """A model."""

    name: Needed


class NewModel(Named, frozen=True):
    """A model, or a prompt where its tags say so."""

    tags: list[Pair] = []
    description: str = ""


class Rename(Named, frozen=True):
    """Another name."""

    new_name: Needed


class Described(Named, frozen=True):
    """Another description."""

    description: str = ""


class Tagged(Named, frozen=True):
    """A tag of a model."""

    key: Needed
    value: str | None = None


class Untagged(Named, frozen=True):
    """A tag that goes."""

    key: Needed


class Aliased(Named, frozen=True):
    """An alias of a model."""

    alias: Needed


class Pointed(Aliased, frozen=True):
    """An alias and what it points to from now on."""

    version: Needed


class Latest(Named, frozen=True):
    """Which stages' newest versions."""

    stages: list[str] = []


class Numbered(Named, frozen=True):
    """A version of a model."""

    version: Needed


class DescribedVersion(Numbered, frozen=True):
    """Another description of a version."""

    description: str = ""


class TaggedVersion(Numbered, frozen=True):
    """A tag of a version."""

    key: Needed
    value: str | None = None


class UntaggedVersion(Numbered, frozen=True):
    """A tag of a version that goes."""

    key: Needed


class Staged(Numbered, frozen=True):
    """Another stage of a version."""

    stage: Needed
    archive_existing_versions: Any = False
    """a boolean, or one as R spells it, whose client sends every value as a text; any other text is none"""


class Brought(Named, frozen=True):
    """A version whose files are somewhere already."""

    source: Needed
    run_id: str | None = None
    model_id: str | None = None
    run_link: str = ""
    tags: list[Pair] = []
    description: str = ""


class Seek(Message, frozen=True):
    """A search, as both kinds of list take it."""

    filter: str = ""
    order_by: list[str] = []
    page_token: str = ""


class SeekModels(Seek, frozen=True):
    """A search among models."""

    max_results: Int64 = 100


class SeekVersions(Seek, frozen=True):
    """A search among versions."""

    max_results: Int64 = 10_000


class VersionShown(Message, frozen=True):
    """A version as clients know it."""

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str
    description: str
    source: str
    run_id: str
    run_link: str
    status: str
    tags: list[Pair] = []
    aliases: tuple[str, ...] = ()


class AliasShown(Message, frozen=True):
    """An alias of a model."""

    alias: str
    version: str


class ModelShown(Message, frozen=True):
    """A model as clients know it."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    latest_versions: list[VersionShown] = []
    tags: list[Pair] = []
    aliases: list[AliasShown] = []


class ModelReply(Message, frozen=True):
    """One model."""

    registered_model: ModelShown


class ModelsReply(Message, frozen=True):
    """A page of models."""

    registered_models: list[ModelShown] = []
    next_page_token: str = ""


class VersionReply(Message, frozen=True):
    """One version."""

    model_version: VersionShown


class VersionsReply(Message, frozen=True):
    """A page of versions."""

    model_versions: list[VersionShown] = []
    next_page_token: str = ""


class PlaceReply(Message, frozen=True):
    """Where the files of a version are."""

    artifact_uri: str


def routes() -> tuple[Route, ...]:
    """All routes of the registry."""
    return (*_model_routes(), *_alias_routes(), *_version_routes())


def _route(method: str, path: str, scope: str, takes: type[Message], answer: Any) -> Route:
    """What changes something is one small unit of work, but for a version made, which keeps an object."""
    writes = scope != _READ and answer is not _create_version
    return Route(method=method, path=path, scope=scope, takes=takes, answer=answer, writes=writes)


def _model_routes() -> Iterable[Route]:
    yield _route("POST", f"{_MODELS}/create", _WRITE, NewModel, _create_model)
    yield _route("GET", f"{_MODELS}/get", _READ, Named, _get_model)
    yield _route("POST", f"{_MODELS}/rename", _WRITE, Rename, _rename_model)
    yield _route("PATCH", f"{_MODELS}/update", _WRITE, Described, _describe_model)
    yield _route("DELETE", f"{_MODELS}/delete", _WRITE, Named, _delete_model)
    for method in ("GET", "POST"):  # MLflow's client for R asks by POST, which MLflow's own server refuses
        yield _route(method, f"{_MODELS}/search", _READ, SeekModels, _search_models)
    yield _route("POST", f"{_MODELS}/set-tag", _WRITE, Tagged, _tag_model)
    yield _route("DELETE", f"{_MODELS}/delete-tag", _WRITE, Untagged, _untag_model)
    for method in ("GET", "POST"):
        yield _route(method, f"{_MODELS}/get-latest-versions", _READ, Latest, _latest)


def _alias_routes() -> Iterable[Route]:
    yield _route("GET", f"{_MODELS}/alias", _READ, Aliased, _by_alias)
    yield _route("POST", f"{_MODELS}/alias", _MOVE, Pointed, _set_alias)
    yield _route("DELETE", f"{_MODELS}/alias", _MOVE, Aliased, _unset_alias)


def _version_routes() -> Iterable[Route]:
    yield _route("POST", f"{_VERSIONS}/create", _WRITE, Brought, _create_version)
    yield _route("GET", f"{_VERSIONS}/get", _READ, Numbered, _get_version)
    yield _route("GET", f"{_VERSIONS}/get-download-uri", _READ, Numbered, _get_place)
    yield _route("GET", f"{_VERSIONS}/search", _READ, SeekVersions, _search_versions)
    yield _route("PATCH", f"{_VERSIONS}/update", _WRITE, DescribedVersion, _describe_version)
    yield _route("POST", f"{_VERSIONS}/transition-stage", _MOVE, Staged, _stage)
    yield _route("DELETE", f"{_VERSIONS}/delete", _WRITE, Numbered, _delete_version)
    yield _route("POST", f"{_VERSIONS}/set-tag", _WRITE, TaggedVersion, _tag_version)
    yield _route("DELETE", f"{_VERSIONS}/delete-tag", _WRITE, UntaggedVersion, _untag_version)


# -- models --------------------------------------------------------------------------------


def _create_model(ctx: Context, asked: NewModel) -> ModelReply:
    made = registered.create(ctx, asked.name, tags=tags_of(asked.tags), description=asked.description)
    return _model_reply(RegisteredModel(asset=made, latest=(), aliases=()))


def _get_model(ctx: Context, asked: Named) -> ModelReply:
    return _model_reply(registered.show(ctx, asked.name))


def _rename_model(ctx: Context, asked: Rename) -> ModelReply:
    return _model_reply(registered.rename(ctx, asked.name, asked.new_name))


def _describe_model(ctx: Context, asked: Described) -> ModelReply:
    return _model_reply(registered.describe(ctx, asked.name, asked.description))


def _delete_model(ctx: Context, asked: Named) -> None:
    registered.delete(ctx, asked.name)


def _search_models(ctx: Context, asked: SeekModels) -> ModelsReply:
    found = registered.search(
        ctx,
        where=asked.filter,
        order=asked.order_by,
        limit=check_size(asked.max_results, _MOST_MODELS),
        token=asked.page_token,
    )
    return ModelsReply(
        registered_models=[_model(each) for each in found.items], next_page_token=found.next_token
    )


def _tag_model(ctx: Context, asked: Tagged) -> None:
    registered.set_tag(ctx, asked.name, asked.key, asked.value or "")


def _untag_model(ctx: Context, asked: Untagged) -> None:
    registered.unset_tag(ctx, asked.name, asked.key)


def _latest(ctx: Context, asked: Latest) -> VersionsReply:
    stages = [read_stage(each) for each in asked.stages]
    found = registered.latest_versions(ctx, asked.name, stages)
    return VersionsReply(model_versions=[_version(each) for each in found])


# -- aliases -------------------------------------------------------------------------------


def _by_alias(ctx: Context, asked: Aliased) -> VersionReply:
    return _whole_version(versions.by_alias(ctx, asked.name, asked.alias))


def _set_alias(ctx: Context, asked: Pointed) -> None:
    versions.set_alias(ctx, asked.name, asked.alias, _number(asked.version))


def _unset_alias(ctx: Context, asked: Aliased) -> None:
    versions.unset_alias(ctx, asked.name, asked.alias)


# -- versions ------------------------------------------------------------------------------


def _create_version(ctx: Context, asked: Brought) -> VersionReply:
    new = NewVersion(
        source=asked.source,
        run_id=asked.run_id,
        model_id=asked.model_id,
        run_link=asked.run_link,
        tags=tags_of(asked.tags),
        description=asked.description,
    )
    return VersionReply(model_version=_version(versions.create(ctx, asked.name, new)))


def _get_version(ctx: Context, asked: Numbered) -> VersionReply:
    return _whole_version(versions.show(ctx, asked.name, _number(asked.version)))


def _get_place(ctx: Context, asked: Numbered) -> PlaceReply:
    found = versions.show(ctx, asked.name, _number(asked.version))
    return PlaceReply(artifact_uri=place_for(ctx, found.version))


def _search_versions(ctx: Context, asked: SeekVersions) -> VersionsReply:
    found = versions.search(
        ctx,
        where=asked.filter,
        order=asked.order_by,
        limit=check_size(asked.max_results, _MOST_VERSIONS),
        token=asked.page_token,
    )
    return VersionsReply(
        model_versions=[_version(each) for each in found.items], next_page_token=found.next_token
    )


def _describe_version(ctx: Context, asked: DescribedVersion) -> VersionReply:
    changed = versions.describe(ctx, asked.name, _number(asked.version), asked.description)
    return VersionReply(model_version=_version(changed))


def _stage(ctx: Context, asked: Staged) -> VersionReply:
    archive = asked.archive_existing_versions
    archive = _BY_R.get(archive, archive) if isinstance(archive, str) else archive
    if not isinstance(archive, bool):
        raise Invalid(
            f"Invalid value \"{shown(str(archive))}\" for parameter 'archive_existing_versions' supplied: "
            f"Hint: Value was of type '{type(archive).__name__}'.",
            hint="write true or false",
        )
    number, stage = _number(asked.version), read_stage(asked.stage)
    moved = transition(ctx, asked.name, number, stage, archive_others=archive)
    return VersionReply(model_version=_version(moved))


def _delete_version(ctx: Context, asked: Numbered) -> None:
    versions.delete(ctx, asked.name, _number(asked.version))


def _tag_version(ctx: Context, asked: TaggedVersion) -> None:
    versions.set_tag(ctx, asked.name, _number(asked.version), asked.key, asked.value or "")


def _untag_version(ctx: Context, asked: UntaggedVersion) -> None:
    versions.unset_tag(ctx, asked.name, _number(asked.version), asked.key)


# -- how they are told ---------------------------------------------------------------------


def tags_of(given: Iterable[Pair]) -> dict[str, str]:
    """Tags by name; of one that comes twice the last."""
    return {each.key: each.value or "" for each in given}


def _number(text: str) -> int:
    """A version's number; what no version can have stands for none."""
    try:
        found = int(text)
    except ValueError as error:
        raise Invalid(f"Parameter 'version' must be an integer, got '{shown(text)}'.") from error
    return found if 0 < found < 1 << 53 else 0


def _model_reply(found: RegisteredModel) -> ModelReply:
    return ModelReply(registered_model=_model(found))


def _model(found: RegisteredModel) -> ModelShown:
    asset = found.asset
    return ModelShown(
        name=asset.name,
        creation_timestamp=to_micros(asset.created_at) // 1000,
        last_updated_timestamp=to_micros(asset.updated_at or asset.created_at) // 1000,
        description=asset.description,
        latest_versions=[_version(each) for each in found.latest],
        tags=pairs(asset.tags),
        aliases=[AliasShown(alias=each.alias, version=str(each.number)) for each in found.aliases],
    )


def _whole_version(found: RegisteredVersion) -> VersionReply:
    return VersionReply(model_version=_version(found.version, found.aliases))


def _version(found: Version, aliases: tuple[str, ...] = ()) -> VersionShown:
    """Lists leave the aliases out, as MLflow's do: a model tells all of its own."""
    return VersionShown(
        name=found.name,
        version=str(found.number),
        creation_timestamp=to_micros(found.created_at) // 1000,
        last_updated_timestamp=to_micros(found.updated_at or found.created_at) // 1000,
        current_stage=stage_of(found).value,
        description=found.description,
        source=versions.source_of(found),
        run_id=found.run_id or "",
        run_link=str(found.facts.get("run_link", "")),
        status="READY",
        tags=pairs(found.tags),
        aliases=aliases,
    )
