"""Whom a command calls: the workspace of this machine, a server, or nobody but the operation itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import loopwright.client
from loopwright.client.index import Entry
from loopwright.core.errors import Invalid, NotFound
from loopwright.engine.context import Context, Principal
from loopwright.engine.operation import Upload, invoke
from loopwright.workspace import Settings, Workspace
from loopwright.workspace.catalogue import Assembly

__all__ = ["Caller", "open_caller"]

_OF_TABLES = ("data.", "features.")
"""operations that run nobody's code, so that no object of pandas can come up"""
_MAKES = ":write"
"""local operations of scopes that end so make a workspace where there is none"""


class Caller(Protocol):
    """Calls operations by name."""

    def call(self, name: str, /, **arguments: Any) -> Any:
        """The operation's result."""

    def advance(self) -> None:
        """Let jobs go on, when that is this process's task."""


class _Here:
    """The workspace of this machine, in this process."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def call(self, name: str, /, **arguments: Any) -> Any:
        """As the workspace."""
        return self._workspace.call(name, **arguments)

    def advance(self) -> None:
        """Carry out what is due, unless a replay goes on there, which does."""
        self._workspace.settle_beside()


class _There:
    """A server."""

    def __init__(self, client: loopwright.client.Client) -> None:
        self._client = client

    def call(self, name: str, /, **arguments: Any) -> Any:
        """As the client."""
        return self._client.call(name, **arguments)

    def advance(self) -> None:
        """The server does."""


class _Alone:
    """A local operation, which works on the caller's own files and needs no workspace."""

    def __init__(self, entry: Entry, ctx: Context) -> None:
        self._entry = entry
        self._ctx = ctx

    def call(self, name: str, /, **arguments: Any) -> Any:
        """The operation's result."""
        upload: Upload | None = arguments.pop("upload", None)
        return invoke(self._entry.operation(), self._ctx, arguments, upload=upload)

    def advance(self) -> None:
        """There are no jobs."""


@contextmanager
def open_caller(entry: Entry, settings: Settings) -> Iterator[Caller]:
    """Who carries the operation out, under these settings; what was opened is closed at the end."""
    if entry.local and not entry.workspace:
        ports = Assembly(settings)
        if entry.name.startswith(_OF_TABLES):
            ports.forgo_pandas()
        try:
            yield _Alone(entry, Context(ports, principal=Principal(name=settings.principal)))
        finally:
            ports.close()
    elif settings.url and not entry.local:
        with loopwright.client.Client(
            settings.url, settings.token, space=settings.space, typed=False
        ) as client:
            yield _There(client)
    else:
        _check_place(entry, settings)
        with Workspace.open(settings=settings) as workspace:
            if entry.name.startswith(_OF_TABLES):
                workspace.ports.forgo_pandas()
            yield _Here(workspace)


def _check_place(entry: Entry, settings: Settings) -> None:
    """Reading and upkeep make no workspace; what is written locally is not meant for a server."""
    writes = entry.scope.endswith(_MAKES)
    if entry.local and writes and settings.url:
        raise Invalid(
            f"`{entry.command}` goes to the workspace of this machine, not to {settings.url}",
            hint="unset the address of the server, or run the command where the server's workspace is",
        )
    only_reads = entry.method == "GET" or (entry.local and not writes)
    if only_reads and not settings.folder.exists():
        raise NotFound(
            f"there is no workspace at {settings.folder}",
            hint="go to its folder, give --workspace DIR, or make one with `loopwright up`",
        )
