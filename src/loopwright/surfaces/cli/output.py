"""The one place that prints: documents for programs, tables for people, errors with what to do next."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from loopwright.core.errors import LoopwrightError, Unavailable
from loopwright.engine.wire import failure_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Output", "cell", "whole_file"]

_COLUMNS = 9
_CELL = 60
_PLAIN_WIDTH = 180
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
_QUIET = frozenset({"space", "asset_id", "wall_at", "previous", "hash", "payload_digest"})
"""what a table leaves out: the same in every row, or only for programs (`--json` has it all)"""


class Output:
    """Where a command's results go. With `json_to` a document is written: `-` is standard output.

    Text for people then goes to standard error, so that standard output holds the document alone.
    """

    def __init__(self) -> None:
        self.json_to: str | None = None

    @property
    def _is_document_on_stdout(self) -> bool:
        return self.json_to == "-"

    @property
    def stream(self) -> IO[str]:
        """Where text for people goes."""
        return sys.stderr if self._is_document_on_stdout else sys.stdout

    def console(self, stream: IO[str] | None = None) -> Console:
        """A console on the stream for people; wide and plain where nobody looks."""
        from rich.console import Console

        target = stream or self.stream
        return Console(
            file=target,
            width=None if target.isatty() else _PLAIN_WIDTH,
            highlight=False,
            emoji=False,
            markup=False,
        )

    def document(self, value: Any) -> None:
        """Write the one JSON document, if one was asked for."""
        if self.json_to is None:
            return
        data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        if self._is_document_on_stdout:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        with whole_file(Path(self.json_to)) as file:
            file.write(data)

    def say(self, text: str) -> None:
        """One line for people."""
        print(_printable(text), file=self.stream)

    def note(self, text: str) -> None:
        """One line beside the result, on standard error."""
        print(_printable(text), file=sys.stderr)

    def error(self, error: LoopwrightError) -> None:
        """What is wrong, where, and what to do next; and the same as a document, if one was asked for."""
        place = f" ({error.where})" if error.where else ""
        print(_printable(f"error: {error.message}{place}"), file=sys.stderr)
        if error.hint:
            print(_printable(f" hint: {error.hint}"), file=sys.stderr)
        if self.json_to is not None:
            with contextlib.suppress(LoopwrightError):
                self.document({"error": failure_of(error)})

    def show(self, value: Any) -> None:
        """A plain value for people: a table for a list of objects, a grid for one."""
        match value:
            case None:
                return
            case {"items": [*items]}:
                self.rows(items)
            case dict():
                self.console().print(_grid(value))
            case [*items]:
                self.rows(items)
            case _:
                self.say(cell(value, limit=10_000))

    def rows(self, items: Sequence[Any]) -> None:
        """A table; one line each for what are not objects."""
        if not items:
            self.note("nothing to show")
        elif isinstance(items[0], Mapping):
            self.console().print(_table(items))
        else:
            for item in items:
                self.say(cell(item, limit=10_000))

    def table(self, columns: Sequence[str], items: Sequence[Mapping[str, Any]]) -> None:
        """A table of these columns, each of them."""
        self.console().print(_table(items, columns))

    def line(self, item: Any) -> None:
        """One item of a stream, as a line of JSON."""
        print(msgspec.json.encode(item).decode(), file=self.stream, flush=True)


def _printable(text: str) -> str:
    """The text without what a terminal would obey (names come from anywhere)."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)


def cell(value: Any, *, limit: int = _CELL) -> str:
    """A value as the text of a cell."""
    match value:
        case None:
            return ""
        case str() | dict() | list() | tuple() if not value:
            return ""
        case bool():
            text = "yes" if value else "no"
        case float():
            text = f"{value:.6g}"
        case str() if _INSTANT.match(value):
            text = f"{value[:10]} {value[11:19]}"
        case str() | int():
            text = str(value)
        case [*items] if all(isinstance(item, str | int | float) for item in items):
            text = ", ".join(cell(item) for item in items)
        case _:
            text = msgspec.json.encode(value).decode()
    text = _printable(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _grid(fields: Mapping[str, Any]) -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields.items():
        if not cell(value):
            continue
        if isinstance(value, list | tuple) and isinstance(value[0], Mapping):
            grid.add_row(_printable(name), _table(value))
        elif isinstance(value, Mapping):
            grid.add_row(_printable(name), _grid(value))
        else:
            grid.add_row(_printable(name), cell(value, limit=2000))
    return grid


def _columns(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns worth a place: those with something in them that tells rows apart, plain ones first.

    An id has one where a name does not say which is meant: what has a state (runs) shares names.
    """
    names = list(dict.fromkeys(name for item in items for name in item))
    quiet = _QUIET | ({"id"} if "name" in names and "state" not in names else set())
    filled = [name for name in names if name not in quiet and any(cell(item.get(name)) for item in items)]
    plain = [n for n in filled if not any(isinstance(item.get(n), Mapping) for item in items)]
    nested = [n for n in filled if n not in plain]
    kept = set((plain + nested)[:_COLUMNS])
    return [name for name in filled if name in kept]


def _table(items: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    names = columns or _columns(items)
    for name in names:
        is_number = all(isinstance(item.get(name), int | float | None) for item in items)
        table.add_column(_printable(name), justify="right" if is_number else "left", overflow="fold")
    for item in items:
        table.add_row(*(cell(item.get(name)) for name in names))
    return table


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all, whatever was there before."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}-", dir=path.parent)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", hint="choose another file"
        ) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", hint="choose another file, or free some space"
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
