"""Rows that people were asked about, their answers and the label set go with whom they are about."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from loopwright.data.appending import append
from loopwright.engine.holders import parse_subject
from loopwright.loops import erasing
from loopwright.loops.erasing import erase
from loopwright.workspace import Workspace

WHO = "passenger-4711-Zoe"


def rows() -> pa.Table:
    who = [WHO if n in (1, 4) else f"p{n}" for n in range(6)]
    return pa.table({"flight": pa.array(range(6), pa.int64()), "passenger": who, "note": ["x"] * 6})


def test_no_row_no_answer_and_no_label_is_left(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        ctx, call = workspace.context(), workspace.call
        append(ctx, "flights", rows(), keys=("flight",))
        asked = {"dataset": "flights", "question": "Late?", "choices": ["yes", "no"], "columns": ["note"]}
        queue = call("labels.open", queue="late", **asked, carry=["passenger"])
        for who in ("ann", "bob"):
            for item in range(6):
                call("labels.answer", queue="late", item=item, choice="yes", annotator=who)
        call("labels.publish", queue="late")

        found = erase(ctx, (f"passenger={WHO}",), dry_run=True)
        assert {line.holder: line.rows for line in found.holders} == {
            "online": 0,
            "streams": 2,
            "answers": 2,
            "evaluation": 0,
            "explorations": 0,
            "sources": 0,
            "versions": 4,
        }
        done = erase(ctx, (f"passenger={WHO}",))
        assert {line.holder: line.rows for line in done.holders if line.rows} == {
            "streams": 2,
            "answers": 2,
            "versions": 4,
        }
        assert done.left == 0

        view = call("labels.show", queue="late")
        assert (view.items, view.done, view.agreed) == (4, 4, 4)
        with ctx.read() as tx:
            kept = tx.documents.all(ctx.space, f"label_answers/{queue.id}")
        assert [int(key) for key in kept] == [0, 2, 3, 5]
        assert call("data.show", name="late-labels").rows == 4
        assert sum(line.rows for line in erase(ctx, (f"passenger={WHO}",)).holders) == 0
    for path in (tmp_path / ".loopwright").rglob("*"):
        assert not path.is_file() or WHO.encode() not in path.read_bytes()


def test_answers_that_an_interrupted_erasure_left_go_with_the_next(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        ctx, call = workspace.context(), workspace.call
        append(ctx, "flights", rows(), keys=("flight",))
        call("labels.open", queue="late", dataset="flights", question="Late?", choices=["yes", "no"])
        call("labels.answer", queue="late", item=1, choice="yes")
        erasing.HOLDERS[1].erase(ctx, parse_subject((f"passenger={WHO}",)), frozenset())
        done = erase(ctx, (f"passenger={WHO}",))
        assert {line.holder: line.places for line in done.holders}["answers"] == 1
        assert done.left == 0
