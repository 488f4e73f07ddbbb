"""Writes that were made ready before an entity was erased, and are published after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from loopwright.core.errors import Conflict
from loopwright.core.expressions import col
from loopwright.data import drafting, folders
from loopwright.data.appending import append
from loopwright.data.deduplicating import deduplicate
from loopwright.data.folders import add_folder
from loopwright.data.reading import read
from loopwright.data.rewriting import delete, overwrite, upsert
from loopwright.engine.context import Context
from loopwright.loops import erasing

WHO = "passenger-4711-Zoe"
ROWS = [(1, WHO), (2, "p1"), (3, "p1"), (4, WHO)]


def table(*rows: tuple[int, str]) -> pa.Table:
    return pa.table({"n": [n for n, _ in rows], "passenger": [who for _, who in rows]})


def erased_before(ctx: Context, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[int]:
    """Somebody else erases when a function is first called; how many rows were left then."""
    known, left = getattr(module, name), list[int]()

    def late(*given: Any, **named: Any) -> Any:
        if not left:
            left.append(-1)
            left[0] = erasing.erase(ctx, (f"passenger={WHO}",)).left
        return known(*given, **named)

    monkeypatch.setattr(module, name, late)
    return left


WRITES: dict[str, tuple[Callable[[Context], object], list[tuple[int, str]]]] = {
    "append": (lambda ctx: append(ctx, "trips", table((5, "late"))), [(2, "p1"), (3, "p1"), (5, "late")]),
    "append that expects a number": (
        lambda ctx: append(ctx, "trips", table((5, "late")), expect=2),
        [(2, "p1"), (3, "p1"), (5, "late")],
    ),
    "upsert": (lambda ctx: upsert(ctx, "trips", table((2, "new"))), [(3, "p1"), (2, "new")]),
    "delete": (lambda ctx: delete(ctx, "trips", where=col("n") < 3), [(3, "p1")]),
    "overwrite": (lambda ctx: overwrite(ctx, "trips", table((7, "whole"))), [(7, "whole")]),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_was_ready_before_brings_nobody_back(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    append(ctx, "trips", table(*ROWS[:2]), keys=("n",))
    append(ctx, "trips", table(*ROWS[2:]))
    left = erased_before(ctx, monkeypatch, drafting, "_published")
    change, wanted = WRITES[write]
    change(ctx)
    assert left == [0]
    read_back = {number: read(ctx, f"trips@{number}").to_pylist() for number in (1, 2, 3)}
    assert [(row["n"], row["passenger"]) for row in read_back[3]] == wanted
    assert [len(read_back[number]) for number in (1, 2)] == [1, 2]
    assert erasing.erase(ctx, (f"passenger={WHO}",)).holders[0].rows == 0


def test_rows_are_not_taken_out_by_places_that_they_had_before(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(ctx, "trips", table((1, WHO), (2, "p1"), (2, "p1"), (3, "p2")))
    erased_before(ctx, monkeypatch, drafting, "_published")
    with pytest.raises(Conflict, match="not what is newest now"):
        deduplicate(ctx, "trips")
    assert [row["n"] for row in read(ctx, "trips").to_pylist()] == [2, 2, 3]


def test_a_folder_that_was_looked_through_before_is_to_be_added_again(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.csv").write_text(f"passenger,n\n{WHO},1\np1,2\n")
    add_folder(ctx, "files", source)
    (source / "b.csv").write_text("passenger,n\np2,3\n")
    left = erased_before(ctx, monkeypatch, folders, "prepare")
    with pytest.raises(Conflict, match="written anew"):
        add_folder(ctx, "files", source)
    assert left == [0]


def test_two_who_add_a_folder_at_once_both_succeed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text(f"n\n{name}\n")
    add_folder(ctx, "files", tmp_path / "one")
    known, others = vars(folders)["publish"], list[str]()

    def late(*given: Any) -> Any:
        if not others:
            others.append("other")
            add_folder(ctx, "files", tmp_path / "other")
        return known(*given)

    monkeypatch.setattr(folders, "publish", late)
    (tmp_path / "one" / "b.csv").write_text("n\n2\n")
    assert add_folder(ctx, "files", tmp_path / "one").version.number == 3
