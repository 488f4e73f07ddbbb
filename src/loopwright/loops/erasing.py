"""Erasure across everything that keeps rows: asked of every holder, proven, told without the value."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import ByNumber, parse_address
from loopwright.core.digests import canonical
from loopwright.core.errors import Conflict, Fault
from loopwright.core.nouns import Event, Version
from loopwright.data.answering import AnswerRows
from loopwright.data.cursors import CursorRows
from loopwright.data.explored import ExploredRows
from loopwright.data.holding import StreamRows, VersionRows, objects_with, values_of_object
from loopwright.engine.collection import reachable, remove_unnamed
from loopwright.engine.context import Context
from loopwright.engine.erased import ERASURES, MARK_TAG
from loopwright.engine.holders import MARKS_FILE, Held, Holder, Subject, parse_subject
from loopwright.engine.operation import operation
from loopwright.engine.presence import ERASING, FILLING, alone, in_turn
from loopwright.features.holding import OnlineRows, fill_again
from loopwright.llm.holding import RecordRows
from loopwright.loops.marks import keep_mark, read_marks
from loopwright.loops.mentions import Mention, mentions_of
from loopwright.loops.trained import models_of
from loopwright.ports.ledger import Transaction

__all__ = [
    "HOLDERS",
    "Erasure",
    "HolderLine",
    "erase",
    "erase_again",
    "erasures",
    "forgotten",
    "resume",
    "signed_bytes",
]

HOLDERS: tuple[Holder, ...] = (
    OnlineRows(),
    StreamRows(),
    AnswerRows(),
    RecordRows(),
    CursorRows(),
    ExploredRows(),
    VersionRows(),
)
"""every store of rows, in the order they are asked"""
_BEGUN = "erasures_begun"
"""documents by mark: what an erasure that has begun must still end, whoever ends it"""
_SETTLED = timedelta(seconds=2)
"""how old an object nobody names must be before it goes: a write puts it a moment before it names it"""
_IN_LEDGER = ("answers", "evaluation", "sources")
_PASSES = 3
_LINES = 1000

Entity = Annotated[
    tuple[str, ...], msgspec.Meta(description="column=value; several: rows in which all of them hold")
]


class HolderLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one holder had of the subject."""

    holder: str
    rows: int
    """in versions: the sum over all versions that had them"""
    places: int


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of an erasure. It tells the columns, and of the value a keyed digest alone."""

    id: str
    columns: tuple[str, ...]
    mark: str
    """keyed digest of columns and values: who has the workspace's key can recognise the subject"""
    at: datetime
    by: str
    dry_run: bool = False
    holders: tuple[HolderLine, ...] = ()
    renewed: int = 0
    """manifests that were written anew; their former digests lead to the new ones"""
    objects: int = 0
    """objects that were removed"""
    models: tuple[str, ...] = ()
    """models that were trained on rows that went: they are marked"""
    left: int = 0
    """rows that were found when all holders were asked again, after it: none"""
    mentions: tuple[Mention, ...] = ()
    """where a search of bytes still finds a value: texts and files that are no rows"""
    signature: str = ""
    """of all of this, by the workspace's signing key"""


@operation("data.erase", scope="dataset:erase", route="POST /erasures")
def erase(ctx: Context, entity: Entity, *, dry_run: bool = False) -> Erasure:
    """Erase an entity from every kept version of every dataset, and from all else that keeps rows.

    Versions keep their numbers and are of other content afterwards; their former digests lead to the new
    ones. Rows in streams (predictions, labels, quarantine) and in the online store go, profiles forget it,
    objects without a reader are removed at once, models that were trained on it are marked. What the files
    of runs hold, backups and copies outside are not touched: a backup is cleaned when it is restored.
    """
    subject = parse_subject(entity)
    if dry_run:
        return _erased(ctx, subject, dry_run=True)
    with alone(ctx.ports.folder, ERASING):
        return _erased(ctx, subject, dry_run=False)


@operation("data.erasures", scope="dataset:read", route="GET /erasures")
def erasures(ctx: Context) -> tuple[Erasure, ...]:
    """The proofs of all erasures, oldest first."""
    with ctx.read() as tx:
        return tuple(
            msgspec.convert(body, Erasure) for body in tx.documents.all(ctx.space, ERASURES).values()
        )


class Reapplied(msgspec.Struct, frozen=True, kw_only=True):
    """What erasing again found."""

    marks: int
    """erasures that were looked at"""
    again: tuple[Erasure, ...] = ()
    """those whose subject was there again"""


@operation("data.erase_again", scope="dataset:erase", local=True, workspace=True, command="data erase-again")
def erase_again(ctx: Context, marks: str = "") -> Reapplied:
    """Erase what was erased before and has come back with a restored backup.

    `marks` is a further file `erasures.jsonl`, of the workspace the backup is of; the workspace's own is
    always read. Values are recognised by their keyed digests, so it takes one look at all rows.
    """
    with alone(ctx.ports.folder, ERASING):
        return _again(ctx, marks)


def resume(ctx: Context) -> None:
    """As `erase_again`, of the workspace's own marks; nothing while another process erases, which ends it."""
    with ExitStack() as held:
        try:
            held.enter_context(alone(ctx.ports.folder, ERASING))
        except Conflict:
            return
        _again(ctx, "")


def _again(ctx: Context, marks: str) -> Reapplied:
    known = read_marks(ctx.ports.folder / MARKS_FILE)
    if marks:
        known |= read_marks(Path(marks), must_be=True)
    wanted = defaultdict[tuple[str, ...], set[str]](set)
    alike = defaultdict[tuple[str, ...], set[str]](set)
    for line in known:
        if line.space == ctx.space:
            wanted[line.columns].add(line.mark)
            alike[line.columns].update((line.mark, *line.also))
    found = [subject for columns, there in alike.items() for subject in _recognised(ctx, columns, there)]
    done = tuple(_erased(ctx, subject, dry_run=False) for subject in found)
    done += _ended(ctx, done)
    _note_marks(ctx, wanted, done)
    return Reapplied(marks=sum(map(len, wanted.values())), again=done)


def forgotten(ctx: Context) -> frozenset[str]:
    """Spaces with erasures that the ledger knows nothing of, because it was restored from before them."""
    lines = read_marks(ctx.ports.folder / MARKS_FILE)
    if not lines:
        return frozenset()
    with ctx.read() as tx:
        done = {
            (space, body["mark"])
            for space in {line.space for line in lines}
            for body in tx.documents.all(space, ERASURES).values()
        }
    return frozenset(line.space for line in lines if (line.space, line.mark) not in done)


def _recognised(ctx: Context, columns: tuple[str, ...], marks: set[str]) -> Iterator[Subject]:
    seen = set[tuple[str, ...]]()
    known = (values for holder in HOLDERS for values in holder.known(ctx, columns))
    loose = (values for digest in _loose(ctx) for values in values_of_object(ctx, digest, columns))
    for values in chain(known, loose):
        if values in seen:
            continue
        seen.add(values)
        subject = Subject(columns=columns, values=values)
        if subject.mark(ctx.ports.keys) in marks:
            yield subject


# -------------------------------------------------------------------------------------------- one erasure


def _erased(ctx: Context, subject: Subject, *, dry_run: bool) -> Erasure:
    begun = Erasure(
        id=ctx.new_id(),
        columns=subject.columns,
        mark=subject.mark(ctx.ports.keys),
        at=ctx.now(),
        by=ctx.principal.name,
        dry_run=dry_run,
    )
    if dry_run:
        held = _asked(ctx, subject, is_erased=False)
        with ctx.read() as tx:
            models = _names(models_of(ctx, tx, held["versions"].versions))
        return replace(begun, holders=_lines(held), models=models, mentions=mentions_of(ctx, subject))
    keep_mark(ctx, subject)  # first: whatever happens from here on, a repetition ends it
    _begin(ctx, begun)
    done, note = _swept(ctx, begun, subject)
    for _ in range(
        _PASSES
    ):  # a writer may have kept, just before its versions were renewed, what it had read
        if not done.left:
            break
        again, note = _swept(ctx, begun, subject)
        done = _both(done, again)
    return _proven(ctx, replace(done, mentions=mentions_of(ctx, subject)), note)


def _swept(ctx: Context, begun: Erasure, subject: Subject) -> tuple[Erasure, _Begun]:
    """Let every holder erase, remove the objects, and look what is left."""
    with in_turn(ctx.ports.folder, FILLING, is_alone=True):
        held = _asked(ctx, subject, is_erased=True)
    strangers = _strangers(ctx, subject)
    former = frozenset[str]().union(*(each.objects for each in held.values()))
    note = _noted(ctx, begun.mark, former | strangers)
    removed = _removed(ctx, frozenset(note.objects), is_settled=not strangers)
    if any(held[name].rows for name in _IN_LEDGER):
        ctx.ports.ledger.compact()  # removed rows lie in the file's free pages else, and in its log
    left = _asked(ctx, subject, is_erased=False)
    done = replace(
        begun,
        holders=_lines(held),
        renewed=len(held["versions"].renewed),
        objects=removed,
        left=sum(each.rows for each in left.values()),
    )
    return done, note


def _both(before: Erasure, after: Erasure) -> Erasure:
    """What two passes of an erasure took, and what the later one left."""
    pairs = zip(before.holders, after.holders, strict=True)
    holders = tuple(
        HolderLine(holder=one.holder, rows=one.rows + two.rows, places=one.places + two.places)
        for one, two in pairs
    )
    return replace(
        after,
        holders=holders,
        renewed=before.renewed + after.renewed,
        objects=before.objects + after.objects,
    )


def _proven(ctx: Context, done: Erasure, note: _Begun) -> Erasure:
    """Mark the models, sign and keep the proof; what was noted of its begin goes."""
    fill_again(ctx)
    with ctx.read() as tx:
        lines = tx.journal.head().count
        found = models_of(ctx, tx, _rewritten(ctx, tx, note))

    def work(tx: Transaction) -> Erasure:
        """One that is published from now on asks by itself whether it is to be marked."""
        is_late = tx.journal.head().count != lines
        return _recorded(ctx, tx, done, models_of(ctx, tx, _rewritten(ctx, tx, note)) if is_late else found)

    done = ctx.write(work)
    if done.left:
        raise Fault(f"{done.left} rows of the subject came back while it was erased: erase it again")
    return done


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an erasure from its begin to its proof: no value, so that anybody may end it."""

    columns: tuple[str, ...]
    lines: int
    """of the journal when it began: versions that were rewritten since are told behind them"""
    objects: tuple[str, ...] = ()
    """that hold the subject, or did"""


def _begin(ctx: Context, begun: Erasure) -> None:
    def work(tx: Transaction) -> None:
        if tx.documents.get(ctx.space, _BEGUN, begun.mark) is None:
            note = _Begun(columns=begun.columns, lines=tx.journal.head().count)
            tx.documents.put(ctx.space, _BEGUN, begun.mark, msgspec.to_builtins(note))

    ctx.write(work)


def _noted(ctx: Context, mark: str, objects: frozenset[str]) -> _Begun:
    """Note what is about to be taken away, with what was noted before."""

    def work(tx: Transaction) -> _Begun:
        there = msgspec.convert(tx.documents.get(ctx.space, _BEGUN, mark), _Begun)
        note = replace(there, objects=tuple(sorted({*there.objects, *objects})))
        tx.documents.put(ctx.space, _BEGUN, mark, msgspec.to_builtins(note))
        return note

    return ctx.write(work)


def _rewritten(ctx: Context, tx: Transaction, note: _Begun) -> list[Version]:
    """Versions from which rows went since it began."""
    told = {line.subject for line in _lines_behind(ctx, tx, note.lines) if _tells_of_rows(line)}
    found = [_at(ctx, tx, subject) for subject in sorted(told)]
    return [version for version in found if version is not None]


def _tells_of_rows(line: Event) -> bool:
    return line.kind == "version.erased" and bool(line.payload.get("rows"))


def _lines_behind(ctx: Context, tx: Transaction, place: int) -> Iterator[Event]:
    while lines := tx.journal.read(place, _LINES, space=ctx.space):
        yield from lines
        place = lines[-1].seq


def _at(ctx: Context, tx: Transaction, subject: str) -> Version | None:
    """The version that a line of the journal is about, a trashed one too."""
    address = parse_address(subject)
    asset = tx.assets.find(ctx.space, address.kind, address.name)
    if asset is None or not isinstance(address.selector, ByNumber):
        return None
    return tx.versions.get(asset.id, address.selector.number)


def _ended(ctx: Context, done: Sequence[Erasure]) -> tuple[Erasure, ...]:
    """End what had begun and whose subject is not to be found any more: its last objects, models, proof."""
    with ctx.read() as tx:
        kept = tx.documents.all(ctx.space, _BEGUN)
    notes = {mark: msgspec.convert(body, _Begun) for mark, body in kept.items()}
    ended = []
    for mark in sorted(notes.keys() - {each.mark for each in done}):
        note = notes[mark]
        begun = Erasure(id=ctx.new_id(), columns=note.columns, mark=mark, at=ctx.now(), by=ctx.principal.name)
        removed = _removed(ctx, frozenset(note.objects), is_settled=True)
        ended.append(_proven(ctx, replace(begun, objects=removed), note))
    return tuple(ended)


def _note_marks(ctx: Context, wanted: Mapping[tuple[str, ...], set[str]], done: Sequence[Erasure]) -> None:
    """Of marks whose subject is not there any more it is kept that they were looked for."""
    told = {each.mark for each in done}

    def work(tx: Transaction) -> None:
        told.update(body["mark"] for body in tx.documents.all(ctx.space, ERASURES).values())
        for columns, marks in wanted.items():
            for mark in sorted(marks - told):
                empty = Erasure(
                    id=ctx.new_id(), columns=columns, mark=mark, at=ctx.now(), by=ctx.principal.name
                )
                signed = replace(empty, signature=ctx.ports.signer.sign(signed_bytes(empty)))
                tx.documents.put(ctx.space, ERASURES, signed.id, msgspec.to_builtins(signed))

    ctx.write(work)


def signed_bytes(erasure: Erasure) -> bytes:
    """What the signature of a proof is of: all of it but the signature."""
    told = msgspec.to_builtins(replace(erasure, signature=""))
    if not erasure.mentions:  # proofs of before there were any are signed without them
        del told["mentions"]
    return canonical(told)


def _asked(ctx: Context, subject: Subject, *, is_erased: bool) -> dict[str, Held]:
    found: dict[str, Held] = {}
    keys = frozenset[str]()
    for holder in HOLDERS:
        held = (holder.erase if is_erased else holder.find)(ctx, subject, keys)
        keys |= held.keys
        found[holder.name] = held
    return found


def _lines(held: Mapping[str, Held]) -> tuple[HolderLine, ...]:
    return tuple(HolderLine(holder=name, rows=each.rows, places=each.places) for name, each in held.items())


def _names(versions: Sequence[Version]) -> tuple[str, ...]:
    return tuple(str(version.ref) for version in versions)


def _recorded(ctx: Context, tx: Transaction, done: Erasure, models: Sequence[Version]) -> Erasure:
    done = replace(done, models=_names(models))
    done = replace(done, signature=ctx.ports.signer.sign(signed_bytes(done)))
    for model in models:
        ids = [*filter(None, model.tags.get(MARK_TAG, "").split(",")), done.id]
        tx.versions.update(replace(model, tags={**model.tags, MARK_TAG: ",".join(ids)}, updated_at=ctx.now()))
        ctx.record(tx, "version.marked", model.ref, {"tag": MARK_TAG, "erasure": done.id})
    tx.documents.put(ctx.space, ERASURES, done.id, msgspec.to_builtins(done))
    tx.documents.remove(ctx.space, _BEGUN, done.mark)
    told = {"erasure": done.id, "mark": done.mark, "columns": list(done.columns), "objects": done.objects}
    ctx.record(tx, "data.erased", f"erasure:{done.id}", told)
    return done


# ----------------------------------------------------------------------------------------------- objects


def _removed(ctx: Context, objects: frozenset[str], *, is_settled: bool) -> int:
    """Remove what held the subject and nothing names any more; how many objects went.

    Where some are of a write that may be under way, it is given the time to name them.
    """
    if not is_settled:
        time.sleep(_SETTLED.total_seconds())
    return remove_unnamed(ctx, objects)


def _strangers(ctx: Context, subject: Subject) -> frozenset[str]:
    """Objects nobody names that hold the subject: parts that packing left behind, for one."""
    return frozenset(each for digest in _loose(ctx) for each in objects_with(ctx, digest, subject))


def _loose(ctx: Context) -> list[str]:
    needed = reachable(ctx)
    return [item.digest for item in ctx.ports.objects.list() if item.digest not in needed]
