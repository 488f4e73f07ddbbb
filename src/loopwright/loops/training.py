"""From labelled questions to a judged candidate: training set, search, fit, registration, gate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from loopwright.core.addresses import Address, ByAlias
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import duration, to_micros
from loopwright.core.nouns import Decision, Json, Version
from loopwright.data.verbs import read
from loopwright.engine.context import Context
from loopwright.engine.publishing import resolve
from loopwright.features.verbs import build, matrix, service_of, training_set
from loopwright.gates.measures import GateRows, measure
from loopwright.gates.verbs import gate_of, judge
from loopwright.loops.nouns import Trained, TrainingSpec, Window
from loopwright.ports.predictors import FitRequest, FitResult, Predictor
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import load, register
from loopwright.stats.classification import roc_auc
from loopwright.tracking.verbs import annotate, log, tracked
from loopwright.tuning.nouns import Study
from loopwright.tuning.verbs import search

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Frame", "frame", "submit", "train"]

_LATENCY_ROWS = 400
_LATENCY_ROUNDS = 5


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A training set in memory: `x (n, d) float64`, `y (n,)`, split by when labels were known."""

    version: Version
    outputs: tuple[str, ...]
    categorical: Mapping[str, tuple[str, ...]]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    holdout: NDArray[np.bool_]
    slices: Mapping[str, NDArray[np.str_]]
    judged: pa.Table
    """the spine's rows of the holdout"""


def _micros(table: pa.Table, column: str) -> NDArray[np.int64]:
    """An instant column as microseconds; null is the least integer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.fill_null(table[column].cast(pa.int64()), np.iinfo(np.int64).min)
    found: NDArray[np.int64] = plain.to_numpy()
    return found


def _usable(spec: TrainingSpec, spine: pa.Table, now: datetime, excluded: Sequence[Window]) -> pa.Table:
    """Rows whose label is known by now, asked since the start and outside the excluded stretches."""
    import pyarrow as pa

    asked, known = _micros(spine, spec.time), _micros(spine, spec.label_known_at)
    keep = (asked >= to_micros(spec.since)) & (known <= to_micros(now)) & (known > np.iinfo(np.int64).min)
    keep &= ~spine[spec.label].is_null().to_numpy()
    for window in excluded:
        keep &= (asked < to_micros(window.start)) | (asked >= to_micros(window.end))
    return spine.filter(pa.array(keep))


def frame(ctx: Context, spec: TrainingSpec, *, excluded: Sequence[Window] = ()) -> Frame:
    """Build (and keep as a version) the training set as known at each question's instant."""
    import pyarrow as pa

    spine = _usable(spec, read(ctx, f"dataset:{spec.spine}"), ctx.now(), excluded)
    if spine.num_rows == 0:
        raise Invalid(
            f"no labelled row of dataset:{spec.spine} can be used", hint="wait for labels or widen `since`"
        )
    version = training_set(ctx, spec.service, spine, name=f"training/{spec.model}", time=spec.time)
    table = read(ctx, str(version.ref))
    service = service_of(ctx, spec.service)
    holdout = _micros(table, spec.label_known_at) > to_micros(ctx.now() - duration(spec.holdout))
    return Frame(
        version=version,
        outputs=service.names,
        categorical=dict(service.categorical),
        x=matrix(service, table),
        y=table[spec.label].to_numpy(zero_copy_only=False).astype(np.float64),
        holdout=holdout,
        judged=spine.filter(pa.array(holdout)),
        slices={name: table[name].to_numpy(zero_copy_only=False).astype(str) for name in spec.slices},
    )


def _fit(
    ctx: Context, spec: TrainingSpec, data: Frame, rows: NDArray[Any], *, params: Json, rounds: int
) -> FitResult:
    request = FitRequest(
        objective=spec.objective,
        features=data.outputs,
        categorical=tuple(data.categorical),
        params=params,
        rounds=rounds,
        seed=spec.seed,
    )
    return ctx.ports.frameworks["lightgbm"].fit(data.x[rows], data.y[rows], request)


def _searched(ctx: Context, spec: TrainingSpec, data: Frame) -> Json:
    """The best parameters of the search, judged on a quarter of a sample the gate does not use."""
    if spec.tuning is None:
        return dict(spec.params)
    tuning, framework = spec.tuning, ctx.ports.frameworks["lightgbm"]
    pool = np.flatnonzero(~data.holdout)
    chosen = np.sort(np.random.default_rng(spec.seed).permutation(pool)[: tuning.rows])
    fitted_rows, judged_rows = chosen[: len(chosen) * 3 // 4], chosen[len(chosen) * 3 // 4 :]

    def score(params: Mapping[str, Any]) -> float:
        result = _fit(ctx, spec, data, fitted_rows, params={**spec.params, **params}, rounds=tuning.rounds)
        return roc_auc(data.y[judged_rows], framework.load(result.files).predict(data.x[judged_rows]))

    start = {space.name: spec.params[space.name] for space in tuning.spaces}
    study = Study(
        name=spec.model,
        metric="roc_auc",
        spaces=tuning.spaces,
        trials=tuning.trials,
        seed=spec.seed,
        start=start,
    )
    return {**spec.params, **search(ctx, study, score).params}


def _body(ctx: Context, spec: TrainingSpec, data: Frame, params: Json, fitted: FitResult) -> ModelBody:
    return ModelBody(
        flavor=fitted.flavor,
        service=str(resolve(ctx, spec.service, kind="feature_service").ref),
        features=data.outputs,
        categorical=dict(data.categorical),
        objective=spec.objective,
        params=params,
        rounds=spec.rounds,
        seed=spec.seed,
        training_set=str(data.version.ref),
        trained_until=ctx.now(),
        code=digest_value(spec),
        importance=dict(fitted.importance),
    )


def train(
    ctx: Context,
    spec: TrainingSpec,
    *,
    reason: str,
    excluded: Sequence[Window] = (),
    params: Json | None = None,
) -> tuple[Trained, Frame]:
    """Train a candidate in a run of its own and register it; it is judged by `submit`.

    `params` skips the search. Errors end the run as failed and leave no version.
    """
    facts: Json = {"reason": reason, "spec": digest_value(spec), "excluded": len(excluded)}
    with tracked(ctx, "training", f"train {spec.model}", experiment=spec.model, facts=facts) as run:
        data = frame(run, spec, excluded=excluded)
        found = _searched(run, spec, data) if params is None else {**spec.params, **params}
        rows = int((~data.holdout).sum())
        annotate(
            run,
            str(run.run_id),
            params={**found, "rounds": spec.rounds, "rows": rows},
            facts={"params": found},
        )
        fitted = _fit(run, spec, data, np.flatnonzero(~data.holdout), params=found, rounds=spec.rounds)
        scores = run.ports.frameworks[fitted.flavor].load(fitted.files).predict(data.x[data.holdout])
        log(run, str(run.run_id), {"holdout_roc_auc": roc_auc(data.y[data.holdout], scores)})
        version = register(run, spec.model, fitted, _body(run, spec, data, found, fitted), description=reason)
        return Trained(version=version, run_id=str(run.run_id)), data


def _latency(predictor: Predictor, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Milliseconds of predicting one row, for each row the best of five rounds over all rows.

    What else the machine does meanwhile only ever adds; what a row itself costs comes again every round.
    """
    rows = x[:_LATENCY_ROWS]
    times = np.full(len(rows), np.inf)
    for _ in range(_LATENCY_ROUNDS):
        for i in range(len(rows)):
            start = time.perf_counter()
            predictor.predict(rows[i : i + 1])
            times[i] = min(times[i], (time.perf_counter() - start) * 1e3)
    return times


def _champion_scores(
    ctx: Context, spec: TrainingSpec, alias: str, data: Frame
) -> dict[str, NDArray[np.float64]]:
    """Scores of the version the alias points to, on the holdout by its own inputs; empty without one."""
    try:
        _, body, champion = load(ctx, str(Address(kind="model", name=spec.model, selector=ByAlias(alias))))
    except NotFound:
        return {}
    if body.features == data.outputs and dict(body.categorical) == dict(data.categorical):
        return {alias: champion.predict(data.x[data.holdout])}
    service = service_of(ctx, body.service)
    return {alias: champion.predict(matrix(service, build(ctx, service, data.judged, spec.time)))}


def submit(ctx: Context, spec: TrainingSpec, trained: Trained, data: Frame) -> Decision:
    """Measure what the gate asks for on the holdout, and ask for the verdict: an evaluation run keeps it."""
    gate, _ = gate_of(ctx, spec.model)
    held = data.holdout
    with tracked(ctx, "evaluation", f"gate {trained.version.ref}", experiment=spec.model) as run:
        _, _, candidate = load(run, str(trained.version.ref))
        champion = _champion_scores(run, spec, gate.alias, data)
        rows = GateRows(
            labels=data.y[held],
            candidate=candidate.predict(data.x[held]),
            references=champion,
            slices={name: values[held] for name, values in data.slices.items()},
            latency_ms=_latency(candidate, data.x[held]),
        )
        facts = measure(gate, rows)
        log(run, str(run.run_id), {fact.name: fact.value for fact in facts})
        return judge(run, trained.version, facts, has_champion=bool(champion))
