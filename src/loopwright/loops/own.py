"""Our own ledger as a history: what is exported, and what an import is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from loopwright.core.errors import NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset, FoundRun, Json, MetricPoint, Version
from loopwright.core.queries import RunQuery
from loopwright.core.traces import TraceQuery
from loopwright.engine.context import Context
from loopwright.llm.datasets import KIND as EVALUATIONS
from loopwright.llm.datasets import EvaluationDataset, records, show
from loopwright.llm.records import EvaluationRecord
from loopwright.ports.histories import (
    STEPS_FILE,
    PastDataset,
    PastEvaluation,
    PastExperiment,
    PastFile,
    PastLogged,
    PastModel,
    PastModelPoint,
    PastOutput,
    PastRecord,
    PastRun,
    PastTrace,
    PastVersion,
)
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.registry.logged import points_of, read_logged
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.nouns import LOGGED, ModelPoint
from loopwright.registry.versions import place_of, source_of
from loopwright.tracking.artifacts import opened
from loopwright.tracking.experiments import KIND, located
from loopwright.tracking.homes import at_place
from loopwright.tracking.paths import folder_path

__all__ = ["OwnHistory"]

_PAGE = 500
_BATCH = 20_000
_TRACES = 100
_CHUNK = 1 << 20
_SCHEME = "mlflow-artifacts:/"


class OwnHistory:
    """Fulfils `ports.histories.History` for the space of a context."""

    readers = 1
    cuts_traces = False
    version = "loopwright"

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.address = f"loopwright:{ctx.space}"

    def _assets(self, kind: str) -> Iterator[Asset]:
        request = PageRequest(limit=_PAGE)
        while True:
            with self._ctx.read() as tx:
                page = tx.assets.page(self._ctx.space, kind, request)
            yield from page.items
            if not page.next_token:
                return
            request = PageRequest(limit=_PAGE, token=page.next_token)

    def experiments(self) -> Iterator[PastExperiment]:
        """All of them, deleted ones too, by name."""
        for asset in self._assets(KIND):
            yield PastExperiment(
                id=asset.id,
                name=asset.name,
                artifact_location=located(asset),
                created_ms=_millis(asset.created_at),
                updated_ms=_millis(asset.updated_at),
                is_deleted=asset.deleted_at is not None,
                tags=asset.tags,
            )

    def runs(self, experiment_id: str) -> Iterator[PastRun]:
        """All of an experiment, deleted ones too, newest first."""
        with self._ctx.read() as tx:
            experiment = tx.assets.get(experiment_id)
        query = RunQuery(experiments=(experiment.name,), lifecycle="all")
        request = PageRequest(limit=_PAGE)
        while True:
            with self._ctx.read() as tx:
                page = tx.runs.search(self._ctx.space, query, request)
            for found in page.items:
                yield _run(found, experiment)
            if not page.next_token:
                return
            request = PageRequest(limit=_PAGE, token=page.next_token)

    def points(self, run: PastRun) -> Iterator[Sequence[MetricPoint]]:
        """Every point of every metric of a run, in batches of one metric each."""
        for key in (point.key for point in run.latest):
            request = PageRequest(limit=_BATCH)
            while True:
                with self._ctx.read() as tx:
                    page = tx.metrics.history(run.id, key, request)
                yield page.items
                if not page.next_token:
                    break
                request = PageRequest(limit=_BATCH, token=page.next_token)

    def logged_models(self, experiment_id: str) -> Iterator[PastLogged]:
        """The logged models of an experiment, deleted ones too."""
        for asset in self._assets(LOGGED):
            if asset.facts.get("experiment_id") == experiment_id:
                with self._ctx.read() as tx:
                    points = list(points_of(tx, self._ctx.space, asset.name))
                yield _logged(asset, points)

    def traces(self, experiment_id: str) -> Iterator[PastTrace]:
        """The traces of an experiment, newest first."""
        space, request = self._ctx.space, PageRequest(limit=_TRACES)
        query = TraceQuery(experiments=(experiment_id,))
        while True:
            with self._ctx.read() as tx:
                page = tx.traces.search(space, query, request)
                ids = [trace.id for trace in page.items]
                spans, said = tx.spans.of(space, ids), tx.assessments.of(space, ids)
                runs = {each: tx.traces.links(space, each, "run") for each in ids}
                prompts = {each: tx.traces.links(space, each, "prompt") for each in ids}
            for trace in page.items:
                yield PastTrace(
                    trace=trace,
                    spans=tuple(spans.get(trace.id, ())),
                    assessments=tuple(said.get(trace.id, ())),
                    runs=tuple(runs[trace.id]),
                    prompts=tuple(prompts[trace.id]),
                )
            if not page.next_token:
                return
            request = PageRequest(limit=_TRACES, token=page.next_token)

    def steps_file(self, trace: PastTrace) -> bytes:
        """The file that an older client kept of its steps; those in the ledger are told with the trace."""
        try:
            return b"".join(self.read(trace.artifact_uri, STEPS_FILE))
        except NotFound:
            return b""

    def evaluations(self) -> Iterator[PastEvaluation]:
        """The evaluation datasets, by id."""
        for asset in self._assets(EVALUATIONS):
            if asset.deleted_at is None:
                yield _evaluation(show(self._ctx, asset.name))

    def records(self, dataset: PastEvaluation) -> Iterator[Sequence[PastRecord]]:
        """The records of an evaluation dataset, by id."""
        token = ""
        while True:
            page = records(self._ctx, dataset.id, limit=_PAGE, token=token)
            yield [_record(each) for each in page.items]
            token = page.next_token
            if not token:
                return

    def left_out(self) -> Mapping[str, int]:
        """Nothing that an export should tell."""
        return {}

    def models(self) -> Iterator[PastModel]:
        """Registered models and prompts, by name."""
        for asset in self._assets(MODEL):
            if asset.deleted_at is None:
                with self._ctx.read() as tx:
                    yield _model(tx, asset)

    def files(self, address: str) -> Iterator[PastFile]:
        """The files below an address of ours, by path; none of an address elsewhere."""
        if not address.startswith(_SCHEME):
            return
        place = folder_path(address.removeprefix(_SCHEME).strip("/"))
        with self._ctx.read() as tx:
            try:
                spot = at_place(tx, self._ctx.space, place)
            except NotFound:
                return
            found = list(tx.artifacts.under(self._ctx.space, spot.home.owner, spot.path))
        skip = len(spot.path) + 1 if spot.path else 0
        for file in found:
            yield PastFile(path=file.path[skip:], size_bytes=file.size_bytes, digest=file.digest)

    def read(self, address: str, path: str) -> Iterator[bytes]:
        """A file in pieces, verified."""
        place = folder_path(f"{address.removeprefix(_SCHEME).strip('/')}/{path}")
        with self._ctx.read() as tx:
            spot = at_place(tx, self._ctx.space, place)
            file = tx.artifacts.get(self._ctx.space, spot.home.owner, spot.path)
        if file is None:
            raise NotFound("the file is gone")
        with opened(self._ctx, file) as content:
            while piece := content.read(_CHUNK):
                yield piece

    def close(self) -> None:
        """Nothing is held: the ledger is the workspace's."""


def _millis(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant) // 1000


def _at(instant: datetime) -> int:
    return to_micros(instant) // 1000


def _run(found: FoundRun, experiment: Asset) -> PastRun:
    run, facts = found.run, found.run.facts
    uri = facts.get("artifact_uri")
    return PastRun(
        id=run.id,
        experiment_id=experiment.id,
        name=run.name,
        user=str(facts.get("user_id", "")),
        status=run.state.name,
        started_ms=_millis(run.started_at),
        ended_ms=_millis(run.ended_at),
        is_deleted=run.deleted_at is not None,
        deleted_ms=_millis(run.deleted_at),
        artifact_uri=uri if isinstance(uri, str) else f"{_SCHEME}{experiment.id}/{run.id}/artifacts",
        params=run.params,
        tags=run.tags,
        latest=tuple(sorted(found.metrics, key=lambda point: point.key)),
        datasets=tuple(_dataset(each) for each in facts.get("datasets", ())),
        model_inputs=tuple(each["model_id"] for each in facts.get("model_inputs", ())),
        model_outputs=tuple(msgspec.convert(each, PastOutput) for each in facts.get("model_outputs", ())),
    )


def _dataset(told: Json) -> PastDataset:
    tags = dict(told.get("tags", {}))
    if told.get("context") is not None:
        tags.setdefault("mlflow.data.context", told["context"])
    plain = {name: value for name, value in told.items() if name not in {"tags", "context"}}
    return msgspec.convert({**plain, "tags": tags}, PastDataset)


def _evaluation(found: EvaluationDataset) -> PastEvaluation:
    return PastEvaluation(
        id=found.id,
        name=found.name,
        columns=found.columns,
        created_ms=_at(found.created_at),
        updated_ms=_at(found.updated_at),
        created_by=found.created_by,
        updated_by=found.updated_by,
        tags=found.tags,
        experiments=found.experiments,
    )


def _record(found: EvaluationRecord) -> PastRecord:
    return PastRecord(
        id=found.id,
        inputs=found.inputs,
        outputs=found.outputs,
        expectations=found.expectations,
        tags=found.tags,
        source=None if found.source is None else msgspec.to_builtins(found.source),
        created_ms=_at(found.created_at),
        updated_ms=_at(found.updated_at),
        created_by=found.created_by,
        updated_by=found.updated_by,
    )


def _logged(asset: Asset, points: Sequence[ModelPoint]) -> PastLogged:
    model = read_logged(asset)
    return PastLogged(
        id=model.id,
        experiment_id=model.experiment_id,
        name=model.name,
        model_type=model.model_type,
        status=model.state.name,
        created_ms=_at(model.created_at),
        updated_ms=_at(model.updated_at),
        is_deleted=model.deleted_at is not None,
        source_run_id=model.source_run_id,
        artifact_uri=model.artifact_uri,
        params=model.params,
        tags=model.tags,
        points=tuple(map(_model_point, points)),
    )


def _model_point(point: ModelPoint) -> PastModelPoint:
    value = point.value
    word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return PastModelPoint(
        run_id=point.run_id,
        key=point.key,
        value=value if math.isfinite(value) else word,
        step=point.step,
        at_ms=point.at_us // 1000,
        dataset_name=point.dataset_name,
        dataset_digest=point.dataset_digest,
    )


def _model(tx: Transaction, asset: Asset) -> PastModel:
    found = [each for each in tx.versions.among(asset.space, MODEL, name=asset.name) if not each.deleted_at]
    found.sort(key=lambda version: version.number)
    return PastModel(
        name=asset.name,
        created_ms=_at(asset.created_at),
        updated_ms=_at(asset.updated_at or asset.created_at),
        description=asset.description,
        tags=asset.tags,
        aliases={each.alias: each.number for each in tx.aliases.of(asset.id)},
        versions=tuple(map(_version, found)),
    )


def _version(version: Version) -> PastVersion:
    return PastVersion(
        number=version.number,
        created_ms=_at(version.created_at),
        updated_ms=_at(version.updated_at or version.created_at),
        user=str(version.facts.get("user", "")),
        description=version.description,
        stage=version.stage,
        source=source_of(version),
        storage=place_of(version),
        run_id=version.run_id or "",
        run_link=str(version.facts.get("run_link", "")),
        tags=version.tags,
    )
