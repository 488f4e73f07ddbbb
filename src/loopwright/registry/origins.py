"""Finds what a version brought along is made of: whose files, from which run, at which place."""

from __future__ import annotations

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.manifests import ManifestEntry
from loopwright.core.nouns import Json, Run, Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.ports.ledger import Transaction
from loopwright.registry.naming import PROMPT_TEXT, is_prompt
from loopwright.registry.nouns import KIND, LOGGED, NewVersion, Stage
from loopwright.registry.registered import model_of, stage_of
from loopwright.registry.sources import (
    PLACEHOLDERS,
    Elsewhere,
    ModelFiles,
    OtherVersion,
    RunFiles,
    Source,
    read_source,
)

__all__ = ["NEWEST", "Origin", "files_under", "origin_of", "run_in", "version_at", "version_meant"]


NEWEST = "latest"
"""the reserved alias, in letters of either size, that no one sets: the highest number"""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a new version consists of, and where it says it comes from."""

    source: str
    place: str
    """where clients fetch the files: the source, but where that names a model"""
    run_id: str = ""
    model_id: str = ""
    entries: tuple[ManifestEntry, ...] = ()
    body: Json = {}
    """more of the manifest's body: a prompt's text"""


def origin_of(ctx: Context, tx: Transaction, new: NewVersion) -> Origin:
    """The origin of a version as its maker tells it; `Invalid` where the parts do not fit each other.

    A place in our own artifacts has to be in the run or model that is named with it. `NotFound` for a version
    that is none.
    """
    if is_prompt(new.tags):
        return _prompt(new)
    source = read_source(new.source)
    if isinstance(source, OtherVersion):
        return _from_version(ctx, tx, new, source)
    if new.model_id:
        return _of_model(ctx, tx, new, source)
    return _of_run(ctx, tx, new, source)


def _prompt(new: NewVersion) -> Origin:
    if new.source not in PLACEHOLDERS:
        raise Invalid("Invalid prompt source: a prompt has no files", hint="say 'dummy-source'")
    body = {"text": new.tags.get(PROMPT_TEXT, "")}
    return Origin(
        source=new.source, place=new.source, run_id=new.run_id or "", model_id=new.model_id or "", body=body
    )


def _of_run(ctx: Context, tx: Transaction, new: NewVersion, source: Source) -> Origin:
    run_id = new.run_id or ""
    if isinstance(source, Elsewhere):
        return Origin(source=new.source, place=new.source, run_id=run_id)
    run = run_in(ctx, tx, run_id)
    if not isinstance(source, RunFiles) or run is None or not _is_in(source, run):
        raise _unowned("model_id" if isinstance(source, ModelFiles) else "run_id")
    entries = files_under(ctx, tx, f"run:{run.id}", source.folder)
    return Origin(source=new.source, place=new.source, run_id=run_id, entries=entries)


def _is_in(source: RunFiles, run: Run) -> bool:
    """Whether it is the run's, and the experiment of the address, where one is named, that of its files."""
    told = str(run.facts.get("artifact_uri", ""))
    is_home = not source.home or not told or told.startswith(f"mlflow-artifacts:/{source.home}/")
    return source.run_id == run.id and is_home


def _of_model(ctx: Context, tx: Transaction, new: NewVersion, source: Source) -> Origin:
    model_id = new.model_id or ""
    model = tx.assets.find(ctx.space, LOGGED, model_id)
    if model is None or model.deleted_at is not None:
        raise _unowned("model_id")
    run_id = new.run_id or str(model.facts.get("source_run_id", ""))
    if isinstance(source, Elsewhere):
        return Origin(source=new.source, place=new.source, run_id=run_id, model_id=model_id)
    if not isinstance(source, ModelFiles) or source.model_id != model_id:
        raise _unowned("model_id")
    home = str(model.facts.get("artifact_uri", ""))
    return Origin(
        source=new.source,
        place=f"{home}/{source.folder}" if source.folder else home,
        run_id=run_id,
        model_id=model_id,
        entries=files_under(ctx, tx, f"{LOGGED}:{model_id}", source.folder),
    )


def _from_version(ctx: Context, tx: Transaction, new: NewVersion, source: OtherVersion) -> Origin:
    other = version_meant(ctx, tx, source)
    run_id, model_id = other.run_id or "", str(other.facts.get("model_id", ""))
    told = ((new.run_id, run_id), (new.model_id, model_id))
    if any(said is not None and said != known for said, known in told):
        raise Invalid(
            "Invalid model version source: run_id and model_id are not those of the version it names",
            hint="leave both out",
        )
    if is_prompt(other.tags):
        raise Invalid("Invalid model version source: it names a prompt", hint="name a version of a model")
    address = f"models:/{other.name}/{other.number}"
    return Origin(
        source=address,
        place=str(other.facts.get("place") or other.facts.get("source") or address),
        run_id=run_id,
        model_id=model_id,
        entries=manifest_of(ctx, other).entries,
    )


def version_meant(ctx: Context, tx: Transaction, source: OtherVersion) -> Version:
    """The registered version a source names; `NotFound` or `Invalid` when there is none."""
    asset = model_of(ctx, tx, source.name)
    if source.is_alias and source.selector.lower() != NEWEST:
        alias = tx.aliases.get(asset.id, source.selector)
        if alias is None:
            raise Invalid(f"Registered model alias {source.selector[:100]} not found.")
        return version_at(ctx, tx, source.name, alias.number)
    if source.selector.isdecimal():
        return version_at(ctx, tx, source.name, int(source.selector[:18]))
    is_newest = source.selector.lower() == NEWEST
    stage = next((each for each in Stage if each.lower() == source.selector.lower()), None)
    versions = [each for each in tx.versions.among(ctx.space, KIND, name=asset.name) if not each.deleted_at]
    if not is_newest:
        versions = [each for each in versions if stage_of(each) == stage]
    if not versions:
        raise NotFound(
            f"model:{source.name} has no version {source.selector[:100]!r}",
            hint="name one that is there, or an alias",
        )
    return max(versions, key=lambda version: version.number)


def version_at(ctx: Context, tx: Transaction, name: str, number: int) -> Version:
    """The version of that number, else `NotFound`, also when there is no such model."""
    asset = tx.assets.find(ctx.space, KIND, name)
    found = None if asset is None or asset.deleted_at else tx.versions.get(asset.id, number)
    if found is None or found.deleted_at is not None:
        raise NotFound(
            f"Model Version (name={name[:200]}, version={number}) not found",
            hint="loopwright assets versions model NAME lists them",
        )
    return found


def run_in(ctx: Context, tx: Transaction, run_id: str) -> Run | None:
    """The run of that id in the caller's space, or None."""
    try:
        run = tx.runs.get(run_id)
    except NotFound:
        return None
    return run if run.space == ctx.space else None


def files_under(ctx: Context, tx: Transaction, owner: str, folder: str) -> tuple[ManifestEntry, ...]:
    """The files below a folder, or the one file that it is, under their paths in it."""
    single = tx.artifacts.get(ctx.space, owner, folder) if folder else None
    found = [single] if single is not None else list(tx.artifacts.under(ctx.space, owner, folder))
    skip = len(folder) + 1 if folder else 0
    return tuple(
        ManifestEntry(
            path=each.path[skip:] or each.path.rpartition("/")[2],
            digest=each.digest,
            size_bytes=each.size_bytes,
        )
        for each in found
    )


def _unowned(parameter: str) -> Invalid:
    return Invalid(
        f"Invalid model version source: the {parameter} request parameter must identify what contains it.",
        hint="name the run or the logged model whose files they are",
        where="source",
    )
