"""Keeps the marks of erasures beside the ledger, so that they outlive one restored from before them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid, NotFound
from loopwright.data.subjects import writings
from loopwright.engine.context import Context
from loopwright.engine.holders import MARKS_FILE, Subject

__all__ = ["Mark", "keep_mark", "read_marks"]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of an erasure outside the ledger: columns, and of the value a keyed digest alone."""

    space: str
    columns: tuple[str, ...]
    mark: str
    also: tuple[str, ...] = ()
    """of the same value as columns of numbers, instants or truths have it in text: rows are known by it"""


def keep_mark(ctx: Context, subject: Subject) -> None:
    """Beside the ledger, so that it outlives a ledger that is restored from before the erasure."""
    mark = subject.mark(ctx.ports.keys)
    alike = (replace(subject, values=values) for values in writings(subject.values))
    also = {each.mark(ctx.ports.keys) for each in alike} - {mark}
    line = Mark(space=ctx.space, columns=subject.columns, mark=mark, also=tuple(sorted(also)))
    path = ctx.ports.folder / MARKS_FILE
    with path.open("a+b") as file:
        file.truncate(_whole_lines(file))  # the mark of an erasure that was cut off before it began
        file.write(msgspec.json.encode(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(file: BinaryIO) -> int:
    """How many bytes of the file are whole lines."""
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def read_marks(path: Path, *, must_be: bool = False) -> set[Mark]:
    """The marks of a file; none where it is not there, unless it must be (`NotFound`)."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError as error:
        if must_be:
            raise NotFound(f"there is no file {path}", hint="name an erasures.jsonl") from error
        return set()
    found = set[Mark]()
    for at, line in enumerate(lines, 1):
        try:
            found.add(msgspec.json.decode(line, type=Mark))
        except msgspec.MsgspecError as error:
            if at < len(lines) or must_be:
                raise Invalid(f"line {at} of {path} is no mark", hint="take another file") from error
    return found
