"""Records of evaluation datasets as a holder: JSON is searched for the subject's columns, however deep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.engine.holders import Held, Subject, values_named
from loopwright.llm.datasets import delete_records
from loopwright.llm.records import all_records

__all__ = ["RecordRows"]

_AT_ONCE = 10_000
_SAID = ("inputs", "outputs", "expectations", "tags", "source")


class RecordRows:
    """Records in which every column is a field somewhere that has the value; the whole record goes."""

    name = "evaluation"
    keeps: Mapping[str, str] = {
        "llm/adopting_datasets.py": "records of evaluation datasets that are brought along",
        "llm/datasets.py": "records of evaluation datasets",
    }

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Records of the subject, and in how many datasets they are."""
        found = _held(ctx, subject)
        return Held(rows=sum(map(len, found.values())), places=len(found))

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Take these records away; the datasets' digests and counts are without them."""
        found = _held(ctx, subject)
        for dataset_id, ids in found.items():
            for start in range(0, len(ids), _AT_ONCE):
                delete_records(ctx, dataset_id, tuple(ids[start : start + _AT_ONCE]))
        return Held(rows=sum(map(len, found.values())), places=len(found))

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Every combination of values that a record has of these fields."""
        for _, body in all_records(ctx):
            yield from product(*(_values(body, column) for column in columns))


def _held(ctx: Context, subject: Subject) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    wanted = list(zip(subject.columns, subject.values, strict=True))
    for dataset_id, body in all_records(ctx):
        if all(value in _values(body, column) for column, value in wanted):
            found.setdefault(dataset_id, []).append(body["id"])
    return found


def _values(body: Json, column: str) -> set[str]:
    """As text, every value that a field of that name has in what the record says."""
    return values_named((body.get(part) for part in _SAID), column)
