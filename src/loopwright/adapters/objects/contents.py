"""Files of others in an object store, below one prefix, read with the caller's own credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loopwright.adapters.objects.drivers import connected
from loopwright.core.errors import Denied, NotFound, Unavailable
from loopwright.ports.histories import PastFile

__all__ = ["FsspecContents"]

_CHUNK = 4 << 20


class FsspecContents:
    """Fulfils `ports.histories.Contents`: addresses below `prefix` are read below `url`."""

    def __init__(self, url: str, prefix: str, options: Mapping[str, Any] | None = None) -> None:
        self._files, self._root, errors = connected(url, dict(options or {}))
        self._errors: tuple[type[Exception], ...] = (OSError, *errors)
        self._prefix = prefix.rstrip("/")

    def files(self, address: str) -> Iterator[PastFile]:
        """The files below an address, by path; none where nothing is there."""
        place = self._place(address)
        try:
            found = self._files.find(place, detail=True)
        except FileNotFoundError:
            return
        except self._errors as error:
            raise self._unreachable(error) from error
        for path in sorted(found):
            if found[path].get("type") == "file":
                yield PastFile(
                    path=path[len(place) :].strip("/"), size_bytes=int(found[path].get("size") or 0)
                )

    def read(self, address: str, path: str) -> Iterator[bytes]:
        """A file in pieces."""
        if {"", ".", ".."} & set(path.split("/")):
            raise Denied("a path leads out of its place")
        try:
            with self._files.open(f"{self._place(address)}/{path}", "rb") as file:
                while piece := file.read(_CHUNK):
                    yield piece
        except FileNotFoundError as error:
            raise NotFound("the file is gone") from error
        except self._errors as error:
            raise self._unreachable(error) from error

    def _place(self, address: str) -> str:
        rest = address.removeprefix(self._prefix).strip("/")
        is_below = address == self._prefix or address.startswith(f"{self._prefix}/")
        if not is_below or {".", ".."} & set(rest.split("/")):
            raise Denied("the address is outside what may be read")
        return f"{self._root}/{rest}".rstrip("/")

    def _unreachable(self, error: BaseException) -> Unavailable:
        return Unavailable(
            f"the store of files does not answer: {type(error).__name__}",
            hint="look at the address and at your credentials for it",
        )
