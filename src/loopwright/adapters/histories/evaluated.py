"""Evaluation datasets as MLflow 3's servers tell them: objects written as texts within the answers."""

from __future__ import annotations

from typing import Any

import msgspec

from loopwright.core.errors import Corrupt
from loopwright.core.nouns import Json
from loopwright.ports.histories import PastEvaluation, PastRecord

__all__ = ["Belonging", "Datasets", "Records", "from_dataset", "read_records"]


class _Dataset(msgspec.Struct, frozen=True):
    dataset_id: str
    name: str = ""
    tags: str = ""
    schema: str = ""
    created_time: int = 0
    last_update_time: int = 0
    created_by: str = ""
    last_updated_by: str = ""


class Datasets(msgspec.Struct, frozen=True):
    """A page of datasets."""

    datasets: list[_Dataset] = []
    next_page_token: str = ""


class Records(msgspec.Struct, frozen=True):
    """A page of records."""

    records: str = "[]"
    next_page_token: str = ""


class Belonging(msgspec.Struct, frozen=True):
    """The experiments of a dataset."""

    experiment_ids: list[str] = []


class _Record(msgspec.Struct, frozen=True):
    dataset_record_id: str
    inputs: Json = {}
    outputs: Any = None
    expectations: Json | None = None
    tags: Json | None = None
    source: Json | None = None
    created_time: int = 0
    last_update_time: int = 0
    created_by: str | None = None
    last_updated_by: str | None = None


def from_dataset(told: _Dataset, experiments: list[str]) -> PastEvaluation:
    """A dataset without its records."""
    tags: Json = _object(told.tags, told.dataset_id)
    return PastEvaluation(
        id=told.dataset_id,
        name=told.name,
        columns=_object(told.schema, told.dataset_id) or None,
        created_ms=told.created_time,
        updated_ms=told.last_update_time,
        created_by=told.created_by,
        updated_by=told.last_updated_by,
        tags={str(key): str(value) for key, value in tags.items()},
        experiments=tuple(experiments),
    )


def _object(text: str, place: str) -> Json:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Corrupt("an evaluation dataset cannot be read", where=place[:100]) from error


def read_records(text: str, place: str) -> list[PastRecord]:
    """The records of a page; `Corrupt` for what are none."""
    try:
        found = msgspec.json.decode(text, type=list[_Record])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Corrupt("records of an evaluation dataset cannot be read", where=place[:100]) from error
    return [
        PastRecord(
            id=each.dataset_record_id,
            inputs=each.inputs,
            outputs=each.outputs,
            expectations=each.expectations,
            tags=each.tags,
            source=_source(each.source),
            created_ms=each.created_time,
            updated_ms=each.last_update_time,
            created_by=each.created_by or "",
            updated_by=each.last_updated_by or "",
        )
        for each in found
    ]


def _source(told: Json | None) -> Json | None:
    if not told:
        return None
    return {"source_type": told.get("source_type", ""), "source_data": told.get("source_data") or {}}
