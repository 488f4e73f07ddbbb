"""Training sets of sources that do not fit into memory are those of sources that do, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from loopwright.adapters.tables import PolarsTables
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.features import histories
from loopwright.features.shelves import Shelves
from loopwright.features.verbs import training_set
from tests.features import worlds


@pytest.fixture
def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = worlds.context()
    worlds.published(made)
    return made


def made(ctx: Context, name: str, spine: pa.Table) -> Version:
    return training_set(ctx, "delays", spine, name=name, time="asked_at")


@pytest.mark.parametrize("questions", [80, 0])
def test_in_parts_the_answers_are_the_same(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, questions: int
) -> None:
    """Windows, newest rows, texts and null keys; `questions` of none has every column too."""
    spine = worlds.questions(questions or 1).slice(0, questions)
    before = {each.name for each in tmp_path.iterdir()}
    whole = made(ctx, "train/whole", spine)
    taken = list[int]()
    take = Shelves.taken

    def counted(shelves: Shelves, part: int) -> pa.Table:
        rows = take(shelves, part)
        taken.append(rows.num_rows)
        return rows

    monkeypatch.setattr(Shelves, "taken", counted)
    monkeypatch.setattr(histories, "_LEAST_ROWS", 7)
    ctx.ports.__dict__["tables"] = PolarsTables(1)
    assert made(ctx, "train/parted", spine).digest == whole.digest
    assert len(taken) >= len(worlds.views())
    assert (sum(taken) > 100) == bool(questions)
    assert {each.name for each in tmp_path.iterdir()} == before


PROGRAM = """
import json, re, sys, threading, time
from pathlib import Path
import loopwright as lw
from loopwright.core.schema import Schema

most = [0]
def watch():
    while True:
        found = re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())
        most[0] = max(most[0], int(found[1]) * 1024)
        time.sleep(0.01)

threading.Thread(target=watch, daemon=True).start()
with lw.Workspace.open(sys.argv[1]) as ws:
    made = ws.call("features.training_set", name="train", spine="asked", features=["v:*"], time="t")
print(json.dumps({"digest": made.digest, "most": most[0]}))
"""


def fill(home: Path) -> None:
    """Five million rows of eleven columns, 0.5 GB in memory, in parts; and who asks about them."""
    import numpy as np

    import loopwright as lw
    from loopwright.data.verbs import append
    from loopwright.features.verbs import define_view

    chance = np.random.default_rng(0)
    with lw.Workspace.open(home) as workspace:
        ctx = workspace.context()
        for _ in range(10):
            rows = 500_000
            at = chance.integers(0, 10**12, rows).astype("datetime64[us]")
            columns = {f"f{i}": pa.array(chance.normal(size=rows)) for i in range(8)}
            instants = pa.array(at).cast(pa.timestamp("us", "UTC"))
            table = pa.table({"k": chance.integers(0, 50_000, rows), "at": instants, **columns})
            append(ctx, "history", table, event_time="at")
        windows = {"mean": lw.col("f0").mean("2d"), "most": lw.col("f1").max("1d")}
        latest = tuple(f"f{i}" for i in range(8))
        view = lw.FeatureView(
            name="v", entity=("k",), source="history", event_time="at", latest=latest, windows=windows
        )
        define_view(ctx, view)
        asked = pa.array(chance.integers(0, 10**12, 50_000).astype("datetime64[us]"))
        times = asked.cast(pa.timestamp("us", "UTC"))
        append(ctx, "asked", pa.table({"k": chance.integers(0, 50_000, 50_000), "t": times}))


@pytest.mark.slow
def test_a_source_that_is_larger_than_the_memory_stays_within_it(tmp_path: Path) -> None:
    home = tmp_path / ".loopwright"
    fill(home)
    found = {}
    for memory in ("350MB", "8GB"):
        (tmp_path / "loopwright.toml").write_text(f'memory = "{memory}"')
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(home)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        found[memory] = json.loads(done.stdout)
    assert found["350MB"]["most"] < 350e6 < found["8GB"]["most"]
    assert found["350MB"]["digest"] == found["8GB"]["digest"]
