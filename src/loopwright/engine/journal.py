"""Anchors of the journal: signed copies of its head outside the table, and the walk that checks both."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from loopwright.core.chain import Head, Verification, verify
from loopwright.core.digests import canonical
from loopwright.core.errors import Corrupt, Unavailable
from loopwright.core.nouns import Event
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import Ledger, Transaction
from loopwright.ports.world import Keys

__all__ = [
    "HEADS_FILE",
    "Anchor",
    "Anchors",
    "anchor_head",
    "read_anchors",
    "verify_chain",
    "verify_journal",
    "verify_ledger",
]

HEADS_FILE = "journal.heads"
"""name of the file of anchors in the workspace's folder"""

_KEPT = 1_000
_SPARSE = timedelta(days=1)
_PAGE = 2_000
_BEFORE_ALL = -(2**62)
_SIGNATURE = re.compile(r"[0-9a-f]{1,128}\Z")


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """The journal's head at a moment of the wall clock, signed with the workspace's key."""

    count: int
    hash: str
    at: datetime
    signature: str = ""

    @property
    def head(self) -> Head:
        """The head it names."""
        return Head(count=self.count, hash=self.hash)


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of anchors holds: those whose signature is right, and the numbers of the other lines."""

    good: tuple[Anchor, ...] = ()
    forged: tuple[int, ...] = ()


_DECODER = msgspec.json.Decoder(Anchor)


def _message(anchor: Anchor) -> bytes:
    return canonical(["journal.head", anchor.count, anchor.hash, anchor.at])


def anchor_head(ctx: Context, path: Path) -> Anchor | None:
    """Append the signed head to the file and make it durable; None when the last anchor already names it."""
    with ctx.read() as tx:
        head = tx.journal.head()
    anchor = Anchor(count=head.count, hash=head.hash, at=ctx.ports.clock.wall())
    signed = replace(anchor, signature=ctx.ports.keys.sign(_message(anchor)))
    try:
        with _locked(path) as file:
            lines = _whole_lines(file)
            if _names(lines, head):
                return None
            file.write(canonical(signed) + b"\n")
            _sync(file)
            if len(lines) > 2 * _KEPT:
                _thin(path, [*lines, canonical(signed)])
    except OSError as error:
        raise Unavailable(
            f"the journal's head cannot be kept in {path.name}: {error.strerror}",
            where=str(path.parent),
            hint="make the folder writable, or free some space",
        ) from error
    return signed


def _locked(path: Path) -> BinaryIO:
    """The file, open to read and append, held until it is closed."""
    while True:
        file = open(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b")  # noqa: SIM115 - given away
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
        file.close()  # another process thinned it meanwhile


def _whole_lines(file: BinaryIO) -> list[bytes]:
    """The lines there are; what a crash left of a last one is cut off."""
    data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        file.truncate(whole)
    return data[:whole].splitlines()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _names(lines: Sequence[bytes], head: Head) -> bool:
    last = _decoded(lines[-1]) if lines else None
    return head.count == 0 if last is None else last.head == head


def _decoded(line: bytes) -> Anchor | None:
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _thin(path: Path, lines: Sequence[bytes]) -> None:
    """Keep the newest lines and, of the older ones, one a day; lines that cannot be read are kept."""
    kept: list[bytes] = []
    last: datetime | None = None
    for line in lines[:-_KEPT]:
        anchor = _decoded(line)
        if anchor is None or last is None or anchor.at - last >= _SPARSE:
            kept.append(line)
            last = anchor.at if anchor is not None else last
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(b"".join(line + b"\n" for line in (*kept, *lines[-_KEPT:])))
        _sync(file)
    draft.replace(path)


def read_anchors(path: Path, keys: Keys) -> Anchors:
    """The anchors of a file, each checked against the workspace's key; none when there is no file."""
    if not path.exists():
        return Anchors()
    data = path.read_bytes()
    good, forged = [], []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        anchor = _decoded(line)
        if anchor is not None and _is_ours(anchor, keys):
            good.append(anchor)
        else:
            forged.append(number)
    return Anchors(good=tuple(good), forged=tuple(forged))


def _is_ours(anchor: Anchor, keys: Keys) -> bool:
    signed = bool(_SIGNATURE.match(anchor.signature))
    return signed and keys.verify(_message(anchor), anchor.signature)


def verify_journal(ctx: Context, path: Path) -> Verification:
    """Walk the whole journal of every space, hold it against the anchors, and name the first bad line."""
    anchors = read_anchors(path, ctx.ports.keys)
    found = verify_ledger(ctx.ports.ledger, tuple(anchor.head for anchor in anchors.good))
    if found.ok and anchors.forged:
        lines = ", ".join(map(str, anchors.forged[:10]))
        reason = f"{path.name} has lines this workspace did not sign: {lines}"
        return replace(found, ok=False, reason=reason)
    return found


def verify_ledger(ledger: Ledger, anchors: Sequence[Head] = ()) -> Verification:
    """Walk the whole journal of a ledger in one snapshot and in flat memory."""
    with ledger.read() as tx:
        walk = _Walk(tx)
        found = verify(walk, anchors=anchors)
        if walk.unreadable and found.lines == walk.lines:
            return _broken(found, walk.unreadable)
        head = tx.journal.head()
        if found.ok and head != found.head:
            return _broken(found, f"the ledger knows of {head.count} lines, {found.lines} are there")
        return found


def _broken(found: Verification, reason: str) -> Verification:
    return replace(found, ok=False, first_bad=found.lines + 1, reason=reason)


class _Walk:
    """All lines in order; ends before a line that cannot be read and keeps the reason."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.lines = 0
        self.unreadable = ""

    def __iter__(self) -> Iterator[Event]:
        after, page = _BEFORE_ALL, _PAGE
        while True:
            try:
                events = self._tx.journal.read(after, page)
            except Corrupt as error:
                if page == 1:
                    self.unreadable = f"cannot be read: {error.message}"
                    return
                page = 1  # the lines before the bad one, one by one
                continue
            for event in events:
                self.lines += 1
                yield event
            if len(events) < page:
                return
            after = events[-1].seq


@operation("journal.verify", scope="journal:read", route="GET /journal/verify")
def verify_chain(ctx: Context) -> Verification:
    """Walk the whole journal, hold it against its signed heads, and name the first bad line."""
    return verify_journal(ctx, ctx.ports.folder / HEADS_FILE)
