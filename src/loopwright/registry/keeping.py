"""Brings packages of models in from a caller's machine and hands their files out again, by digest."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loopwright.core.addresses import AssetName
from loopwright.core.errors import Invalid, NotFound, TooLarge
from loopwright.core.manifests import ManifestEntry
from loopwright.core.nouns import LinkRole, Version
from loopwright.engine.context import Context
from loopwright.engine.operation import Blob, Upload, operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import Artifact, Transaction
from loopwright.registry import logged, registered, versions
from loopwright.registry.framing import unframed
from loopwright.registry.mlmodel import MLMODEL
from loopwright.registry.nouns import KIND, LOGGED, LoggedModel, LoggedModelState, NewVersion
from loopwright.registry.origins import files_under, run_in, version_meant
from loopwright.registry.packages import META, SIGNATURE, read_package
from loopwright.registry.sources import Elsewhere, ModelFiles, OtherVersion, RunFiles, read_source
from loopwright.tracking.experiments import DEFAULT_ID
from loopwright.tracking.inputs import ModelUse, log_outputs
from loopwright.tracking.paths import file_path, name_of

__all__ = ["ModelFolder", "download", "folder", "log", "register"]

_OWN = f"{KIND}:"
_READ_WHOLE = 16 << 20
"""bytes of a file that is read to tell whether the others are what was signed"""


class ModelFolder(msgspec.Struct, frozen=True, kw_only=True):
    """The files a source means, and the version it is, where it is one."""

    files: tuple[ManifestEntry, ...]
    version: Version | None = None


@operation("registry.folder", scope="model:read", route="GET /model-files")
def folder(ctx: Context, source: str) -> ModelFolder:
    """List the files of a model: `model:NAME@3`, `models:/NAME@ALIAS`, `models:/m-ID` or `runs:/RUN/PATH`.

    A version becomes an input of the current run.
    """
    found = _found(ctx, source)
    version = found.version
    if version is not None and ctx.run_id is not None:
        ref = version.ref
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, ref))
    return found


@operation("registry.download", scope="model:read", route="GET /model-files/content")
def download(ctx: Context, source: str, path: str) -> Blob:
    """Download one file of a model."""
    asked = file_path(path)
    entry = next((each for each in _found(ctx, source).files if each.path == asked), None)
    if entry is None:
        raise NotFound("the model has no such file", hint=f"loopwright registry folder {source[:200]}")
    return Blob(
        file=ctx.ports.objects.open(entry.digest), size_bytes=entry.size_bytes, filename=name_of(entry.path)
    )


def _found(ctx: Context, source: str) -> ModelFolder:
    if source.startswith(_OWN):
        return _of_version(ctx, resolve(ctx, source, kind=KIND))
    meant = read_source(source)
    with ctx.read() as tx:
        match meant:
            case OtherVersion():
                return _of_version(ctx, version_meant(ctx, tx, meant))
            case ModelFiles(model_id, path):
                files = files_under(ctx, tx, f"{LOGGED}:{model_id}", path)
            case RunFiles(run_id, path):
                ctx.require("run:read")
                files = _in_run(ctx, tx, run_id, path)
            case Elsewhere():
                raise Invalid(
                    "the model is in a store of others, which is not read from here",
                    hint="fetch its folder, and load that",
                    where="source",
                )
    if not files:
        raise NotFound("there are no files of a model at that place", hint="runs artifacts RUN lists a run's")
    return ModelFolder(files=files)


def _of_version(ctx: Context, version: Version) -> ModelFolder:
    return ModelFolder(files=manifest_of(ctx, version).entries, version=version)


def _in_run(ctx: Context, tx: Transaction, run_id: str, path: str) -> tuple[ManifestEntry, ...]:
    """The files at a path of a run, or those of the model of that name that it logged."""
    run = run_in(ctx, tx, run_id)
    if run is None:
        raise NotFound(f"there is no run:{run_id[:100]}", hint="loopwright runs list")
    files = files_under(ctx, tx, f"run:{run_id}", path)
    if files:
        return files
    for told in run.facts.get("model_outputs", ()):
        asset = tx.assets.find(ctx.space, LOGGED, str(told.get("model_id", "")))
        if asset is not None and asset.deleted_at is None and asset.facts.get("name") == path:
            return files_under(ctx, tx, f"{LOGGED}:{asset.name}", "")
    return ()


@operation("registry.log", scope="model:write", route="POST /logged-models")
def log(ctx: Context, name: str, upload: Upload, *, run_id: str | None = None) -> LoggedModel:
    """Keep a package of a model: its files, one after the other, as `lw.save_model` made them.

    It belongs to the run when one is named, and its files are then among that run's as well. `Untrusted` when
    a file is not what was signed.
    """
    file_path(name)
    if run_id is not None:
        ctx.require("run:write")
    entries = [
        ManifestEntry(path=path, digest=digest, size_bytes=size)
        for path, pieces in unframed(upload.chunks)
        for digest, size in [ctx.ports.objects.put_stream(pieces)]
    ]
    _check(ctx, entries)
    with ctx.read() as tx:
        experiment_id = _experiment(ctx, tx, run_id)
    model = logged.create(ctx, experiment_id, name, source_run_id=run_id or "")
    owners = [(f"{LOGGED}:{model.id}", "")] + ([(f"run:{run_id}", f"{name}/")] if run_id else [])
    ctx.write(lambda tx: _keep(ctx, tx, owners, entries))
    if run_id:
        log_outputs(ctx, run_id, [ModelUse(model_id=model.id)])
    return logged.finalize(ctx, model.id, LoggedModelState.READY)


def _check(ctx: Context, entries: Sequence[ManifestEntry]) -> None:
    """Whether it is a package, whole as it was signed; its model is not looked into."""
    small = {MLMODEL, META, SIGNATURE}
    great = next((e for e in entries if e.path in small and e.size_bytes > _READ_WHOLE), None)
    if great is not None:
        raise TooLarge(
            f"{great.path} has {great.size_bytes:,} bytes",
            hint=f"it has at most {_READ_WHOLE:,}",
            where=great.path,
        )
    files = {e.path: ctx.ports.objects.get(e.digest) if e.path in small else b"" for e in entries}
    read_package(files, ctx.ports.packagers, ctx.ports.signer, digests={e.path: e.digest for e in entries})


def _experiment(ctx: Context, tx: Transaction, run_id: str | None) -> str:
    if run_id is None:
        return DEFAULT_ID
    run = run_in(ctx, tx, run_id)
    if run is None:
        raise NotFound(f"there is no run:{run_id[:100]}", hint="loopwright runs list")
    asset = tx.assets.find(ctx.space, "experiment", run.experiment) if run.experiment else None
    return DEFAULT_ID if asset is None else asset.id


def _keep(
    ctx: Context, tx: Transaction, owners: Sequence[tuple[str, str]], entries: Sequence[ManifestEntry]
) -> None:
    at = ctx.now()
    for owner, prefix in owners:
        for stale in list(tx.artifacts.under(ctx.space, owner, prefix.removesuffix("/"))) if prefix else ():
            tx.artifacts.remove(ctx.space, owner, stale.path)
        for entry in entries:
            tx.artifacts.put(
                Artifact(
                    space=ctx.space,
                    owner=owner,
                    path=prefix + entry.path,
                    digest=entry.digest,
                    size_bytes=entry.size_bytes,
                    at=at,
                )
            )


@operation("registry.register", scope="model:write", route="POST /models/{name}/versions")
def register(
    ctx: Context,
    name: AssetName,
    source: str,
    *,
    description: str = "",
    tags: dict[str, str] | None = None,
) -> Version:
    """Make the next version of a model of files that are there (see `registry folder`)."""
    meant = read_source(source)
    new = NewVersion(source=source, description=description, tags=tags or {})
    match meant:
        case ModelFiles(model_id, _):
            new = msgspec.structs.replace(new, model_id=model_id)
        case RunFiles(run_id, _):
            new = msgspec.structs.replace(new, run_id=run_id)
    with ctx.read() as tx:
        is_there = tx.assets.find(ctx.space, KIND, name) is not None
    if not is_there:
        registered.create(ctx, name)
    return versions.create(ctx, name, new)
