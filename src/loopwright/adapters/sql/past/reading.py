"""A database of MLflow as a history: experiments, runs and points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Table, select

from loopwright.adapters.sql.past.evaluated import SqlEvaluations
from loopwright.adapters.sql.past.registered import SqlModels
from loopwright.adapters.sql.past.source import Source, integer, number, text, texts
from loopwright.adapters.sql.past.traces import SqlTraces
from loopwright.core.errors import Denied, NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.ports.histories import (
    HOOKS,
    STEPS_FILE,
    Contents,
    PastDataset,
    PastEvaluation,
    PastExperiment,
    PastFile,
    PastLogged,
    PastModel,
    PastOutput,
    PastRecord,
    PastRun,
    PastTrace,
    at_us,
)

__all__ = ["SqlHistory"]

_PAGE = 400
_BATCH = 20_000


class SqlHistory:
    """Fulfils `ports.histories.History` for the schemas of MLflow 2 and 3."""

    readers = 1
    cuts_traces = False

    def __init__(self, url: str, contents: Contents) -> None:
        self._source = Source(url)
        self._contents = contents
        self._models = SqlModels(self._source)
        self._traces = SqlTraces(self._source)
        self._evaluations = SqlEvaluations(self._source)
        self.address = self._source.address
        self.version = f"schema {self._source.schema_revision()}"

    def experiments(self) -> Iterator[PastExperiment]:
        """All of them, deleted ones too, by id."""
        table, tags = self._source.table("experiments"), self._source.table("experiment_tags")
        of_tags = select(tags.c.experiment_id, tags.c.key, tags.c.value)
        tagged = texts(self._source.rows(of_tags))
        question = select(table).where(self._source.here(table)).order_by(table.c.experiment_id)
        for row in self._source.all(question):
            told = _named(table, row)
            yield PastExperiment(
                id=text(told["experiment_id"]),
                name=text(told["name"]),
                artifact_location=text(told["artifact_location"]),
                created_ms=_maybe(told.get("creation_time")),
                updated_ms=_maybe(told.get("last_update_time")),
                is_deleted=told["lifecycle_stage"] == "deleted",
                tags=tagged.get(text(told["experiment_id"]), {}),
            )

    def runs(self, experiment_id: str) -> Iterator[PastRun]:
        """All of an experiment, deleted ones too, by id."""
        table = self._source.table("runs")
        mine = select(table).where(table.c.experiment_id == int(experiment_id)).order_by(table.c.run_uuid)
        after = ""
        while True:
            page = self._source.all(mine.where(table.c.run_uuid > after).limit(_PAGE))
            if not page:
                return
            rows = [_named(table, row) for row in page]
            yield from self._whole(rows)
            after = rows[-1]["run_uuid"]

    def _whole(self, rows: list[dict[str, Any]]) -> Iterator[PastRun]:
        """Runs of a page with what they logged, in one question a table."""
        ids = [row["run_uuid"] for row in rows]
        params, tags = texts(self._of("params", ids)), texts(self._of("tags", ids))
        latest = self._latest(ids)
        datasets, used, made = (
            self._datasets(ids),
            self._models_of(ids, "INPUT"),
            self._models_of(ids, "OUTPUT"),
        )
        for row in rows:
            run_id = text(row["run_uuid"])
            yield PastRun(
                id=run_id,
                experiment_id=text(row["experiment_id"]),
                name=text(row.get("name")),
                user=text(row["user_id"]),
                status=text(row["status"]),
                started_ms=_maybe(row["start_time"]),
                ended_ms=_maybe(row["end_time"]),
                is_deleted=row["lifecycle_stage"] == "deleted",
                deleted_ms=_maybe(row.get("deleted_time")),
                artifact_uri=text(row["artifact_uri"]),
                params=params.get(run_id, {}),
                tags=tags.get(run_id, {}),
                latest=tuple(latest.get(run_id, ())),
                datasets=tuple(datasets.get(run_id, ())),
                model_inputs=tuple(each.model_id for each in used.get(run_id, ())),
                model_outputs=tuple(made.get(run_id, ())),
            )

    def _of(self, name: str, ids: Sequence[str]) -> Iterator[Sequence[Any]]:
        table = self._source.table(name)
        return self._source.rows(
            select(table.c.run_uuid, table.c.key, table.c.value).where(table.c.run_uuid.in_(ids))
        )

    def _latest(self, ids: Sequence[str]) -> dict[str, list[MetricPoint]]:
        table = self._source.table("latest_metrics")
        question = select(table.c.run_uuid, *_point_columns(table)).where(table.c.run_uuid.in_(ids))
        found: dict[str, list[MetricPoint]] = {}
        for run_id, *point in self._source.rows(question.order_by(table.c.key)):
            found.setdefault(text(run_id), []).append(_point(point))
        return found

    def _datasets(self, ids: Sequence[str]) -> dict[str, list[PastDataset]]:
        if not {"inputs", "datasets"} <= self._source.names:
            return {}
        edge, data = self._source.table("inputs"), self._source.table("datasets")
        joined = select(edge.c.destination_id, edge.c.input_uuid, *data.c).where(
            edge.c.source_type == "DATASET",
            edge.c.destination_type == "RUN",
            edge.c.destination_id.in_(ids),
            edge.c.source_id == data.c.dataset_uuid,
        )
        rows = self._source.all(joined.order_by(data.c.name, data.c.digest))
        tags = self._input_tags([row[1] for row in rows])
        found: dict[str, list[PastDataset]] = {}
        for run_id, edge_id, *row in rows:
            told = _named(data, row)
            read = PastDataset(
                name=text(told["name"]),
                digest=text(told["digest"]),
                source_type=text(told["dataset_source_type"]),
                source=text(told["dataset_source"]),
                schema=_text_or_none(told["dataset_schema"]),
                profile=_text_or_none(told["dataset_profile"]),
                tags=tags.get(text(edge_id), {}),
            )
            found.setdefault(text(run_id), []).append(read)
        return found

    def _input_tags(self, edges: Sequence[str]) -> dict[str, dict[str, str]]:
        tags = self._source.table("input_tags")
        found: dict[str, dict[str, str]] = {}
        for start in range(0, len(edges), _PAGE):
            among = tags.c.input_uuid.in_(edges[start : start + _PAGE])
            rows = self._source.rows(select(tags.c.input_uuid, tags.c.name, tags.c.value).where(among))
            found.update(texts(rows))
        return found

    def _models_of(self, ids: Sequence[str], role: str) -> dict[str, list[PastOutput]]:
        """The logged models that runs read or made."""
        if "inputs" not in self._source.names:
            return {}
        edge = self._source.table("inputs")
        columns = [edge.c.source_id, edge.c.destination_id, *([edge.c.step] if "step" in edge.c else [])]
        question = select(*columns).where(
            edge.c.source_type == f"RUN_{role}",
            edge.c.destination_type == f"MODEL_{role}",
            edge.c.source_id.in_(ids),
        )
        found: dict[str, list[PastOutput]] = {}
        for run_id, model_id, *step in self._source.rows(question.order_by(edge.c.destination_id)):
            use = PastOutput(model_id=text(model_id), step=integer(step[0]) if step else 0)
            found.setdefault(text(run_id), []).append(use)
        return found

    def points(self, run: PastRun) -> Iterator[Sequence[MetricPoint]]:
        """Every point of every metric of a run, in batches of one metric each."""
        table = self._source.table("metrics")
        question = (
            select(*_point_columns(table))
            .where(table.c.run_uuid == run.id)
            .order_by(table.c.key, table.c.timestamp, table.c.step)
        )
        for _, rows in groupby(self._source.rows(question), key=lambda row: row[0]):
            batch: list[MetricPoint] = []
            for row in rows:
                batch.append(_point(row))
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
            if batch:
                yield batch

    def logged_models(self, experiment_id: str) -> Iterator[PastLogged]:
        """The logged models of an experiment; none where the schema is of before them."""
        return self._models.logged(experiment_id)

    def traces(self, experiment_id: str) -> Iterator[PastTrace]:
        """The traces of an experiment, by id; none where the schema is of before them."""
        return self._traces.of(experiment_id)

    def steps_file(self, trace: PastTrace) -> bytes:
        """The steps of a trace among its files, as MLflow kept them before its databases did."""
        try:
            return b"".join(self._contents.read(trace.artifact_uri, STEPS_FILE))
        except (NotFound, Denied):
            return b""

    def evaluations(self) -> Iterator[PastEvaluation]:
        """The evaluation datasets, by id; none where the schema is of before them."""
        return self._evaluations.all()

    def records(self, dataset: PastEvaluation) -> Iterator[Sequence[PastRecord]]:
        """The records of an evaluation dataset, by id."""
        return self._evaluations.records(dataset.id)

    def left_out(self) -> Mapping[str, int]:
        """Webhooks: their secrets are sealed with the server's own key."""
        if "webhooks" not in self._source.names:
            return {}
        table = self._source.table("webhooks")
        there = select(table.c.webhook_id).where(self._source.here(table))
        if "deleted_timestamp" in table.c:
            there = there.where(table.c.deleted_timestamp.is_(None))
        count = len(self._source.all(there))
        return {HOOKS: count} if count else {}

    def models(self) -> Iterator[PastModel]:
        """Registered models and prompts, by name."""
        return self._models.registered()

    def files(self, address: str) -> Iterator[PastFile]:
        """The files below an address, as the store of files tells them."""
        return self._contents.files(address)

    def read(self, address: str, path: str) -> Iterator[bytes]:
        """A file in pieces."""
        return self._contents.read(address, path)

    def close(self) -> None:
        """Let go of the connection."""
        self._source.close()


def _named(table: Table, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((column.name for column in table.c), row, strict=True))


def _maybe(value: object) -> int | None:
    return None if value is None else integer(value)


def _text_or_none(value: object) -> str | None:
    return None if value is None else text(value)


def _point_columns(table: Table) -> list[Any]:
    return [table.c.key, table.c.value, table.c.timestamp, table.c.step, table.c.is_nan]


def _point(row: Sequence[Any]) -> MetricPoint:
    key, value, at_ms, step, is_nan = row
    return MetricPoint(
        key=text(key),
        value=math.nan if is_nan else number(value),
        step=integer(step),
        at_us=at_us(integer(at_ms or 0)),
    )
