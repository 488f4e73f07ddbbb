"""Tables as others keep them (Delta, Iceberg): read as of one of their versions, written as a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Lake", "LakeTable"]


class LakeTable(msgspec.Struct, frozen=True, kw_only=True):
    """What a table held as of one of its versions."""

    table: Any
    """an Arrow table"""
    id: str
    """the table's own identity, which stays when its rows change"""
    version: str


class Lake(Protocol):
    """One format of tables, in folders of this machine or in object stores. Thread safe."""

    def read(self, place: str, version: str, options: Mapping[str, str]) -> LakeTable:
        """The table at a place as of a version of its own, the newest for an empty one.

        `NotFound` when there is none, `Invalid` when it cannot be read, `Unavailable` without the library.
        """

    def write(self, place: str, table: pa.Table, options: Mapping[str, str], *, replace: bool) -> str:
        """Keep the rows there and give the version they are; whole or not at all.

        What is there already is a `Conflict`, or with `replace` gets a further version of these rows alone.
        """
