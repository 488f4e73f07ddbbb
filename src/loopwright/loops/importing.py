"""Takes in histories of others, parcel by parcel: each is here whole, with a mark of what it was, or not.

The reading side (`bringing`) is where the history is, with the rights of whoever reads it there: nothing here
ever opens an address that a parcel tells.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import msgspec

from loopwright.core.errors import Invalid, TooLarge
from loopwright.engine.context import Context
from loopwright.engine.operation import Upload, operation
from loopwright.llm.adopting import adopt_trace
from loopwright.llm.adopting_datasets import adopt_evaluation
from loopwright.loops.parcels import (
    EvaluationParcel,
    ExperimentParcel,
    LoggedParcel,
    ModelParcel,
    Parcel,
    RunParcel,
    TraceParcel,
    points_of,
    read_parcel,
    records_of,
    versions_of,
)
from loopwright.ports.ledger import Transaction
from loopwright.registry.adopting import Prepared, adopt_logged, adopt_model, prepared
from loopwright.tracking.adopting import Adopted, Mark, NewFile, Notes, adopt_experiment, adopt_run

__all__ = ["Kept", "keep", "marks", "take"]

_SOURCE = re.compile(r"[0-9a-f]{16,64}\Z")
_IN_MEMORY = 16 << 20
_LARGEST = 4 << 30
_VERSIONS = 100_000


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are an object now."""

    digest: str
    size_bytes: int


@operation("imports.marks", scope="import:read", route="GET /imports/{source}/marks")
def marks(ctx: Context, source: str, *, prefix: str) -> dict[str, Mark]:
    """Show what was taken in of a source under a prefix (`experiment/`, `run/7/`), by key."""
    collection = _collection(source)
    with ctx.read() as tx:
        found = tx.documents.all(ctx.space, collection, start=prefix, end=f"{prefix}\U0010ffff")
    return {key: msgspec.convert(body, Mark) for key, body in found.items()}


@operation("imports.keep", scope="import:write", route="POST /imports/objects")
def keep(ctx: Context, content: Upload) -> Kept:
    """Keep a file's bytes, to be named by a parcel that follows."""
    digest, size_bytes = ctx.ports.objects.put_stream(content.chunks)
    return Kept(digest=digest, size_bytes=size_bytes)


@operation("imports.take", scope="import:write", route="POST /imports/{source}/parcels")
def take(ctx: Context, source: str, parcel: Upload, *, overwrite: bool = False) -> Adopted:
    """Take one thing in with all that belongs to it, and a mark of it; a second time changes nothing.

    What was changed here since it came in is left as it is unless `overwrite` says otherwise.
    """
    collection = _collection(source)
    with _spooled(parcel.chunks) as file:
        told = read_parcel(file)
        rest = file.tell()
        _check_files(ctx, told)
        versions = _versions(ctx, file) if isinstance(told, ModelParcel) else ([], Notes())

        def work(tx: Transaction) -> Adopted:
            file.seek(rest)
            body = tx.documents.get(ctx.space, collection, told.key)
            mark = None if body is None else msgspec.convert(body, Mark)
            adopt = _Adopting(ctx=ctx, tx=tx, mark=mark, overwrite=overwrite)
            done = adopt.take(told, file, versions[0])
            if done.what != "ours":
                made = Mark(id=done.id, seen=told.seen, kept=done.content)
                tx.documents.put(ctx.space, collection, told.key, msgspec.to_builtins(made))
            return done

        done = ctx.write(work)
    return msgspec.structs.replace(done, notes=dict(Notes(done.notes) + versions[1]))


def _collection(source: str) -> str:
    if not _SOURCE.match(source):
        raise Invalid("that is no source of an import", hint="it is a digest of the source's address")
    return f"imports/{source}"


class _Adopting(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of work that takes one thing in."""

    ctx: Context
    tx: Transaction
    mark: Mark | None
    overwrite: bool

    def take(self, told: Parcel, file: BinaryIO, versions: list[Prepared]) -> Adopted:
        """What became of it."""
        ctx, tx, mark, overwrite = self.ctx, self.tx, self.mark, self.overwrite
        match told:
            case ExperimentParcel(past=past):
                return adopt_experiment(ctx, tx, past, mark, overwrite=overwrite)
            case RunParcel(past=past, into=into, files=files):
                return adopt_run(
                    ctx,
                    tx,
                    past,
                    points_of(file),
                    files,
                    experiment_id=into,
                    mark=mark,
                    overwrite=overwrite,
                )
            case LoggedParcel(past=past, into=into, files=files):
                return adopt_logged(ctx, tx, past, files, experiment_id=into, mark=mark, overwrite=overwrite)
            case TraceParcel(past=past, into=into, files=files):
                return adopt_trace(
                    ctx, tx, past, experiment_id=into, files=files, mark=mark, overwrite=overwrite
                )
            case EvaluationParcel(past=past, into=into):
                return adopt_evaluation(
                    ctx, tx, past, records_of(file), experiments=into, mark=mark, overwrite=overwrite
                )
            case ModelParcel(past=past):
                return adopt_model(ctx, tx, past, versions, mark=mark, overwrite=overwrite)


def _versions(ctx: Context, file: BinaryIO) -> tuple[list[Prepared], Notes]:
    """The versions that follow, their manifests kept as objects before anything is decided."""
    notes = Notes()
    found: list[Prepared] = []
    for past in versions_of(file):
        if len(found) == _VERSIONS:
            raise TooLarge(f"more than {_VERSIONS:,} versions of a model", hint="import fewer")
        found.append(prepared(ctx, past, notes))
    return found, notes


def _check_files(ctx: Context, told: Parcel) -> None:
    """`Invalid` when a file is named whose bytes were not sent."""
    files: tuple[NewFile, ...] = (
        told.files if isinstance(told, RunParcel | LoggedParcel | TraceParcel) else ()
    )
    for file in files:
        there = ctx.ports.objects.stat(file.digest)
        if there is None or there.size_bytes != file.size_bytes:
            raise Invalid("the parcel names a file that is not here", hint="send its bytes first")


@contextmanager
def _spooled(chunks: Iterable[bytes]) -> Iterator[BinaryIO]:
    """What was sent as a file that can be read twice: in memory while small, else on the disk."""
    size = 0
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        for chunk in chunks:
            size += len(chunk)
            if size > _LARGEST:
                raise TooLarge("the parcel is too large", hint=f"send at most {_LARGEST:,} bytes")
            file.write(chunk)
        file.seek(0)
        yield cast(BinaryIO, file)
