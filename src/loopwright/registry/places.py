"""Where the files of a version are: at its origin while that still holds them, else in a home of its own."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.manifests import ManifestEntry
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.ports.ledger import Artifact, Transaction
from loopwright.registry.nouns import LOGGED
from loopwright.registry.sources import ModelFiles, RunFiles, read_source
from loopwright.registry.versions import place_of
from loopwright.tracking.homes import OF_VERSION, SCHEME

__all__ = ["OWNER", "place_for"]

OWNER = f"{OF_VERSION}:"
"""how the owner of a version's own files begins; its id follows"""


def place_for(ctx: Context, version: Version) -> str:
    """Where clients fetch the files of a version: those it was made of, whatever became of its origin.

    A version whose run or logged model lost or changed them since gets rows of its own for the same objects.
    """
    told = place_of(version)
    origin = _origin(told)
    if origin is None:
        return told
    entries = manifest_of(ctx, version).entries
    with ctx.read() as tx:
        if not entries or _holds(tx, ctx.space, *origin, entries):
            return told
        home = f"{SCHEME}versions/{version.id}/artifacts"
        if _holds(tx, ctx.space, OWNER + version.id, "", entries):
            return home
    ctx.write(lambda tx: _adopt(ctx, tx, version, entries))
    return home


def _origin(place: str) -> tuple[str, str] | None:
    """The owner and the folder a place means; None for what is kept by others, or is a version itself."""
    try:
        source = read_source(place)
    except Invalid:
        return None
    match source:
        case RunFiles():
            return f"run:{source.run_id}", source.folder
        case ModelFiles():
            return f"{LOGGED}:{source.model_id}", source.folder
    return None


def _holds(tx: Transaction, space: str, owner: str, folder: str, entries: Sequence[ManifestEntry]) -> bool:
    if not _is_there(tx, space, owner):
        return False
    if len(entries) == 1 and folder:
        single = tx.artifacts.get(space, owner, folder)
        if single is not None:
            return single.digest == entries[0].digest
    skip = len(folder) + 1 if folder else 0
    found = {file.path[skip:]: file.digest for file in tx.artifacts.under(space, owner, folder)}
    return found == {entry.path: entry.digest for entry in entries}


def _is_there(tx: Transaction, space: str, owner: str) -> bool:
    """Whether clients can still ask for the owner: a removed run or model has no address any more."""
    kind, _, name = owner.partition(":")
    if kind == LOGGED:
        model = tx.assets.find(space, LOGGED, name)
        return model is not None and model.deleted_at is None
    try:
        return kind != "run" or tx.runs.get(name).space == space
    except NotFound:
        return False


def _adopt(ctx: Context, tx: Transaction, version: Version, entries: Sequence[ManifestEntry]) -> None:
    for entry in entries:
        tx.artifacts.put(
            Artifact(
                space=ctx.space,
                owner=OWNER + version.id,
                path=entry.path,
                digest=entry.digest,
                size_bytes=entry.size_bytes,
                at=ctx.now(),
            )
        )
