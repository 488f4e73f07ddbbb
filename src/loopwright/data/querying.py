"""Hands queries the tables that they name: of each version the columns that are read, once they may be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Version
from loopwright.core.schema import ColumnType
from loopwright.data.reading import permitted, schema_of
from loopwright.data.streams import files_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.ports.queries import Looked, QueryTable

__all__ = ["tables_for"]

_ROWS: Mapping[str, ColumnType] = {"__loopwright_rows": ColumnType.BOOL}
"""a column of nulls, for a query that counts rows and reads none of their values"""


def tables_for(
    ctx: Context, versions: Mapping[str, Version], looked: Sequence[Looked], purpose: str, folder: Path
) -> tuple[dict[str, QueryTable], dict[str, tuple[str, ...]]]:
    """Of each version that is read the columns that are, once they may be; `Denied` says which may not."""
    reads = {name for each in looked for name in each.tables}
    types = {
        name: {column.name: column.type for column in schema_of(manifest_of(ctx, version)).columns}
        for name, version in versions.items()
        if name in reads
    }
    used = _used(types, looked)
    found = {}
    for name, columns in used.items():
        permitted(ctx, versions[name], columns, purpose=purpose)
        files = _files(ctx, manifest_of(ctx, versions[name]), folder)
        given = {column: types[name][column] for column in columns} or _ROWS
        found[name] = QueryTable(files=files, columns=given)
    return found, used


def _used(
    types: Mapping[str, Mapping[str, ColumnType]], looked: Sequence[Looked]
) -> dict[str, tuple[str, ...]]:
    """Which columns of each table the queries may read: all where a text leaves that open."""
    known = {column.lower() for columns in types.values() for column in columns}
    named, is_all = set[str](), any(each.is_all for each in looked)
    for each in looked:
        names = {name.lower() for name in each.names}
        is_all |= bool(names - known - {name.lower() for name in each.made})
        named |= names
    return {
        table: tuple(column for column in columns if is_all or column.lower() in named)
        for table, columns in types.items()
    }


def _files(ctx: Context, manifest: Manifest, folder: Path) -> tuple[str, ...]:
    """The parts of a version as files of this machine: copies where the store is elsewhere."""
    found = []
    for entry in manifest.entries:
        (file,) = files_of(ctx, (entry.digest,))
        if isinstance(file, str):
            found.append(os.path.abspath(file))
            continue
        copy = folder / entry.digest
        with closing(file), copy.open("wb") as out:
            shutil.copyfileobj(file, out)
        found.append(str(copy))
    return tuple(found)
