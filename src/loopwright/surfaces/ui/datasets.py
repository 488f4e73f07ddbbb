"""The pages of a dataset: its versions and columns, what contracts found, quarantine, purposes, erasures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from loopwright.core.errors import Denied, NotFound
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import Schema
from loopwright.data.evolution import ColumnChange, schema_changes
from loopwright.data.nouns import DATASET, QuarantinedRow, RuleResult
from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = [
    "CheckLine",
    "Spread",
    "checked_over_time",
    "contract",
    "dataset",
    "erasures",
    "found",
    "spoken",
    "spread",
    "table_at",
    "written",
]

_LISTED = 100
_VERSIONS = 20
_CHECKED = 12
"""versions of which the checks are told"""
_KEPT_OUT = 20
_SAMPLE = 8
_SHORT = 14
_AGE = re.compile(r"(\d+[a-z]+){1,2}")
"""the two largest units of a time"""
_TOP = 3
"""values of a column that are named in its line"""
_WIDTH, _HEIGHT = 96, 22
_NEW_RULES = {"ask": "", "rules": [{"column": "", "allowed": [], "forbidden": []}]}


class CheckLine(NamedTuple):
    """One rule over the newest versions: what became of it in each, None where it was not asked."""

    rule: str
    severity: str
    results: tuple[RuleResult | None, ...]


class Spread(NamedTuple):
    """How the values of a column are spread: the bars of its histogram, or the commonest values."""

    bars: str = ""
    """the path of a picture; empty where there is no histogram"""
    common: tuple[tuple[str, float], ...] = ()
    """values with their shares of the rows that have one"""


def found(desk: Desk, query: Query) -> Values:
    """The catalogue of datasets: what is asked for, what there is, and by what it can be chosen."""
    asked = {key: query.get(key) or "" for key in ("text", "owner", "tag")}
    page = desk.call("data.search", **asked, limit=_LISTED, token=query.get("token"))
    kept = "&".join(f"{key}={quote(value, safe='')}" for key, value in asked.items() if value)
    return {
        "page": page,
        "asked": asked,
        "facets": desk.call("data.facets"),
        "query": f"kind=dataset&{kept}&" if kept else "kind=dataset&",
        "now": desk.now,
    }


def dataset(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A dataset: by its manifests, profiles and signals; rows are read where `rows` asks for the first ones.

    Rows in quarantine are listed as they are: no profile is made of them.
    """
    name = path["name"]
    view = desk.call("assets.show", kind="dataset", name=name)
    page = desk.call("assets.versions", kind="dataset", name=name, limit=_VERSIONS, token=query.get("token"))
    newest = desk.maybe("data.show", name=name)
    shown = [version for version in page.items[:_CHECKED] if newest is not None][::-1]
    purpose = query.get("purpose") or ""
    kept_out, kept_back = _kept_out(desk, name, query.get("kept"), purpose)
    purposes = desk.maybe("data.purposes", name=name)
    return {
        **_table(desk, name, newest, query),
        "title": name,
        "view": view,
        "page": page,
        "contract": desk.maybe("data.contract", name=name),
        "checked": [version.number for version in shown],
        "checks": checked_over_time([_checks(desk, name, version) for version in shown]),
        "history": _history(desk, name, shown),
        "kept_back": kept_back,
        "kept_out": kept_out,
        "reasons": [] if kept_out is None else _reasons(kept_out.items),
        "purposes": purposes,
        "purposes_text": spelled(_NEW_RULES if purposes is None else written(purposes)),
        "requests": desk.call("data.access_requests", name=name)[::-1],
        "erasures": _erasures_of(desk, newest),
        "now": desk.now,
        "spoken": spoken,
    }


def table_at(desk: Desk, version: Version, query: Query) -> Values | None:
    """A version of a dataset: its columns by its profile, what its contract found, its first rows if asked.

    None for what is no table, or has no content any more.
    """
    number = str(version.number)
    detail = desk.maybe("data.show", name=version.name, version=number) if version.kind == DATASET else None
    if detail is None or not detail.columns.columns:
        return None
    found = {"results": _checks(desk, version.name, version), "spoken": spoken}
    return {**_table(desk, version.name, detail, query), **found}


def _table(desk: Desk, name: str, detail: Any, query: Query) -> Values:
    """The profile and the first rows of the version that a detail is of."""
    purpose = query.get("purpose") or ""
    asked = {"name": name, "purpose": purpose}
    if detail is not None:
        asked["version"] = str(detail.version.number)
    profile = desk.maybe("data.profile", **asked)
    is_asked = query.get("rows") or purpose
    return {
        "detail": detail,
        "profile": profile,
        "spreads": {} if profile is None else {key: spread(each) for key, each in profile["columns"].items()},
        "size": (_WIDTH, _HEIGHT),
        "purpose": purpose,
        "sample": _sample(desk, asked, detail, profile) if is_asked else _unread(profile),
        "sampled": _SAMPLE,
    }


def spread(column: Json) -> Spread:
    """The picture of a column's profile: a bar for each bin, or its commonest values where it has none."""
    if column.get("histogram"):
        return Spread(_bars(column["histogram"]["counts"]))
    full = column.get("count") or 1
    shown = column.get("top") or ()
    return Spread(common=tuple((str(each["value"]), each["count"] / full) for each in shown[:_TOP]))


def _bars(counts: Sequence[int]) -> str:
    across, top = _WIDTH / max(len(counts), 1), max(counts, default=0)
    places = ((at * across, _HEIGHT * count / top) for at, count in enumerate(counts) if count)
    return "".join(f"M{x:.1f} {_HEIGHT}v{-tall:.1f}h{across * 0.9:.1f}v{tall:.1f}z" for x, tall in places)


def _kept_out(desk: Desk, name: str, token: str | None, purpose: str) -> tuple[Any, str]:
    """A page of rows in quarantine, and why they may not be seen."""
    asked = {"name": name, "limit": _KEPT_OUT, "token": token, "purpose": purpose}
    try:
        return desk.maybe("data.quarantine", **asked), ""
    except Denied as error:
        return None, f"{error.message}: {error.hint}"


def _reasons(rows: Sequence[QuarantinedRow]) -> list[str]:
    return sorted({reason for row in rows for reason in row.reason.split("; ")})


def _checks(desk: Desk, name: str, version: Version) -> tuple[RuleResult, ...]:
    found: tuple[RuleResult, ...] = desk.call("data.checks", name=name, version=str(version.number))
    return found


def checked_over_time(found: Sequence[Sequence[RuleResult]]) -> list[CheckLine]:
    """Rules by the order in which they first came, each with its result in every version, oldest first."""
    by_rule = [{each.rule: each for each in results} for results in found]
    rules = {each.rule: each.severity for results in found for each in results}
    return [CheckLine(rule, kind, tuple(each.get(rule) for each in by_rule)) for rule, kind in rules.items()]


def spoken(result: RuleResult) -> str:
    """A result in the space of a cell: what was measured, else the share that breaks the rule."""
    if result.value is not None:
        if len(result.found) <= _SHORT:
            return result.found
        age = _AGE.match(result.found)
        return f"{age[0]} old" if age and result.found.endswith(" old") else f"{result.value:.3g}"
    if not result.failed or not result.rows:
        return "held" if result.held else "broken"
    share = 100 * result.failed / result.rows
    return f"{share:.1f} %" if share >= 0.05 else f"{result.failed:,} of {result.rows:,}"


def _history(
    desk: Desk, name: str, versions: Sequence[Version]
) -> list[tuple[int, tuple[ColumnChange, ...]]]:
    """Versions whose columns differ from those of the version before, newest first."""
    known: list[tuple[int, Schema]] = [
        (version.number, desk.call("data.show", name=name, version=str(version.number)).columns)
        for version in versions
    ]
    pairs = pairwise(known)
    found = [(after[0], schema_changes(before[1], after[1]).changes) for before, after in pairs]
    return [(number, changes) for number, changes in found if changes][::-1]


def _sample(desk: Desk, which: Mapping[str, str], detail: Any, profile: Json | None) -> Values | None:
    """The first rows by the columns that may be read, and why others may not; None for what has no rows."""
    if detail is None or not detail.columns.columns:
        return None
    names = detail.columns.names
    asked = {**which, "limit": _SAMPLE}
    try:
        return {"rows": desk.call("data.rows", **asked).items, "columns": names, "denied": ""}
    except Denied as error:
        told = {} if profile is None else profile["columns"]
        shown = [each for each in names if each in told and "withheld" not in told[each]]
        rows = desk.call("data.rows", **asked, columns=shown).items if shown else ()
        return {"rows": rows, "columns": shown, "denied": f"{error.message}: {error.hint}"}


def _unread(profile: Json | None) -> Values:
    """What is told of the first rows before somebody asks for them: why columns may not be read."""
    told = () if profile is None else profile["columns"].values()
    denied = next((column["withheld"] for column in told if "withheld" in column), "")
    return {"rows": None, "columns": (), "denied": denied}


def _erasures_of(desk: Desk, detail: Any) -> list[Any]:
    """Proofs about columns that the dataset has, newest first."""
    names = set() if detail is None else set(detail.columns.names)
    return [each for each in desk.call("data.erasures")[::-1] if set(each.columns) <= names]


def erasures(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The proofs of all erasures, newest first."""
    return {"title": "Erasures", "erasures": desk.call("data.erasures")[::-1]}


def contract(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The editor of a dataset's contract."""
    name = path["name"]
    present = desk.maybe("data.contract", name=name)
    inferred = desk.maybe("data.infer_contract", name=name)
    first = present if present is not None else None if inferred is None else inferred.contract
    if first is None:
        raise NotFound(f"dataset:{name} has no contract and no rows", hint="append rows to infer one from")
    policy = f"contract/{name}"
    return {
        "title": f"Contract of {name}",
        "name": name,
        "present": present,
        "text": spelled(written(first)),
        "inferred": None if inferred is None else spelled(written(inferred.contract)),
        "changes": () if inferred is None else inferred.changes,
        "versions": [] if present is None else _versions_of(desk, policy),
        "detail": desk.maybe("data.show", name=name),
    }


def _versions_of(desk: Desk, policy: str) -> list[Version]:
    return list(desk.call("assets.versions", kind="policy", name=policy, limit=_VERSIONS).items)


def spelled(value: Any) -> str:
    """JSON to be edited."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def written(value: Any) -> Any:
    """A contract as one would write it: without what is so anyway."""
    if isinstance(value, tuple):
        return [written(each) for each in value]
    if not isinstance(value, msgspec.Struct) or value.__struct_config__.tag is not None:
        return msgspec.to_builtins(value)
    fields = msgspec.structs.fields(value)
    said = ((field.encode_name, getattr(value, field.name), field.default) for field in fields)
    found = {name: written(given) for name, given, default in said if given != default}
    return {name: given for name, given in found.items() if given != [] and not _is_nan(given)}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
