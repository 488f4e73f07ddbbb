"""The hash chain of the journal: what each line's hash covers, and how a break is found."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from loopwright.core.digests import digest_value
from loopwright.core.instants import format_instant
from loopwright.core.nouns import Event, Json

__all__ = ["GENESIS", "Head", "Verification", "link", "verify"]

GENESIS = "0" * 64


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How long the chain is and the hash of its last line; signed copies are kept outside the table."""

    count: int = 0
    hash: str = GENESIS


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a journal is whole; `first_bad` is the sequence number of the first bad line."""

    ok: bool
    lines: int
    head: Head
    first_bad: int | None = None
    reason: str = ""


def _line_hash(event: Event, seq: int, previous: str, payload_digest: str) -> str:
    at = _moment(event.at)
    return digest_value(
        [
            seq,
            previous,
            event.id,
            event.space,
            event.principal,
            event.kind,
            event.subject,
            at,
            at if event.wall_at == event.at else _moment(event.wall_at),
            payload_digest,
        ]
    )


def _moment(at: datetime) -> str:
    return format_instant(at)


def link(event: Event, head: Head) -> Event:
    """The event as the next line after `head`: with its number, payload digest and hash."""
    payload_digest = digest_value(event.payload)
    seq = head.count + 1
    return msgspec.structs.replace(
        event,
        seq=seq,
        previous=head.hash,
        payload_digest=payload_digest,
        hash=_line_hash(event, seq, head.hash, payload_digest),
    )


def _fault(event: Event, head: Head, erased: Json) -> str:
    if event.seq != head.count + 1:
        return f"line {head.count + 1} is missing or out of order: found {event.seq}"
    if event.previous != head.hash:
        return "does not follow the line before it"
    if event.payload != erased and digest_value(event.payload) != event.payload_digest:
        return "its payload was changed"
    if _line_hash(event, event.seq, event.previous, event.payload_digest) != event.hash:
        return "its hash does not cover its content"
    return ""


def verify(events: Iterable[Event], *, anchors: Iterable[Head] = ()) -> Verification:
    """Walk the whole chain from its first line.

    `anchors` are heads kept outside the table: a chain that is shorter than one, or has another
    hash at its count, was cut or rewritten. A payload erased on purpose is `{"erased": true}`: its
    digest still stands in the chain.
    """
    wanted = {anchor.count: anchor.hash for anchor in anchors if anchor.count}
    head = Head()
    for event in events:
        reason = _fault(event, head, {"erased": True})
        if not reason and wanted.get(event.seq, event.hash) != event.hash:
            reason = "differs from the head that was signed outside the table"
        if reason:
            return Verification(
                ok=False,
                lines=head.count,
                head=head,
                first_bad=head.count + 1,
                reason=reason,
            )
        head = Head(count=event.seq, hash=event.hash)
    longest = max(wanted, default=0)
    if longest > head.count:
        reason = f"the tail was cut: {longest} lines were signed, {head.count} are there"
        return Verification(
            ok=False,
            lines=head.count,
            head=head,
            first_bad=head.count + 1,
            reason=reason,
        )
    return Verification(ok=True, lines=head.count, head=head)
