"""A fresh database of MLflow: its own package makes the schema, and we fill it row by row."""

from __future__ import annotations

import math
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from loopwright.adapters.sql.past.evaluated import dataset_row, record_row
from loopwright.adapters.sql.past.source import Source
from loopwright.adapters.sql.past.trace_rows import (
    ARTIFACTS,
    KEPT_IN_COLUMNS,
    assessment_row,
    span_row,
    trace_row,
)
from loopwright.core.errors import Conflict, Invalid, Unavailable
from loopwright.core.nouns import MetricPoint
from loopwright.core.traces import NAME_TAG
from loopwright.ports.histories import (
    PastEvaluation,
    PastExperiment,
    PastLogged,
    PastModel,
    PastRecord,
    PastRun,
    PastTrace,
)

__all__ = ["SqlHistorySink"]

_DATABASE = "mlflow.db"
_FILES = "mlartifacts"
_SCHEME = "mlflow-artifacts:/"
_PATIENCE_S = 300
_INTEGER_ID = 1 << 31
_EVALUATION, _EVALUATIONS = "evaluation_dataset", "evaluation_datasets"
_STATES = {"PENDING": 1, "READY": 2, "FAILED": 3}
_MAKE = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(sys.argv[1], sys.argv[2])
"""


class SqlHistorySink:
    """Fulfils `ports.histories.HistorySink`: `mlflow.db` and `mlartifacts` in a folder.

    All rows are one transaction, committed by `close`.
    """

    def __init__(self, folder: Path, python: str) -> None:
        database = folder / _DATABASE
        if database.exists():
            raise Conflict(f"{database} is there already", hint="export into a folder of its own")
        folder.mkdir(parents=True, exist_ok=True)
        self._files = folder / _FILES
        self.address = f"sqlite:///{database}"
        _make(self.address, python)
        self._source = Source(self.address, writable=True)
        self._connection: Connection = self._source.connection
        self._notes: Counter[str] = Counter()
        self._ids = _Ids(self._highest())
        self._datasets: dict[tuple[int, str, str], str] = {}
        self._locations: dict[str, str] = {}
        self._connection.execute(delete(self._source.table("experiments")))

    def _highest(self) -> int:
        table = self._source.table("experiments")
        return int(self._connection.execute(select(func.max(table.c.experiment_id))).scalar() or 0)

    def _add(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of a table, their values of columns that it has; noted where there is no such table."""
        found = list(rows)
        if not found:
            return
        if name not in self._source.names:
            self._notes[f"{name} (not in this version of MLflow)"] += len(found)
            return
        table = self._source.table(name)
        kept = [_fitting(table, row) for row in found]
        try:
            self._connection.execute(insert(table), kept)
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", error)).splitlines()[0][:200]
            raise Invalid(f"MLflow's database refuses rows of {name}: {said}") from error

    def add_experiment(self, experiment: PastExperiment) -> str:
        """Keep an experiment under its id, or the next number where that is none of MLflow's."""
        number = self._ids.number(experiment.id)
        if str(number) != experiment.id:
            self._notes["experiments under another id"] += 1
        row = {
            "experiment_id": number,
            "name": experiment.name,
            "artifact_location": f"{_SCHEME}{number}",
            "lifecycle_stage": "deleted" if experiment.is_deleted else "active",
            "creation_time": experiment.created_ms,
            "last_update_time": experiment.updated_ms,
        }
        self._add("experiments", [row])
        tags = ({"experiment_id": number, "key": k, "value": v} for k, v in experiment.tags.items())
        self._add("experiment_tags", tags)
        return str(number)

    def add_run(self, run: PastRun, points: Iterable[Sequence[MetricPoint]]) -> None:
        """Keep a run with all its points."""
        number = self._ids.number(run.experiment_id)
        self._locations[run.artifact_uri] = f"{number}/{run.id}/artifacts"
        row = {
            "run_uuid": run.id,
            "name": run.name,
            "source_type": "LOCAL",
            "source_name": "",
            "entry_point_name": "",
            "user_id": run.user,
            "status": run.status,
            "start_time": run.started_ms,
            "end_time": run.ended_ms,
            "source_version": "",
            "lifecycle_stage": "deleted" if run.is_deleted else "active",
            "artifact_uri": f"{_SCHEME}{number}/{run.id}/artifacts",
            "experiment_id": number,
            "deleted_time": run.deleted_ms,
        }
        self._add("runs", [row])
        for name, found in (("params", run.params), ("tags", run.tags)):
            self._add(name, ({"run_uuid": run.id, "key": k, "value": v} for k, v in found.items()))
        self._add("latest_metrics", (_point(run.id, each) for each in run.latest))
        for batch in points:
            unlike = {
                (each["timestamp"], each["step"], each["value"], each["is_nan"]): each
                for each in (_point(run.id, point) for point in batch)
            }
            self._add("metrics", unlike.values())
        self._read(run, number)

    def _read(self, run: PastRun, number: int) -> None:
        """The datasets and models that a run read, and the models that it made."""
        for each in run.datasets:
            dataset = self._dataset(number, each)
            edge = uuid.uuid4().hex
            ends = ("DATASET", dataset, "RUN", run.id)
            self._add("inputs", [_edge(edge, ends)])
            tags = ({"input_uuid": edge, "name": k, "value": v} for k, v in each.tags.items())
            self._add("input_tags", tags)
        used = [_edge(uuid.uuid4().hex, ("RUN_INPUT", run.id, "MODEL_INPUT", m)) for m in run.model_inputs]
        made = [
            _edge(uuid.uuid4().hex, ("RUN_OUTPUT", run.id, "MODEL_OUTPUT", m.model_id), m.step)
            for m in run.model_outputs
        ]
        self._add("inputs", [*used, *made])

    def _dataset(self, number: int, each: Any) -> str:
        key = (number, each.name, each.digest)
        if key not in self._datasets:
            self._datasets[key] = uuid.uuid4().hex
            row = {
                "dataset_uuid": self._datasets[key],
                "experiment_id": number,
                "name": each.name,
                "digest": each.digest,
                "dataset_source_type": each.source_type,
                "dataset_source": each.source,
                "dataset_schema": each.schema,
                "dataset_profile": each.profile,
            }
            self._add("datasets", [row])
        return self._datasets[key]

    def add_logged(self, model: PastLogged) -> None:
        """Keep a logged model with what was measured of it."""
        number = self._ids.number(model.experiment_id)
        place = f"{number}/models/{model.id}/artifacts"
        self._locations[model.artifact_uri] = place
        own = {"model_id": model.id, "experiment_id": number}
        row = {
            **own,
            "name": model.name,
            "artifact_location": f"{_SCHEME}{place}",
            "creation_timestamp_ms": model.created_ms,
            "last_updated_timestamp_ms": model.updated_ms,
            "status": _STATES.get(model.status, 0),
            "lifecycle_stage": "deleted" if model.is_deleted else "active",
            "model_type": model.model_type,
            "source_run_id": model.source_run_id,
            "status_message": None,
        }
        self._add("logged_models", [row])
        params = ({**own, "param_key": k, "param_value": v} for k, v in model.params.items())
        self._add("logged_model_params", params)
        tags = ({**own, "tag_key": k, "tag_value": v} for k, v in model.tags.items())
        self._add("logged_model_tags", tags)
        self._add("logged_model_metrics", self._measured(own, model))

    def _measured(self, own: Mapping[str, Any], model: PastLogged) -> Iterator[dict[str, Any]]:
        seen = set[tuple[Any, ...]]()
        for point in model.points:
            itself = (point.key, point.at_ms, point.step, point.run_id)
            if itself in seen:
                self._notes["points of logged models that differ in the dataset alone"] += 1
                continue
            seen.add(itself)
            value = float(point.value)
            key = (own["experiment_id"], point.dataset_name, point.dataset_digest)
            yield {
                **own,
                "metric_name": point.key,
                "metric_timestamp_ms": point.at_ms,
                "metric_step": point.step,
                "metric_value": None if math.isnan(value) else value,
                "run_id": point.run_id,
                "dataset_uuid": self._datasets.get(key),
                "dataset_name": point.dataset_name or None,
                "dataset_digest": point.dataset_digest or None,
            }

    def add_trace(self, trace: PastTrace) -> None:
        """Keep a trace with its steps and with what was said of it."""
        number = self._ids.number(trace.trace.experiment_id)
        self._locations[trace.artifact_uri] = f"{number}/traces/{trace.trace.id}/artifacts"
        self._add("trace_info", [trace_row(trace.trace, number)])
        own = {"request_id": trace.trace.id}
        tags = trace.trace.tags | {ARTIFACTS: f"{_SCHEME}{number}/traces/{trace.trace.id}/artifacts"}
        metadata = trace.trace.metadata
        self._add("trace_tags", ({**own, "key": k, "value": v} for k, v in tags.items() if k != NAME_TAG))
        told = ({**own, "key": k, "value": v} for k, v in metadata.items() if k not in KEPT_IN_COLUMNS)
        self._add("trace_request_metadata", told)
        self._add("spans", (span_row(each, number) for each in trace.spans))
        self._add("assessments", (assessment_row(each, trace.trace, number) for each in trace.assessments))
        self._associate(("trace", trace.trace.id), "run", trace.runs)
        self._associate(("trace", trace.trace.id), "prompt_version", trace.prompts)

    def _associate(self, source: tuple[str, str], kind: str, targets: Iterable[str]) -> None:
        own = {"source_type": source[0], "source_id": source[1], "destination_type": kind, "created_time": 0}
        ends = ({"destination_id": each, "association_id": uuid.uuid4().hex} for each in targets)
        self._add("entity_associations", ({**own, **each} for each in ends))

    def add_evaluation(self, dataset: PastEvaluation, records: Iterable[Sequence[PastRecord]]) -> None:
        """Keep an evaluation dataset with its records, or note that this version of MLflow knows none."""
        if _EVALUATIONS not in self._source.names:
            self._notes[f"{_EVALUATIONS} (not in this version of MLflow)"] += 1
            return
        table, own = self._source.table(f"{_EVALUATION}_records"), {"dataset_id": dataset.id}
        self._add(_EVALUATIONS, [dataset_row(dataset, 0)])
        tags = ({**own, "key": k, "value": v} for k, v in dataset.tags.items())
        self._add(f"{_EVALUATION}_tags", tags)
        count = 0
        for batch in records:
            self._add(table.name, (record_row(table, dataset.id, each) for each in batch))
            count += len(batch)
        whole = self._source.table(_EVALUATIONS)
        profile = dataset_row(dataset, count)["profile"]
        self._connection.execute(
            update(whole).where(whole.c.dataset_id == dataset.id).values(profile=profile)
        )
        homes = (str(self._ids.number(each)) for each in dataset.experiments)
        self._associate((_EVALUATION, dataset.id), "experiment", homes)

    def add_model(self, model: PastModel) -> None:
        """Keep a registered model with its versions, tags and aliases."""
        row = {
            "name": model.name,
            "creation_time": model.created_ms,
            "last_updated_time": model.updated_ms,
            "description": model.description or None,
        }
        self._add("registered_models", [row])
        tags = ({"name": model.name, "key": k, "value": v} for k, v in model.tags.items())
        self._add("registered_model_tags", tags)
        for version in model.versions:
            own = {"name": model.name, "version": version.number}
            self._add("model_versions", [{**own, **self._version(version)}])
            self._add("model_version_tags", ({**own, "key": k, "value": v} for k, v in version.tags.items()))
        named = ({"name": model.name, "alias": k, "version": v} for k, v in model.aliases.items())
        self._add("registered_model_aliases", named)

    def _version(self, version: Any) -> dict[str, Any]:
        return {
            "creation_time": version.created_ms,
            "last_updated_time": version.updated_ms,
            "description": version.description or None,
            "user_id": version.user or None,
            "current_stage": version.stage or "None",
            "source": version.source,
            "run_id": version.run_id or None,
            "status": version.status,
            "status_message": None,
            "run_link": version.run_link or None,
            "storage_location": self._relocated(version.storage or version.source),
        }

    def _relocated(self, place: str) -> str:
        """An address of a file's home as it is in the new store."""
        for home, there in self._locations.items():
            if home and (place == home or place.startswith(f"{home}/")):
                return f"{_SCHEME}{there}{place[len(home) :]}"
        return place

    def add_file(self, address: str, path: str, pieces: Iterable[bytes]) -> None:
        """Keep a file below the home that a run, a logged model or a trace told of."""
        place = self._locations[address]
        parts = path.split("/")
        if {"", ".", ".."} & set(parts) or "\0" in path:
            raise Invalid("a path leads out of its home", hint="rename the file")
        target = self._files / place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for piece in pieces:
                file.write(piece)

    def notes(self) -> Mapping[str, int]:
        """What the store could not keep."""
        return dict(self._notes)

    def close(self) -> None:
        """Commit all rows."""
        self._connection.commit()
        self._source.close()


class _Ids:
    """Ids of experiments as MLflow's databases number them."""

    def __init__(self, highest: int) -> None:
        self._given: dict[str, int] = {}
        self._next = max(highest, 0) + 1_000_000

    def number(self, experiment_id: str) -> int:
        """The number of an id: itself where it is one."""
        if experiment_id not in self._given:
            is_number = experiment_id.isdecimal() and int(experiment_id) < _INTEGER_ID
            if not is_number:
                self._next += 1
            self._given[experiment_id] = int(experiment_id) if is_number else self._next
        return self._given[experiment_id]


def _make(url: str, python: str) -> None:
    command = [python, "-c", _MAKE, url, f"{_SCHEME}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(
            f"{python} does not run: {error}", hint="name a Python with MLflow by --mlflow-python"
        ) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise Unavailable(
            f"MLflow's own package did not make the schema: {last[0][:300]}",
            hint=f"name a Python with MLflow by --mlflow-python; it was {python}",
        )


def _fitting(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values of columns that the table has; the workspace is MLflow's default one."""
    fitting = {name: value for name, value in row.items() if name in table.c}
    return fitting | ({"workspace": "default"} if "workspace" in table.c else {})


def _edge(edge: str, ends: tuple[str, str, str, str], step: int = 0) -> dict[str, Any]:
    names = ("source_type", "source_id", "destination_type", "destination_id")
    return {"input_uuid": edge, **dict(zip(names, ends, strict=True)), "step": step}


def _point(run_id: str, point: MetricPoint) -> dict[str, Any]:
    is_nan = math.isnan(point.value)
    value = 0.0 if is_nan else max(-sys.float_info.max, min(sys.float_info.max, point.value))
    return {
        "run_uuid": run_id,
        "key": point.key,
        "value": value,
        "timestamp": point.at_us // 1000,
        "step": point.step,
        "is_nan": is_nan,
    }
