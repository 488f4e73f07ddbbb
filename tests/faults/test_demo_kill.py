"""A shortened story that is killed at any moment goes on by the same command, and comes to the same end."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loopwright.data.verbs import read
from loopwright.workspace import Workspace
from tests.journeys.schedule import asked_by, landed_by
from tests.journeys.telling import command, line, run

DAYS = 2
PATIENCE_S = 500.0
QUICK_POINTS, ALL_POINTS = 1, 20
LINES_OF_THE_REPLAY = 18
"""lines the journal gains, at least, from the first question to the end"""


def asked_of(folder: Path, statement: str) -> int:
    """A number from the ledger of a running process; 0 while there is none."""
    path = folder / ".loopwright" / "ledger.db"
    try:
        ledger = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return 0
    try:
        return int(ledger.execute(statement).fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        ledger.close()


def journal_lines(folder: Path) -> int:
    return asked_of(folder, "select count(*) from journal")


def of_kind(folder: Path, kind: str) -> int:
    return asked_of(folder, f"select count(*) from journal where kind = '{kind}'")


def is_prepared(folder: Path) -> bool:
    """The progress that is kept says that the first model serves."""
    kept = "select count(*) from documents where collection = 'demo' and body like '%\"prepared\":true%'"
    return asked_of(folder, kept) > 0


@contextmanager
def telling(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The story as a process of its own, killed at the end without a warning."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
    with (folder / "said.txt").open("ab") as said:
        process = subprocess.Popen(line(*command(DAYS)), cwd=folder, env=kept, stdout=said, stderr=said)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def kill_when(folder: Path, is_time: Callable[[], bool], after: float = 0.0) -> bool:
    """Tell the story until it is time, wait so many seconds, kill it: whether it was still running."""
    before = 0
    with telling(folder) as process:
        until = time.monotonic() + PATIENCE_S
        while process.poll() is None and not is_time():
            assert time.monotonic() < until, (folder / "said.txt").read_text()
            time.sleep(0.01)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            before = journal_lines(folder)
    assert process.returncode in (0, -signal.SIGKILL), (folder / "said.txt").read_text()
    verified = run(folder, "journal", "verify", "--workspace", ".loopwright", "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["lines"] >= before
    assert run(folder, "db", "check", "--workspace", ".loopwright").returncode == 0
    return process.returncode != 0


def told_to_the_end(folder: Path) -> dict[str, Any]:
    """Run the same command again; what it wrote, after everything that must hold was checked."""
    done = run(folder, *command(DAYS))
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads((folder / "told.json").read_text())
    asked = asked_by(DAYS)
    assert summary["predictions"] == summary["skew"]["rows"] == len(asked)
    assert summary["labelled"] == sum(1 for flight in asked if flight.landed is not None)
    assert summary["skew"]["mismatches"] == 0
    assert summary["quarantined"] == 1
    assert len(summary["incidents"]) == 1
    assert summary["journal_ok"] is True
    nothing_is_there_twice(folder)
    return summary


def nothing_is_there_twice(folder: Path) -> None:
    with Workspace.open(folder / ".loopwright") as workspace:
        landings = read(workspace.context(), "dataset:landings", columns=["flight_id"])
        weather = read(workspace.context(), "dataset:weather", columns=["origin", "observed_at"])
    assert landings.num_rows == landed_by(DAYS)
    for table in (landings, weather):
        assert table.group_by(table.column_names).aggregate([]).num_rows == table.num_rows


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A story that was killed while it ingested, went on, and was killed when its first model served."""
    folder = tmp_path_factory.mktemp("prepared")
    point = random.Random(11).randrange(2, 25)
    assert kill_when(folder, lambda: of_kind(folder, "version.published") >= point, after=0.05)
    assert not is_prepared(folder)
    assert kill_when(folder, lambda: is_prepared(folder))
    return folder


@pytest.fixture(scope="session")
def ends() -> set[tuple[float, float]]:
    """What the killed stories came to: all have one model, so all must come to the same."""
    return set()


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=() if seed < QUICK_POINTS else (pytest.mark.slow,))
        for seed in range(ALL_POINTS)
    ],
)
def test_a_story_killed_while_it_is_told_comes_to_its_end(
    prepared: Path, tmp_path: Path, seed: int, ends: set[tuple[float, float]]
) -> None:
    shutil.copytree(prepared / ".loopwright", tmp_path / ".loopwright")
    chance = random.Random(seed)
    line = journal_lines(tmp_path) + chance.randrange(LINES_OF_THE_REPLAY)
    kill_when(tmp_path, lambda: journal_lines(tmp_path) >= line, after=chance.uniform(0, 1.5))
    summary = told_to_the_end(tmp_path)
    assert [move["to"] for move in summary["promotions"]] == [1]
    ends.add((summary["auc_all"]["frozen"], summary["auc_all"]["loop"]))
    assert len(ends) == 1


@pytest.mark.slow
def test_a_story_killed_twice_in_a_row_comes_to_its_end(
    prepared: Path, tmp_path: Path, ends: set[tuple[float, float]]
) -> None:
    """Once on the first day, once on the second; each time it takes up where it was."""
    shutil.copytree(prepared / ".loopwright", tmp_path / ".loopwright")
    start = of_kind(tmp_path, "version.published")
    for published in (1, 5):
        assert kill_when(tmp_path, lambda: of_kind(tmp_path, "version.published") >= start + published)  # noqa: B023 - called at once
    summary = told_to_the_end(tmp_path)
    ends.add((summary["auc_all"]["frozen"], summary["auc_all"]["loop"]))
    assert len(ends) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run.started", "decision.made", "endpoint.routed"])
def test_a_story_killed_around_its_first_model_comes_to_its_end(tmp_path: Path, kind: str) -> None:
    assert kill_when(tmp_path, lambda: of_kind(tmp_path, kind) > 0)
    told_to_the_end(tmp_path)
