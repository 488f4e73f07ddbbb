"""Takes in what another store kept of evaluation datasets: records with their ids and times, and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid
from loopwright.core.instants import from_micros
from loopwright.core.nouns import Asset, Json
from loopwright.engine.context import Context
from loopwright.llm.datasets import KIND, Facts, added
from loopwright.llm.records import EvaluationRecord, RecordSource, clear_records, keep_record, record_id_ok
from loopwright.ports.histories import PastEvaluation, PastRecord
from loopwright.ports.ledger import Transaction
from loopwright.tracking.adopting import Adopted, Mark, Notes, at_ms, kept_texts, readable
from loopwright.tracking.experiments import known

__all__ = ["adopt_evaluation"]

_ID = re.compile(r"d-[0-9a-f]{32}\Z")
_NAME, _TAG = 255, 5_000
_EPOCH = from_micros(0)


def adopt_evaluation(
    ctx: Context,
    tx: Transaction,
    past: PastEvaluation,
    records: Iterable[Sequence[PastRecord]],
    *,
    experiments: Sequence[str],
    mark: Mark | None = None,
    overwrite: bool = False,
) -> Adopted:
    """Take an evaluation dataset in with its records, in the caller's unit of work: whole or not at all.

    `experiments` are those that it belongs to, by their ids here; one that is not here is noted. `Invalid`
    when its id is none.
    """
    if not _ID.match(past.id):
        raise Invalid("the id of an evaluation dataset is none", hint="an id is d- and 32 hex digits")
    notes = Notes()
    there = tx.assets.find(ctx.space, KIND, past.id)
    if there is not None and not overwrite and not _is_as_it_came(there, mark):
        return Adopted(id=past.id, what="ours", content=_content(there))
    clear_records(ctx, tx, past.id)
    facts = _facts(ctx, tx, past, experiments, notes)
    for batch in records:
        facts = added(facts, [_kept(ctx, tx, past.id, each, notes) for each in batch])
    asset = _asset(ctx, past, there, facts, notes)
    if there is None:
        tx.assets.add(asset)
    else:
        tx.assets.update(asset)
    content, what = _content(asset), "new" if there is None else "changed"
    payload = {"asset": asset.id, "content": content, "what": what, "records": facts.records or 0}
    ctx.record(tx, "asset.imported", Address(kind=KIND, name=past.id), payload)
    return Adopted(id=past.id, what=what, content=content, notes=dict(notes))


def _is_as_it_came(there: Asset, mark: Mark | None) -> bool:
    return there.deleted_at is None and mark is not None and _content(there) == mark.kept


def _facts(
    ctx: Context, tx: Transaction, past: PastEvaluation, experiments: Sequence[str], notes: Notes
) -> Facts:
    here = [each for each in dict.fromkeys(experiments) if known(tx, ctx.space, each) is not None]
    missing = len(past.experiments) - len(here)
    if missing > 0:
        notes["experiments of evaluation datasets that are not here"] += missing
    return Facts(
        name=readable(past.name, notes)[:_NAME],
        created_by=readable(past.created_by, notes)[:_NAME],
        updated_by=readable(past.updated_by, notes)[:_NAME],
        experiments=tuple(here),
        columns=past.columns,
    )


def _asset(ctx: Context, past: PastEvaluation, there: Asset | None, facts: Facts, notes: Notes) -> Asset:
    return Asset(
        id=ctx.new_id() if there is None else there.id,
        space=ctx.space,
        kind=KIND,
        name=past.id,
        created_at=_at(past.created_ms, notes),
        created_by=ctx.principal.name if there is None else there.created_by,
        tags=kept_texts("tags of evaluation datasets", past.tags, _TAG, notes),
        facts=msgspec.to_builtins(facts),
        updated_at=_at(past.updated_ms, notes),
    )


def _at(millis: int, notes: Notes) -> datetime:
    return at_ms(millis, notes) or _EPOCH


def _kept(ctx: Context, tx: Transaction, dataset_id: str, past: PastRecord, notes: Notes) -> Json:
    if not record_id_ok(past.id):
        raise Invalid("the id of a record is none", hint="an id is dr- and 32 hex digits", where=past.id[:60])
    record = EvaluationRecord(
        id=past.id,
        inputs=_readable(past.inputs, notes),
        outputs=_readable(past.outputs, notes),
        expectations=_readable(past.expectations, notes),
        tags=_readable(past.tags or {}, notes),
        source=_source(past.source, notes),
        created_at=_at(past.created_ms, notes),
        updated_at=_at(past.updated_ms, notes),
        created_by=readable(past.created_by, notes)[:_NAME],
        updated_by=readable(past.updated_by, notes)[:_NAME],
    )
    return keep_record(ctx, tx, dataset_id, record)


def _readable(value: Any, notes: Notes) -> Any:
    """A JSON value whose texts every store can hold."""
    if isinstance(value, str):
        return readable(value, notes)
    if isinstance(value, list):
        return [_readable(each, notes) for each in value]
    if isinstance(value, dict):
        return {readable(str(key), notes): _readable(each, notes) for key, each in value.items()}
    return value


def _source(told: Json | None, notes: Notes) -> RecordSource | None:
    if told is None:
        return None
    try:
        return msgspec.convert(_readable(told, notes), RecordSource)
    except msgspec.ValidationError:
        notes["sources of records that are of no kind"] += 1
        return None


def _content(asset: Asset) -> str:
    """Digest of what a dataset is: the facts hold one of all its records."""
    return digest_value([asset.facts, asset.tags])
