"""Folders of models on this machine: read whole without following links, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from loopwright.core.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable
from loopwright.tracking.paths import file_path

__all__ = ["read_folder", "write_folder"]

_FILES = 20_000
_BYTES = 64 << 30
_DEPTH = 32


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their paths in it.

    `Invalid` for a link, a device, or a name that is no harmless path; `TooLarge` for more than 20,000 files.
    """
    if not folder.is_dir():
        raise NotFound(f"there is no folder {str(folder)[:200]!r}", hint="name the folder that was saved")
    files: dict[str, bytes] = {}
    total = 0
    try:
        for path, entry in _walk(folder, "", 0):
            files[path] = _read(entry, path)
            total += len(files[path])
            if len(files) > _FILES or total > _BYTES:
                raise TooLarge("the folder holds too much for a model", hint=f"at most {_FILES:,} files")
    except OSError as error:
        raise Unavailable(
            f"the folder cannot be read: {error.strerror}", hint="see its permissions"
        ) from error
    return files


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, Path]]:
    if depth > _DEPTH:
        raise TooLarge("the folder is too deep", hint=f"at most {_DEPTH} folders in one another")
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        path = file_path(prefix + entry.name.replace("%", "%25"))
        if entry.is_symlink():
            raise Invalid(f"{path!r} is a link, which is never followed", hint="put the file itself there")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{path}/", depth + 1)
        else:
            yield path, Path(entry.path)


def _read(file: Path, path: str) -> bytes:
    """The bytes of a regular file; one that became a link meanwhile is refused by the system."""
    with contextlib.closing(
        os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    ) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise Invalid(f"{path!r} is no file", hint="take it out of the folder")
        return opened.read()


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder of these files; `Conflict` when there is something at its place."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there already", hint="name a new folder, or remove it first")
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for path, data in files.items():
            target = draft / file_path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        draft.rename(folder)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror}", hint="free some space") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
