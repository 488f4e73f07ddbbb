"""What assets of the ledger in memory are found and ranked by, asked plainly of all of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset
from loopwright.ports.measures import Measure, Measured, RankedAsked, RankKey, Worded
from loopwright.testing.ledger_unit import Unit, stands
from loopwright.testing.querying import compares

__all__ = ["MemoryMeasures"]

_Key = str | float | None


class MemoryMeasures:
    """Fulfils `ports.measures.Measures`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def of(self, asset_id: str, names: Collection[str]) -> Mapping[str, Measure]:
        rows = self._unit.rows("measures")
        return {name: rows[asset_id, name] for name in names if (asset_id, name) in rows}

    def put(self, measures: Sequence[Measure]) -> None:
        self._unit.edit("measures").update(((each.asset_id, each.name), each) for each in measures)

    def remove(self, asset_id: str, names: Collection[str]) -> None:
        rows = self._unit.edit("measures")
        for name in names:
            rows.pop((asset_id, name), None)

    def ranked(self, space: str, asked: RankedAsked) -> Sequence[Asset]:
        lines: dict[str, list[Measure]] = {}
        for line in self._unit.rows("measures").values():
            if line.space == space and line.home in asked.homes:
                lines.setdefault(line.asset_id, []).append(line)
        found = [
            asset
            for asset in self._unit.rows("assets").values()
            if asset.deleted_at is None
            and any(line.name == asked.every for line in lines.get(asset.id, ()))
            and _is_asked(asset, lines.get(asset.id, []), asked)
        ]
        for key in reversed(asked.order):
            found = _sorted(found, lines, key)
        if asked.after is not None:
            after = asked.after
            found = [
                each for each in found if _is_behind(_place(each, lines, asked.order), after, asked.order)
            ]
        return tuple(found[: asked.limit])


def _is_asked(asset: Asset, lines: Sequence[Measure], asked: RankedAsked) -> bool:
    made, (earliest, latest) = _made(asset), asked.made_ms
    return (
        (earliest is None or made >= earliest)
        and (latest is None or made <= latest)
        and all(any(_is_measured(line, each) for line in lines) for each in asked.measured)
        and all(any(_is_worded(line, each) for line in lines) for each in asked.worded)
        and all(stands(asset.facts, name, text) for name, text in asked.facts)
        and asked.tags.items() <= asset.tags.items()
    )


def _is_measured(line: Measure, asked: Measured) -> bool:
    reaches = asked.low is None or (line.most is not None and line.most >= asked.low)
    stays = asked.high is None or (line.least is not None and line.least <= asked.high)
    return line.name in asked.names and reaches and stays


def _is_worded(line: Measure, asked: Worded) -> bool:
    word = line.name.removeprefix(asked.prefix)
    return line.name.startswith(asked.prefix) and compares(word, asked.test.op, asked.test.value)


def _made(asset: Asset) -> int:
    return to_micros(asset.created_at) // 1000


def _value(asset: Asset, lines: Sequence[Measure], key: RankKey) -> _Key:
    match key.kind:
        case "measure":
            return next((line.value for line in lines if line.name == key.key), None)
        case "word":
            words = [line.name for line in lines if line.name.startswith(key.key)]
            return words[0].removeprefix(key.key) if words else None
        case "fact":
            return str(asset.facts.get(key.key, ""))
        case "made":
            return _made(asset)
        case "changed":
            return to_micros(asset.updated_at or asset.created_at) // 1000
    return asset.name


def _place(asset: Asset, lines: Mapping[str, Sequence[Measure]], order: Sequence[RankKey]) -> list[_Key]:
    return [_value(asset, lines.get(asset.id, ()), key) for key in order]


def _sorted(found: list[Asset], lines: Mapping[str, Sequence[Measure]], key: RankKey) -> list[Asset]:
    placed = [(_value(asset, lines.get(asset.id, ()), key), asset) for asset in found]
    numbers = [pair for pair in placed if _rank(pair[0]) == 0]
    is_text = key.kind in {"word", "fact", "name"}
    numbers.sort(key=lambda pair: str(pair[0]) if is_text else pair[0] or 0, reverse=key.descending)
    rest = sorted((pair for pair in placed if _rank(pair[0])), key=lambda pair: _rank(pair[0]))
    return [asset for _, asset in (*numbers, *rest)]


def _rank(value: _Key) -> int:
    if value is None:
        return 2
    return 1 if isinstance(value, float) and math.isnan(value) else 0


def _is_behind(mine: Sequence[_Key], after: Sequence[_Key], order: Sequence[RankKey]) -> bool:
    for one, two, key in zip(mine, after, order, strict=True):
        if _rank(one) != _rank(two):
            return _rank(one) > _rank(two)
        if _rank(one) or one == two:
            continue
        is_less = str(one) < str(two) if isinstance(one, str) else float(one or 0) < float(two or 0)
        return is_less is key.descending
    return False
