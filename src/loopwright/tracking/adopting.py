"""Takes in what another store kept: experiments and runs with their ids, times, points and files.

What cannot be kept as it is (a name that is none, a number out of range, a text too long) is left out or cut,
and noted; the rest of the run is kept. What was changed here since it came in is left as it is, unless
that is asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import from_micros
from loopwright.core.nouns import Asset, Json, MetricPoint, Run, RunState
from loopwright.engine.context import Context
from loopwright.ports.histories import PastDataset, PastExperiment, PastRun
from loopwright.ports.ledger import Artifact, Transaction
from loopwright.tracking.experiments import KIND, by_id
from loopwright.tracking.inputs import DatasetRead, ModelUse
from loopwright.tracking.lifecycle import PARENT_TAG
from loopwright.tracking.limits import PARAM, TAG, check_keys
from loopwright.tracking.paths import file_path

__all__ = [
    "BAD_PATH",
    "DENIED_FILES",
    "FOLDER_TOO",
    "GONE_FILES",
    "Adopted",
    "Mark",
    "NewFile",
    "Notes",
    "adopt_experiment",
    "adopt_run",
    "at_ms",
    "kept_files",
    "kept_texts",
    "put_files",
    "readable",
    "run_content",
    "sorted_files",
]

Notes = Counter[str]
"""what was left out or changed, and how often"""

BAD_PATH, FOLDER_TOO = "files whose path may not be", "files that are folders too"
DENIED_FILES, GONE_FILES = "files outside what may be read", "files that are gone"
"""why files are left out, these two since they cannot be read where they are"""
_EXPERIMENT_TAG = 100_000
_NAME = 500
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_EXPERIMENT_ID = re.compile(r"\d{1,32}\Z")
_LAST_MS = 253_402_300_799_999
_LARGEST = 1 << 63
_ANCESTORS = 1_000
_CONTEXT = "mlflow.data.context"
_DATASET = {"name": 500, "digest": 36, "schema": 1_048_575, "profile": 16_777_215}
_SOURCE = 65_535


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came with a run or a model: its bytes are an object already."""

    path: str
    digest: str
    size_bytes: int


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What an import remembers of a thing that it took in."""

    id: str
    """the id it has here"""
    seen: str
    """digest of what the source told of it"""
    kept: str
    """digest of what was here afterwards: another one now means that somebody changed it since"""


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a thing: `new`, `changed`, `joined` (an experiment with one of its name), or `ours`.

    What is `ours` was changed here, or was here before, and was left as it is.
    """

    id: str
    what: str
    content: str
    notes: dict[str, int] = {}


def readable(text: str, notes: Notes) -> str:
    """The text as every store can hold it: without NUL and halves of characters."""
    if "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    notes["texts with characters that cannot be kept"] += 1
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def kept_texts(what: str, found: dict[str, str], limit: int, notes: Notes) -> dict[str, str]:
    """Params or tags as they may be kept: keys that are none are left out, values over the limit cut."""
    kept = {}
    for key, value in found.items():
        if not _is_key(key):
            notes[f"{what} whose name is none"] += 1
            continue
        plain = readable(value, notes)
        if len(plain) > limit:
            notes[f"{what} cut to {limit:,} characters"] += 1
        kept[key] = plain[:limit]
    return kept


def _is_key(key: str) -> bool:
    try:
        check_keys([key], "key", "key")
    except Invalid:
        return False
    return bool(key)


def at_ms(millis: int | None, notes: Notes) -> datetime | None:
    """The instant of milliseconds; none, and noted, for one that no calendar has."""
    if millis is None:
        return None
    if not 0 <= millis <= _LAST_MS:
        notes["times out of range"] += 1
        return None
    return from_micros(millis * 1000)


# -- experiments ---------------------------------------------------------------------------


def adopt_experiment(
    ctx: Context, tx: Transaction, past: PastExperiment, mark: Mark | None, *, overwrite: bool = False
) -> Adopted:
    """Take an experiment in: with its id where that is free; into the one of its name where there is one."""
    notes = Notes()
    wanted = _experiment(ctx, past, notes)
    there = _experiment_there(tx, wanted, mark)
    if there is None:
        if not _is_free(tx, wanted.id):
            notes["experiments under another id"] += 1
            wanted = replace(wanted, id=ctx.new_id())
        tx.assets.add(wanted)
        return _told_experiment(ctx, tx, wanted, "new", notes)
    if mark is None:
        return Adopted(id=there.id, what="joined", content="", notes=dict(notes))
    if overwrite or _experiment_content(there) == mark.kept:
        changed = replace(wanted, id=there.id, created_at=there.created_at, name=there.name)
        changed = _renamed(tx, changed, wanted.name, notes)
        tx.assets.update(changed)
        return _told_experiment(ctx, tx, changed, "changed", notes)
    return Adopted(id=there.id, what="ours", content=_experiment_content(there), notes=dict(notes))


def _experiment(ctx: Context, past: PastExperiment, notes: Notes) -> Asset:
    name = readable(past.name, notes).strip()[:_NAME]
    if not name:
        raise Invalid("an experiment has no name", hint="name it, then import again")
    now = ctx.now()
    updated = at_ms(past.updated_ms, notes)
    return Asset(
        id=past.id if _EXPERIMENT_ID.match(past.id) else ctx.new_id(),
        space=ctx.space,
        kind=KIND,
        name=name,
        created_at=at_ms(past.created_ms, notes) or now,
        created_by=ctx.principal.name,
        tags=kept_texts("experiment tags", past.tags, _EXPERIMENT_TAG, notes),
        updated_at=updated,
        deleted_at=(updated or now) if past.is_deleted else None,
    )


def _experiment_there(tx: Transaction, wanted: Asset, mark: Mark | None) -> Asset | None:
    """The experiment that was made of it before, or has its name."""
    if mark is not None:
        try:
            return tx.assets.get(mark.id)
        except NotFound:
            pass
    return tx.assets.find(wanted.space, KIND, wanted.name)


def _is_free(tx: Transaction, asset_id: str) -> bool:
    try:
        tx.assets.get(asset_id)
    except NotFound:
        return True
    return False


def _renamed(tx: Transaction, asset: Asset, name: str, notes: Notes) -> Asset:
    if asset.name == name:
        return asset
    if tx.assets.find(asset.space, KIND, name) is not None:
        notes["new names that are taken here"] += 1
        return asset
    return replace(asset, name=name)


def _experiment_content(asset: Asset) -> str:
    return digest_value([asset.name, asset.tags, asset.deleted_at is None])


def _told_experiment(ctx: Context, tx: Transaction, asset: Asset, what: str, notes: Notes) -> Adopted:
    content = _experiment_content(asset)
    payload = {"asset": asset.id, "content": content, "what": what}
    ctx.record(tx, "asset.imported", Address(kind=KIND, name=asset.name), payload)
    return Adopted(id=asset.id, what=what, content=content, notes=dict(notes))


# -- runs ----------------------------------------------------------------------------------


def adopt_run(
    ctx: Context,
    tx: Transaction,
    past: PastRun,
    points: Iterable[Sequence[MetricPoint]],
    files: Sequence[NewFile],
    *,
    experiment_id: str,
    mark: Mark | None = None,
    overwrite: bool = False,
) -> Adopted:
    """Take a run in with all its points and files, in the caller's unit of work: whole or not at all.

    `Invalid` when its id is none, or that of another run.
    """
    notes = Notes()
    experiment = by_id(ctx, tx, experiment_id)
    there = _run_there(ctx, tx, past.id)
    if there is not None and not overwrite and (mark is None or run_content(tx, there) != mark.kept):
        return Adopted(id=past.id, what="ours", content=run_content(tx, there), notes={})
    run = _run(ctx, tx, past, experiment, notes)
    what = "new" if there is None else "changed"
    if there is None:
        tx.runs.add(run)
    else:
        tx.runs.update(replace(run, facts={**there.facts, **run.facts}, created_by=there.created_by))
    count = sum(_logged(tx, run.id, batch, notes) for batch in points)
    put_files(ctx, tx, f"run:{run.id}", kept_files(files, notes))
    content = run_content(tx, tx.runs.get(run.id))
    payload = {"content": content, "what": what, "points": count, "files": len(files)}
    ctx.record(tx, "run.imported", f"run:{run.id}", payload)
    return Adopted(id=run.id, what=what, content=content, notes=dict(notes))


def _run_there(ctx: Context, tx: Transaction, run_id: str) -> Run | None:
    if not _RUN_ID.match(run_id):
        raise Invalid("the id of a run is none", hint="an id has letters and digits, 64 at most")
    try:
        there = tx.runs.get(run_id)
    except NotFound:
        return None
    if there.space != ctx.space:
        raise Invalid(f"run:{run_id} is in another space already", hint="import into that space")
    return there


def _run(ctx: Context, tx: Transaction, past: PastRun, experiment: Asset, notes: Notes) -> Run:
    started = at_ms(past.started_ms, notes)
    tags = kept_texts("tags", past.tags, TAG, notes)
    return Run(
        id=past.id,
        space=ctx.space,
        kind="run",
        name=readable(past.name, notes)[:_NAME],
        state=_state(past.status, notes),
        created_at=started or experiment.created_at,
        created_by=ctx.principal.name,
        experiment=experiment.name,
        parent_id=_parent(tx, past.id, tags.get(PARENT_TAG), notes),
        started_at=started,
        ended_at=at_ms(past.ended_ms, notes),
        params=kept_texts("params", past.params, PARAM, notes),
        tags=tags,
        facts=_facts(past, experiment, notes),
        deleted_at=_deleted_at(ctx, past, experiment, notes),
    )


def _state(status: str, notes: Notes) -> RunState:
    try:
        return RunState(status.lower())
    except ValueError:
        notes["states that are none, taken as failed"] += 1
        return RunState.FAILED


def _deleted_at(ctx: Context, past: PastRun, experiment: Asset, notes: Notes) -> datetime | None:
    """Since when it is in the trash: with its experiment where both are, so that both come back."""
    if not past.is_deleted:
        return None
    return experiment.deleted_at or at_ms(past.deleted_ms, notes) or ctx.now()


def _parent(tx: Transaction, run_id: str, parent: str | None, notes: Notes) -> str | None:
    """The parent, but where it is the run itself or below it: nobody then could walk up."""
    if not parent or not _RUN_ID.match(parent):
        return None
    above: str | None = parent
    for _ in range(_ANCESTORS):
        if above is None:
            return parent
        if above == run_id:
            break
        try:
            above = tx.runs.get(above).parent_id
        except NotFound:
            return parent
    notes["parents that are below their children"] += 1
    return None


def _facts(past: PastRun, experiment: Asset, notes: Notes) -> Json:
    facts: Json = {
        "experiment_id": experiment.id,
        "artifact_uri": f"mlflow-artifacts:/{experiment.id}/{past.id}/artifacts",
    }
    if past.user:
        facts["user_id"] = readable(past.user, notes)[:_NAME]
    lists = {
        "datasets": [read for each in past.datasets if (read := _dataset(each, notes)) is not None],
        "model_inputs": [ModelUse(model_id=readable(each, notes)) for each in past.model_inputs],
        "model_outputs": [
            ModelUse(model_id=readable(each.model_id, notes), step=each.step) for each in past.model_outputs
        ],
    }
    return facts | {name: msgspec.to_builtins(found) for name, found in lists.items() if found}


def _dataset(past: PastDataset, notes: Notes) -> DatasetRead | None:
    if any(len(getattr(past, name) or "") > limit for name, limit in _DATASET.items()):
        notes["datasets whose description is too long"] += 1
        return None
    return DatasetRead(
        name=readable(past.name, notes),
        digest=readable(past.digest, notes),
        source_type=readable(past.source_type, notes),
        source=readable(past.source, notes)[:_SOURCE],
        schema=None if past.schema is None else readable(past.schema, notes),
        profile=None if past.profile is None else readable(past.profile, notes),
        context=past.tags.get(_CONTEXT),
        tags={readable(key, notes): readable(value, notes) for key, value in past.tags.items()},
    )


def _logged(tx: Transaction, run_id: str, batch: Sequence[MetricPoint], notes: Notes) -> int:
    """Keep points of one metric; how many."""
    if not batch:
        return 0
    if not _is_key(batch[0].key):
        notes["points whose metric's name is none"] += len(batch)
        return 0
    kept = [point for point in batch if _is_storable(point)]
    if len(kept) < len(batch):
        notes["points out of range"] += len(batch) - len(kept)
    tx.metrics.log(run_id, kept)
    return len(kept)


def _is_storable(point: MetricPoint) -> bool:
    return -_LARGEST <= point.step < _LARGEST and -_LARGEST <= point.at_us < _LARGEST


def run_content(tx: Transaction, run: Run) -> str:
    """Digest of what a run is: all but the points below the newest of each metric."""
    latest = [
        [key, repr(point.value), point.step, point.at_us]
        for key, point in sorted(tx.metrics.latest(run.id).items())
    ]
    files = [[file.path, file.digest] for file in tx.artifacts.under(run.space, f"run:{run.id}", "")]
    about = [run.name, run.state, run.params, run.tags, run.facts, run.ended_at, run.deleted_at is None]
    return digest_value([*about, latest, files])


# -- files ---------------------------------------------------------------------------------


def kept_files(files: Sequence[NewFile], notes: Notes) -> Iterator[NewFile]:
    """The files whose paths are harmless to whoever writes them to a disk, and no folders at once."""
    kept, left_out = sorted_files(files)
    notes.update(why for _, why in left_out)
    yield from kept


def sorted_files(files: Sequence[NewFile]) -> tuple[list[NewFile], list[tuple[str, str]]]:
    """The files that are kept, and of those that are not the path with the reason."""
    sound: dict[str, NewFile] = {}
    left_out: list[tuple[str, str]] = []
    for file in files:
        try:
            checked = file_path(file.path)
        except Invalid:
            left_out.append((file.path, BAD_PATH))
            continue
        sound[checked] = replace(file, path=checked)
    folders = {path[:at] for path in sound for at, char in enumerate(path) if char == "/"}
    left_out += [(path, FOLDER_TOO) for path in sound if path in folders]
    return [file for path, file in sound.items() if path not in folders], left_out


def put_files(ctx: Context, tx: Transaction, owner: str, files: Iterable[NewFile]) -> None:
    """Make or replace files of an owner; none is ever taken away."""
    for file in files:
        made = Artifact(
            space=ctx.space,
            owner=owner,
            path=file.path,
            digest=file.digest,
            size_bytes=file.size_bytes,
            at=ctx.now(),
        )
        tx.artifacts.put(made)
