"""Builders of nouns for tests: every field that does not matter has a value that is easy to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from loopwright.core.nouns import (
    Alias,
    Asset,
    Decision,
    Event,
    Evidence,
    Job,
    JobState,
    Link,
    LinkRole,
    Run,
    RunState,
    Signal,
    Verdict,
    Version,
    VersionRef,
)
from loopwright.ports.ledger import Ledger, Page, PageRequest, Segment, Transaction

__all__ = [
    "EPOCH",
    "FIRST",
    "alias",
    "asset",
    "at",
    "decision",
    "event",
    "job",
    "link",
    "run",
    "segment",
    "signal",
    "version",
    "walk",
    "write_each",
]

T = TypeVar("T")

EPOCH = datetime(2013, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)


FIRST = PageRequest(limit=100)
"""the first page"""


def at(seconds: float) -> datetime:
    """The instant so many seconds after `EPOCH`."""
    return EPOCH + timedelta(seconds=seconds)


def asset(id: str = "a1", **fields: Any) -> Asset:
    """An asset; its name is its id."""
    values = {"space": "default", "kind": "dataset", "name": id, "created_at": EPOCH, "created_by": "ann"}
    return Asset(id=id, **{**values, **fields})


def version(asset: Asset, number: int, **fields: Any) -> Version:
    """A version of an asset, made `number` seconds after `EPOCH`."""
    values: dict[str, Any] = {
        "id": f"{asset.id}-{number}",
        "space": asset.space,
        "asset_id": asset.id,
        "kind": asset.kind,
        "name": asset.name,
        "number": number,
        "digest": f"{number:064x}",
        "size_bytes": 10 * number,
        "created_at": at(number),
        "created_by": "ann",
    }
    return Version(**{**values, **fields})


def alias(asset: Asset, name: str, number: int) -> Alias:
    """An alias of an asset."""
    return Alias(
        space=asset.space, asset_id=asset.id, alias=name, number=number, moved_at=EPOCH, moved_by="ann"
    )


def run(id: str = "r1", **fields: Any) -> Run:
    """A running training."""
    values: dict[str, Any] = {
        "space": "default",
        "kind": "training",
        "name": "fit",
        "state": RunState.RUNNING,
        "created_at": EPOCH,
        "created_by": "ann",
    }
    return Run(id=id, **{**values, **fields})


def link(run_id: str, role: LinkRole, name: str, number: int, seconds: float = 0) -> Link:
    """An edge to a version of a dataset."""
    ref = VersionRef(kind="dataset", name=name, number=number, digest=f"{number:064x}")
    return Link(run_id=run_id, role=role, version=ref, at=at(seconds))


def signal(id: str, seconds: float = 0, **fields: Any) -> Signal:
    """A measured AUC of an endpoint."""
    values: dict[str, Any] = {
        "space": "default",
        "subject": "endpoint:delays",
        "name": "roc_auc",
        "value": 0.75,
        "at": at(seconds),
    }
    return Signal(id=id, **{**values, **fields})


def decision(id: str, seconds: float = 0, **fields: Any) -> Decision:
    """A refused promotion with one line of evidence."""
    values: dict[str, Any] = {
        "space": "default",
        "policy": "policy:gate@1",
        "subject": "model:delay@2",
        "action": "promote",
        "verdict": Verdict.DENY,
        "reason": "worse than the champion",
        "evidence": (Evidence(check="auc", held=False, found="0.70", limit="0.75", signal_ids=("s1",)),),
        "at": at(seconds),
        "by": "ann",
    }
    return Decision(id=id, **{**values, **fields})


def event(id: str, **fields: Any) -> Event:
    """A line of the journal that no ledger has chained yet."""
    values: dict[str, Any] = {
        "space": "default",
        "principal": "ann",
        "kind": "asset.created",
        "subject": "dataset:flights",
        "at": EPOCH,
        "wall_at": at(1),
        "payload": {"asset": id},
    }
    return Event(id=id, **{**values, **fields})


def job(id: str, seconds: float = 0, **fields: Any) -> Job:
    """A queued job, created and due so many seconds after `EPOCH`."""
    values: dict[str, Any] = {
        "space": "default",
        "operation": "training.fit",
        "arguments": {"rounds": 3},
        "state": JobState.QUEUED,
        "created_at": at(seconds),
        "created_by": "ann",
        "not_before": at(seconds),
    }
    return Job(id=id, **{**values, **fields})


def segment(id: str, start: float, end: float, **fields: Any) -> Segment:
    """A segment of predictions between two seconds after `EPOCH`."""
    values: dict[str, Any] = {
        "space": "default",
        "stream": "predictions/delays",
        "digest": f"digest-{id}",
        "rows": 5,
        "size_bytes": 100,
        "start": at(start),
        "end": at(end),
        "created_at": at(end),
    }
    return Segment(id=id, **{**values, **fields})


def write_each(ledger: Ledger, write: Callable[[Transaction, T], object], items: Iterable[T]) -> None:
    """Write several items in one unit of work."""
    kept = list(items)

    def work(tx: Transaction) -> None:
        for item in kept:
            write(tx, item)

    ledger.write(work)


def walk(page: Callable[[PageRequest], Page[Any]], *, limit: int) -> list[Any]:
    """All items of a list, page after page."""
    found: list[Any] = []
    token = ""
    for _ in range(1000):
        got = page(PageRequest(limit=limit, token=token))
        assert len(got.items) <= limit
        found.extend(got.items)
        token = got.next_token
        if not token:
            return found
        assert len(got.items) == limit
    raise AssertionError("the pages do not end")
