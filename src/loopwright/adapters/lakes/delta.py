"""Delta tables, by delta-rs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.ports.lakes import LakeTable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DeltaLake"]


class DeltaLake:
    """Fulfils `ports.lakes.Lake`."""

    def read(self, place: str, version: str, options: Mapping[str, str]) -> LakeTable:
        """The rows of a version, which is a number."""
        if version and not version.isdigit():
            raise Invalid(f"{version[:40]!r} is no version of a Delta table", hint="versions are numbers")
        with _translated(place) as delta:
            found = delta.DeltaTable(
                place, version=int(version) if version else None, storage_options=dict(options) or None
            )
            return LakeTable(
                table=found.to_pyarrow_table(), id=str(found.metadata().id), version=str(found.version())
            )

    def write(self, place: str, table: pa.Table, options: Mapping[str, str], *, replace: bool) -> str:
        """Write a version that holds these rows alone."""
        given = dict(options) or None
        with _translated(place) as delta:
            if not replace and delta.DeltaTable.is_deltatable(place, storage_options=given):
                raise Conflict(f"{place} is a Delta table already", hint="--replace adds a version to it")
            mode = "overwrite" if replace else "error"
            delta.write_deltalake(
                place, table, mode=mode, schema_mode="overwrite" if replace else None, storage_options=given
            )
            return str(delta.DeltaTable(place, storage_options=given).version())


@contextmanager
def _translated(place: str) -> Iterator[Any]:
    try:
        import deltalake
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError as error:
        raise Unavailable(
            "the library of Delta tables is not installed", hint='pip install "loopwright[delta]"'
        ) from error
    try:
        yield deltalake
    except TableNotFoundError as error:
        raise NotFound(f"there is no Delta table at {place}", hint="name its folder or address") from error
    except (DeltaError, OSError, ValueError) as error:
        raise Invalid(
            f"the Delta table at {place} cannot be read or written: {_said(error)}",
            hint="look at it with its own tools",
        ) from error


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
