"""What a database of MLflow 3 tells of evaluation datasets, and the rows they are in one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import JSON, Table, select

from loopwright.adapters.sql.past.source import Source, integer, text, texts
from loopwright.core.errors import Corrupt
from loopwright.core.nouns import Json
from loopwright.ports.histories import PastEvaluation, PastRecord

__all__ = ["SqlEvaluations", "dataset_row", "record_row"]

_PAGE = 500
_WRAPPED = "mlflow_wrapped"
_DATASETS = "evaluation_datasets"


class SqlEvaluations:
    """The tables of evaluation datasets."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self) -> Iterator[PastEvaluation]:
        """The datasets, by id."""
        if _DATASETS not in self._source.names:
            return
        table, tags = self._source.table(_DATASETS), self._source.table("evaluation_dataset_tags")
        tagged = texts(self._source.rows(select(tags.c.dataset_id, tags.c.key, tags.c.value)))
        belongs = self._experiments()
        question = select(table).where(self._source.here(table)).order_by(table.c.dataset_id)
        for row in self._source.all(question):
            told = _named(table, row)
            dataset_id = text(told["dataset_id"])
            yield PastEvaluation(
                id=dataset_id,
                name=text(told["name"]),
                columns=_object(told["schema"]),
                created_ms=integer(told["created_time"] or 0),
                updated_ms=integer(told["last_update_time"] or 0),
                created_by=text(told["created_by"]),
                updated_by=text(told["last_updated_by"]),
                tags=tagged.get(dataset_id, {}),
                experiments=tuple(belongs.get(dataset_id, ())),
            )

    def _experiments(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        if "entity_associations" in self._source.names:
            c = self._source.table("entity_associations").c
            linked = select(c.source_id, c.destination_id).where(
                c.source_type == "evaluation_dataset", c.destination_type == "experiment"
            )
            for dataset_id, experiment_id in self._source.rows(linked.order_by(c.destination_id)):
                found.setdefault(text(dataset_id), []).append(text(experiment_id))
        return found

    def records(self, dataset_id: str) -> Iterator[Sequence[PastRecord]]:
        """The records of a dataset, by id, a page at a time."""
        table, after = self._source.table("evaluation_dataset_records"), ""
        mine = select(table).where(table.c.dataset_id == dataset_id).order_by(table.c.dataset_record_id)
        while True:
            page = self._source.all(mine.where(table.c.dataset_record_id > after).limit(_PAGE))
            if not page:
                return
            found = [_record(_named(table, row)) for row in page]
            yield found
            after = found[-1].id


def _named(table: Table, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((column.name for column in table.c), row, strict=True))


def _object(value: object) -> Json | None:
    """An object, of a column of JSON or of text."""
    if isinstance(value, str | bytes):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Corrupt("the database holds what is no JSON in an evaluation dataset") from error
    if value is None or isinstance(value, dict):
        return value or None
    raise Corrupt("the database holds what is no object in an evaluation dataset")


def _record(row: Mapping[str, Any]) -> PastRecord:
    outputs, source = _object(row["outputs"]), _object(row["source"])
    return PastRecord(
        id=text(row["dataset_record_id"]),
        inputs=_object(row["inputs"]) or {},
        outputs=None if outputs is None else outputs.get(_WRAPPED),
        expectations=_object(row["expectations"]),
        tags=_object(row["tags"]),
        source=None
        if source is None
        else {"source_type": source.get("source_type", ""), "source_data": source.get("source_data") or {}},
        created_ms=integer(row["created_time"] or 0),
        updated_ms=integer(row["last_update_time"] or 0),
        created_by=text(row["created_by"]),
        updated_by=text(row["last_updated_by"]),
    )


def dataset_row(past: PastEvaluation, count: int) -> dict[str, Any]:
    """A row of `evaluation_datasets`."""
    digest = hashlib.sha256(f"{past.name}:{past.updated_ms}".encode()).hexdigest()[:8]
    return {
        "dataset_id": past.id,
        "name": past.name,
        "schema": None if past.columns is None else json.dumps(past.columns),
        "profile": json.dumps({"num_records": count}) if count else None,
        "digest": digest,
        "created_time": past.created_ms,
        "last_update_time": past.updated_ms,
        "created_by": past.created_by or None,
        "last_updated_by": past.updated_by or None,
    }


def record_row(table: Table, dataset_id: str, past: PastRecord) -> dict[str, Any]:
    """A row of `evaluation_dataset_records`."""

    def kept(name: str, value: Json | None) -> Any:
        return value if value is None or isinstance(table.c[name].type, JSON) else json.dumps(value)

    source = past.source or {}
    data = source.get("source_data") or {}
    inputs = json.dumps(past.inputs, sort_keys=True)
    return {
        "dataset_record_id": past.id,
        "dataset_id": dataset_id,
        "inputs": kept("inputs", past.inputs),
        "outputs": kept("outputs", None if past.outputs is None else {_WRAPPED: past.outputs}),
        "expectations": kept("expectations", past.expectations),
        "tags": kept("tags", past.tags),
        "source": kept("source", past.source),
        "source_id": data.get("trace_id") or data.get("source_id"),
        "source_type": source.get("source_type"),
        "created_time": past.created_ms,
        "last_update_time": past.updated_ms,
        "created_by": past.created_by or None,
        "last_updated_by": past.updated_by or None,
        "input_hash": hashlib.sha256(inputs.encode()).hexdigest(),
    }
