"""What erasures wrote anew since somebody read it: asked when what was made of it is about to be kept.

A version keeps its number when an erasure gives it other content, so what was computed of the content it
had tells of rows that had to go. Where no erasure came since, this costs one look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from loopwright.core.errors import Conflict, Corrupt, NotFound
from loopwright.core.nouns import LinkRole, VersionRef
from loopwright.ports.ledger import Transaction

__all__ = [
    "ERASURES",
    "MARK_TAG",
    "TOMBSTONES",
    "Reads",
    "Renewed",
    "Stale",
    "anew",
    "check_as_read",
    "check_of_run",
    "count_renewal",
    "erasures_of",
    "forget_run",
    "note_read",
    "read_by_run",
    "renewed",
]

ERASURES = "erasures"
"""documents of proofs by id"""
TOMBSTONES = "tombstones"
"""documents: the digest of a version's former content, that of what erasure put in its place, and its mark"""
MARK_TAG = "erased_data"
"""tag of a model that was trained on rows that are erased: the ids of the erasures"""
_COUNTS = "renewals"
"""documents: how often an erasure wrote versions anew, and by run at which count its reads were looked at"""
_ALL, _RUN = "count", "run:"
_ATTEMPTS = 20

T = TypeVar("T")


class Reads(Protocol):
    """What can look into the ledger of a space, such as a context."""

    space: str

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent snapshot to read from."""


class Renewed(Conflict):
    """Rows were erased from what a draft builds on: what was made ready is to be made ready again."""


class Stale(Renewed):
    """Rows were erased from what the content itself was computed of: read it again and compute it again."""


def anew(ctx: Reads, work: Callable[[], T]) -> T:
    """What `work` gives, done again from what is there now when an erasure came while it went on.

    Parts that it was about to read, or had just made, may have gone by then: it begins again too.
    """
    for _ in range(_ATTEMPTS - 1):
        before = _renewals_now(ctx)
        try:
            return work()
        except (Conflict, NotFound, Corrupt):
            if _renewals_now(ctx) == before:
                raise
    return work()


def _renewals_now(ctx: Reads) -> int:
    with ctx.read() as tx:
        return _renewals(tx, ctx.space)


def count_renewal(tx: Transaction, space: str) -> None:
    """In the unit of work in which an erasure writes versions anew: whoever read before has to look."""
    tx.documents.put(space, _COUNTS, _ALL, {_ALL: _renewals(tx, space) + 1})


def _renewals(tx: Transaction, space: str) -> int:
    """How often versions were written anew."""
    body = tx.documents.get(space, _COUNTS, _ALL)
    return 0 if body is None else int(body[_ALL])


def renewed(tx: Transaction, space: str, read: Iterable[VersionRef]) -> list[VersionRef]:
    """Which of these, as they were read, an erasure gave other content; those that went are not told."""
    if not _renewals(tx, space):
        return []
    return [ref for ref in read if _is_renewed(tx, space, ref)]


def _is_renewed(tx: Transaction, space: str, ref: VersionRef) -> bool:
    if tx.documents.get(space, TOMBSTONES, ref.digest) is None:
        return False
    asset = tx.assets.find(space, ref.kind, ref.name)
    now = None if asset is None else tx.versions.get(asset.id, ref.number)
    return now is None or now.digest != ref.digest  # where it went since, its rows were erased before


def check_as_read(tx: Transaction, space: str, read: Iterable[VersionRef]) -> None:
    """`Stale` when one of these is not what it was when it was read."""
    found = renewed(tx, space, read)
    if found:
        raise Stale(_message(found), hint="read it again and repeat")


def _message(found: Iterable[VersionRef]) -> str:
    told = ", ".join(sorted({str(ref) for ref in found}))
    return f"rows were erased from {told} after it was read, so what was made of it may tell of them"


# -------------------------------------------------------------------------------------------------- runs


def note_read(tx: Transaction, space: str, run_id: str, read: VersionRef) -> None:
    """A run read a version: its reads are looked at again where this one was written anew by then.

    Of a run that was not looked at yet nothing is kept: it may have read before there was anything to count.
    """
    if not _renewals(tx, space) or tx.documents.get(space, _COUNTS, _RUN + run_id) is None:
        return
    if tx.documents.get(space, TOMBSTONES, read.digest) is not None:
        forget_run(tx, space, run_id)


def forget_run(tx: Transaction, space: str, run_id: str) -> None:
    """Whatever the run read is looked at again when it is asked about; or the run is gone."""
    tx.documents.remove(space, _COUNTS, _RUN + run_id)


def read_by_run(tx: Transaction, space: str, run_id: str) -> list[VersionRef]:
    """What the run, or one that it is a part of, read before an erasure gave it other content."""
    count = _renewals(tx, space)
    if not count:
        return []
    found = []
    for each in _with_parents(tx, run_id):
        before = tx.documents.get(space, _COUNTS, _RUN + each)
        if before is not None and before[_ALL] == count:
            continue
        links = tx.runs.links(each)
        there = renewed(tx, space, (link.version for link in links if link.role is LinkRole.INPUT))
        if not there:
            tx.documents.put(space, _COUNTS, _RUN + each, {_ALL: count})
        found += there
    return found


def _with_parents(tx: Transaction, run_id: str) -> Iterator[str]:
    """The run and those above it, once each: a tag makes any run the parent, one that is below it too."""
    at: str | None = run_id
    seen = set[str]()
    while at is not None and at not in seen:
        seen.add(at)
        yield at
        try:
            at = tx.runs.get(at).parent_id
        except NotFound:
            return


def check_of_run(tx: Transaction, space: str, run_id: str | None) -> None:
    """`Stale` when what a program made in a run may be of rows that were erased since the run read them."""
    found = [] if run_id is None else read_by_run(tx, space, run_id)
    if found:
        raise Stale(_message(found), hint="start a new run that reads it again, and repeat")


# ------------------------------------------------------------------------------------------------ models


def erasures_of(tx: Transaction, space: str, read: Iterable[VersionRef]) -> list[str]:
    """Ids of the proven erasures that took rows from what was read; one that goes on marks models itself."""
    marks = {mark for ref in read for mark in _marks(tx, space, ref.digest)}
    proofs = tx.documents.all(space, ERASURES)
    return sorted(key for key, body in proofs.items() if body["mark"] in marks)


def _marks(tx: Transaction, space: str, digest: str) -> Iterator[str]:
    """Of every erasure that wrote this content, or what came of it, anew."""
    seen = set[str]()
    while digest not in seen and (body := tx.documents.get(space, TOMBSTONES, digest)) is not None:
        seen.add(digest)
        yield body.get("mark", "")
        digest = body["successor"]
