"""Keeps queues of labels and their answers; answers about erased rows go with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import NotFound
from loopwright.data.labels import ITEM, Answer, Answers, LabelQueue, items_stream
from loopwright.data.streams import read_stream
from loopwright.engine.context import Context
from loopwright.engine.erased import Renewed
from loopwright.engine.holders import Held, Subject
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "QUEUES",
    "AnswerRows",
    "answers_at",
    "answers_of",
    "check_rows",
    "forget_answers",
    "item_number",
    "items_of",
    "keep_answers",
    "queue_of",
    "queues",
    "segments_with",
]

QUEUES = "label_queues"
_ANSWERS = "label_answers/"
_Given = dict[str, Answer]


def item_number(name: str) -> int:
    """The number of an item by its name in the queue's rows."""
    return int(name.rpartition(".")[2])


def queues(ctx: Context, tx: Transaction) -> Iterator[LabelQueue]:
    """All queues, by name."""
    for body in tx.documents.all(ctx.space, QUEUES).values():
        yield msgspec.convert(body, LabelQueue)


def queue_of(ctx: Context, tx: Transaction, name: str) -> LabelQueue:
    """The queue of that name, else `NotFound`."""
    body = tx.documents.get(ctx.space, QUEUES, name)
    if body is None:
        raise NotFound(f"there is no queue of labels named {name!r}", hint="loopwright labels list")
    return msgspec.convert(body, LabelQueue)


def items_of(ctx: Context, queue: LabelQueue, columns: Iterable[str] = ()) -> dict[int, pa.Table]:
    """The rows of a queue, each a table of one row with these columns, by number in the order they wait."""
    table = read_stream(ctx, items_stream(queue.name), columns=[ITEM, *columns])
    names = table.column(ITEM).to_pylist()
    return {item_number(name): table.slice(at, 1) for at, name in enumerate(names)}


def segments_with(ctx: Context, tx: Transaction, queue: LabelQueue) -> frozenset[str]:
    """What the rows of a queue are in."""
    there = tx.segments.between(ctx.space, items_stream(queue.name), None, None)
    return frozenset(segment.id for segment in there)


def check_rows(ctx: Context, tx: Transaction, queue: LabelQueue, read: frozenset[str]) -> None:
    """`Renewed` when rows of the queue went since those of these segments were read."""
    if segments_with(ctx, tx, queue) != read:
        raise Renewed(f"rows of the queue {queue.name!r} went meanwhile", hint="publish again")


def answers_of(ctx: Context, tx: Transaction, queue: LabelQueue) -> Answers:
    """Every answer of a queue."""
    there = tx.documents.all(ctx.space, f"{_ANSWERS}{queue.id}")
    return {int(key): msgspec.convert(body, _Given) for key, body in there.items()}


def answers_at(ctx: Context, tx: Transaction, queue: LabelQueue, item: int) -> _Given:
    """The answers about one item."""
    body = tx.documents.get(ctx.space, f"{_ANSWERS}{queue.id}", _key(item))
    return {} if body is None else msgspec.convert(body, _Given)


def keep_answers(
    ctx: Context, tx: Transaction, queue: LabelQueue, item: int, answers: Mapping[str, Answer]
) -> None:
    """Put the answers about one item there."""
    tx.documents.put(ctx.space, f"{_ANSWERS}{queue.id}", _key(item), msgspec.to_builtins(dict(answers)))


def forget_answers(ctx: Context, tx: Transaction, queue: LabelQueue, items: Iterable[int]) -> None:
    """Take all answers about items away."""
    for item in items:
        tx.documents.remove(ctx.space, f"{_ANSWERS}{queue.id}", _key(item))


def _key(item: int) -> str:
    return f"{item:08d}"


class AnswerRows:
    """Answers about rows of queues: they hold no value of the row, and go when it goes."""

    name = "answers"
    keeps: Mapping[str, str] = {}

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Answers about rows that the streams have of the subject, and about rows that went already."""
        gone = self._about(ctx, keys)
        return Held(rows=sum(map(len, gone.values())), places=len(gone))

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Take them away."""

        def work(tx: Transaction) -> None:
            for queue in list(queues(ctx, tx)):
                forget_answers(ctx, tx, queue, gone.get(queue.id, ()))

        gone = self._about(ctx, keys)
        if gone:
            ctx.write(work)
        return Held(rows=sum(map(len, gone.values())), places=len(gone))

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Nothing: an answer tells no value."""
        return iter(())

    def _about(self, ctx: Context, keys: frozenset[str]) -> dict[str, list[int]]:
        with ctx.read() as tx:
            kept = [(queue, list(answers_of(ctx, tx, queue))) for queue in queues(ctx, tx)]
        found = {}
        for queue, answered in kept:
            there = items_of(ctx, queue).keys() if answered else set()
            gone = [item for item in answered if item not in there or f"{queue.id}.{item}" in keys]
            if gone:
                found[queue.id] = gone
        return found
