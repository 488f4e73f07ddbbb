"""Records of an evaluation dataset: inputs with what is expected of them, one record for equal inputs.

Each is a document under `<dataset id>/<record id>`; a second one under `<dataset id>/<digest of the inputs>`
leads to it. Ids sort by when a record was made, so that a page is a stretch of keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking.names import hex_id

__all__ = [
    "USER_TAG",
    "EvaluationRecord",
    "NewRecord",
    "Origin",
    "RecordSource",
    "all_records",
    "clear_records",
    "erase_records",
    "keep_record",
    "page_of_records",
    "put_record",
    "read_new",
    "record_id_ok",
    "remove_records",
]

USER_TAG = "mlflow.user"
"""the tag that tells who wrote a record or a dataset"""
_RECORDS = "evaluation_records"
_INPUTS = "evaluation_inputs"
_ID = re.compile(r"dr-[0-9a-f]{32}\Z")
_PART = 2_000
_BEHIND = "0"
"""the mark behind `/`: a stretch from `<id>/` to `<id>0` is all under `<id>/`"""


class Origin(StrEnum):
    """Where a record comes from."""

    UNSPECIFIED = "UNSPECIFIED"
    TRACE = "TRACE"
    HUMAN = "HUMAN"
    DOCUMENT = "DOCUMENT"
    CODE = "CODE"


class RecordSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record comes from, and what its source says of it (a trace's id, a document's)."""

    source_type: Origin
    source_data: Json = {}


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says of a record; a field that is not given stays as it was."""

    inputs: Json = {}
    outputs: Any = msgspec.UNSET
    expectations: Json | None = None
    tags: dict[str, Any] | None = None
    source: RecordSource | None = None


class EvaluationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record: inputs never change, the rest is merged when the same inputs come again."""

    id: str
    """`dr-` and 32 hex digits"""
    inputs: Json
    outputs: Any = {}
    expectations: Json | None = None
    tags: dict[str, Any] = {}
    source: RecordSource | None = None
    created_at: datetime
    updated_at: datetime
    created_by: str = ""
    updated_by: str = ""


def read_new(given: object, place: str) -> NewRecord:
    """A record as a caller wrote it; `Invalid` says what is wrong, and where."""
    if isinstance(given, dict) and isinstance(source := given.get("source"), dict):
        kind = source.get("source_type")
        upper = kind.upper() if isinstance(kind, str) else kind
        given = {**given, "source": {**source, "source_type": upper}}
    if isinstance(given, dict):
        given = {key: value for key, value in given.items() if value is not None or key == "outputs"}
    try:
        return msgspec.convert(given, NewRecord)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"the record cannot be read: {error}",
            hint="a record has inputs, and may have outputs, expectations, tags and a source",
            where=place,
        ) from error


def put_record(ctx: Context, tx: Transaction, dataset_id: str, new: NewRecord) -> tuple[Json, Json | None]:
    """Make a record, or merge into the one of the same inputs; its document, and the one before it."""
    key = f"{dataset_id}/{digest_value(new.inputs)}"
    known = tx.documents.get(ctx.space, _INPUTS, key)
    if known is None:
        before, record = None, _made(ctx, new)
        tx.documents.put(ctx.space, _INPUTS, key, {"record": record.id})
    else:
        before = tx.documents.get(ctx.space, _RECORDS, f"{dataset_id}/{known['record']}")
        record = _merged(ctx, msgspec.convert(before, EvaluationRecord), new)
    body: Json = msgspec.to_builtins(record)
    tx.documents.put(ctx.space, _RECORDS, f"{dataset_id}/{record.id}", body)
    return body, before


def _made(ctx: Context, new: NewRecord) -> EvaluationRecord:
    now, tags = ctx.now(), dict(new.tags or {})
    who = str(tags.get(USER_TAG, ""))
    return EvaluationRecord(
        id=f"dr-{hex_id(ctx.new_id())}",
        inputs=new.inputs,
        outputs={} if new.outputs is msgspec.UNSET else new.outputs,
        expectations=new.expectations,
        tags=tags,
        source=new.source,
        created_at=now,
        updated_at=now,
        created_by=who,
        updated_by=who,
    )


def _merged(ctx: Context, there: EvaluationRecord, new: NewRecord) -> EvaluationRecord:
    """Outputs are replaced where some came, expectations and tags joined; the source is the first one's."""
    expected = {**(there.expectations or {}), **new.expectations} if new.expectations else there.expectations
    return replace(
        there,
        outputs=there.outputs if new.outputs is msgspec.UNSET else new.outputs,
        expectations=expected,
        tags={**there.tags, **(new.tags or {})},
        updated_at=ctx.now(),
        updated_by=str((new.tags or {}).get(USER_TAG, "")) or there.updated_by,
    )


def page_of_records(
    ctx: Context, tx: Transaction, dataset_id: str, request: PageRequest
) -> Page[EvaluationRecord]:
    """Records in the order they were made; the token is the last one's id."""
    if request.token and not _ID.match(request.token):
        raise Invalid("Invalid page token: it is none of this list", hint="start again without a token")
    start = f"{dataset_id}/{request.token}!" if request.token else f"{dataset_id}/"
    found = tx.documents.all(
        ctx.space, _RECORDS, start=start, end=f"{dataset_id}{_BEHIND}", limit=request.limit + 1
    )
    records = msgspec.convert(list(found.values()), list[EvaluationRecord])
    kept = tuple(records[: request.limit])
    return Page(items=kept, next_token=kept[-1].id if len(records) > request.limit else "")


def all_records(ctx: Context) -> Iterator[tuple[str, Json]]:
    """The documents of all records of the space, each with its dataset's id; some thousands at a time."""
    start = ""
    while True:
        with ctx.read() as tx:
            found = tx.documents.all(ctx.space, _RECORDS, start=start, limit=_PART)
        for key, body in found.items():
            yield key.partition("/")[0], body
            start = f"{key}!"
        if len(found) < _PART:
            return


def remove_records(ctx: Context, tx: Transaction, dataset_id: str, ids: Sequence[str]) -> list[Json]:
    """Take records away by id; the documents of those that were there."""
    gone: list[Json] = []
    for record_id in dict.fromkeys(ids):
        body = tx.documents.get(ctx.space, _RECORDS, f"{dataset_id}/{record_id}")
        if body is not None:
            gone.append(body)
            tx.documents.remove(ctx.space, _RECORDS, f"{dataset_id}/{record_id}")
            tx.documents.remove(ctx.space, _INPUTS, f"{dataset_id}/{digest_value(body['inputs'])}")
    return gone


def record_id_ok(record_id: str) -> bool:
    """Whether it is the id of a record."""
    return _ID.match(record_id) is not None


def keep_record(ctx: Context, tx: Transaction, dataset_id: str, record: EvaluationRecord) -> Json:
    """Keep a record that was made elsewhere under its own id; gives its document."""
    body: Json = msgspec.to_builtins(record)
    key = f"{dataset_id}/{digest_value(record.inputs)}"
    tx.documents.put(ctx.space, _INPUTS, key, {"record": record.id})
    tx.documents.put(ctx.space, _RECORDS, f"{dataset_id}/{record.id}", body)
    return body


def clear_records(ctx: Context, tx: Transaction, dataset_id: str) -> None:
    """Take all records of a dataset away in the caller's unit of work."""
    end = f"{dataset_id}{_BEHIND}"
    while found := tx.documents.all(ctx.space, _RECORDS, start=f"{dataset_id}/", end=end, limit=_PART):
        remove_records(ctx, tx, dataset_id, [body["id"] for body in found.values()])


def erase_records(ctx: Context, dataset_id: str) -> int:
    """Take all records of a dataset away, in units of 2,000; how many."""

    def part(tx: Transaction) -> int:
        end = f"{dataset_id}{_BEHIND}"
        found = tx.documents.all(ctx.space, _RECORDS, start=f"{dataset_id}/", end=end, limit=_PART)
        return len(remove_records(ctx, tx, dataset_id, [body["id"] for body in found.values()]))

    total = 0
    while count := ctx.write(part):
        total += count
    return total
