"""By what lines logged models are found and ranked: of their name, run, params and metrics. Pure.

Of a metric there is a line for itself, and one for each dataset it was measured on, by its name and by its
name and digest; each tells the latest value and the span of all. So the ledger gives candidates in order,
whose points are then looked at themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from loopwright.core.digests import digest_bytes
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not, OnDataset, SortKey
from loopwright.ports.measures import Measure, Measured, RankedAsked, RankKey, Worded
from loopwright.registry.nouns import ModelPoint
from loopwright.tracking.at_hand import pinned_tags

__all__ = ["asked_of", "folded_in", "kinds_of", "lines_of", "names_metric", "placed", "words_of"]

_EVERY = "is"
"""the line that every logged model has"""
_NAME, _RUN, _PARAM = "name/", "run/", "param/"
_LONGEST, _HEAD = 300, 200
"""characters of a line's name, and so many of one that would be longer: indexes hold no long ones"""
_STATUS = Field("attribute", "status")
_Value = str | float | None
_MADE, _CHANGED = "creation_timestamp", "last_updated_timestamp"
_FAR = float(1 << 62)


def _metric_line(key: str, on: OnDataset | None = None) -> str:
    """The name of the line of a metric, perhaps as measured on a dataset."""
    return _short("metric/", [key, *_told(on)])


def _dataset_line(on: OnDataset) -> str:
    """The name of the line that says that anything was measured on a dataset."""
    return _short("on/", _told(on))


def _told(on: OnDataset | None) -> list[str]:
    if on is None:
        return []
    return [on.name] if on.digest is None else [on.name, on.digest]


def _short(prefix: str, parts: list[str]) -> str:
    """A name that tells these parts from all others."""
    written = msgspec.json.encode(parts)
    text = written.decode()
    return f"{prefix}{text if len(text) <= _LONGEST else f'{text[:_HEAD]}~{digest_bytes(written)}'}"


def words_of(asset: Asset) -> list[Measure]:
    """The lines that a logged model has unmeasured: that it is one, of its name, its run and its params."""
    run, params = asset.facts.get("source_run_id"), asset.facts.get("params", {})
    names = [_EVERY, f"{_NAME}{asset.facts['name']}", *([f"{_RUN}{run}"] if run else [])]
    return [_line(asset, name) for name in [*names, *(_param(*pair) for pair in params.items())]]


def _param(key: str, value: str) -> str:
    return _short(_PARAM, [key, value])


def _line(asset: Asset, name: str) -> Measure:
    return Measure(
        asset_id=asset.id,
        name=name,
        space=asset.space,
        home=str(asset.facts["experiment_id"]),
        asset=asset.name,
        made_ms=to_micros(asset.created_at) // 1000,
    )


def lines_of(point: ModelPoint) -> list[str]:
    """The names of the lines that a point belongs to."""
    if not point.dataset_name:
        return [_metric_line(point.key)]
    on = [OnDataset(point.dataset_name)]
    if point.dataset_digest:
        on.append(OnDataset(point.dataset_name, point.dataset_digest))
    return [_metric_line(point.key), *(_metric_line(point.key, each) for each in on), *map(_dataset_line, on)]


def folded_in(
    asset: Asset, known: Mapping[str, Measure], points: Iterable[tuple[ModelPoint, str]]
) -> list[Measure]:
    """The lines of a model after more points, each with what tells it from others of its time and step."""
    found: dict[str, Measure] = {}
    for point, place in points:
        for name in lines_of(point):
            line = found.get(name) or known.get(name) or _line(asset, name)
            found[name] = _with(line, point, place)
    return list(found.values())


def _with(line: Measure, point: ModelPoint, place: str) -> Measure:
    """A line with one point more; of two at one time and step that of the lower place is the latest."""
    mine, last = (point.at_us, point.step), (line.at_us, line.step)
    if not line.place or mine > last or (mine == last and place <= line.place):
        line = replace(line, value=point.value, at_us=point.at_us, step=point.step, place=place)
    if math.isnan(point.value):
        return line
    least = point.value if line.least is None else min(line.least, point.value)
    most = point.value if line.most is None else max(line.most, point.value)
    return replace(line, least=least, most=most)


# -- what is asked -------------------------------------------------------------------------


def asked_of(
    where: Condition | None,
    datasets: Sequence[OnDataset],
    keys: Sequence[SortKey],
    *,
    homes: Sequence[str],
    limit: int,
    after: Sequence[_Value] | None,
) -> RankedAsked:
    """The question that gives every model a filter is about in its order, and may give some others."""
    tests = _parts(where)
    measured = [test for part in tests if (test := _measured(part, datasets)) is not None]
    named = [test for part in tests if (test := _named(part)) is not None]
    if datasets and not names_metric(where):
        measured = [Measured(names=tuple(_dataset_line(each) for each in datasets))]
    return RankedAsked(
        limit=limit,
        homes=tuple(homes),
        every=_EVERY,
        order=tuple(map(_rank_key, keys)),
        measured=(*measured, *named),
        worded=tuple(word for part in tests if (word := _worded(part)) is not None),
        facts=tuple(pair for part in tests if (pair := _fact(part)) is not None),
        tags=pinned_tags(where),
        made_ms=_made_within(tests),
        after=None if after is None else placed(after, keys),
    )


def names_metric(where: Condition | None) -> bool:
    """Whether a condition is about a metric anywhere."""
    match where:
        case None:
            return False
        case All(parts) | AnyOf(parts):
            return any(names_metric(part) for part in parts)
        case Not(part):
            return names_metric(part)
    return where.field.kind == "metric"


def _parts(where: Condition | None) -> tuple[Comparison, ...]:
    """The comparisons that all have to hold."""
    match where:
        case Comparison():
            return (where,)
        case All(parts):
            return tuple(each for part in parts for each in _parts(part))
    return ()


def _measured(part: Comparison, datasets: Sequence[OnDataset]) -> Measured | None:
    if part.field.kind != "metric" or part.op == "IS NULL":
        return None
    names = tuple(_metric_line(part.field.key, on) for on in datasets or (None,))
    limit = float(part.value) if isinstance(part.value, int | float) else math.nan
    if math.isnan(limit) or part.op not in {"=", "<", "<=", ">", ">="}:
        return Measured(names=names)
    return Measured(
        names=names,
        low=None if part.op in {"<", "<="} else limit,
        high=None if part.op in {">", ">="} else limit,
    )


def _named(part: Comparison) -> Measured | None:
    """The line that what is equal to a text has; of no run there is none."""
    match part:
        case Comparison(Field("param", key), "=", str(value)):
            return Measured(names=(_param(key, value),))
        case Comparison(Field("attribute", "name"), "=", str(value)):
            return Measured(names=(f"{_NAME}{value}",))
        case Comparison(Field("attribute", "source_run_id"), "=", str(value)) if value:
            return Measured(names=(f"{_RUN}{value}",))
    return None


def _worded(part: Comparison) -> Worded | None:
    match part:
        case Comparison(Field("attribute", "name"), op) if op not in {"=", "IS NULL", "IS NOT NULL"}:
            return Worded(prefix=_NAME, test=part)
    return None


def _fact(part: Comparison) -> tuple[str, str] | None:
    match part:
        case Comparison(Field("attribute", "status"), "=", str(value)):
            return "state", value.lower()
        case Comparison(Field("attribute", "model_type"), "=", str(value)) if value:
            return "model_type", value
    return None


def _made_within(tests: Sequence[Comparison]) -> tuple[int | None, int | None]:
    """The widest stretch of creation that the tests leave."""
    low, high = -_FAR, _FAR
    for part in tests:
        if part.field == Field("attribute", _MADE) and isinstance(part.value, int | float):
            low = max(low, part.value) if part.op in {"=", ">", ">="} else low
            high = min(high, part.value) if part.op in {"=", "<", "<="} else high
    first = math.floor(min(low, _FAR)) if low > -_FAR else None
    return first, math.ceil(max(high, -_FAR)) if high < _FAR else None


def _rank_key(key: SortKey) -> RankKey:
    name, down = key.field.key, key.descending
    if key.field.kind == "metric":
        return RankKey(kind="measure", key=_metric_line(name, key.dataset), descending=down)
    if name == "model_id":
        return RankKey(kind="name", descending=down)
    if name in {_MADE, _CHANGED}:
        return RankKey(kind="made" if name == _MADE else "changed", descending=down)
    if name == "name":
        return RankKey(kind="word", key=_NAME, descending=down)
    return RankKey(kind="fact", key="state" if key.field == _STATUS else name, descending=down)


def kinds_of(keys: Sequence[SortKey]) -> list[type[str] | type[int] | type[float]]:
    """Of what kind the values are that keys order by."""
    return [
        float if key.field.kind == "metric" else int if key.field.key in {_MADE, _CHANGED} else str
        for key in keys
    ]


def placed(place: Sequence[_Value], keys: Sequence[SortKey]) -> tuple[_Value, ...]:
    """The values of a place, told key by key, as the ledger keeps them: a state in small letters."""
    return tuple(
        value.lower() if key.field == _STATUS and isinstance(value, str) else value
        for value, key in zip(place, keys, strict=True)
    )
