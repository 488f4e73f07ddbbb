"""Iceberg tables, by PyIceberg; a folder is a table by its metadata alone, without a catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.ports.lakes import LakeTable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["IcebergLake"]

_NAME = ("loopwright", "table")
_NUMBER = re.compile(r"v?(\d+)")
_HINT = "version-hint.text"


class IcebergLake:
    """Fulfils `ports.lakes.Lake`; a place is a table's folder, or the address of its metadata file."""

    def read(self, place: str, version: str, options: Mapping[str, str]) -> LakeTable:
        """The rows of a snapshot, whose id is the version."""
        if version and not version.isdigit():
            raise Invalid(f"{version[:40]!r} is no snapshot of an Iceberg table", hint="ids are numbers")
        with _translated(place):
            from pyiceberg.table import StaticTable

            found = StaticTable.from_metadata(_metadata(place), dict(options))
            wanted = int(version) if version else None
            if wanted is not None and found.snapshot_by_id(wanted) is None:
                raise NotFound(f"{place} has no snapshot {version}", hint="look at its history")
            newest = found.current_snapshot()
            told = version or ("0" if newest is None else str(newest.snapshot_id))
            rows = found.scan(snapshot_id=wanted).to_arrow()
            return LakeTable(table=rows, id=str(found.metadata.table_uuid), version=told)

    def write(self, place: str, table: pa.Table, options: Mapping[str, str], *, replace: bool) -> str:
        """Write a snapshot that holds these rows alone, and a hint for readers without a catalog."""
        folder = _folder(place)
        is_there = any((folder / "metadata").glob("*.metadata.json"))
        if is_there and not replace:
            raise Conflict(f"{place} is an Iceberg table already", hint="--replace adds a snapshot to it")
        with _translated(place):
            from pyiceberg.catalog.memory import InMemoryCatalog

            catalog = InMemoryCatalog("loopwright", warehouse=_address(folder), **options)
            catalog.create_namespace(_NAME[0])
            if is_there:
                made = catalog.register_table(_NAME, _metadata(place))
                with made.update_schema() as schema:
                    schema.union_by_name(table.schema)
                made.overwrite(table)
            else:
                made = catalog.create_table(_NAME, schema=table.schema, location=_address(folder))
                made.append(table)
            newest = made.current_snapshot()
            _hint(folder, made.metadata_location)
            return "0" if newest is None else str(newest.snapshot_id)


def _folder(place: str) -> Path:
    parts = urlsplit(place)
    if parts.scheme not in {"", "file"}:
        raise Invalid("Iceberg tables are written into folders of this machine", hint="name a folder")
    return Path(unquote(parts.path) if parts.scheme else place).absolute()


def _address(path: Path) -> str:
    """As PyIceberg writes it: it takes the path behind `file://` as it stands."""
    return f"file://{path}"


def _metadata(place: str) -> str:
    """The newest metadata file of a folder; an address of such a file is itself."""
    if place.endswith(".metadata.json") or urlsplit(place).scheme not in {"", "file"}:
        return place if "://" in place else _address(Path(place).absolute())
    found = [(_number(path), path) for path in (_folder(place) / "metadata").glob("*.metadata.json")]
    if not found:
        raise NotFound(f"there is no Iceberg table at {place}", hint="name its folder, or its metadata file")
    return _address(max(found)[1])


def _number(path: Path) -> int:
    matched = _NUMBER.match(path.name)
    return int(matched[1]) if matched else -1


def _hint(folder: Path, newest: str) -> None:
    """Readers without a catalog (DuckDB, Spark) ask this file which metadata is the newest."""
    name = newest.rpartition("/")[2].removesuffix(".metadata.json")
    (folder / "metadata" / _HINT).write_text(name, "utf-8")


@contextmanager
def _translated(place: str) -> Iterator[Any]:
    try:
        from pyiceberg import exceptions
    except ImportError as error:
        raise Unavailable(
            "the library of Iceberg tables is not installed", hint='pip install "loopwright[iceberg]"'
        ) from error
    known: tuple[type[Exception], ...] = tuple(
        each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, Exception)
    )
    known += (OSError, ValueError, KeyError, TypeError)
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{place} lacks a file: {error.filename or ''}", hint="look at the table") from error
    except known as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise Invalid(
            f"the Iceberg table at {place} cannot be read or written: {said}",
            hint="look at it with its own tools",
        ) from error
