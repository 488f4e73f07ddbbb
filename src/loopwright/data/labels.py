"""Words and rules of labelling by people: queues, answers, who is asked next, what is agreed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import combinations

import msgspec

from loopwright.core.nouns import Json

__all__ = [
    "ITEM",
    "Agreed",
    "Agreement",
    "Answer",
    "Answers",
    "LabelItem",
    "LabelQueue",
    "LabelQueueView",
    "agreed",
    "choices_of_both",
    "given",
    "is_disputed",
    "items_stream",
    "next_of",
]

ITEM = "label_item"
"""column of a queue's rows: the queue's id and the item's number"""


def items_stream(queue: str) -> str:
    """The stream that keeps the rows of a queue."""
    return f"label_queue/{queue}"


class LabelQueue(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a version that people are asked one question about."""

    id: str
    name: str
    dataset: str
    """address of the version"""
    question: str
    choices: tuple[str, ...]
    keys: tuple[str, ...]
    """columns that tell a row, and that its label is joined by"""
    columns: tuple[str, ...]
    """what annotators see"""
    carry: tuple[str, ...] = ()
    """further columns of the rows that the label set has"""
    score: str = ""
    around: float = 0.5
    annotators: int
    """how many have to answer"""
    label_set: str
    """the dataset that agreed labels are published to"""
    purpose: str = ""
    items: int
    """rows when it was opened"""
    opened_at: datetime
    opened_by: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an annotator chose, and when; None: could not say."""

    choice: str | None
    at: datetime


Answers = Mapping[int, Mapping[str, Answer]]
"""by item, then by annotator"""


class LabelItem(msgspec.Struct, frozen=True, kw_only=True):
    """One row to be labelled, as an annotator sees it: what others chose is not told."""

    queue: str
    question: str
    choices: tuple[str, ...]
    item: int | None
    """None: nothing is left for this annotator"""
    values: Json
    own: Answer | None = None
    """what this annotator chose before"""
    previous: int | None = None
    """the item this annotator answered last before"""
    answered: int
    """items this annotator has answered"""
    left: int
    """items that still wait for this annotator"""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How two annotators agree beyond chance: Cohen's kappa with its interval of 95 %."""

    first: str
    second: str
    n: int
    """items that both answered with a choice"""
    same: int
    kappa: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""
    """why there is no kappa"""


class LabelQueueView(msgspec.Struct, frozen=True, kw_only=True):
    """A queue and how far it has come."""

    queue: LabelQueue
    items: int
    """rows that are in it now: erasure takes some away"""
    done: int
    """items with as many answers as are asked for"""
    agreed: int
    disputed: int
    annotators: dict[str, int]
    """items each has answered"""
    agreement: tuple[Agreement, ...] = ()
    published: int = 0
    """number of the newest version of its label set; 0: nothing is published yet"""


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """The label all annotators of an item gave, known when the last of them did."""

    item: int
    label: str
    known_at: datetime


def given(answers: Mapping[str, Answer]) -> list[Answer]:
    """The answers that choose something."""
    return [answer for answer in answers.values() if answer.choice is not None]


def next_of(items: Sequence[int], answers: Answers, annotator: str, wanted: int) -> Iterator[int]:
    """The items that wait for an annotator, in order: not answered by them, and not by enough others."""
    for item in items:
        there = answers.get(item, {})
        if annotator not in there and len(given(there)) < wanted:
            yield item


def agreed(items: Sequence[int], answers: Answers, wanted: int) -> Iterator[Agreed]:
    """Items that enough people answered, and all of them the same."""
    for item in items:
        there = given(answers.get(item, {}))
        if len(there) >= wanted and len({answer.choice for answer in there}) == 1:
            yield Agreed(item=item, label=str(there[0].choice), known_at=max(each.at for each in there))


def is_disputed(answers: Mapping[str, Answer]) -> bool:
    """Whether two chose otherwise."""
    return len({answer.choice for answer in given(answers)}) > 1


def choices_of_both(
    items: Sequence[int], answers: Answers
) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """For each pair of annotators what both chose of the same items, in order."""
    people = sorted({name for item in items for name in answers.get(item, {})})
    for first, second in combinations(people, 2):
        pairs = [
            (there[first].choice, there[second].choice)
            for item in items
            if {first, second} <= (there := answers.get(item, {})).keys()
        ]
        chosen = [(a, b) for a, b in pairs if a is not None and b is not None]
        if chosen:
            yield first, second, [a for a, _ in chosen], [b for _, b in chosen]
