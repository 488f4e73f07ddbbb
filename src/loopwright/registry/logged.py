"""Logged models: what a run leaves behind for others to load, measure and register.

Each is an asset named by its id, since names of logged models repeat; the name people know is a fact of it.
Its files are artifacts of the owner `logged_model:<id>`, its points documents of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import Asset, Json
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.registry.naming import check_logged_name, check_tag, check_tags
from loopwright.registry.nouns import LOGGED, LoggedModel, LoggedModelState, ModelPoint
from loopwright.registry.ranking import folded_in, lines_of, words_of
from loopwright.tracking.experiments import find, located
from loopwright.tracking.limits import PARAM, check_keys, cut
from loopwright.tracking.names import hex_id, made_up_name

__all__ = [
    "POINTS",
    "add_params",
    "create",
    "delete",
    "finalize",
    "measure",
    "points_of",
    "read_logged",
    "set_tags",
    "show",
    "unset_tag",
]

POINTS = "logged_model_points"
"""the collection of documents that keeps points, by `<model id>/...`"""
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the asset of a logged model keeps."""

    name: str
    experiment_id: str
    artifact_uri: str
    state: LoggedModelState
    model_type: str = ""
    source_run_id: str = ""
    params: dict[str, str] = {}


def read_logged(asset: Asset) -> LoggedModel:
    """The logged model that an asset is."""
    facts = msgspec.convert(asset.facts, _Facts)
    return LoggedModel(
        id=asset.name,
        name=facts.name,
        experiment_id=facts.experiment_id,
        artifact_uri=facts.artifact_uri,
        state=facts.state,
        created_at=asset.created_at,
        updated_at=asset.updated_at or asset.created_at,
        model_type=facts.model_type,
        source_run_id=facts.source_run_id,
        params=facts.params,
        tags=asset.tags,
        deleted_at=asset.deleted_at,
    )


def create(
    ctx: Context,
    experiment_id: str,
    name: str = "",
    *,
    model_type: str = "",
    source_run_id: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Begin a logged model of an experiment; without a name it gets one. It is pending until `finalize`.

    `NotFound` when there is no such experiment, `Invalid` when it is in the trash.
    """
    experiment = _home(ctx, experiment_id)
    fresh = ctx.new_id()
    model_id = f"m-{hex_id(fresh)}"
    facts = _Facts(
        name=check_logged_name(name or made_up_name(model_id)),
        experiment_id=experiment.id,
        artifact_uri=f"{located(experiment)}/models/{model_id}/artifacts",
        state=LoggedModelState.PENDING,
        model_type=model_type,
        source_run_id=source_run_id,
        params=_checked(params or {}),
    )
    asset = Asset(
        id=fresh,
        space=ctx.space,
        kind=LOGGED,
        name=model_id,
        created_at=ctx.now(),
        created_by=ctx.principal.name,
        tags=check_tags(tags or {}),
        facts=msgspec.to_builtins(facts),
    )

    def work(tx: Transaction) -> LoggedModel:
        tx.assets.add(asset)
        tx.measures.put(words_of(asset))
        payload = {"asset": asset.id, "run": source_run_id or None}
        ctx.record(tx, "asset.created", Address(kind=LOGGED, name=model_id), payload)
        return read_logged(asset)

    return ctx.write(work)


def _home(ctx: Context, experiment_id: str) -> Asset:
    experiment = find(ctx, experiment_id)
    if experiment.deleted_at is not None:
        raise Invalid(
            f"The experiment {experiment.id} must be in the 'active' state. Current state is deleted.",
            hint="restore it first",
        )
    return experiment


def _checked(params: Mapping[str, str]) -> dict[str, str]:
    """Params as they are kept: their keys are checked, their values cut as a run's are."""
    check_keys(list(params), "key", "params[{}].key")
    return cut(params, PARAM)


def _asset(ctx: Context, tx: Transaction, model_id: str) -> Asset:
    found = tx.assets.find(ctx.space, LOGGED, model_id)
    if found is None:
        raise NotFound(f"Logged model with ID '{model_id[:100]}' not found.")
    return found


def _there(ctx: Context, tx: Transaction, model_id: str) -> Asset:
    found = _asset(ctx, tx, model_id)
    if found.deleted_at is not None:
        raise NotFound(f"Logged model with ID '{model_id[:100]}' not found.", hint="it is in the trash")
    return found


def show(ctx: Context, model_id: str, *, trashed: bool = False) -> tuple[LoggedModel, tuple[ModelPoint, ...]]:
    """A logged model with its points; `trashed` when one in the trash will do."""
    with ctx.read() as tx:
        found = _asset(ctx, tx, model_id) if trashed else _there(ctx, tx, model_id)
        return read_logged(found), tuple(points_of(tx, ctx.space, model_id))


def finalize(ctx: Context, model_id: str, state: LoggedModelState) -> LoggedModel:
    """Tell that the files are all there, or that they will never be."""

    def changed(asset: Asset) -> Asset:
        return replace(asset, facts={**asset.facts, "state": state.value}, updated_at=ctx.now())

    return _change(ctx, model_id, changed, f"state {state.value}")


def add_params(ctx: Context, model_id: str, params: Mapping[str, str]) -> LoggedModel:
    """Add params, each written once; the same value again is no change."""
    fresh = _checked(params)

    def changed(asset: Asset) -> Asset:
        kept: dict[str, str] = asset.facts.get("params", {})
        clash = next((key for key, value in fresh.items() if kept.get(key, value) != value), None)
        if clash is not None:
            raise Invalid(
                f"the param {clash[:80]!r} of {model_id} is already written", hint="params never change"
            )
        return replace(asset, facts={**asset.facts, "params": {**kept, **fresh}})

    return _change(ctx, model_id, changed, "params", has_new_words=True)


def set_tags(ctx: Context, model_id: str, tags: Mapping[str, str]) -> LoggedModel:
    """Set tags of a logged model."""
    for key, value in tags.items():
        check_tag(key, value)
    return _change(ctx, model_id, lambda it: replace(it, tags={**it.tags, **tags}), "tags")


def unset_tag(ctx: Context, model_id: str, key: str) -> LoggedModel:
    """Take a tag away; `NotFound` when there is none of that name."""

    def changed(asset: Asset) -> Asset:
        if key not in asset.tags:
            raise NotFound(
                f"No tag with key {key[:100]!r} found for model with ID {model_id!r}.",
                hint="it may be gone already",
            )
        return replace(asset, tags={each: value for each, value in asset.tags.items() if each != key})

    return _change(ctx, model_id, changed, "tags")


def _change(
    ctx: Context,
    model_id: str,
    changed: Callable[[Asset], Asset],
    what: str,
    *,
    has_new_words: bool = False,
) -> LoggedModel:
    def work(tx: Transaction) -> LoggedModel:
        before = _there(ctx, tx, model_id)
        after = changed(before)
        if after != before:
            tx.assets.update(after)
            if has_new_words:
                tx.measures.put(words_of(after))
            ctx.record(tx, "asset.changed", Address(kind=LOGGED, name=model_id), {"what": what})
        return read_logged(after)

    return ctx.write(work)


def delete(ctx: Context, model_id: str) -> None:
    """Put a logged model in the trash; a second time changes nothing. Versions made of it stay whole."""

    def work(tx: Transaction) -> None:
        asset = _asset(ctx, tx, model_id)
        if asset.deleted_at is None:
            tx.assets.update(replace(asset, deleted_at=ctx.now()))
            payload = {"asset": asset.id}
            ctx.record(tx, "asset.deleted", Address(kind=LOGGED, name=model_id), payload)

    ctx.write(work)


def measure(ctx: Context, tx: Transaction, points: Sequence[ModelPoint]) -> None:
    """Keep points of logged models; a repeated one is a no-op. `Invalid` for a model that is none."""
    of_model: dict[str, list[tuple[ModelPoint, str]]] = {}
    for point in points:
        of_model.setdefault(point.model_id, []).append((point, _itself(point)))
    for model_id, told in of_model.items():
        found = tx.assets.find(ctx.space, LOGGED, model_id)
        if found is None or found.deleted_at is not None:
            raise Invalid(f"Logged model with ID '{model_id[:100]}' not found.", hint="log the model first")
        for point, itself in told:
            tx.documents.put(ctx.space, POINTS, _place(point, itself), _written(point))
        names = {name for point, _ in told for name in lines_of(point)}
        tx.measures.put(folded_in(found, tx.measures.of(found.id, names), told))


def _itself(point: ModelPoint) -> str:
    """What makes a point itself, of a metric of a model."""
    told = [point.key, point.at_us, point.step, point.run_id, point.dataset_name, point.dataset_digest]
    return digest_bytes(msgspec.json.encode(told))[:16]


def _place(point: ModelPoint, itself: str) -> str:
    """Sorted by model and metric; what makes a point itself comes behind."""
    return f"{point.model_id}/{point.key}/{point.at_us:020d}/{point.step:020d}/{itself}"


def _written(point: ModelPoint) -> Json:
    body: Json = msgspec.to_builtins(point)
    if not math.isfinite(point.value):
        body["value"] = "NaN" if math.isnan(point.value) else "Infinity" if point.value > 0 else "-Infinity"
    return body


def points_of(tx: Transaction, space: str, model_id: str) -> Iterator[ModelPoint]:
    """The points of a logged model by metric, then time, then step."""
    return map(
        _read_point, tx.documents.all(space, POINTS, start=f"{model_id}/", end=f"{model_id}0").values()
    )


def _read_point(body: Json) -> ModelPoint:
    value = body["value"]
    return msgspec.convert({**body, "value": _WORDS[value]} if value in _WORDS else body, ModelPoint)
