"""The page of the trash: what lies there, what goes when, and the way back."""

from __future__ import annotations

from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = ["trash"]

_KINDS = (
    ("", "everything"),
    ("run", "runs"),
    ("experiment", "experiments"),
    ("model", "models"),
    ("version", "versions"),
    ("logged_model", "logged models"),
    ("prompt", "prompts"),
)
_PAGE = 100


def trash(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """What lies in the trash, perhaps of one kind."""
    known = {name for name, _ in _KINDS if name}
    kind = query.get("kind") if query.get("kind") in known else None
    page = desk.call("trash.list", kind=kind, limit=_PAGE, token=query.get("token"))
    return {
        "title": "Trash",
        "page": page,
        "kind": kind,
        "kinds": _KINDS,
        "now": desk.now,
        "days": desk.trash_days,
    }
