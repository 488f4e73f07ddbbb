"""The hash chain: every kind of tampering is found, and the first bad line is named."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loopwright.core.chain import Head, link, verify
from loopwright.core.nouns import Event

_AT = datetime(2013, 7, 1, tzinfo=UTC)


def _chain(length: int) -> list[Event]:
    head, lines = Head(), []
    for number in range(length):
        event = Event(
            id=f"e{number}",
            space="default",
            principal="ann",
            kind="asset.created",
            subject=f"dataset:d{number}",
            at=_AT,
            wall_at=_AT,
            payload={"n": number},
        )
        line = link(event, head)
        head = Head(count=line.seq, hash=line.hash)
        lines.append(line)
    return lines


def _head(lines: list[Event]) -> Head:
    return Head(count=lines[-1].seq, hash=lines[-1].hash)


def test_a_whole_chain_holds() -> None:
    lines = _chain(30)
    found = verify(lines, anchors=[_head(lines), _head(lines[:10])])
    assert (found.ok, found.lines) == (True, 30)


@given(
    where=st.integers(0, 19),
    field=st.sampled_from(
        ["principal", "kind", "subject", "space", "id", "payload", "at", "payload_digest", "hash"]
    ),
)
def test_an_edited_line_is_named(where: int, field: str) -> None:
    lines = _chain(20)
    changed: object = {
        "payload": {"n": -1},
        "at": datetime(2014, 1, 1, tzinfo=UTC),
        "payload_digest": "f" * 64,
        "hash": "e" * 64,
    }.get(field, "x")
    lines[where] = replace(lines[where], **{field: changed})
    found = verify(lines)
    assert (found.ok, found.first_bad) == (False, where + 1)


@given(where=st.integers(0, 18))
def test_dropped_inserted_and_reordered_lines_are_named(where: int) -> None:
    lines = _chain(20)
    assert verify(lines[:where] + lines[where + 1 :]).first_bad == where + 1
    assert verify([*lines[: where + 1], lines[where], *lines[where + 1 :]]).first_bad == where + 2
    swapped = [*lines[:where], lines[where + 1], lines[where], *lines[where + 2 :]]
    assert verify(swapped).first_bad == where + 1


@given(kept=st.integers(0, 19))
def test_a_cut_tail_is_seen_by_the_head_kept_outside(kept: int) -> None:
    lines = _chain(20)
    found = verify(lines[:kept], anchors=[_head(lines)])
    assert (found.ok, found.first_bad) == (False, kept + 1)
    assert "tail" in found.reason


def test_a_rewritten_chain_differs_from_the_signed_head() -> None:
    lines, other = _chain(20), _chain(12)
    rewritten = other[:5]
    head = _head(rewritten)
    for line in lines[5:]:
        fresh = link(replace(line, principal="mallory"), head)
        head = Head(count=fresh.seq, hash=fresh.hash)
        rewritten.append(fresh)
    assert verify(rewritten).ok
    assert verify(rewritten, anchors=[_head(lines)]).first_bad == 20


def test_an_erased_payload_does_not_break_the_chain() -> None:
    lines = _chain(5)
    lines[2] = replace(lines[2], payload={"erased": True})
    assert verify(lines).ok


@pytest.mark.parametrize("count", [0, 1])
def test_short_chains(count: int) -> None:
    assert verify(_chain(count)).ok
