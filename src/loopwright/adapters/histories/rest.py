"""A tracking server as a history, by MLflow's REST protocol. Nothing but this one server is ever asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from msgspec.structs import replace

from loopwright.adapters.histories import answers
from loopwright.adapters.histories.calls import Calls, Credentials
from loopwright.adapters.histories.evaluated import Belonging, Datasets, Records, from_dataset, read_records
from loopwright.adapters.histories.traced import OldTraces, Traces, from_old, from_told
from loopwright.core.errors import Denied, NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.core.traces import RUN_METADATA
from loopwright.ports.histories import (
    HOOKS,
    Contents,
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
    at_us,
)

__all__ = ["Credentials", "RestHistory"]

_API = "/api/2.0/mlflow"
_API_3 = "/api/3.0/mlflow"
_STEPS = "/ajax-api/2.0/mlflow/get-trace-artifact"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_SCHEME = "mlflow-artifacts"
_PROMPT = "tags.`mlflow.prompt.is_prompt` = 'true'"
_RUNS = 200
_POINTS = 25_000
_TRACES = 500
_DEEPEST = 64
_STATES = {
    "LOGGED_MODEL_PENDING": "PENDING",
    "LOGGED_MODEL_READY": "READY",
    "LOGGED_MODEL_UPLOAD_FAILED": "FAILED",
}
T = TypeVar("T")


class RestHistory:
    """Fulfils `ports.histories.History` for a server of MLflow 2 or 3, or one that speaks as they do."""

    readers = 4
    cuts_traces = True

    def __init__(
        self, url: str, credentials: Credentials, contents: Contents, *, space: str | None = None
    ) -> None:
        self._calls = Calls(url, credentials, space=space)
        self._contents = contents
        self.address = self._calls.address
        self.version = f"mlflow {self._calls.version()}"

    def _pages(
        self, path: str, kind: type[T], asked: dict[str, Any], *, get: bool = False, api: str = _API
    ) -> Iterator[T]:
        token, seen = "", set[str]()
        while True:
            given = {**asked, **({"page_token": token} if token else {})}
            reply: Any = self._calls.ask(kind, f"{api}/{path}", given, get=get)
            yield reply
            token = reply.next_page_token
            if not token or token in seen:  # a server that repeats itself has no more to tell
                return
            seen.add(token)

    def experiments(self) -> Iterator[PastExperiment]:
        """All of them, deleted ones too."""
        asked = {"view_type": "ALL", "max_results": 1000, "order_by": ["experiment_id ASC"]}
        for page in self._pages("experiments/search", answers.Experiments, asked):
            for told in page.experiments:
                yield PastExperiment(
                    id=told.experiment_id,
                    name=told.name,
                    artifact_location=told.artifact_location,
                    created_ms=told.creation_time,
                    updated_ms=told.last_update_time,
                    is_deleted=told.lifecycle_stage == "deleted",
                    tags=answers.texts(told.tags),
                )

    def runs(self, experiment_id: str) -> Iterator[PastRun]:
        """All of an experiment, deleted ones too, oldest first: what begins meanwhile comes at the end."""
        asked = {
            "experiment_ids": [experiment_id],
            "run_view_type": "ALL",
            "max_results": _RUNS,
            "order_by": ["attributes.start_time ASC"],
        }
        for page in self._pages("runs/search", answers.Runs, asked):
            yield from map(_run, self._whole(page.runs))

    def _whole(self, told: Sequence[answers.Run]) -> Sequence[answers.Run]:
        """Runs with the models that they read, of which MLflow 3 tells only who asks for a run alone."""
        if self.version.startswith("mlflow 2"):
            return told
        with ThreadPoolExecutor(self.readers, thread_name_prefix="loopwright-runs") as pool:
            return list(pool.map(self._alone, told))

    def _alone(self, told: answers.Run) -> answers.Run:
        asked = {"run_id": told.info.run_id or told.info.run_uuid}
        try:
            alone = self._calls.ask(answers.OneRun, f"{_API}/runs/get", asked, get=True).run
        except NotFound:
            return told
        return told if alone is None else replace(told, inputs=alone.inputs)

    def points(self, run: PastRun) -> Iterator[Sequence[MetricPoint]]:
        """Every point of every metric of a run, in batches of one metric each."""
        for key in (point.key for point in run.latest):
            asked = {"run_id": run.id, "metric_key": key, "max_results": _POINTS}
            for page in self._pages("metrics/get-history", answers.Points, asked, get=True):
                if page.metrics:
                    yield [_point(told, key) for told in page.metrics]

    def logged_models(self, experiment_id: str) -> Iterator[PastLogged]:
        """The logged models of an experiment that are not deleted; none on a server that knows none."""
        order = [{"field_name": "creation_time", "ascending": True}]
        asked = {"experiment_ids": [experiment_id], "max_results": 50, "order_by": order}
        try:
            for page in self._pages("logged-models/search", answers.LoggedModels, asked):
                yield from map(_logged, page.models)
        except NotFound:
            return

    def traces(self, experiment_id: str) -> Iterator[PastTrace]:
        """The traces of an experiment, oldest first, without their steps; none of a server that has none."""
        try:
            yield from self._new_traces(experiment_id)
        except NotFound:
            yield from self._old_traces(experiment_id)

    def _new_traces(self, experiment_id: str) -> Iterator[PastTrace]:
        linked: dict[str, list[str]] | None = None
        for page in self._of_traces(experiment_id, ""):
            if page.traces and linked is None:
                linked = self._linked(experiment_id)
            for told in page.traces:
                yield from_told(told, tuple(sorted((linked or {}).get(told.trace_id, ()))))

    def _of_traces(self, experiment_id: str, clause: str) -> Iterator[Traces]:
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
        asked = {"locations": [place], "max_results": _TRACES, "order_by": ["timestamp_ms ASC"]}
        if clause:
            asked["filter"] = clause
        return self._pages("traces/search", Traces, asked, api=_API_3)

    def _linked(self, experiment_id: str) -> dict[str, list[str]]:
        """Runs of the same experiment by the traces that they were linked to: one question a run."""
        found: dict[str, list[str]] = {}
        for run in self.runs(experiment_id):
            pages = self._of_traces(experiment_id, f"attributes.run_id = '{run.id}'")
            for told in (each for page in pages for each in page.traces):
                if told.trace_metadata.get(RUN_METADATA) != run.id:
                    found.setdefault(told.trace_id, []).append(run.id)
        return found

    def _old_traces(self, experiment_id: str) -> Iterator[PastTrace]:
        asked = {"experiment_ids": [experiment_id], "max_results": _TRACES, "order_by": ["timestamp_ms ASC"]}
        try:
            for page in self._pages("traces", OldTraces, asked, get=True):
                yield from map(from_old, page.traces)
        except NotFound:
            return

    def steps_file(self, trace: PastTrace) -> bytes:
        """The steps as the server gives them to its own pages: whole, wherever it keeps them."""
        return self._calls.data(f"{_STEPS}?request_id={quote(trace.trace.id, safe='')}")

    def evaluations(self) -> Iterator[PastEvaluation]:
        """The evaluation datasets; none of a server that knows none."""
        try:
            for page in self._pages("datasets/search", Datasets, {"max_results": 1000}, api=_API_3):
                for told in page.datasets:
                    path = f"{_API_3}/datasets/{quote(told.dataset_id, safe='')}/experiment-ids"
                    belongs = self._calls.ask(Belonging, path, {}, get=True)
                    yield from_dataset(told, belongs.experiment_ids)
        except NotFound:
            return

    def records(self, dataset: PastEvaluation) -> Iterator[Sequence[PastRecord]]:
        """The records of an evaluation dataset, a page at a time."""
        path = f"datasets/{quote(dataset.id, safe='')}/records"
        for page in self._pages(path, Records, {"max_results": 1000}, get=True, api=_API_3):
            yield read_records(page.records, dataset.id)

    def left_out(self) -> Mapping[str, int]:
        """Webhooks: a server never tells their secrets."""
        try:
            found = self._calls.ask(answers.Webhooks, f"{_API}/webhooks", {"max_results": 500}, get=True)
        except (NotFound, Denied):
            return {}
        return {HOOKS: len(found.webhooks)} if found.webhooks else {}

    def models(self) -> Iterator[PastModel]:
        """Registered models, then prompts."""
        seen = set[str]()
        for clause in ("", _PROMPT):
            asked = {"max_results": 100, **({"filter": clause} if clause else {})}
            for page in self._pages("registered-models/search", answers.Models, asked, get=True):
                new = [told for told in page.registered_models if told.name not in seen]
                seen.update(told.name for told in new)
                yield from (self._model(told, clause) for told in new)

    def _model(self, told: answers.Model, clause: str) -> PastModel:
        mark = '"' if "'" in told.name else "'"
        named = f"name = {mark}{told.name}{mark}"
        asked = {"filter": f"{named} AND {clause}" if clause else named, "max_results": 1000}
        versions: dict[int, PastVersion] = {}
        for page in self._pages("model-versions/search", answers.Versions, asked, get=True):
            versions.update({each.version: _version(each) for each in page.model_versions})
        return PastModel(
            name=told.name,
            created_ms=told.creation_timestamp,
            updated_ms=told.last_updated_timestamp,
            description=told.description,
            tags=answers.texts(told.tags),
            aliases={each.alias: each.version for each in told.aliases},
            versions=tuple(versions[number] for number in sorted(versions)),
        )

    def files(self, address: str) -> Iterator[PastFile]:
        """The files below an address: of the server's own store by it, else as the given contents tell."""
        if urlsplit(address).scheme != _SCHEME:
            yield from self._contents.files(address)
            return
        yield from self._walked(self._place(address), "", 0)

    def _walked(self, place: str, inside: str, depth: int) -> Iterator[PastFile]:
        path = f"{place}/{inside}".rstrip("/")
        reply = self._calls.ask(answers.Files, _FILES, {"path": path}, get=True)
        for told in reply.files:
            name = told.path.rpartition("/")[2]
            if told.is_dir and depth < _DEEPEST and name not in {"", ".", ".."}:
                yield from self._walked(place, f"{inside}{name}/", depth + 1)
            elif not told.is_dir:
                yield PastFile(path=f"{inside}{name}", size_bytes=told.file_size)

    def read(self, address: str, path: str) -> Iterator[bytes]:
        """A file in pieces."""
        if urlsplit(address).scheme != _SCHEME:
            yield from self._contents.read(address, path)
            return
        yield from self._calls.fetch(f"{_FILES}/{quote(f'{self._place(address)}/{path}')}")

    def _place(self, address: str) -> str:
        """The path of an address in the server's store of files; `Denied` when another server is named."""
        parts = urlsplit(address)
        if parts.netloc and parts.netloc != self._calls.netloc:
            raise Denied("files of another server are not read", hint="import from that server")
        place = parts.path.strip("/")
        if {".", "..", ""} & set(place.split("/")):
            raise Denied("the address of files leads out of the server's store")
        return place

    def close(self) -> None:
        """Let go of connections."""
        self._calls.close()


def _number(value: float | str) -> float:
    return float(value)


def _point(told: answers.Point, key: str = "") -> MetricPoint:
    at = at_us(told.timestamp)
    return MetricPoint(key=told.key or key, value=_number(told.value), step=told.step, at_us=at)


def _run(told: answers.Run) -> PastRun:
    info, data = told.info, told.data
    latest = sorted(map(_point, data.metrics), key=lambda point: point.key)
    return PastRun(
        id=info.run_id or info.run_uuid,
        experiment_id=info.experiment_id,
        name=info.run_name,
        user=info.user_id,
        status=info.status,
        started_ms=info.start_time,
        ended_ms=info.end_time or None,
        is_deleted=info.lifecycle_stage == "deleted",
        artifact_uri=info.artifact_uri,
        params=answers.texts(data.params),
        tags=answers.texts(data.tags),
        latest=tuple(latest),
        datasets=tuple(_dataset(each) for each in told.inputs.dataset_inputs),
        model_inputs=tuple(each.model_id for each in told.inputs.model_inputs),
        model_outputs=tuple(
            PastOutput(model_id=each.model_id, step=each.step) for each in told.outputs.model_outputs
        ),
    )


def _dataset(told: answers.DatasetInput) -> PastDataset:
    known = msgspec.structs.asdict(told.dataset)
    return PastDataset(**known, tags=answers.texts(told.tags))


def _logged(told: answers.Logged) -> PastLogged:
    info = told.info
    return PastLogged(
        id=info.model_id,
        experiment_id=info.experiment_id,
        name=info.name,
        model_type=info.model_type,
        status=_STATES.get(str(info.status), "PENDING"),
        created_ms=info.creation_timestamp_ms,
        updated_ms=info.last_updated_timestamp_ms,
        source_run_id=info.source_run_id,
        artifact_uri=info.artifact_uri,
        params=answers.texts(told.data.params),
        tags=answers.texts(info.tags),
        points=tuple(map(_model_point, told.data.metrics)),
    )


def _model_point(told: answers.ModelPoint) -> PastModelPoint:
    value = _number(told.value)
    return PastModelPoint(
        run_id=told.run_id,
        key=told.key,
        value=value if math.isfinite(value) else str(told.value),
        step=told.step,
        at_ms=told.timestamp,
        dataset_name=told.dataset_name,
        dataset_digest=told.dataset_digest,
    )


def _version(told: answers.Version) -> PastVersion:
    return PastVersion(
        number=told.version,
        created_ms=told.creation_timestamp,
        updated_ms=told.last_updated_timestamp,
        user=told.user_id,
        description=told.description,
        stage="" if told.current_stage == "None" else told.current_stage,
        source=told.source,
        run_id=told.run_id,
        run_link=told.run_link,
        status=told.status or "READY",
        tags=answers.texts(told.tags),
    )
