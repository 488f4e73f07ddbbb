"""The pages of evaluation datasets: a list of them, and one with its records."""

from __future__ import annotations

from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = ["evaluation", "evaluations"]

_LIST = 100
_RECORDS = 50


def evaluations(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The evaluation datasets, newest first."""
    page = desk.call("evaluation.list", limit=_LIST, token=query.get("token"))
    return {"title": "Evaluation datasets", "page": page}


def evaluation(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A dataset: what its records hold, and the records, page by page."""
    dataset_id = path["dataset_id"]
    found = desk.call("evaluation.show", dataset_id=dataset_id)
    records = desk.call("evaluation.records", dataset_id=dataset_id, limit=_RECORDS, token=query.get("token"))
    return {
        "title": found.name,
        "section": "/models",
        "found": found,
        "page": records,
    }
