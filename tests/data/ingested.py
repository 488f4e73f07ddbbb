"""What came of a reading of a source."""

from __future__ import annotations

from loopwright.data.reading import read
from loopwright.engine.context import Context

__all__ = ["is_there", "rows"]


def rows(ctx: Context, name: str) -> list[dict[str, object]]:
    """The rows of a dataset's newest version."""
    found: list[dict[str, object]] = read(ctx, f"dataset:{name}").to_pylist()
    return found


def is_there(ctx: Context, name: str) -> bool:
    """Whether there is a dataset of that name, with versions or without."""
    with ctx.read() as tx:
        return tx.assets.find(ctx.space, "dataset", name) is not None
