"""What a tampered journal looks like: each kind of change is found, and its first line named."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from loopwright.adapters.sql.sqlite import SqliteLedger
from loopwright.adapters.world import FileKeys, RandomIds
from loopwright.core.errors import Unavailable
from loopwright.engine.context import Context, Ports, Principal
from loopwright.engine.journal import (
    HEADS_FILE,
    anchor_head,
    read_anchors,
    verify_chain,
    verify_journal,
    verify_ledger,
)
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_values import write_each

LINES = 40


class StandingClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def wall(self) -> datetime:
        return self.at


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ports = SimpleNamespace(
        folder=tmp_path,
        ledger=ledger,
        clock=StandingClock(),
        ids=RandomIds(),
        keys=FileKeys(tmp_path / "keys" / "journal.key"),
    )
    yield Context(cast(Ports, ports), principal=Principal(name="ann"))
    ledger.close()


@pytest.fixture
def heads(ctx: Context) -> Path:
    return ctx.ports.folder / HEADS_FILE


def write_lines(ctx: Context, first: int = 1, last: int = LINES) -> None:
    """Lines of two spaces, named by their numbers."""
    spaces = {n: ("default", "other")[n % 2] for n in range(first, last + 1)}
    lines = [make.event(f"e{n}", space=space, payload={"n": n}) for n, space in spaces.items()]
    write_each(ctx.ports.ledger, lambda tx, line: tx.journal.append(line), lines)


def tamper(ctx: Context, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(ctx.ports.folder / "ledger.db")) as intruder:
        for statement in statements:
            intruder.execute(statement)
        intruder.commit()


def test_a_whole_journal_of_all_spaces_verifies(ctx: Context, heads: Path) -> None:
    assert verify_chain(ctx).ok
    write_lines(ctx)
    anchor_head(ctx, heads)
    found = verify_chain(ctx)
    assert (found.ok, found.lines, found.first_bad) == (True, LINES, None)


SWAP = (
    "UPDATE journal SET seq = -1 WHERE seq = 12",
    "UPDATE journal SET seq = 12 WHERE seq = 13",
    "UPDATE journal SET seq = 13 WHERE seq = -1",
)
INSERT = "INSERT INTO journal SELECT {seq}, 'x' || id, space, principal, kind, subject, at, wall_at, payload,"
INSERT += " payload_digest, previous, hash FROM journal WHERE seq = 20"


@pytest.mark.parametrize(
    ("statements", "first_bad"),
    [
        (("UPDATE journal SET payload = '{\"n\":999}' WHERE seq = 17",), 17),
        (("UPDATE journal SET principal = 'mallory' WHERE seq = 1",), 1),
        (("UPDATE journal SET space = 'default' WHERE seq = 9",), 9),
        (("UPDATE journal SET at = at + 1 WHERE seq = 40",), 40),
        (("UPDATE journal SET wall_at = wall_at - 1 WHERE seq = 5",), 5),
        (("UPDATE journal SET kind = 'run.started' WHERE seq = 8",), 8),
        (("UPDATE journal SET subject = 'x' WHERE seq = 8",), 8),
        (("UPDATE journal SET id = 'x' WHERE seq = 8",), 8),
        (("UPDATE journal SET payload_digest = hash WHERE seq = 30",), 30),
        (("UPDATE journal SET hash = previous WHERE seq = 30",), 30),
        (("DELETE FROM journal WHERE seq = 1",), 1),
        (("DELETE FROM journal WHERE seq = 23",), 23),
        (("DELETE FROM journal WHERE seq > 10 AND seq < 20",), 11),
        (("DELETE FROM journal WHERE seq = 40",), 40),
        (("DELETE FROM journal WHERE seq >= 33",), 33),
        (("DELETE FROM journal",), 1),
        (SWAP, 12),
        ((INSERT.format(seq=0),), 1),
        ((INSERT.format(seq=-7),), 1),
        ((INSERT.format(seq=41),), 41),
        (("UPDATE journal SET seq = seq + 1000 WHERE seq > 20", INSERT.format(seq=21)), 21),
        (("UPDATE journal SET payload = 'no json' WHERE seq = 25",), 25),
        (("UPDATE journal SET at = 'noon' WHERE seq = 26",), 26),
        (("UPDATE journal SET at = 9223372036854775807 WHERE seq = 27",), 27),
        (("UPDATE journal SET kind = x'ff' WHERE seq = 28",), 28),
        (("UPDATE journal_head SET count = 45",), 41),
        (("UPDATE journal_head SET hash = 'f'",), 41),
    ],
)
def test_every_change_is_found_and_named_without_any_anchor(
    ctx: Context, heads: Path, statements: tuple[str, ...], first_bad: int
) -> None:
    write_lines(ctx)
    tamper(ctx, *statements)
    found = verify_journal(ctx, heads)
    assert (found.ok, found.first_bad, found.lines) == (False, first_bad, first_bad - 1)
    assert found.reason


def rewritten(ctx: Context, last: int) -> None:
    """Cut the tail and mend the head, as somebody does who knows how the chain is made."""
    tamper(
        ctx,
        f"DELETE FROM journal WHERE seq > {last}",
        f"UPDATE journal_head SET count = {last}, hash = (SELECT hash FROM journal WHERE seq = {last})",
    )


def test_a_tail_that_was_cut_with_skill_is_found_by_the_anchors(ctx: Context, heads: Path) -> None:
    write_lines(ctx, 1, 30)
    anchor_head(ctx, heads)
    write_lines(ctx, 31, 40)
    rewritten(ctx, 35)
    assert verify_journal(ctx, heads).ok  # nothing that was signed is missing
    rewritten(ctx, 25)
    found = verify_journal(ctx, heads)
    assert (found.ok, found.first_bad) == (False, 26)
    assert "tail was cut" in found.reason


def test_a_history_that_was_written_anew_is_found_by_the_anchors(ctx: Context, heads: Path) -> None:
    write_lines(ctx, 1, 30)
    anchor_head(ctx, heads)
    rewritten(ctx, 20)
    for number in range(100, 120):
        write_lines(ctx, number, number)
    assert verify_ledger(ctx.ports.ledger).ok
    ctx.ports.clock.at += timedelta(minutes=1)  # type: ignore[attr-defined]  # a StandingClock
    anchor_head(ctx, heads)  # the intruder's history is signed too; the older anchor stands
    found = verify_journal(ctx, heads)
    assert (found.ok, found.first_bad) == (False, 30)


def test_an_erased_payload_does_not_break_the_chain(ctx: Context, heads: Path) -> None:
    write_lines(ctx)
    tamper(ctx, "UPDATE journal SET payload = '{\"erased\":true}' WHERE seq = 17")
    assert verify_journal(ctx, heads).ok


def test_a_journal_of_many_pages_is_walked_to_its_bad_line(ctx: Context, heads: Path) -> None:
    write_lines(ctx, 1, 4500)
    assert verify_journal(ctx, heads).lines == 4500
    tamper(ctx, "UPDATE journal SET payload = '?' WHERE seq = 4321")
    found = verify_journal(ctx, heads)
    assert (found.first_bad, found.lines) == (4321, 4320)
    assert "cannot be read" in found.reason


# ------------------------------------------------------------------------------------------ anchors


def test_an_anchor_is_written_only_when_the_head_has_moved(ctx: Context, heads: Path) -> None:
    assert anchor_head(ctx, heads) is None
    write_lines(ctx, 1, 3)
    first = anchor_head(ctx, heads)
    assert first is not None
    assert first.count == 3
    assert anchor_head(ctx, heads) is None
    write_lines(ctx, 4, 4)
    second = anchor_head(ctx, heads)
    assert second is not None
    assert read_anchors(heads, ctx.ports.keys).good == (first, second)
    assert heads.stat().st_mode & 0o077 == 0


def change(line: str) -> str:
    return json.dumps({**json.loads(line), "count": 99})


@pytest.mark.parametrize(
    "forge",
    [
        change,
        lambda _: '{"count":1,"hash":"ff","at":"2026-01-01T00:00:00Z","signature":"' + "0" * 64 + '"}',
        lambda line: line.replace('"signature":"', '"signature":"é'),
        lambda line: line[:40],
        lambda _: "",
    ],
)
def test_a_forged_anchor_is_told(ctx: Context, heads: Path, forge: Callable[[str], str]) -> None:
    for number in (1, 2, 3):
        write_lines(ctx, number, number)
        anchor_head(ctx, heads)
    lines = heads.read_text().splitlines()
    heads.write_text("\n".join([lines[0], forge(lines[1]), lines[2]]) + "\n")
    anchors = read_anchors(heads, ctx.ports.keys)
    assert [anchor.count for anchor in anchors.good] == [1, 3]
    assert anchors.forged == (2,)
    found = verify_journal(ctx, heads)
    assert (found.ok, found.first_bad) == (False, None)
    assert "did not sign: 2" in found.reason


def test_an_anchor_of_another_workspace_is_not_ours(ctx: Context, heads: Path, tmp_path: Path) -> None:
    write_lines(ctx, 1, 1)
    anchor_head(ctx, heads)
    assert read_anchors(heads, FileKeys(tmp_path / "keys" / "another.key")).forged == (1,)


def test_an_anchor_that_a_crash_cut_is_passed_over(ctx: Context, heads: Path) -> None:
    write_lines(ctx, 1, 1)
    anchor_head(ctx, heads)
    whole = heads.read_bytes()
    heads.write_bytes(whole + whole[:50])
    assert read_anchors(heads, ctx.ports.keys).forged == ()
    write_lines(ctx, 2, 2)
    anchor_head(ctx, heads)
    anchors = read_anchors(heads, ctx.ports.keys)
    assert [anchor.count for anchor in anchors.good] == [1, 2]
    assert anchors.forged == ()


def test_old_anchors_are_thinned_to_one_a_day(
    ctx: Context, heads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.engine.journal._KEPT", 20)
    clock: Any = ctx.ports.clock
    for number in range(1, 201):
        write_lines(ctx, number, number)
        clock.at += timedelta(hours=3)
        anchor_head(ctx, heads)
    good = read_anchors(heads, ctx.ports.keys).good
    assert [anchor.count for anchor in good[-20:]] == list(range(181, 201))
    assert len(good) < 70
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(good)]
    assert max(gaps) == timedelta(days=1)
    assert gaps.count(timedelta(days=1)) > 15
    assert good[0].count == 1
    assert verify_journal(ctx, heads).ok


def test_a_head_that_cannot_be_kept_is_a_clear_error(ctx: Context, tmp_path: Path) -> None:
    write_lines(ctx, 1, 1)
    with pytest.raises(Unavailable) as caught:
        anchor_head(ctx, tmp_path / "none" / HEADS_FILE)
    assert caught.value.hint
