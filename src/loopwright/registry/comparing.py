"""Two versions of a model side by side: what they were made with, how well they did, what they consist of."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.core.nouns import Json, Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.ports.ledger import Transaction
from loopwright.registry.logged import points_of, read_logged
from loopwright.registry.nouns import LOGGED, Comparison, Difference
from loopwright.registry.origins import run_in, version_at

__all__ = ["compare", "differences"]

Value = str | float


def compare(ctx: Context, name: str, left: int, right: int) -> Comparison:
    """Two versions of a model by number; `NotFound` when one is none."""
    with ctx.read() as tx:
        versions = version_at(ctx, tx, name, left), version_at(ctx, tx, name, right)
        params, metrics = ([part(ctx, tx, each) for each in versions] for part in (_params, _metrics))
    manifests = [manifest_of(ctx, version) for version in versions]
    importance = [_numbers(manifest.body.get("importance")) for manifest in manifests]
    bodies = [_texts(manifest.body.get("params")) for manifest in manifests]
    files = [{entry.path: entry.digest for entry in manifest.entries} for manifest in manifests]
    told = {
        "params": differences(*({**body, **param} for body, param in zip(bodies, params, strict=True))),
        "metrics": differences(*metrics),
        "importance": differences(*importance),
        "files": differences(*files),
        "tags": differences(versions[0].tags, versions[1].tags),
    }
    return Comparison(
        left=versions[0],
        right=versions[1],
        same={part: same for part, (_, same) in told.items()},
        **{part: found for part, (found, _) in told.items()},
    )


def differences(left: Mapping[str, Value], right: Mapping[str, Value]) -> tuple[tuple[Difference, ...], int]:
    """What differs, by key, and how many entries are equal."""
    keys = sorted(left.keys() | right.keys())
    pairs = [Difference(key=key, left=left.get(key), right=right.get(key)) for key in keys]
    found = tuple(pair for pair in pairs if pair.left != pair.right)
    return found, len(pairs) - len(found)


def _params(ctx: Context, tx: Transaction, version: Version) -> dict[str, Value]:
    """Of the run that made it and of the logged model it comes from, the model's before the run's."""
    run = run_in(ctx, tx, version.run_id) if version.run_id else None
    model = tx.assets.find(ctx.space, LOGGED, str(version.facts.get("model_id", "")))
    return {**(run.params if run else {}), **(read_logged(model).params if model else {})}


def _metrics(ctx: Context, tx: Transaction, version: Version) -> dict[str, Value]:
    """The latest value of each metric, as a run or as a logged model has it."""
    run = run_in(ctx, tx, version.run_id) if version.run_id else None
    of_run = tx.metrics.latest(run.id) if run else {}
    found: dict[str, Value] = {key: point.value for key, point in of_run.items()}
    points = points_of(tx, ctx.space, str(version.facts.get("model_id") or "-"))
    for point in sorted(points, key=lambda each: (each.at_us, each.step)):
        on = f" on {point.dataset_name}" if point.dataset_name else ""
        found[f"{point.key}{on}"] = point.value
    return found


def _texts(values: Json | None) -> dict[str, Value]:
    return {key: str(value) for key, value in (values or {}).items()}


def _numbers(values: Json | None) -> dict[str, Value]:
    return {key: float(value) for key, value in (values or {}).items()}
