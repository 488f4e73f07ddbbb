"""What runs log: points, params and tags.

A batch is one unit of work: all of it is kept or nothing. Params are written once, the same value again is no
error. A run in the trash takes nothing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import MetricPoint, Run
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.tracking.lifecycle import NAME_TAG, PARENT_TAG, open_run
from loopwright.tracking.limits import PARAM, TAG, check_batch, check_keys, cut, duplicate

__all__ = ["Batch", "log_batch", "log_param", "set_tag", "storable", "unset_tag"]

_LARGEST = sys.float_info.max
_TOLD = 250


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged at once."""

    points: Sequence[MetricPoint] = ()
    params: Sequence[tuple[str, str]] = ()
    tags: Sequence[tuple[str, str]] = ()


def storable(value: float) -> float:
    """A value as it is kept for clients that know no infinities: the largest number stands for one."""
    if math.isinf(value):
        return _LARGEST if value > 0 else -_LARGEST
    return value


def log_batch(
    ctx: Context,
    run_id: str,
    batch: Batch,
    *,
    also: Callable[[Transaction, Run], None] | None = None,
) -> None:
    """Keep points, params and tags of a run, all or none; `also` is done in the same unit of work."""
    points, params, tags = batch.points, batch.params, batch.tags
    check_batch(len(points), len(params), len(tags))
    check_keys([point.key for point in points], "Metric name", "metrics[{}].name")
    check_keys([key for key, _ in params], "Param key", "params[{}].key")
    check_keys([key for key, _ in tags], "key", "tags[{}].key")
    twice = duplicate([key for key, _ in params])
    if twice is not None:
        raise Invalid(f"Duplicate parameter keys have been submitted: ['{twice}']", hint="send each once")
    fresh, set_now = cut(dict(params), PARAM), cut(dict(tags), TAG)

    def work(tx: Transaction) -> None:
        run = open_run(ctx, tx, run_id)
        if fresh or set_now:
            _annotate(tx, run, fresh, set_now)
        if points:
            tx.metrics.log(run_id, points)
        if also is not None:
            also(tx, run)

    ctx.write(work)


def log_param(ctx: Context, run_id: str, key: str, value: str) -> None:
    """Keep one param."""
    check_keys([key], "Param key", "key")
    kept = value[:PARAM]

    def work(tx: Transaction) -> None:
        run = open_run(ctx, tx, run_id)
        known = run.params.get(key, kept)
        if known != kept:
            raise Invalid(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with "
                f"value='{known[:_TOLD]}' for run ID='{run_id}'. "
                f"Attempted logging new value '{kept[:_TOLD]}'."
            )
        _annotate(tx, run, {key: kept}, {})

    ctx.write(work)


def _annotate(tx: Transaction, run: Run, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Write params that were not there and tags; `Invalid` when a param has another value already."""
    clashes = [
        {"key": key, "old_value": run.params[key][:_TOLD], "new_value": value[:_TOLD]}
        for key, value in params.items()
        if run.params.get(key, value) != value
    ]
    if clashes:
        raise Invalid(
            f"Changing param values is not allowed. Params were already logged='{clashes}' for run "
            f"ID='{run.id}'."
        )
    if tags.get(NAME_TAG) == "":
        tags = {key: value for key, value in tags.items() if key != NAME_TAG}  # a run keeps its name
    name, parent = tags.get(NAME_TAG) or run.name, tags.get(PARENT_TAG) or run.parent_id
    changed = replace(
        run, name=name, parent_id=parent, params={**run.params, **params}, tags={**run.tags, **tags}
    )
    if changed != run:
        tx.runs.update(changed)


def set_tag(ctx: Context, run_id: str, key: str, value: str) -> None:
    """Set a tag, or another value of it; the run's name follows its tag."""
    check_keys([key], "key", "key")
    ctx.write(lambda tx: _annotate(tx, open_run(ctx, tx, run_id), {}, {key: value[:TAG]}))


def unset_tag(ctx: Context, run_id: str, key: str) -> None:
    """Take a tag away; `NotFound` when it is not there."""

    def work(tx: Transaction) -> None:
        run = open_run(ctx, tx, run_id)
        if key not in run.tags:
            raise NotFound(
                f"No tag with name: {key[:100]} in run with id {run_id}", hint="it may be gone already"
            )
        tx.runs.update(replace(run, tags={name: value for name, value in run.tags.items() if name != key}))

    ctx.write(work)
