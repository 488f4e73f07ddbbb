"""What became of the columns between two versions, and what a reader of the old ones may still read. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from loopwright.core.nouns import Json
from loopwright.core.schema import Column, ColumnType, Schema

__all__ = ["ColumnChange", "SchemaChanges", "likely_renames", "schema_changes"]

_ALIKE = 0.6
_RENAMED_DISTINCT = 0.9


class ColumnChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one column, and whether who read the old one is told something else now."""

    kind: Literal["added", "removed", "renamed", "retyped", "nullable"]
    column: str
    detail: str
    breaks: bool
    """whether a reader of the old version fails, or reads what it does not expect"""


class SchemaChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of two versions compared."""

    changes: tuple[ColumnChange, ...] = ()
    readable: tuple[str, ...] = ()
    """columns that a reader of the old version may go on reading"""

    @property
    def breaks(self) -> bool:
        """Whether any change breaks readers."""
        return any(change.breaks for change in self.changes)

    @property
    def report(self) -> str:
        """The changes that break readers, in words."""
        return "; ".join(change.detail for change in self.changes if change.breaks)


def schema_changes(
    before: Schema, after: Schema, profiles: tuple[Mapping[str, Json], Mapping[str, Json]] = ({}, {})
) -> SchemaChanges:
    """Compare columns; `profiles` of both sides, by column, tell a renamed one by what it holds."""
    old = {column.name: column for column in before.columns}
    new = {column.name: column for column in after.columns}
    renamed = dict(likely_renames(before, after, profiles))
    found, readable = list[ColumnChange](), list[str]()
    for name, column in old.items():
        change = _of(column, new.get(name), renamed.get(name))
        found += [] if change is None else [change]
        readable += [name] if change is None or not change.breaks else []
    come = [name for name in new if name not in old and name not in renamed.values()]
    found += [
        ColumnChange(kind="added", column=name, detail=f"{name!r} ({new[name].type}) came", breaks=False)
        for name in come
    ]
    return SchemaChanges(changes=tuple(found), readable=tuple(readable))


def _of(column: Column, after: Column | None, renamed: str | None) -> ColumnChange | None:
    name = column.name
    if renamed is not None:
        detail = f"{name!r} is called {renamed!r} now, by all that can be seen"
        return ColumnChange(kind="renamed", column=name, detail=detail, breaks=True)
    if after is None:
        detail = f"{name!r} ({column.type}) is gone"
        return ColumnChange(kind="removed", column=name, detail=detail, breaks=True)
    if after.type is not column.type:
        detail = f"{name!r} was of type {column.type} and is of type {after.type}"
        is_wider = (column.type, after.type) == (ColumnType.INT, ColumnType.FLOAT)
        detail += ": numbers may have fractions, and are exact up to 2^53 alone" if is_wider else ""
        return ColumnChange(kind="retyped", column=name, detail=detail, breaks=True)
    if after.nullable and not column.nullable:
        return ColumnChange(kind="nullable", column=name, detail=f"{name!r} may be null now", breaks=False)
    return None


def likely_renames(
    before: Schema, after: Schema, profiles: tuple[Mapping[str, Json], Mapping[str, Json]] = ({}, {})
) -> tuple[tuple[str, str], ...]:
    """Pairs of a column that went and one of its type that came, alike by name or by what they hold.

    Names are alike when the same letters make up most of both (Ratcliff and Obershelp 1988); contents
    when least, greatest, nulls and different values agree.
    """
    old, new = set(before.names), set(after.names)
    gone = [column for column in before.columns if column.name not in new]
    come = {column.name: column for column in after.columns if column.name not in old}
    found = list[tuple[str, str]]()
    for column in gone:
        likely = [
            (score, name)
            for name, other in come.items()
            if other.type is column.type and (score := _score(column.name, name, profiles)) >= _ALIKE
        ]
        if likely:
            name = max(likely)[1]
            found.append((column.name, name))
            del come[name]
    return tuple(found)


def _score(old: str, new: str, profiles: tuple[Mapping[str, Json], Mapping[str, Json]]) -> float:
    """How alike two columns are, from 0 to 1; 2 when they hold the same."""
    if _holds_same(profiles[0].get(old), profiles[1].get(new)):
        return 2.0
    return difflib.SequenceMatcher(None, _letters(old), _letters(new)).ratio()


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _holds_same(old: Json | None, new: Json | None) -> bool:
    if old is None or new is None or not old.get("count"):
        return False
    most = max(old.get("distinct", 0), new.get("distinct", 0))
    is_near = min(old.get("distinct", 0), new.get("distinct", 0)) >= _RENAMED_DISTINCT * most
    tops = [[item["value"] for item in part.get("top", ())[:5]] for part in (old, new)]
    ends = [(part.get("min"), part.get("max")) for part in (old, new)]
    has_evidence = ends[0] != (None, None) or bool(tops[0])
    return has_evidence and most > 2 and is_near and ends[0] == ends[1] and tops[0] == tops[1]
