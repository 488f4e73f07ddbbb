"""Files behind addresses, below declared roots alone: one elsewhere is refused, however it is spelled."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from loopwright.adapters.histories.tree import open_regular, real_below
from loopwright.core.errors import Denied, NotFound, Unavailable
from loopwright.ports.histories import Contents, PastFile

__all__ = ["Root", "Roots"]

_CHUNK = 1 << 20
_PROXIED = "mlflow-artifacts"
_DEEPEST = 64


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """A place whose files may be read: addresses that begin with `prefix` are below `folder`."""

    prefix: str
    """`file:///srv/mlruns`, `/srv/mlruns`, `mlflow-artifacts:/`, `s3://bucket/runs`"""
    folder: Path | None = None
    """None where `store` reads it"""
    store: Contents | None = None


class Roots:
    """Fulfils `ports.histories.Contents` for folders, and hands what others read to them."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots = tuple(roots)

    def files(self, address: str) -> Iterator[PastFile]:
        """The files below an address, by path; a link that leads out is told, and refused when it is read."""
        root, rest = self._within(address)
        if root.store is not None:
            yield from root.store.files(address)
            return
        base = _real(root)
        start = real_below(base, rest)
        if start.is_dir():
            yield from _walked(base, start, "", 0)

    def read(self, address: str, path: str) -> Iterator[bytes]:
        """A file in pieces; `Denied` where a link leads out of its root."""
        root, rest = self._within(address)
        if root.store is not None:
            yield from root.store.read(address, path)
            return
        base = _real(root)
        try:
            with os.fdopen(open_regular(base, real_below(base, f"{rest}/{path}")), "rb") as file:
                while piece := file.read(_CHUNK):
                    yield piece
        except FileNotFoundError as error:
            raise NotFound("the file is gone") from error
        except OSError as error:
            raise Unavailable(f"the file cannot be read: {error.strerror}") from error

    def _within(self, address: str) -> tuple[Root, str]:
        """The root that an address is below, and the rest of its path."""
        spelled = _plain(address)
        for root in self._roots:
            prefix = _plain(root.prefix)
            if spelled == prefix or spelled.startswith(f"{prefix.rstrip('/')}/"):
                return root, spelled[len(prefix.rstrip("/")) :].strip("/")
        kind = address.partition(":")[0][:20] if ":" in address else "a folder"
        raise Denied(
            f"files of {kind} are outside what may be read",
            hint="say --artifact-root FOLDER (or ADDRESS=FOLDER) for where they are",
        )


def _plain(address: str) -> str:
    """An address in one spelling; a path of a file system as an absolute one, no links followed."""
    parts = urlsplit(address)
    if parts.scheme == "file" or not parts.scheme:
        if parts.netloc not in {"", "localhost"}:
            return address
        return os.path.abspath(unquote(parts.path) if parts.scheme else address)
    if parts.scheme == _PROXIED:
        return f"{_PROXIED}:/{parts.path.strip('/')}".rstrip("/") if not parts.netloc else address
    return address.rstrip("/")


def _real(root: Root) -> str:
    return os.path.realpath(root.folder or "")


def _walked(base: str, folder: Path, inside: str, depth: int) -> Iterator[PastFile]:
    if depth > _DEEPEST:
        return
    try:
        found = sorted(os.scandir(folder), key=lambda each: each.name)
    except OSError as error:
        raise Unavailable(f"a folder cannot be read: {error.strerror}") from error
    for each in found:
        path = f"{inside}{os.fsencode(each.name).decode('utf-8', 'replace')}"
        if each.is_dir(follow_symlinks=False):
            yield from _walked(base, Path(each.path), f"{path}/", depth + 1)
        elif each.is_symlink() or each.is_file(follow_symlinks=False):
            yield PastFile(path=path, size_bytes=0 if each.is_symlink() else each.stat().st_size)
