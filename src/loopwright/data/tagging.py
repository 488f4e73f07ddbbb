"""Tags of columns, which contracts give, and which go along with what is made of a column."""

from __future__ import annotations

from collections.abc import Iterable

from loopwright.core.nouns import Version
from loopwright.data.contracts import contract_of
from loopwright.data.descent import descent
from loopwright.engine.context import Context

__all__ = ["tags_along"]


def tags_along(ctx: Context, version: Version, columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The tags of columns of a version, its contract's and those of what they were made of."""
    tags: dict[str, set[str]] = {}
    for name, made in descent(ctx, version, columns):
        held = contract_of(ctx, name, required=False)
        for rule in () if held is None else held.contract.columns:
            for column in made.get(rule.name, ()) if rule.tags else ():
                tags.setdefault(column, set()).update(rule.tags)
    return {column: tuple(sorted(each)) for column, each in sorted(tags.items())}
