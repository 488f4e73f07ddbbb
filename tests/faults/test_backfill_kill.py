"""A process that fills in a past period is killed, again and again: the next one goes on where it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import loopwright as lw
from loopwright.core.instants import format_instant

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + 40 * HOUR
KEYS = [f"k{number}" for number in range(20)]
STEP_BY_STEP = """
from loopwright.app.main import main
from loopwright.features import backfilling
backfilling._ROWS_AT_ONCE = 60
main()
"""
"""the command, but for how many rows of short windows are made durable together: all of them would be"""


def rows() -> pa.Table:
    chance = random.Random(5)
    found = []
    for number in range(4000):
        at = START + chance.randrange(42 * 3600) * HOUR / 3600
        known = at + chance.choice([0, 5, 200]) * HOUR / 60
        row = {"number": number, "key": chance.choice(KEYS), "at": at, "known": known, "n": number % 17}
        found.append(row)
    return pa.Table.from_pylist(found)


def made(folder: Path) -> None:
    with lw.Workspace.open(folder) as to:
        times = {"event_time": "at", "known_at": "known", "keys": "number", "order": "number"}
        source = lw.source(rows(), name="events", to=to, **times)
        lw.feature_view(
            "events",
            source=source,
            entity="key",
            features=["n", lw.col("n").sum("6h"), ("half", lw.col("n") / 2)],
            to=to,
        )
        lw.feature_service("s", features=["events:*"], to=to)


def command(folder: Path, *more: str) -> list[str]:
    given = ["--start", format_instant(START), "--end", format_instant(END), *more]
    return [
        *(sys.executable, "-c", STEP_BY_STEP),
        *("features", "backfill", "events"),
        *given,
        *("--workspace", str(folder)),
    ]


def begun(folder: Path) -> datetime | None:
    with lw.Workspace.open(folder) as to:
        found = to.call("features.show", name="events").backfills
        return found[0].done_until if found else None


def answers(folder: Path) -> Any:
    with lw.Workspace.open(folder) as to:
        return [
            to.call("features.lookup", name="s", rows=[{"key": key} for key in KEYS], at=at).rows
            for at in (END - 20 * HOUR, END)
        ]


def kept(folder: Path) -> list[dict[str, Any]]:
    with lw.Workspace.open(folder) as to:
        table = lw.dataset("kept", to=to).read()
        return sorted(table.to_pylist(), key=lambda row: (row["at"], row["key"]))


def killed(folder: Path, *more: str) -> bool:
    """Whether it was killed after some windows and before the last."""
    before = begun(folder)
    mine = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
    with subprocess.Popen(
        command(folder, *more), env=mine, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        until = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < until:
            if begun(folder) != before:
                child.send_signal(signal.SIGKILL)
        child.wait()
    return child.returncode == -signal.SIGKILL and begun(folder) != END


@pytest.mark.parametrize("into", ["", "kept"])
def test_killed_and_gone_on_with_is_the_same_as_at_once(tmp_path: Path, into: str) -> None:
    often, once = tmp_path / "often", tmp_path / "once"
    made(often)
    made(once)
    more = ["--every", "15m" if not into else "1h", *(["--into", into] if into else [])]
    assert [killed(often, *more) for _ in range(3)] == [True] * 3
    for folder in (often, once):
        done = subprocess.run(command(folder, *more), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert begun(folder) == END
    if into:
        assert kept(often) == kept(once)
        assert len({(row["key"], row["at"]) for row in kept(once)}) == len(kept(once)) > 700
        return
    assert answers(often) == answers(once)
    with lw.Workspace.open(tmp_path / "third") as to:
        made_again = to.settings.folder
    made(made_again)
    with lw.Workspace.open(made_again) as to:
        to.call("features.materialize", name="events", until=END)
    assert answers(made_again) == answers(once)
