"""Finds logged models by what they are, by params and tags, and by what was measured of them, and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.instants import to_micros
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not, OnDataset, SortKey
from loopwright.engine.context import Context
from loopwright.ports.ledger import NewestAsked, Transaction
from loopwright.registry.logged import all_logged, newest_logged, points_by_model, points_of
from loopwright.registry.nouns import LoggedModel, ModelPoint
from loopwright.tracking.at_hand import Found, Value, Values, mark_of, page_of, pinned_tags, predicate
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
    holds = predicate(condition, _look_on(datasets))
    needs_points = bool(datasets) or _names_metric(condition) or any(_is_metric(key.field) for key in keys)
    is_measured = _measured_on(datasets if not _names_metric(condition) else ())
    wanted = {default_id(ctx.space) if each == DEFAULT_ID else each for each in experiments}
    is_walked = keys == _NEWEST_FIRST
    with ctx.read() as tx:
        if is_walked:
            mark = mark_of(token, (int, str))
            models = _newest(ctx, tx, _asked(wanted, condition, limit, mark), mark)
        else:
            models = ((each, False) for each in all_logged(ctx, tx))
        loaded = _loader(ctx, tx, at_once=needs_points and not is_walked)
        there: list[Measured] = []
        for model, ends_its_time in models:
            each = loaded(model) if needs_points else Measured(model, ())
            if model.experiment_id in wanted and is_measured(each) and holds(each):
                there.append(each)
            if ends_its_time and len(there) > limit:
                break
        page = page_of(there, _place, keys, limit=limit, token="" if is_walked else token)
        items = tuple(each if needs_points else loaded(each.model) for each in page.items)
    return Found(items=items, next_token=page.next_token)


def _asked(wanted: Set[str], where: Condition | None, limit: int, mark: list[Any] | None) -> NewestAsked:
    """The candidates from where a page begins; its millisecond is read again."""
    facts = _pinned_facts(where)
    if len(wanted) == 1:
        facts = (*facts, ("experiment_id", next(iter(wanted))))
    after = None if mark is None else ((mark[0] + 1) * 1000 - 1, "")
    return NewestAsked(limit=limit + _SPARE, facts=facts, tags=pinned_tags(where), after=after)


def _newest(
    ctx: Context, tx: Transaction, asked: NewestAsked, mark: list[Any] | None
) -> Iterator[tuple[LoggedModel, bool]]:
    """Models behind a mark, the newest first; with each, whether its millisecond ends with it."""
    for model, ends_its_time in newest_logged(ctx, tx, asked):
        if mark is None or (-_millis(model), model.id) > (-mark[0], mark[1]):
            yield model, ends_its_time


def _millis(model: LoggedModel) -> int:
    return to_micros(model.created_at) // 1000


def _pinned_facts(where: Condition | None) -> tuple[tuple[str, str], ...]:
    """What stands in the facts of a model for which the condition holds."""
    match where:
        case Comparison(Field("param", key), "=", str(value)):
            return ((key, value),)
        case Comparison(Field("attribute", ("name" | "source_run_id") as key), "=", str(value)) if value:
            return ((key, value),)
        case All(parts):
            return tuple(pair for part in parts for pair in _pinned_facts(part))
    return ()


def _loader(ctx: Context, tx: Transaction, *, at_once: bool) -> Callable[[LoggedModel], Measured]:
    """Gives a model its points: each read for itself, or all of the space's at once, where many are asked."""
    if at_once:
        known = points_by_model(tx, ctx.space)
        return lambda model: Measured(model, tuple(known.get(model.id, ())))
    return lambda model: Measured(model, tuple(points_of(tx, ctx.space, model.id)))


def _names_metric(where: Condition | None) -> bool:
    match where:
        case None:
            return False
        case All(parts) | AnyOf(parts):
            return any(_names_metric(part) for part in parts)
        case Not(part):
            return _names_metric(part)
    return _is_metric(where.field)


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


_NEWEST_FIRST = parse_model_order(())
_SPARE = 50
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
