"""Rows that wait in files, by the part they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Shelves"]


class Shelves:
    """Rows in numbered files of a folder; within one they keep the order in which they were added."""

    def __init__(self, folder: Path, columns: Sequence[tuple[str, pa.DataType]], count: int) -> None:
        import pyarrow as pa

        self._folder = folder
        self._schema = pa.schema(columns)
        self._count = count
        self._open: dict[int, tuple[Any, IO[bytes]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in list(self._open):
            self._close(part)

    def add(self, rows: pa.Table, numbers: NDArray[np.int64]) -> None:
        """Put each row into the file of its number."""
        import numpy as np
        import pyarrow as pa

        order = np.argsort(numbers, kind="stable")
        ends = np.searchsorted(numbers[order], np.arange(self._count + 1)).tolist()
        ordered = rows.select(self._schema.names).cast(self._schema).take(pa.array(order))
        for part in range(self._count):
            if ends[part + 1] > ends[part]:
                self._writer(part).write_table(ordered.slice(ends[part], ends[part + 1] - ends[part]))

    def _writer(self, part: int) -> Any:
        import pyarrow as pa

        if part not in self._open:
            file = (self._folder / str(part)).open("wb")
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._open[part] = pa.ipc.new_stream(file, self._schema, options=options), file
        return self._open[part][0]

    def taken(self, part: int) -> pa.Table:
        """The rows of one file, which goes."""
        import pyarrow as pa

        if part not in self._open:
            return self._schema.empty_table()
        self._close(part)
        path = self._folder / str(part)
        with path.open("rb") as file, pa.ipc.open_stream(file) as reader:
            rows = reader.read_all()
        path.unlink()
        return rows

    def _close(self, part: int) -> None:
        writer, file = self._open.pop(part)
        writer.close()
        file.close()
