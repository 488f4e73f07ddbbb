"""Finds logged models by what they are, by params and tags, and by what was measured of them, and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.instants import to_micros
from loopwright.core.queries import Field, OnDataset, SortKey
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.ports.measures import RankedAsked
from loopwright.registry.logged import points_of, read_logged
from loopwright.registry.nouns import LoggedModel, ModelPoint
from loopwright.registry.ranking import asked_of, kinds_of, names_metric, placed
from loopwright.tracking.at_hand import Found, Value, Values, mark_of, page_of, predicate
from loopwright.tracking.dialects import LOGGED_MODELS
from loopwright.tracking.experiments import DEFAULT_ID, check_id, default_id
from loopwright.tracking.grammar import ModelOrder, parse_filter, parse_model_order

__all__ = ["Measured", "search"]


class Measured(msgspec.Struct, frozen=True):
    """A logged model with its points."""

    model: LoggedModel
    points: tuple[ModelPoint, ...]


def search(
    ctx: Context,
    experiments: Sequence[str],
    *,
    where: str = "",
    datasets: Sequence[OnDataset] = (),
    order: Sequence[ModelOrder] = (),
    limit: int = 100,
    token: str = "",
) -> Found[Measured]:
    """Logged models of experiments that a filter of MLflow's grammar is about, newest first unless asked.

    With datasets, only what was measured on one of them counts; without a metric in the filter it is enough
    to have been measured there.
    """
    for experiment_id in experiments:
        check_id(experiment_id)
    if not all(dataset.name for dataset in datasets):
        raise Invalid("`dataset_name` in the `datasets` clause must be specified.", hint="name each dataset")
    condition = parse_filter(where, LOGGED_MODELS)
    keys = parse_model_order(order)
    needs_points = bool(datasets) or names_metric(condition) or any(_is_metric(key.field) for key in keys)
    is_measured = _measured_on(datasets if not names_metric(condition) else ())
    condition_holds = predicate(condition, _look_on(datasets))
    wanted = {default_id(ctx.space) if each == DEFAULT_ID else each for each in experiments}

    def holds(each: Measured) -> bool:
        return each.model.experiment_id in wanted and is_measured(each) and condition_holds(each)

    with ctx.read() as tx:
        loaded = _loader(ctx, tx)
        seen = loaded if needs_points else _bare
        mark = mark_of(token, kinds_of(keys))
        asked = asked_of(condition, datasets, keys, homes=sorted(wanted), limit=limit + 1, after=mark)
        there = list(islice(filter(holds, _candidates(ctx, tx, asked, seen, keys)), limit + 1))
        page = page_of(there, _place, keys, limit=limit)
        items = tuple(each if needs_points else loaded(each.model) for each in page.items)
    return Found(items=items, next_token=page.next_token)


def _candidates(
    ctx: Context,
    tx: Transaction,
    asked: RankedAsked,
    seen: Callable[[LoggedModel], Measured],
    keys: Sequence[SortKey],
) -> Iterator[Measured]:
    """Models in the order asked for, read piece by piece."""
    while True:
        piece = tx.measures.ranked(ctx.space, asked)
        for asset in piece:
            last = seen(read_logged(asset))
            yield last
        if len(piece) < asked.limit:
            return
        behind = placed([_place(last, key) for key in keys], keys)
        asked = replace(asked, after=behind, limit=min(2 * asked.limit, _PIECE))


def _bare(model: LoggedModel) -> Measured:
    return Measured(model, ())


def _loader(ctx: Context, tx: Transaction) -> Callable[[LoggedModel], Measured]:
    return lambda model: Measured(model, tuple(points_of(tx, ctx.space, model.id)))


def _is_metric(field: Field) -> bool:
    return field.kind == "metric"


def _measured_on(datasets: Sequence[OnDataset]) -> Callable[[Measured], bool]:
    return lambda each: not datasets or any(_is_on(point, datasets) for point in each.points)


def _is_on(point: ModelPoint, datasets: Sequence[OnDataset]) -> bool:
    return not datasets or any(
        point.dataset_name == each.name and each.digest in {None, point.dataset_digest} for each in datasets
    )


def _look_on(datasets: Sequence[OnDataset]) -> Callable[[Measured, Field], Values]:
    def look(each: Measured, field: Field) -> Values:
        if _is_metric(field):
            return [p.value for p in each.points if p.key == field.key and _is_on(p, datasets)]
        return _plain(each.model, field)

    return look


def _plain(model: LoggedModel, field: Field) -> Values:
    if field.kind == "attribute":
        return (_ATTRIBUTES[field.key](model),)
    value = (model.tags if field.kind == "tag" else model.params).get(field.key)
    return () if value is None else (value,)


def _place(each: Measured, key: SortKey) -> Value | None:
    """What it is ordered by: of a metric the latest point, on the dataset that the order names."""
    if not _is_metric(key.field):
        return next(iter(_plain(each.model, key.field)), None)
    on = (key.dataset,) if key.dataset else ()
    points = [point for point in each.points if point.key == key.field.key and _is_on(point, on)]
    return max(points, key=lambda point: (point.at_us, point.step)).value if points else None


_PIECE = 1_000
_ATTRIBUTES: dict[str, Callable[[LoggedModel], str | float]] = {
    "name": lambda model: model.name,
    "model_id": lambda model: model.id,
    "model_type": lambda model: model.model_type,
    "status": lambda model: model.state.upper(),
    "source_run_id": lambda model: model.source_run_id,
    "experiment_id": lambda model: model.experiment_id,
    "creation_timestamp": lambda model: to_micros(model.created_at) // 1000,
    "last_updated_timestamp": lambda model: to_micros(model.updated_at) // 1000,
}
