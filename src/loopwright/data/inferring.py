"""Reads a contract off a profile, and says how two contracts differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from loopwright.core.nouns import Json
from loopwright.core.schema import ColumnType
from loopwright.data.nouns import ColumnRule, Contract, UniqueKey
from loopwright.data.personal import personal_kind

__all__ = ["ContractChange", "changes_between", "inferred", "with_what_people_said"]

_FEW_LEVELS = 20
_ROWS_A_LEVEL = 50
"""rows that each value must stand for on average before the values there are count as all there may be"""
_MARGIN = 0.1


class ContractChange(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that comes, goes or changes from one contract to another."""

    rule: str
    """`columns.wind_speed.max`, `unique.origin+observed_at`, `volume.min_rows`"""
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def inferred(name: str, profile: Json, *, keys: Sequence[str] = ()) -> Contract:
    """The contract that rows of this profile hold, with room for what they did not happen to have.

    Numbers may lie a tenth of their spread outside (none turns negative for it), texts and booleans have to
    be among the values there were when these are at most 20 and each stands for 50 rows or more, columns
    without a null may not have one, and a column of as many values as rows is unique. Instants are free, and
    no value of a column that looks personal is listed.
    """
    rows = int(profile["rows"])
    columns = tuple(_rule(column, found, rows) for column, found in profile["columns"].items())
    unique = [UniqueKey(columns=tuple(keys), primary=True)] if keys else []
    unique += [
        UniqueKey(columns=(column,))
        for column, found in profile["columns"].items()
        if (column,) != tuple(keys) and _is_unique(found, rows)
    ]
    return Contract(name=name, columns=columns, unique=tuple(unique))


def with_what_people_said(made: Contract, present: Contract) -> Contract:
    """The inferred contract with what no profile tells: descriptions and tags of the present one's columns.

    Values of columns that are tagged as personal are not listed.
    """
    said = {rule.name: rule for rule in present.columns}
    columns = (_said_of(rule, said[rule.name]) if rule.name in said else rule for rule in made.columns)
    return msgspec.structs.replace(made, columns=tuple(columns))


def _said_of(made: ColumnRule, present: ColumnRule) -> ColumnRule:
    tags = tuple(dict.fromkeys((*present.tags, *made.tags)))
    allowed = () if any(tag.startswith("pii.") for tag in tags) else made.allowed
    return msgspec.structs.replace(made, description=present.description, tags=tags, allowed=allowed)


def _is_unique(found: Json, rows: int) -> bool:
    kinds = ("int", "string")
    return rows > 1 and found["type"] in kinds and found["distinct"] == rows and not found.get("bounds")


def _rule(name: str, found: Json, rows: int) -> ColumnRule:
    kind = ColumnType(found["type"])
    low, high = _range(found) if kind in (ColumnType.INT, ColumnType.FLOAT) else (None, None)
    tags = _tags(name, found)
    return ColumnRule(
        name=name,
        type=kind,
        nullable=found["nulls"] > 0 or not rows,
        min=low,
        max=high,
        allowed=_levels(found, rows) if kind is ColumnType.STRING and not tags else (),
        tags=tags,
    )


def _tags(name: str, found: Json) -> tuple[str, ...]:
    """What the name speaks of, or more than half of the frequent texts have the form of."""
    texts = (item["value"] for item in found.get("top") or () if isinstance(item["value"], str))
    personal = personal_kind(name, texts)
    return () if personal is None else (personal.tag,)


def _range(found: Json) -> tuple[float | None, float | None]:
    low, high = found.get("min"), found.get("max")
    if low is None or high is None:
        return None, None
    room = (high - low) * _MARGIN
    ends = low - room, high + room
    if low >= 0:
        ends = max(0.0, ends[0]), ends[1]
    return (math.floor(ends[0]), math.ceil(ends[1])) if found["type"] == "int" else ends


def _levels(found: Json, rows: int) -> tuple[str, ...]:
    top = found.get("top") or []
    whole = found["distinct"] == len(top) <= _FEW_LEVELS and not found.get("bounds")
    if not whole or rows < _ROWS_A_LEVEL * max(1, len(top)):
        return ()
    return tuple(sorted(item["value"] for item in top))


def changes_between(before: Contract | None, after: Contract) -> tuple[ContractChange, ...]:
    """What differs, rule by rule, in order of the rules' names."""
    old = {} if before is None else _flat(before)
    new = _flat(after)
    found = []
    for rule in sorted(old.keys() | new.keys()):
        if rule not in old:
            found.append(ContractChange(rule=rule, kind="added", after=new[rule]))
        elif rule not in new:
            found.append(ContractChange(rule=rule, kind="removed", before=old[rule]))
        elif old[rule] != new[rule]:
            found.append(ContractChange(rule=rule, kind="changed", before=old[rule], after=new[rule]))
    return tuple(found)


def _flat(contract: Contract) -> dict[str, Any]:
    """What the contract asks beside the defaults, by the rule's path."""
    asked = msgspec.to_builtins(contract)
    found: dict[str, Any] = {"other_columns": contract.other_columns}
    defaults = msgspec.to_builtins(ColumnRule(name="", type=ColumnType.STRING))
    for column in asked["columns"]:
        path = f"columns.{column['name']}"
        found[f"{path}.type"] = column["type"]
        said = {key: value for key, value in column.items() if key not in ("name", "type")}
        found |= {f"{path}.{key}": value for key, value in said.items() if value != defaults[key]}
    for home in ("rows", "groups", "unique", "references", "freshness", "comparisons", "distributions"):
        found |= {f"{home}.{_title(item)}": item for item in asked[home]}
    for home in ("volume", "release"):
        found |= {f"{home}.{key}": value for key, value in asked[home].items()}
    return found


def _title(item: Mapping[str, Any]) -> str:
    if "columns" in item:
        return "+".join(item["columns"])
    parts = [
        item.get("name"),
        item.get("of") if "name" not in item else None,
        item.get("column"),
        item.get("baseline"),
    ]
    return ".".join(str(part) for part in parts if part)
