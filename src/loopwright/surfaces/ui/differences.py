"""The page of two versions of a dataset: which columns, rows and numbers of the profile differ, and drift."""

from __future__ import annotations

from typing import Any

from loopwright.core.errors import Denied, Invalid, NotFound
from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = ["data_compared"]

_SHOWN = 50
_CHOICES = 50


def data_compared(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """Two versions: `name` with `before` and `after`, which are numbers, tags or branches."""
    name, after = query.get("dataset"), query.get("after")
    if not name:
        raise Invalid(
            "no dataset is named", hint="open the page of a dataset and compare two of its versions"
        )
    versions = desk.call("assets.versions", kind="dataset", name=name, limit=_CHOICES).items
    view = desk.call("assets.show", kind="dataset", name=name)
    numbers = [str(version.number) for version in versions]
    pointers = [alias.alias for alias in view.aliases]
    pointers += [branch.name for branch in desk.call("data.branches", name=name)]
    if not (after or numbers):
        raise NotFound(f"dataset:{name} has no version to be compared", hint="append rows to make one")
    chosen_after = after or numbers[0]
    chosen_before = query.get("before") or _earlier(numbers, chosen_after)
    purpose = query.get("purpose") or ""
    sides = _address(name, chosen_before), _address(name, chosen_after)
    found, denied = _found(desk, sides[0], sides[1], purpose)
    sample = () if found is None else found.sample
    is_folder = found is not None and found.files is not None
    return {
        "title": f"{name}: {chosen_before} and {chosen_after}",
        "name": name,
        "found": found,
        "drift": None
        if is_folder
        else desk.call("data.drift", before=sides[0], after=sides[1], purpose=purpose),
        "denied": denied,
        "purpose": purpose,
        "chosen": (chosen_before, chosen_after),
        "choices": [*pointers, *numbers],
        "rows": [_row(row) for row in sample],
        "columns": _columns(sample),
    }


def _found(desk: Desk, before: str, after: str, purpose: str) -> tuple[Any, str]:
    """What differs, or why it may not be seen."""
    try:
        return desk.call("data.diff", before=before, after=after, limit=_SHOWN, purpose=purpose), ""
    except Denied as error:
        return None, f"{error.message}: {error.hint}"


def _address(name: str, selector: str) -> str:
    escaped = name.replace("%", "%25").replace("@", "%40").replace("#", "%23").replace(":", "%3A")
    return f"dataset:{escaped}@{selector}"


def _earlier(numbers: list[str], number: str) -> str:
    """The version listed before it, or itself where there is none."""
    later = numbers[numbers.index(number) + 1 :] if number in numbers else numbers
    return later[0] if later else number


def _columns(sample: tuple[Any, ...]) -> list[str]:
    return list(dict.fromkeys(name for row in sample for name in {**(row.before or {}), **(row.after or {})}))


def _row(row: Any) -> Values:
    """What a line of the table shows: the value, and where it changed what it was."""
    value, before = row.after or row.before, row.before or {}
    was = {name: before[name] for name in row.columns}
    return {"kind": row.kind, "value": value, "was": was}
