"""The pages of label queues: how far each has come, and the one that is worked with the keyboard."""

from __future__ import annotations

from typing import Any

from loopwright.core.errors import Denied
from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = ["queue", "queues"]

_DATASETS = 200


def queues(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """All queues, and what a new one may be over."""
    dataset = query.get("dataset") or ""
    detail = desk.maybe("data.show", name=dataset) if dataset else None
    return {
        "title": "Labels",
        "queues": desk.call("labels.list"),
        "datasets": [each.name for each in desk.call("data.list", limit=_DATASETS).items if not each.files],
        "dataset": dataset,
        "columns": () if detail is None else detail.columns.columns,
        "keys": () if detail is None else detail.body.get("keys", ()),
    }


def queue(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A queue, with the row that waits for who looks."""
    name, annotator = path["name"], query.get("as") or ""
    view = desk.call("labels.show", queue=name)
    again = query.get("item")
    number = int(again) if again and again.isascii() and again.isdigit() else None
    row, denied = _row(desk, name, annotator, number)
    return {
        "title": f"Labels of {name}",
        "view": view,
        "row": row,
        "denied": denied,
        "annotator": annotator,
        "who": annotator or desk.principal,
    }


def _row(desk: Desk, name: str, annotator: str, number: int | None) -> tuple[Any, str]:
    try:
        return desk.call("labels.next", queue=name, annotator=annotator, item=number), ""
    except Denied as error:
        return None, f"{error.message}: {error.hint}"
