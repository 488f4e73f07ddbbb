"""Finds rows that repeat an earlier one, exactly or nearly, in memory that hardly grows with the rows.

Rows are put into files by a hash of what they hold; then the files are looked through one by one. In memory
is one portion, or the rows of a file; where they are only counted, 128 bits of the rows of a file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from msgspec.structs import replace

from loopwright.core.nouns import Json
from loopwright.data.duplicates import Duplicates, Group, exact_groups
from loopwright.data.likeness import PlainTexts, alike
from loopwright.data.rows import json_rows
from loopwright.engine.context import Context
from loopwright.engine.scratch import scratch

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Found", "Repeats", "Room", "exact", "fuzzy"]

_FILES, _MOST_FILES = 64, 1024
_GROUPED = 8
"""times their bytes is what rows take while they are grouped"""
_SHOWN = 100
_SHOWN_ROWS = 5
_PLACE = "__loopwright_place"
_MOST_HELD = 1 << 20
"""rows whose bits are held before they go to files"""


class _Spread:
    """Rows in files by what some of their columns hold; they go at the end."""

    def __init__(self, ctx: Context, folder: Path, count: int) -> None:
        self._tables, self._folder, self._count = ctx.ports.tables, folder, count
        self._files: dict[int, tuple[Any, IO[bytes]]] = {}

    def add(self, rows: pa.Table, by: Sequence[str]) -> None:
        """Put rows where all that are equal to them in these columns are."""
        import numpy as np
        import pyarrow as pa

        places = self._tables.buckets(rows, by, self._count)
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], np.arange(self._count + 1)).tolist()
        ordered = rows.take(pa.array(order))
        for at in range(self._count):
            if ends[at + 1] > ends[at]:
                self._writer(at, rows.schema).write_table(ordered.slice(ends[at], ends[at + 1] - ends[at]))

    def _writer(self, at: int, schema: pa.Schema) -> Any:
        import pyarrow as pa

        if at not in self._files:
            file = (self._folder / str(at)).open("wb")
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._files[at] = pa.ipc.new_stream(file, schema, options=options), file
        return self._files[at][0]

    def tables(self) -> Iterator[pa.Table]:
        """The rows of one file after the other, each in the order they came."""
        import pyarrow as pa

        for at in list(self._files):
            self._close(at)
            with (self._folder / str(at)).open("rb") as file, pa.ipc.open_stream(file) as reader:
                yield reader.read_all()

    def close(self) -> None:
        """Let go of the files."""
        for at in list(self._files):
            self._close(at)

    def _close(self, at: int) -> None:
        writer, file = self._files.pop(at)
        writer.close()
        file.close()


@contextmanager
def _spread(ctx: Context, count: int) -> Iterator[_Spread]:
    with scratch() as folder:
        spread = _Spread(ctx, folder, count)
        try:
            yield spread
        finally:
            spread.close()


class Repeats:
    """Takes portions of rows with equal columns, and says at the end how many repeat another.

    Of each row 128 bits are kept that only equal ones share; they wait in files where they are many.
    """

    def __init__(self, ctx: Context) -> None:
        self._tables = ctx.ports.tables
        self._stack = ExitStack()
        self._waiting: list[NDArray[np.uint64]] = []
        self._held = 0
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, portion: pa.Table) -> None:
        """Take some rows."""
        if portion.num_rows and portion.num_columns:
            self._waiting.append(self._tables.fingerprints(portion))
            self._held += portion.num_rows
        if self._held > _MOST_HELD:
            self._write()

    def count(self) -> int:
        """How many rows are equal to an earlier one in every column (nulls are equal to nulls)."""
        import numpy as np

        if not self._files:
            return _repeated(np.concatenate(self._waiting)) if self._waiting else 0
        self._write()
        return sum(_repeated(_read(file)) for file in self._files)

    def _write(self) -> None:
        """Put what waits into files by its first bits."""
        import numpy as np

        if not self._files:
            folder = self._stack.enter_context(scratch())
            paths = (folder / str(at) for at in range(_FILES))
            self._files = [self._stack.enter_context(path.open("w+b")) for path in paths]
        found = np.concatenate([np.empty((0, 2), dtype=np.uint64), *self._waiting])
        self._waiting, self._held = [], 0
        places = (found[:, 0] % np.uint64(_FILES)).astype(np.uint8)
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], np.arange(_FILES + 1))
        for at, file in enumerate(self._files):
            file.write(found[order[ends[at] : ends[at + 1]]].tobytes())


def _read(file: IO[bytes]) -> NDArray[np.uint64]:
    import numpy as np

    file.seek(0)
    return np.frombuffer(file.read(), dtype=np.uint64).reshape(-1, 2)


def _repeated(found: NDArray[np.uint64]) -> int:
    """How many rows of `(n, 2)` are equal to another before them; the second number is rarely looked at."""
    import numpy as np

    rising = np.sort(found[:, 0])
    again = np.unique(rising[1:][rising[1:] == rising[:-1]])
    if not again.size:
        return 0
    at = np.minimum(np.searchsorted(again, found[:, 0]), again.size - 1)
    alike = found[again[at] == found[:, 0]]
    return len(alike) - len(np.unique(alike, axis=0))


class Room(NamedTuple):
    """How much memory there is, and how many bytes the rows have, about; None and 0 where nobody says."""

    memory_bytes: int | None = None
    size_bytes: int = 0

    @property
    def files(self) -> int:
        """So many that the rows of one, and what they are grouped by, fit."""
        if self.memory_bytes is None:
            return _FILES
        return min(_MOST_FILES, max(_FILES, -(-self.size_bytes * _GROUPED // self.memory_bytes)))


class Found(NamedTuple):
    """What is told of rows that say the same, and which of them repeat an earlier one: `(n,) bool`."""

    report: Duplicates
    again: NDArray[np.bool_]


def exact(ctx: Context, portions: Iterator[pa.Table], columns: Sequence[str], room: Room) -> Found:
    """Rows that are equal in the columns, of portions in order; nulls are equal to nulls, NaN to NaN."""
    import numpy as np
    import pyarrow as pa

    rows = groups = 0
    first: list[Group] = []
    with _spread(ctx, room.files) as spread:
        for portion in portions:
            places = pa.array(np.arange(rows, rows + portion.num_rows))
            rows += portion.num_rows
            spread.add(portion.select(columns).append_column(_PLACE, places), columns)
        again = np.zeros(rows, dtype=np.bool_)
        for table in spread.tables():
            found = exact_groups(table, columns, place=_PLACE)
            groups += len(found)
            again[[place for group in found for place in group.rows[1:]]] = True
            first = _greatest([*first, *_valued(found, table, columns)])
    report = Duplicates(
        rows=rows,
        repeated=int(again.sum()),
        groups=groups,
        columns=tuple(columns),
        how="exact",
        least=1.0,
        first=tuple(first),
    )
    return Found(report, again)


def fuzzy(portions: Iterator[pa.Table], columns: Sequence[str], least: float, room: Room) -> Found:
    """Rows whose texts in the columns are alike, of portions in order (see `likeness`)."""
    import numpy as np

    with scratch() as folder, PlainTexts(folder, memory_bytes=room.memory_bytes) as texts:
        with _Kept(folder / "rows") as kept:
            for portion in portions:
                narrow = portion.select(columns)
                texts.add(narrow, columns)
                kept.add(narrow)
        found = alike(texts, least)
        again = np.zeros(texts.rows, dtype=np.bool_)
        again[[place for group in found.groups for place in group.rows[1:]]] = True
        shown = [
            replace(group, values=tuple(kept.values(group.rows[:_SHOWN_ROWS])))
            for group in _greatest(found.groups)
        ]
    report = Duplicates(
        rows=len(again),
        repeated=int(again.sum()),
        groups=len(found.groups),
        columns=tuple(columns),
        how="fuzzy",
        least=least,
        compared=found.compared,
        first=tuple(shown),
    )
    return Found(report, again)


class _Kept:
    """Rows in a file, of which some are looked at again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._firsts: list[int] = []
        self._rows = 0
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, rows: pa.Table) -> None:
        """Write some."""
        import pyarrow as pa

        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(str(self._path), rows.schema, options=options)
        for batch in rows.combine_chunks().to_batches():
            self._firsts.append(self._rows)
            self._rows += batch.num_rows
            self._writer.write_batch(batch)

    def values(self, places: Sequence[int]) -> Iterator[Json]:
        """What these rows hold."""
        import pyarrow as pa

        with pa.ipc.open_file(str(self._path)) as reader:
            for place in places:
                at = bisect_right(self._firsts, place) - 1
                batch = reader.get_batch(at).slice(place - self._firsts[at], 1)
                yield from json_rows(pa.Table.from_batches([batch]))


def _greatest(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (-len(group.rows), group.rows))[:_SHOWN]


def _valued(groups: Sequence[Group], table: pa.Table, columns: Sequence[str]) -> Iterator[Group]:
    """The greatest of the groups, with what their rows hold."""
    import numpy as np

    places = table.column(_PLACE).to_numpy()
    for group in _greatest(groups):
        at = int(np.searchsorted(places, group.rows[0]))
        (values,) = json_rows(table.select(columns).slice(at, 1))
        yield replace(group, values=(values,) * min(_SHOWN_ROWS, len(group.rows)))
