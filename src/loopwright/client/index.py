"""The index of operations: what the client and the command line must know before any slice is imported.

`index.json` beside this module is generated from the declarations by `loopwright.surfaces.cli.indexing`.
"""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from loopwright.core.errors import NotFound
from loopwright.engine.operation import Form, Operation

__all__ = ["INDEX_FILE", "Entry", "Index", "Parameter", "load_index"]

INDEX_FILE = Path(__file__).with_name("index.json")


class Parameter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One parameter of an operation."""

    name: str
    place: str
    """path, query, body or upload; argument or local for what never travels"""
    kind: str
    """text, integer, number, flag, choice, list, json or upload"""
    item: str = "text"
    """the kind of a list's items"""
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    help: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation, without its code: `module` and `function` say where that is."""

    name: str
    command: str
    module: str
    function: str
    form: Form
    scope: str
    summary: str
    help: str
    method: str = ""
    path: str = ""
    local: bool = False
    workspace: bool = False
    """whether a local operation works on the workspace of the caller's machine"""
    parameters: tuple[Parameter, ...] = ()

    @property
    def upload_name(self) -> str | None:
        """Name of the parameter that is the body as bytes, if there is one."""
        return next((p.name for p in self.parameters if p.place == "upload"), None)

    def operation(self) -> Operation:
        """The declaration itself; imports its slice."""
        found: Operation = getattr(import_module(self.module), self.function).operation
        return found


class Index:
    """All operations by name."""

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self.entries = {entry.name: entry for entry in entries}

    def __getitem__(self, name: str) -> Entry:
        if name not in self.entries:
            raise NotFound(f"there is no operation {name!r}", hint="`loopwright --help` lists them")
        return self.entries[name]

    @cached_property
    def prefixes(self) -> frozenset[str]:
        """Everything that may stand before a dot in a name."""
        parts = (name.split(".") for name in self.entries)
        return frozenset(".".join(words[:i]) for words in parts for i in range(1, len(words)))


def load_index(file: Path = INDEX_FILE) -> Index:
    """The index that was shipped."""
    return Index(msgspec.json.decode(file.read_bytes(), type=tuple[Entry, ...]))
