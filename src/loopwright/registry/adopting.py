"""Takes in what another store kept of models: logged ones, and registered ones with all their versions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid, PolicyBlocked
from loopwright.core.manifests import Manifest, ManifestEntry, encode_manifest
from loopwright.core.nouns import Asset, Json, Link, LinkRole, Version
from loopwright.engine.context import Context
from loopwright.ports.histories import PastLogged, PastModel, PastModelPoint, PastVersion
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.registry.guarding import point
from loopwright.registry.logged import measure
from loopwright.registry.naming import (
    PROMPT_TEXT,
    VALUE_LIMIT,
    check_alias_name,
    check_model_name,
    is_prompt,
)
from loopwright.registry.nouns import KIND, LOGGED, LoggedModelState, ModelPoint, Stage
from loopwright.registry.origins import run_in
from loopwright.registry.ranking import words_of
from loopwright.registry.registered import noted_stages
from loopwright.registry.sources import PLACEHOLDERS, Elsewhere, ModelFiles, RunFiles, Source, read_source
from loopwright.tracking.adopting import (
    Adopted,
    Mark,
    NewFile,
    Notes,
    at_ms,
    kept_files,
    kept_texts,
    put_files,
    readable,
)
from loopwright.tracking.experiments import by_id
from loopwright.tracking.limits import PARAM

__all__ = ["Prepared", "adopt_logged", "adopt_model", "owner_of", "prepared"]

_MODEL_ID = re.compile(r"m-[0-9a-zA-Z_-]{1,60}\Z")
_IN_RUN = re.compile(r"/([A-Za-z0-9][A-Za-z0-9_-]{0,63})/artifacts(?:/|\Z)")
_IN_MODEL = re.compile(r"/models/(m-[0-9a-zA-Z_-]{1,60})/artifacts(?:/|\Z)")
_DESCRIPTION = 100_000
_NAME = 500
_NUMBERS = 1 << 31


# -- logged models -------------------------------------------------------------------------


def adopt_logged(
    ctx: Context,
    tx: Transaction,
    past: PastLogged,
    files: Sequence[NewFile],
    *,
    experiment_id: str,
    mark: Mark | None = None,
    overwrite: bool = False,
) -> Adopted:
    """Take a logged model in with its files and all that was measured of it, in the caller's unit of work."""
    if not _MODEL_ID.match(past.id):
        raise Invalid("the id of a logged model is none", hint="an id is m- and 32 hex digits")
    notes, _ = Notes(), by_id(ctx, tx, experiment_id)
    there = tx.assets.find(ctx.space, LOGGED, past.id)
    if there is not None and not overwrite and (mark is None or _logged_content(tx, there) != mark.kept):
        return Adopted(id=past.id, what="ours", content=_logged_content(tx, there))
    asset = _logged(ctx, past, experiment_id, there, notes)
    what = "new" if there is None else "changed"
    if there is None:
        tx.assets.add(asset)
    else:
        tx.measures.remove(asset.id, [line.name for line in words_of(there)])
        tx.assets.update(asset)
    tx.measures.put(words_of(asset if there is None else tx.assets.get(asset.id)))
    put_files(ctx, tx, f"{LOGGED}:{past.id}", kept_files(files, notes))
    if not past.is_deleted:
        measure(ctx, tx, [_point(past.id, each) for each in past.points])
    content = _logged_content(tx, asset)
    payload = {"asset": asset.id, "content": content, "what": what, "files": len(files)}
    ctx.record(tx, "asset.imported", Address(kind=LOGGED, name=past.id), payload)
    return Adopted(id=past.id, what=what, content=content, notes=dict(notes))


def _logged(ctx: Context, past: PastLogged, experiment_id: str, there: Asset | None, notes: Notes) -> Asset:
    updated = at_ms(past.updated_ms, notes)
    facts: Json = {
        "name": readable(past.name, notes)[:_NAME],
        "experiment_id": experiment_id,
        "artifact_uri": f"mlflow-artifacts:/{experiment_id}/models/{past.id}/artifacts",
        "state": _logged_state(past.status, notes),
        "model_type": readable(past.model_type, notes),
        "source_run_id": readable(past.source_run_id, notes),
        "params": kept_texts("params of logged models", past.params, PARAM, notes),
    }
    return Asset(
        id=there.id if there else ctx.new_id(),
        space=ctx.space,
        kind=LOGGED,
        name=past.id,
        created_at=at_ms(past.created_ms, notes) or ctx.now(),
        created_by=ctx.principal.name,
        tags=kept_texts("tags of logged models", past.tags, VALUE_LIMIT, notes),
        facts=facts,
        updated_at=updated,
        deleted_at=(updated or ctx.now()) if past.is_deleted else None,
    )


def _logged_state(status: str, notes: Notes) -> str:
    try:
        return LoggedModelState(status.lower()).value
    except ValueError:
        notes["states that are none, taken as pending"] += 1
        return LoggedModelState.PENDING.value


def _point(model_id: str, past: PastModelPoint) -> ModelPoint:
    return ModelPoint(
        model_id=model_id,
        run_id=past.run_id,
        key=past.key,
        value=float(past.value),
        step=past.step,
        at_us=past.at_ms * 1000,
        dataset_name=past.dataset_name,
        dataset_digest=past.dataset_digest,
    )


def _logged_content(tx: Transaction, asset: Asset) -> str:
    files = [
        [file.path, file.digest] for file in tx.artifacts.under(asset.space, f"{LOGGED}:{asset.name}", "")
    ]
    return digest_value([asset.facts, asset.tags, asset.deleted_at is None, files])


# -- registered models ---------------------------------------------------------------------


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A version whose manifest is an object already."""

    past: PastVersion
    digest: str
    size_bytes: int
    facts: Json


def prepared(ctx: Context, past: PastVersion, notes: Notes) -> Prepared:
    """What a version consists of here: the files of the run or logged model that its source names."""
    source, owner, folder = _source(ctx, past, notes)
    entries = _entries(ctx, owner, folder) if owner else ()
    if owner and not entries:
        notes["versions whose files are not here"] += 1
    told = {"run_link": readable(past.run_link, notes), "user": readable(past.user, notes)}
    facts = {"source": source, **told, **_owner_facts(ctx, owner, folder)}
    body = {"source": source, "run_id": past.run_id, "model_id": facts.get("model_id", "")}
    if is_prompt(past.tags):
        body = {"text": past.tags.get(PROMPT_TEXT, "")}
    manifest = Manifest(kind=KIND, entries=entries, body={key: told for key, told in body.items() if told})
    digest, data = encode_manifest(manifest)
    ctx.ports.objects.put(data)
    return Prepared(
        past=past,
        digest=digest,
        size_bytes=len(data) + sum(entry.size_bytes for entry in entries),
        facts={key: value for key, value in facts.items() if value},
    )


def _source(ctx: Context, past: PastVersion, notes: Notes) -> tuple[str, str, str]:
    """The source as it is kept, and the owner and folder of the files here, empty where there are none."""
    told = readable(past.source, notes)
    if is_prompt(past.tags):
        return (told if told in PLACEHOLDERS else "dummy-source"), "", ""
    for place in (told, past.storage):
        owner, folder = owner_of(place)
        if owner:
            is_ours = told.startswith(("models:/m-", "runs:/"))
            return (told if is_ours else _at_home(owner, folder)), owner, folder
    if isinstance(_read(told), Elsewhere):
        return told, "", ""
    notes["versions whose source is nowhere here"] += 1
    return "", "", ""


def owner_of(place: str) -> tuple[str, str]:
    """The run or logged model that an address lies in, by whichever of MLflow's layouts, and the folder."""
    source = _read(place)
    if isinstance(source, RunFiles):
        return f"run:{source.run_id}", source.folder
    if isinstance(source, ModelFiles):
        return f"{LOGGED}:{source.model_id}", source.folder
    for kind, pattern in ((LOGGED, _IN_MODEL), ("run", _IN_RUN)):
        found = pattern.search(place)
        if found is not None:
            return f"{kind}:{found[1]}", place[found.end() :].strip("/")
    return "", ""


def _read(place: str) -> Source | None:
    try:
        return read_source(place)
    except Invalid:
        return None


def _at_home(owner: str, folder: str) -> str:
    kind, _, name = owner.partition(":")
    return f"models:/{name}" if kind == LOGGED else f"runs:/{name}/{folder}"


def _owner_facts(ctx: Context, owner: str, folder: str) -> Json:
    """Where clients fetch the files, and the logged model they are of."""
    kind, _, name = owner.partition(":")
    if not owner:
        return {}
    with ctx.read() as tx:
        if kind == LOGGED:
            model = tx.assets.find(ctx.space, LOGGED, name)
            home = str(model.facts.get("artifact_uri", "")) if model else ""
        else:
            run = run_in(ctx, tx, name)
            home = str(run.facts.get("artifact_uri", "")) if run else ""
    place = f"{home}/{folder}".rstrip("/") if home else ""
    return {"place": place, **({"model_id": name} if kind == LOGGED else {})}


def _entries(ctx: Context, owner: str, folder: str) -> tuple[ManifestEntry, ...]:
    skip = len(folder) + 1 if folder else 0
    with ctx.read() as tx:
        found = list(tx.artifacts.under(ctx.space, owner, folder))
    return tuple(
        ManifestEntry(path=file.path[skip:], digest=file.digest, size_bytes=file.size_bytes) for file in found
    )


def adopt_model(
    ctx: Context,
    tx: Transaction,
    past: PastModel,
    versions: Sequence[Prepared],
    *,
    mark: Mark | None = None,
    overwrite: bool = False,
) -> Adopted:
    """Take a registered model in with its versions under their numbers, stages, tags and aliases.

    One that is here and was not taken in from the same source stays as it is, however it is asked.
    """
    notes = Notes()
    name = check_model_name(readable(past.name, notes))
    there = tx.assets.find(ctx.space, KIND, name)
    if there is not None and (mark is None or (not overwrite and _content(tx, there) != mark.kept)):
        return Adopted(id=there.id, what="ours", content=_content(tx, there))
    asset = _model(ctx, past, name, there, notes)
    if there is None:
        tx.assets.add(asset)
    else:
        tx.assets.update(asset)
    for each in versions:
        _keep_version(ctx, tx, asset, each, notes)
    _point_aliases(ctx, tx, asset, past.aliases, notes)
    asset = replace(noted_stages(tx, asset), updated_at=asset.updated_at)
    tx.assets.update(asset)
    content, what = _content(tx, asset), "new" if there is None else "changed"
    payload = {"asset": asset.id, "content": content, "what": what, "versions": len(versions)}
    ctx.record(tx, "asset.imported", Address(kind=KIND, name=name), payload)
    return Adopted(id=asset.id, what=what, content=content, notes=dict(notes))


def _model(ctx: Context, past: PastModel, name: str, there: Asset | None, notes: Notes) -> Asset:
    return Asset(
        id=there.id if there else ctx.new_id(),
        space=ctx.space,
        kind=KIND,
        name=name,
        created_at=_instant(ctx, past.created_ms, notes),
        created_by=there.created_by if there else ctx.principal.name,
        tags=kept_texts("tags of models", past.tags, VALUE_LIMIT, notes),
        description=readable(past.description, notes)[:_DESCRIPTION],
        facts=there.facts if there else {},
        updated_at=_instant(ctx, past.updated_ms, notes),
    )


def _instant(ctx: Context, millis: int, notes: Notes) -> datetime:
    return at_ms(millis, notes) or ctx.now()


def _keep_version(ctx: Context, tx: Transaction, asset: Asset, each: Prepared, notes: Notes) -> None:
    past = each.past
    if not 0 < past.number < _NUMBERS:
        notes["versions whose number is none"] += 1
        return
    there = tx.versions.get(asset.id, past.number)
    version = Version(
        id=there.id if there else ctx.new_id(),
        space=ctx.space,
        asset_id=asset.id,
        kind=KIND,
        name=asset.name,
        number=past.number,
        digest=each.digest,
        size_bytes=each.size_bytes,
        created_at=_instant(ctx, past.created_ms, notes),
        created_by=ctx.principal.name,
        run_id=readable(past.run_id, notes) or None,
        facts=each.facts,
        tags=kept_texts("tags of versions", past.tags, VALUE_LIMIT, notes),
        description=readable(past.description, notes)[:_DESCRIPTION],
        stage=_stage(past.stage, notes),
        updated_at=at_ms(past.updated_ms, notes),
    )
    if there is not None:
        tx.versions.update(replace(version, deleted_at=there.deleted_at))
        return
    tx.versions.add(version)
    if version.run_id and run_in(ctx, tx, version.run_id) is not None:
        made = Link(run_id=version.run_id, role=LinkRole.OUTPUT, version=version.ref, at=version.created_at)
        tx.runs.link(made)
    ctx.record(tx, "version.published", version.ref, {"digest": version.digest, "run": version.run_id})


def _stage(stage: str, notes: Notes) -> str:
    if not stage:
        return ""
    if stage not in set(Stage):
        notes["stages that are none"] += 1
        return ""
    return "" if stage == Stage.NONE else stage


def _point_aliases(
    ctx: Context, tx: Transaction, asset: Asset, aliases: Mapping[str, int], notes: Notes
) -> None:
    """Point aliases as they pointed there; those that policies guard here, or that may not be, stay."""
    for alias, number in aliases.items():
        version = tx.versions.get(asset.id, number) if 0 < number < _NUMBERS else None
        if version is None or version.deleted_at is not None:
            notes["aliases of versions that are not there"] += 1
            continue
        try:
            point(ctx, tx, version, check_alias_name(alias), "imported")
        except PolicyBlocked:
            notes["aliases that policies guard here"] += 1
        except Invalid:
            notes["aliases whose name may not be"] += 1


def _content(tx: Transaction, asset: Asset) -> str:
    versions: list[Json] = []
    token = ""
    while True:
        page = tx.versions.page(asset.id, PageRequest(limit=1000, token=token))
        versions += [
            {"n": v.number, "d": v.digest, "t": v.tags, "x": v.description, "s": v.stage, "g": v.deleted_at}
            for v in page.items
        ]
        token = page.next_token
        if not token:
            break
    aliases = {each.alias: each.number for each in tx.aliases.of(asset.id)}
    return digest_value([asset.name, asset.tags, asset.description, versions, aliases])
