"""Backups: everything of a workspace in one file whose every byte is checked before it is put anywhere."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
from blake3 import blake3

from loopwright.core.chain import Head, Verification
from loopwright.core.digests import canonical, check_digest, digest_value
from loopwright.core.errors import (
    Conflict,
    Corrupt,
    Invalid,
    LoopwrightError,
    NotFound,
    Unavailable,
)
from loopwright.core.manifests import decode_manifest
from loopwright.engine.holders import MARKS_FILE
from loopwright.engine.journal import HEADS_FILE, read_anchors, verify_ledger
from loopwright.engine.presence import IN_USE, alone
from loopwright.ports.ledger import Ledger
from loopwright.ports.objects import Objects
from loopwright.ports.world import Keys

__all__ = [
    "BackupFile",
    "BackupManifest",
    "BackupReport",
    "RestoreReport",
    "has_ledger_file",
    "inspect_backup",
    "make_folder",
    "place_backup",
    "set_aside",
    "write_backup",
]

_FORMAT = 1
_LEDGER = "ledger.jsonl"
_MANIFEST = "manifest.json"
_OBJECTS = "objects/"
_FILES = "files/"
_CHUNK = 1 << 20
_MOST_MANIFEST = 256 << 20
"""bytes of the one file of a backup that is held in memory"""
_FILE_NAME = re.compile(
    r"(journal\.heads|erasures\.jsonl|online\.db|keys/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,80})\Z"
)
_SQLITE_MARK = b"SQLite format 3\0"


class BackupFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup, with the BLAKE3 of its bytes."""

    name: str
    size_bytes: int
    digest: str


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds; the last file in it, so that a file that was cut is never taken for whole."""

    format: int
    made_at: datetime
    revision: str
    head: Head
    """the journal's head when the backup began; the ledger in it is at least as long"""
    files: tuple[BackupFile, ...]
    objects: int
    objects_digest: str
    """digest of the sorted names of all objects"""
    digest: str = ""
    """digest of this manifest without this field"""
    missing: tuple[str, ...] = ()
    """objects that the ledger names but the store did not have, or not whole"""


class BackupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    file: str
    size_bytes: int
    objects: int
    events: int
    missing: tuple[str, ...]


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was put in place, and whether the journal in it is whole."""

    rows: int
    objects: int
    files: int
    journal: Verification
    set_aside: str = ""
    """where the workspace is now that was here before"""
    erased: int = 0
    """entities, erased since the backup was made, that came back with it and were erased again"""


# ------------------------------------------------------------------------------------------- backup


def write_backup(
    file: Path, *, ledger: Ledger, objects: Objects, folder: Path, made_at: datetime
) -> BackupReport:
    """Write a backup; the file is there whole or not at all. `Conflict` when it already exists.

    The order makes it consistent: anchors and online state first, then the ledger in one snapshot, then the
    objects, which are always there before a row names them.
    """
    if file.exists():
        raise Conflict(f"{file} is already there", hint="choose another name, or move it away")
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with _owned(draft) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
            manifest = _fill(_Archive(archive, made_at), ledger, objects, folder)
            archive.close()
            stream.flush()
            os.fsync(stream.fileno())
        size = draft.stat().st_size
        draft.replace(file)
    except OSError as error:
        raise Unavailable(
            f"the backup {file} cannot be written: {error.strerror}",
            hint="free some space, or choose another folder",
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return BackupReport(
        file=str(file),
        size_bytes=size,
        objects=manifest.objects,
        events=manifest.head.count,
        missing=manifest.missing,
    )


def _owned(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


class _Archive:
    """A tar file being written, and the digests of what went in."""

    def __init__(self, archive: tarfile.TarFile, made_at: datetime) -> None:
        self._archive = archive
        self.made_at = made_at
        self.files: list[BackupFile] = []

    def add(self, name: str, source: IO[bytes], size: int) -> str:
        """Copy a stream of known size; the digest of its bytes."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.mtime = size, 0o600, int(self.made_at.timestamp())
        hashed = _Hashed(source)
        self._archive.addfile(entry, hashed)
        return hashed.digest()

    def add_file(self, name: str, source: IO[bytes]) -> None:
        """Copy a seekable file and note its digest."""
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        digest = self.add(name, source, size)
        self.files.append(BackupFile(name=name, size_bytes=size, digest=digest))


class _Hashed:
    """Passes bytes through and hashes them."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._hash = blake3()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        """BLAKE3 of what was read."""
        return self._hash.hexdigest()


def _fill(archive: _Archive, ledger: Ledger, objects: Objects, folder: Path) -> BackupManifest:
    with ledger.read() as tx:
        head = tx.journal.head()
        roots = sorted({*tx.versions.digests(), *tx.segments.digests()})
        manifests = set(tx.versions.digests())
    with tempfile.TemporaryDirectory(prefix="loopwright-backup-", dir=folder) as scratch:
        _add_files(archive, folder, Path(scratch))
        _add_ledger(archive, ledger, Path(scratch) / _LEDGER)
    kept = _add_objects(archive, objects)
    manifest = BackupManifest(
        format=_FORMAT,
        made_at=archive.made_at,
        revision=ledger.revision(),
        head=head,
        files=tuple(archive.files),
        objects=len(kept),
        objects_digest=digest_value(sorted(kept)),
        missing=tuple(sorted(_missing(objects, roots, manifests, kept))),
    )
    manifest = msgspec.structs.replace(manifest, digest=digest_value(manifest))
    with tempfile.TemporaryFile() as stream:
        stream.write(canonical(manifest))
        archive.add_file(_MANIFEST, stream)
    return manifest


def _add_files(archive: _Archive, folder: Path, scratch: Path) -> None:
    keys = sorted(path for path in (folder / "keys").glob("*") if path.is_file())
    for path in (folder / HEADS_FILE, folder / MARKS_FILE, folder / "online.db", *keys):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and _FILE_NAME.match(name):
            with _still(path, scratch) as stream:
                archive.add_file(_FILES + name, stream)


def _still(path: Path, scratch: Path) -> BinaryIO:
    """The file as it is now: a SQLite database in use is copied by SQLite itself."""
    with path.open("rb") as stream:
        if stream.read(len(_SQLITE_MARK)) != _SQLITE_MARK:
            return path.open("rb")
    target = scratch / path.name
    try:
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error as error:
        raise Corrupt(
            f"{path.name} cannot be read: {error}", hint="move it away: it is built anew"
        ) from error
    return target.open("rb")


def _add_ledger(archive: _Archive, ledger: Ledger, scratch: Path) -> None:
    with _owned(scratch) as stream:
        for line in ledger.dump():
            stream.write(line + b"\n")
        archive.add_file(_LEDGER, stream)


def _add_objects(archive: _Archive, objects: Objects) -> set[str]:
    """Copy every object that is whole; their names."""
    kept: set[str] = set()
    for stat in objects.list():
        try:
            source = objects.open(stat.digest)
        except (NotFound, Corrupt):
            continue  # collected meanwhile, or damaged: `missing` tells when something needs it
        with source:
            archive.add(_OBJECTS + stat.digest, source, stat.size_bytes)
        kept.add(stat.digest)
    return kept


def _missing(objects: Objects, roots: Iterable[str], manifests: set[str], kept: set[str]) -> Iterator[str]:
    """Objects that are needed and were not copied: roots, and what their manifests name."""
    for root in roots:
        if root not in kept:
            yield root
        elif root in manifests:
            manifest = decode_manifest(objects.get(root))
            needed = {entry.digest for entry in manifest.entries} | {manifest.profile or root}
            yield from needed - kept


# ------------------------------------------------------------------------------------------ restore


def inspect_backup(file: Path) -> BackupManifest:
    """Read a backup from end to end: what it holds, once every byte agrees with its digest.

    `Corrupt` when it is cut, changed or not a backup; `NotFound` when it is not there.
    """
    found = _Inspection()
    _walk(file, found.take)
    return found.finish(file)


class _Inspection:
    """Digests of what a backup holds, held against its manifest at the end."""

    def __init__(self) -> None:
        self._files: dict[str, BackupFile] = {}
        self._objects: list[str] = []
        self._manifest: bytes | None = None

    def take(self, name: str, size: int, source: IO[bytes]) -> None:
        """One file of the archive."""
        if self._manifest is not None or name in self._files:
            raise Corrupt(f"the backup holds {name} where it must not", hint="take another backup file")
        if name == _MANIFEST:
            if size > _MOST_MANIFEST:
                raise Corrupt(f"the manifest has {size:,} bytes", hint="take another backup file")
            self._manifest = source.read()
            return
        hashed = _Hashed(source)
        while hashed.read(_CHUNK):
            pass
        if name.startswith(_OBJECTS):
            if _OBJECTS + hashed.digest() != name:
                raise Corrupt(f"{name} was changed in the backup", hint="take another backup file")
            self._objects.append(hashed.digest())
        else:
            self._files[name] = BackupFile(name=name, size_bytes=size, digest=hashed.digest())

    def finish(self, file: Path) -> BackupManifest:
        """The manifest, when all agrees with it."""
        if self._manifest is None:
            raise Corrupt(f"{file} was cut: its end is missing", hint="take another backup file")
        try:
            manifest = msgspec.json.decode(self._manifest, type=BackupManifest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(
                f"the manifest of {file} cannot be read", hint="take another backup file"
            ) from error
        bare = msgspec.structs.replace(manifest, digest="")
        if canonical(manifest) != self._manifest or digest_value(bare) != manifest.digest:
            raise Corrupt(f"the manifest of {file} was changed", hint="take another backup file")
        whole = {each.name: each for each in manifest.files} == self._files and _LEDGER in self._files
        if not whole or digest_value(sorted(self._objects)) != manifest.objects_digest:
            raise Corrupt(f"{file} does not hold what its manifest says", hint="take another backup file")
        if manifest.format != _FORMAT:
            raise Unavailable(
                f"{file} is of format {manifest.format}", hint="restore it with a newer release"
            )
        return manifest


def _walk(file: Path, take: Callable[[str, int, IO[bytes]], None]) -> None:
    """Hand over every file of an archive; only plain files under known names are let through."""
    try:
        with tarfile.open(file, mode="r:") as archive:
            for entry in archive:
                take(entry.name, entry.size, _opened(archive, entry))
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no file {file}", hint="name a file that `loopwright backup` wrote"
        ) from error
    except (tarfile.TarError, EOFError) as error:
        raise Corrupt(f"{file} is no backup, or was cut: {error}", hint="take another backup file") from error
    except OSError as error:
        raise Unavailable(f"{file} cannot be read: {error.strerror}", hint="look at its rights") from error


def _opened(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    # a sparse file is as long as its header says, with no bytes behind it: it would be read for ever
    source = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
    if source is None or not _is_known(entry.name):
        raise Invalid(f"the backup holds {entry.name[:120]!r}", hint="this is not a backup of ours")
    return source


def _is_known(name: str) -> bool:
    if name.startswith(_OBJECTS):
        try:
            return bool(check_digest(name.removeprefix(_OBJECTS)))
        except LoopwrightError:
            return False
    if name.startswith(_FILES):
        return _FILE_NAME.match(name.removeprefix(_FILES)) is not None
    return name in {_LEDGER, _MANIFEST}


def has_ledger_file(folder: Path) -> bool:
    """Whether a workspace has its ledger in its own folder: setting that aside sets all aside."""
    return (folder / "ledger.db").exists()


def set_aside(folder: Path, *, at: datetime) -> Path | None:
    """Rename a workspace's folder so that another can take its place; its new name, None when there is none.

    `Conflict` when another process has it open. To be called after `inspect_backup` and before the new
    workspace is opened.
    """
    if not folder.exists():
        return None
    target = folder.with_name(f"{folder.name}.before-restore-{at:%Y%m%dT%H%M%S%f}")
    with alone(folder, IN_USE):
        folder.rename(target)
    return target


def make_folder(folder: Path) -> None:
    """Make a workspace's folder; `Unavailable` when that cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"the workspace {folder} cannot be made: {error.strerror}",
            hint="move away what is there, or choose another folder with --workspace",
        ) from error


def place_backup(file: Path, *, ledger: Ledger, objects: Objects, folder: Path, keys: Keys) -> RestoreReport:
    """Put a backup that `inspect_backup` has found whole into an empty workspace, whatever its stores are.

    The rows of the ledger come last and in one unit of work: until then the workspace is empty, and a
    restore that was broken off is simply run again. `Conflict` when it is not empty.
    """
    _must_be_empty(ledger)
    placing = _Placing(objects, folder)
    try:
        _walk(file, placing.take)
        with placing.ledger.open("rb") as stream:
            rows = ledger.load(line.rstrip(b"\n") for line in stream)
    finally:
        placing.ledger.unlink(missing_ok=True)
    anchors = read_anchors(folder / HEADS_FILE, keys)
    journal = verify_ledger(ledger, [anchor.head for anchor in anchors.good])
    return RestoreReport(rows=rows, objects=placing.objects, files=placing.files, journal=journal)


def _must_be_empty(ledger: Ledger) -> None:
    with ledger.read() as tx:
        lines = tx.journal.head().count
    if lines:
        raise Conflict(
            f"the workspace is not empty: its journal has {lines} lines",
            hint="restore into an empty folder, or give --force to set the present workspace aside",
        )


class _Placing:
    """Puts what a verified backup holds where it belongs; the ledger's lines wait in a file."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        self._objects = objects
        self._folder = folder
        self.ledger = folder / f".{_LEDGER}.{os.getpid()}"
        self.objects = 0
        self.files = 0

    def take(self, name: str, size: int, source: IO[bytes]) -> None:
        """One file of the archive."""
        if name.startswith(_OBJECTS):
            digest, _ = self._objects.put_stream(_chunks(source))
            if _OBJECTS + digest != name:
                raise Corrupt(f"{name} changed while it was read", hint="run the restore again")
            self.objects += 1
        elif name.startswith(_FILES):
            self._place(self._folder / name.removeprefix(_FILES), source)
            self.files += 1
        elif name == _LEDGER:
            self._place(self.ledger, source)

    def _place(self, target: Path, source: IO[bytes]) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}.part")
        draft.unlink(missing_ok=True)
        with _owned(draft) as stream:
            for chunk in _chunks(source):
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        yield chunk
