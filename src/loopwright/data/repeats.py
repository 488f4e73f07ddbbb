"""Counts rows that repeat an earlier one, exactly, in memory that does not grow with the rows.

The different rows of each portion are put into 64 files by a hash of all they hold; then the files are looked
through one by one. In memory is one portion, or a 64th of the different rows of all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from loopwright.data.duplicates import repeated_rows
from loopwright.engine.context import Context

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Repeats"]

_FILES = 64


class Repeats:
    """Takes portions of rows with equal columns, and says at the end how many repeat another."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._stack = ExitStack()
        self._first: pa.Table | None = None
        self._folder: Path | None = None
        self._files: dict[int, Any] = {}
        self._closing: dict[int, IO[bytes]] = {}
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, portion: pa.Table) -> None:
        """Take some rows; the first ones stay in memory until others come."""
        self._rows += portion.num_rows
        if self._first is None and self._folder is None:
            self._first = portion
            return
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-")))
            first, self._first = self._first, None
            self._spread(first)
        self._spread(portion)

    def count(self) -> int:
        """How many rows are equal to an earlier one in every column (nulls are equal to nulls)."""
        if self._folder is None:
            return 0 if self._first is None else repeated_rows(self._first)
        return self._rows - sum(_different(table) for table in self._spread_tables())

    def _spread(self, portion: pa.Table) -> None:
        import numpy as np
        import pyarrow as pa

        if not portion.num_rows or not portion.num_columns:
            return
        names = portion.column_names
        rows = portion.group_by(names, use_threads=False).aggregate([]).select(names)
        places = self._ctx.ports.tables.buckets(rows, names, _FILES)
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], np.arange(_FILES + 1)).tolist()
        ordered = rows.take(pa.array(order))
        for at in range(_FILES):
            if ends[at + 1] > ends[at]:
                self._writer(at, rows.schema).write_table(ordered.slice(ends[at], ends[at + 1] - ends[at]))

    def _writer(self, at: int, schema: pa.Schema) -> Any:
        import pyarrow as pa

        if at not in self._files:
            assert self._folder is not None
            file = self._stack.enter_context((self._folder / str(at)).open("wb"))
            self._closing[at] = file
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._files[at] = pa.ipc.new_stream(file, schema, options=options)
        return self._files[at]

    def _spread_tables(self) -> Iterator[pa.Table]:
        import pyarrow as pa

        assert self._folder is not None
        for at, writer in sorted(self._files.items()):
            writer.close()
            self._closing[at].close()
            with (self._folder / str(at)).open("rb") as file, pa.ipc.open_stream(file) as reader:
                yield reader.read_all()


def _different(table: pa.Table) -> int:
    return int(table.num_rows - repeated_rows(table))
