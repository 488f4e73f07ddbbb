"""The pages of explorations: those that are saved, one with its results, and the editor."""

from __future__ import annotations

from typing import Any

from loopwright.core.errors import Invalid, NotFound
from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = ["editor", "exploration", "explorations"]

_LISTED = 200
_VERSIONS = 20
_DATASETS = 200
_FIRST = """# What the rows say

Words in Markdown. A query reads the datasets that are named here, and nothing else.

```data
rows = {dataset}
```

```sql first
SELECT * FROM rows LIMIT 20
```
"""


def explorations(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """All that are saved, by name."""
    page = desk.call("explorations.list", limit=_LISTED, token=query.get("token"))
    return {"title": "Explorations", "page": page}


def exploration(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A version of a saved one, with its results."""
    name, version = path["name"], query.get("version") or ""
    view = desk.call("assets.show", kind="exploration", name=name)
    explored = desk.call("explorations.show", name=name, version=version)
    page = desk.call(
        "assets.versions", kind="exploration", name=name, limit=_VERSIONS, token=query.get("token")
    )
    return {"title": explored.title, "view": view, "explored": explored, "page": page}


def editor(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A document to be written, or the text of a saved one to be changed."""
    name, version = query.get("from") or "", query.get("version") or ""
    return {
        "title": f"Edit {name}" if name else "New exploration",
        "name": name,
        "text": _text(desk, name, version, query.get("dataset") or ""),
        "datasets": [each for each in desk.call("data.list", limit=_DATASETS).items if not each.files],
    }


def _text(desk: Desk, name: str, version: str, dataset: str) -> str:
    if name:
        saved: Any = desk.call("explorations.show", name=name, version=version)
        return str(saved.text)
    try:
        found = desk.call("data.show", name=dataset) if dataset else None
    except (Invalid, NotFound):
        found = None
    return _FIRST.format(dataset="flights" if found is None else dataset)
