"""Use cases of labelling by people: a queue over rows, its answers, and what is agreed as a label set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from loopwright.core.addresses import Address, AssetName, check_name, version_address
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import LinkRole, Version
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.answering import (
    QUEUES,
    answers_at,
    answers_of,
    check_rows,
    forget_answers,
    items_of,
    keep_answers,
    queue_of,
    queues,
    segments_with,
)
from loopwright.data.conforming import arrow_type
from loopwright.data.cutting import each_batch
from loopwright.data.drafting import Change
from loopwright.data.labels import (
    ITEM,
    Agreed,
    Agreement,
    Answer,
    Answers,
    LabelItem,
    LabelQueue,
    LabelQueueView,
    agreed,
    choices_of_both,
    given,
    is_disputed,
    items_stream,
    next_of,
)
from loopwright.data.nouns import DATASET, Appended
from loopwright.data.reading import body_of, permitted, read_version, schema_of
from loopwright.data.rewriting import write_together
from loopwright.data.rows import json_rows
from loopwright.data.streams import prepare_segment
from loopwright.engine.context import Context
from loopwright.engine.erased import anew, check_as_read
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve, taken_back
from loopwright.ports.ledger import Transaction
from loopwright.stats.agreement import cohen_kappa
from loopwright.stats.samples import UndefinedStatistic

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "LABEL",
    "answer",
    "close_queue",
    "list_queues",
    "next_item",
    "open_queue",
    "publish",
    "show_queue",
]

LABEL, KNOWN_AT = "label", "known_at"
_SHOWN = 12
"""columns that annotators see where nothing is said"""

Choice = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Question = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Annotator = Annotated[str, msgspec.Meta(max_length=100, description="who answers; empty: who calls")]
Items = Annotated[int, msgspec.Meta(ge=1, le=10_000, description="rows at most")]
People = Annotated[int, msgspec.Meta(ge=1, le=10)]


@operation("labels.open", scope="dataset:write", route="POST /label-queues/{queue}", status=201)
def open_queue(  # a queue is told by all of these, and by keywords alone
    ctx: Context,
    queue: AssetName,
    *,
    dataset: AssetName,
    question: Question,
    choices: Annotated[tuple[Choice, ...], msgspec.Meta(min_length=2, max_length=9)],
    version: str = "",
    keys: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    carry: tuple[str, ...] = (),
    score: str = "",
    around: float = 0.5,
    limit: Items = 200,
    annotators: People = 2,
    label_set: str = "",
    purpose: str = "",
) -> LabelQueue:
    """Open a queue over rows of a dataset: people are asked one question about each, with given choices.

    With `score`, a column such as a model's probability, rows whose score is nearest to `around` come
    first; rows without one last. `keys` tell a row (as a rule those of the dataset), `columns` are what
    annotators see, `carry` further columns for the label set, such as the person erasure goes by. Rows
    that the label set has already are left out. Columns are read for the purpose.
    """
    asked = LabelQueue(
        id=ctx.new_id(),
        name=check_name(queue),
        dataset=str(version_address(DATASET, dataset, version)),
        question=question,
        choices=choices,
        keys=keys,
        columns=columns,
        carry=carry,
        score=score,
        around=around,
        annotators=annotators,
        label_set=check_name(label_set or f"{queue}-labels"),
        purpose=purpose,
        items=0,
        opened_at=ctx.now(),
        opened_by=ctx.principal.name,
    )
    return anew(ctx, lambda: _filled(ctx, asked, limit))


def _filled(ctx: Context, queue: LabelQueue, limit: int) -> LabelQueue:
    """Open the queue with rows of what its address means now."""
    source = resolve(ctx, queue.dataset)
    manifest = manifest_of(ctx, source)
    schema = schema_of(manifest)
    asked = msgspec.structs.replace(
        queue,
        dataset=str(source.ref),
        keys=queue.keys or body_of(manifest).keys,
        columns=queue.columns or tuple(schema.names[:_SHOWN]),
    )
    _check(asked, schema)
    score = [asked.score] if asked.score else []
    permitted(ctx, source, (*asked.keys, *asked.columns, *asked.carry, *score), purpose=asked.purpose)
    rows = _chosen_rows(ctx, manifest, asked, limit)
    if not rows.num_rows:
        raise Invalid(
            f"no row of {source.ref} is left to label", hint="the label set has them all, or it is empty"
        )
    return _opened(ctx, msgspec.structs.replace(asked, items=rows.num_rows), source, rows)


def _check(queue: LabelQueue, schema: Schema) -> None:
    if not queue.keys:
        raise Invalid("it is not said what tells a row", hint="give keys, such as flight")
    for column in (*queue.keys, *queue.columns, *queue.carry):
        schema.column(column)
    if queue.score and schema.column(queue.score).type not in (ColumnType.FLOAT, ColumnType.INT):
        raise Invalid(f"the score {queue.score!r} is no number", hint="name a column such as a probability")
    if len(set(queue.choices)) < len(queue.choices):
        raise Invalid("a choice is named twice", hint="give each once")
    taken = {LABEL, KNOWN_AT} & {*queue.keys, *queue.carry}
    if taken or ITEM in schema.names:
        raise Invalid(
            f"the column {sorted(taken)[0] if taken else ITEM!r} has a name that labels take",
            hint="rename it, or choose other keys",
        )


def _opened(ctx: Context, queue: LabelQueue, source: Version, rows: pa.Table) -> LabelQueue:
    import pyarrow as pa

    names = pa.array([f"{queue.id}.{at}" for at in range(rows.num_rows)], pa.string())
    now = queue.opened_at
    segment = prepare_segment(
        ctx, items_stream(queue.name), rows.append_column(ITEM, names), now, now, {"queue": queue.id}
    )

    def work(tx: Transaction) -> None:
        check_as_read(tx, ctx.space, (source.ref,))
        if tx.documents.get(ctx.space, QUEUES, queue.name) is not None:
            raise Conflict(
                f"there is a queue of labels named {queue.name!r}", hint="close it, or choose a name"
            )
        tx.segments.add(segment)
        tx.documents.put(ctx.space, QUEUES, queue.name, msgspec.to_builtins(queue))
        ctx.touch(tx, LinkRole.INPUT, source.ref)
        told = {"queue": queue.name, "items": queue.items, "annotators": queue.annotators}
        ctx.record(tx, "labels.opened", source.ref, told)

    with taken_back(ctx, (segment.digest,)):
        ctx.write(work)
    return queue


@operation("labels.list", scope="dataset:read", route="GET /label-queues")
def list_queues(ctx: Context) -> tuple[LabelQueueView, ...]:
    """List queues of labels with how far each has come."""
    with ctx.read() as tx:
        found = list(queues(ctx, tx))
    return tuple(_view(ctx, queue) for queue in found)


@operation("labels.show", scope="dataset:read", route="GET /label-queues/{queue}")
def show_queue(ctx: Context, queue: AssetName) -> LabelQueueView:
    """Show how far a queue has come, and how its annotators agree: Cohen's kappa of each two."""
    with ctx.read() as tx:
        found = queue_of(ctx, tx, queue)
    return _view(ctx, found)


def _view(ctx: Context, queue: LabelQueue) -> LabelQueueView:
    items, answers = _items(ctx, queue)
    answered = [answers[item] for item in items if item in answers]
    people = sorted({name for each in answered for name in each})
    return LabelQueueView(
        queue=queue,
        items=len(items),
        done=sum(len(given(each)) >= queue.annotators for each in answered),
        agreed=len(list(agreed(items, answers, queue.annotators))),
        disputed=sum(map(is_disputed, answered)),
        annotators={name: sum(name in each for each in answered) for name in people},
        agreement=tuple(_agreement(*each) for each in choices_of_both(items, answers)),
        published=_newest(ctx, queue),
    )


def _newest(ctx: Context, queue: LabelQueue) -> int:
    with ctx.read() as tx:
        asset = tx.assets.find(ctx.space, DATASET, queue.label_set)
        version = None if asset is None else tx.versions.latest(asset.id)
    return 0 if version is None else version.number


def _items(ctx: Context, queue: LabelQueue) -> tuple[list[int], Answers]:
    items = list(items_of(ctx, queue))
    with ctx.read() as tx:
        return items, answers_of(ctx, tx, queue)


def _agreement(first: str, second: str, ones: list[str], others: list[str]) -> Agreement:
    found = Agreement(
        first=first,
        second=second,
        n=len(ones),
        same=sum(a == b for a, b in zip(ones, others, strict=True)),
    )
    try:
        kappa = cohen_kappa(ones, others)
    except UndefinedStatistic as error:
        return msgspec.structs.replace(found, why=str(error))
    return msgspec.structs.replace(found, kappa=kappa.value, low=kappa.low, high=kappa.high)


@operation("labels.next", scope="dataset:read", route="GET /label-queues/{queue}/next")
def next_item(
    ctx: Context, queue: AssetName, *, annotator: Annotator = "", item: int | None = None
) -> LabelItem:
    """The row an annotator is asked about next, or that `item` again, without what others chose."""
    who = annotator or ctx.principal.name
    with ctx.read() as tx:
        found = queue_of(ctx, tx, queue)
        answers = answers_of(ctx, tx, found)
    permitted(ctx, resolve(ctx, found.dataset), found.columns, purpose=found.purpose)
    rows = items_of(ctx, found, found.columns)
    waiting = list(next_of(list(rows), answers, who, found.annotators))
    chosen = item if item is not None else waiting[0] if waiting else None
    if chosen is not None and chosen not in rows:
        raise NotFound(f"the queue {queue!r} has no item {chosen}", hint="ask for the next one")
    own = {at: there[who] for at, there in answers.items() if who in there and at in rows}
    before = sorted((at for at in own if at != chosen), key=lambda at: (own[at].at, at))
    return LabelItem(
        queue=found.name,
        question=found.question,
        choices=found.choices,
        item=chosen,
        values={} if chosen is None else json_rows(rows[chosen].drop_columns([ITEM]))[0],
        own=None if chosen is None else own.get(chosen),
        previous=before[-1] if before else None,
        answered=len(own),
        left=len(waiting),
    )


@operation("labels.answer", scope="label:write", route="POST /label-queues/{queue}/answers")
def answer(
    ctx: Context, queue: AssetName, *, item: int, choice: str | None = None, annotator: Annotator = ""
) -> Answer:
    """Answer a queue's question about one row; without a choice: could not say. Asked again, it replaces."""
    who = annotator or ctx.principal.name
    with ctx.read() as tx:
        found = queue_of(ctx, tx, queue)
    if choice is not None and choice not in found.choices:
        raise Invalid(f"{choice!r} is none of the choices", hint=f"choose of {', '.join(found.choices)}")
    if item not in items_of(ctx, found):
        raise NotFound(f"the queue {queue!r} has no item {item}", hint="ask for the next one")
    said = Answer(choice=choice, at=ctx.now())

    def work(tx: Transaction) -> Answer:
        if queue_of(ctx, tx, queue).id != found.id:
            raise Conflict(f"the queue {queue!r} was opened anew", hint="ask for the next item")
        there = answers_at(ctx, tx, found, item)
        others = {name: each for name, each in there.items() if name != who}
        if len(given(others)) >= found.annotators:
            raise Conflict(f"enough others have answered item {item} meanwhile", hint="ask for the next one")
        keep_answers(ctx, tx, found, item, {**others, who: said})
        return said

    return ctx.write(work)


@operation("labels.publish", scope="dataset:write", route="POST /label-queues/{queue}/publish")
def publish(ctx: Context, queue: AssetName) -> Appended:
    """Put the labels that all annotators of a row agree on into the label set, as its next version.

    It has the keys, what is carried along, `label` and `known_at`, the instant of the last answer, so that
    joins as known at an instant see a label from then on. Labels that are there just so make no version.
    """
    return anew(ctx, lambda: _publish(ctx, queue))


def _publish(ctx: Context, queue: str) -> Appended:
    """Publish what the queue's rows and answers are now."""
    with ctx.read() as tx:
        found = queue_of(ctx, tx, queue)
        rows_of = segments_with(ctx, tx, found)
    items, answers = _items(ctx, found)
    ready = list(agreed(items, answers, found.annotators))
    if not ready:
        raise Invalid(
            f"no row of {queue!r} has {found.annotators} equal answers yet", hint="loopwright labels show"
        )
    view, source = _view(ctx, found), _asked_about(ctx, found)

    def published(tx: Transaction, version: Version) -> None:
        check_rows(ctx, tx, found, rows_of)
        _published(ctx, tx, found, source, version, len(ready))

    change = Change(
        how="upsert",
        name=found.label_set,
        table=_label_rows(ctx, found, ready),
        keys=found.keys,
        event_time=KNOWN_AT,
        known_at=KNOWN_AT,
        facts={
            "labels_of": found.dataset,
            "question": found.question,
            "choices": list(found.choices),
            "agreement": msgspec.to_builtins(view.agreement),
        },
        reads=(found.dataset,),
        by_program=False,
        also=published,
    )
    return write_together(ctx, (change,))[0]


def _asked_about(ctx: Context, queue: LabelQueue) -> Version | None:
    """The version that the rows are of; None where it went."""
    try:
        return resolve(ctx, queue.dataset)
    except NotFound:
        return None


def _published(  # noqa: PLR0917 - what was published, of what, by which queue
    ctx: Context, tx: Transaction, queue: LabelQueue, source: Version | None, version: Version, labels: int
) -> None:
    if source is not None:
        ctx.touch(tx, LinkRole.INPUT, source.ref)
    ctx.record(tx, "labels.published", version.ref, {"queue": queue.name, "labels": labels})


def _label_rows(ctx: Context, queue: LabelQueue, ready: Sequence[Agreed]) -> pa.Table:
    import pyarrow as pa

    columns = tuple(dict.fromkeys((*queue.keys, *queue.carry)))
    rows = items_of(ctx, queue, columns)
    table = pa.concat_tables([rows[each.item] for each in ready]).select(columns)
    known = pa.array([each.known_at for each in ready], arrow_type(ColumnType.INSTANT))
    labels = pa.array([each.label for each in ready], pa.string())
    return table.append_column(LABEL, labels).append_column(KNOWN_AT, known)


@operation("labels.close", scope="dataset:write", route="DELETE /label-queues/{queue}")
def close_queue(ctx: Context, queue: AssetName) -> LabelQueue:
    """Take a queue away with its rows and answers; what was published stays."""
    with ctx.read() as tx:
        found = queue_of(ctx, tx, queue)

    def work(tx: Transaction) -> None:
        there = tx.segments.between(ctx.space, items_stream(found.name), None, None)
        tx.segments.replace([segment.id for segment in there], None, space=ctx.space)
        forget_answers(ctx, tx, found, list(answers_of(ctx, tx, found)))
        tx.documents.remove(ctx.space, QUEUES, found.name)
        ctx.record(tx, "labels.closed", found.dataset, {"queue": found.name})

    ctx.write(work)
    return found


# ------------------------------------------------------------------------------------------ rows of a queue


def _chosen_rows(ctx: Context, manifest: Manifest, queue: LabelQueue, limit: int) -> pa.Table:
    """The rows that wait, all their columns, in their order; only keys and score are read of the others."""
    import numpy as np

    schema = schema_of(manifest)
    names = dict.fromkeys((*queue.keys, *([queue.score] if queue.score else [])))
    head = Schema(columns=tuple(schema.column(name) for name in names))
    told = _joined([batch for entry in manifest.entries for batch in each_batch(ctx, entry, head)], head)
    order = _uncertain_first(told, queue)
    there = _labelled(ctx, queue)
    places = list(_free(told.select(queue.keys), order, there, limit))
    rows = _taken(ctx, manifest, schema, np.sort(np.array(places, np.int64)))
    return rows.take(np.argsort(np.argsort(np.array(places, np.int64)))) if places else rows


def _joined(tables: list[Any], schema: Schema) -> pa.Table:
    import pyarrow as pa

    fields = [pa.field(column.name, arrow_type(column.type)) for column in schema.columns]
    return pa.concat_tables(tables) if tables else pa.schema(fields).empty_table()


def _uncertain_first(told: pa.Table, queue: LabelQueue) -> NDArray[np.int64]:
    """Places of rows by how near their score is to the middle, equal ones as they came, null and NaN last."""
    import numpy as np
    import pyarrow as pa

    if not queue.score:
        return np.arange(told.num_rows)
    scores = told.column(queue.score).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.argsort(np.abs(scores - queue.around), kind="stable")


def _free(
    keys: pa.Table, order: NDArray[np.int64], there: frozenset[tuple[Any, ...]], limit: int
) -> Iterator[int]:
    """The first places whose key is whole, comes once and is not labelled yet."""
    seen: set[tuple[Any, ...]] = set()
    for start in range(0, len(order), limit + 1):
        part = order[start : start + limit + 1]
        for place, key in zip(part.tolist(), _keys(keys.take(part)), strict=True):
            if None in key or key in there:
                continue
            if key in seen:
                raise Invalid(f"two rows have the key of row {place}", hint="choose keys that tell each row")
            seen.add(key)
            yield place
            if len(seen) == limit:
                return


def _keys(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _labelled(ctx: Context, queue: LabelQueue) -> frozenset[tuple[Any, ...]]:
    """The keys that the label set has."""
    try:
        version = resolve(ctx, Address(kind=DATASET, name=queue.label_set))
    except NotFound:
        return frozenset()
    schema = schema_of(manifest_of(ctx, version))
    if not {*queue.keys, LABEL, KNOWN_AT} <= set(schema.names):
        raise Invalid(
            f"dataset:{queue.label_set} is no label set with the keys {', '.join(queue.keys)}",
            hint="name another label_set",
        )
    return frozenset(_keys(read_version(ctx, version, columns=queue.keys)))


def _taken(ctx: Context, manifest: Manifest, schema: Schema, places: NDArray[np.int64]) -> pa.Table:
    """The rows at ascending places, a piece of a part at a time."""
    import numpy as np

    found, before = [], 0
    for entry in manifest.entries:
        rows = entry.rows or 0
        if not len(places) or not np.any((places >= before) & (places < before + rows)):
            before += rows
            continue
        for batch in each_batch(ctx, entry, schema):
            inside = places[(places >= before) & (places < before + batch.num_rows)]
            found += [batch.take(inside - before)] if len(inside) else []
            before += batch.num_rows
    return _joined(found, schema)
