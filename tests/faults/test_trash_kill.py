"""A collection of the trash killed anywhere goes on where it was: nothing half gone, nothing lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopwright.core.errors import NotFound
from loopwright.core.nouns import MetricPoint, RunState
from loopwright.engine.context import Context
from loopwright.engine.journal import verify_ledger
from loopwright.loops import trash
from loopwright.ports.ledger import Artifact, PageRequest, Transaction
from loopwright.registry import registered, versions
from loopwright.registry.nouns import NewVersion
from loopwright.tracking import experiments, lifecycle
from loopwright.tracking.lifecycle import NewRun
from loopwright.tracking.sweeping import has_swept
from loopwright.workspace import Workspace

POINTS, FILES = 400, 8
COLLECTOR = """
import sys
from loopwright.loops import trash
from loopwright.tracking import sweeping
from loopwright.workspace import Workspace

sweeping.STEP = 50
with Workspace.open(sys.argv[1]) as workspace:
    ctx = workspace.context()
    job = trash.empty(ctx, due=False)
    print("begun", flush=True)
    trash.carry_out(ctx, job)
    print("done", flush=True)
"""


def _run(ctx: Context, experiment_id: str, at: int) -> str:
    run = lifecycle.create_run(ctx, NewRun(experiment_id=experiment_id, name=f"r{at}", started_at=ctx.now()))
    digest = ctx.ports.objects.put(f"file of {at}".encode())

    def fill(tx: Transaction) -> None:
        points = [MetricPoint(key=f"k{n % 3}", value=float(n), step=n, at_us=n) for n in range(POINTS)]
        tx.metrics.log(run.id, points)
        for n in range(FILES):
            owner, path = f"run:{run.id}", f"f{n}"
            file = Artifact(
                space=ctx.space, owner=owner, path=path, digest=digest, size_bytes=9, at=ctx.now()
            )
            tx.artifacts.put(file)

    ctx.write(fill)
    lifecycle.change_run(ctx, run.id, state=RunState.FINISHED, ended_at=ctx.now())
    return run.id


def told(folder: Path, runs: int) -> tuple[set[str], set[str], str]:
    """A workspace with runs in the trash, of which one made a version, and runs that stay."""
    with Workspace.open(folder) as workspace:
        ctx = workspace.context()
        home = experiments.make(ctx, "home").id
        gone, kept = set[str](), set[str]()
        for at in range(runs):
            (gone if at % 2 else kept).add(_run(ctx, home, at))
        held = min(gone)
        registered.create(ctx, "delay")
        versions.create(ctx, "delay", NewVersion(source=f"runs:/{held}/f1", run_id=held))
        for run_id in gone:
            lifecycle.delete_run(ctx, run_id)
    return gone - {held}, kept | {held}, held


def killed(folder: Path, seconds: float) -> bool:
    """Collect, and kill it so long after it began; whether it came to its end before."""
    command = [sys.executable, "-c", COLLECTOR, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    process.stdout.read(6)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()
    process.stdout.close()
    process.wait()
    return b"done" in rest


def looked_over(ctx: Context, gone: set[str], kept: set[str]) -> int:
    """How many of the runs are gone; each is there whole, or found by nobody."""
    assert not ctx.ports.ledger.check().faults
    verified = verify_ledger(ctx.ports.ledger)
    assert verified.ok, verified.reason
    lost = 0
    with ctx.read() as tx:
        for run_id in gone | kept:
            try:
                tx.runs.get(run_id)
            except NotFound:
                assert run_id in gone
                lost += 1
                continue
            assert sum(tx.metrics.count(run_id, f"k{n}") for n in range(3)) == POINTS
            assert len(list(tx.artifacts.under(ctx.space, f"run:{run_id}", ""))) == FILES
    return lost


def kill_points(folder: Path, *, runs: int, points: int, seed: int) -> None:
    gone, kept, _ = told(folder, runs)
    chance, lost = random.Random(seed), 0
    for _ in range(points):
        is_done = killed(folder, chance.uniform(0, 0.08))
        with Workspace.open(folder) as workspace:
            now = looked_over(workspace.context(), gone, kept)
        assert now >= lost
        lost = now
        if is_done:
            break
    with Workspace.open(folder) as workspace:
        ctx = workspace.context()
        trash.carry_out(ctx, trash.empty(ctx, due=False))
        assert looked_over(ctx, gone, kept) == len(gone)
        assert has_swept(ctx)
        with ctx.read() as tx:
            assert len(tx.trash.runs(ctx.space, PageRequest()).items) == 1
        rows = ctx.ports.ledger.check().rows
        assert (rows["metric_points"], rows["artifacts"]) == (len(kept) * POINTS, len(kept) * FILES)
        assert rows["runs"] == len(kept)


def test_a_killed_collection_goes_on(tmp_path: Path) -> None:
    kill_points(tmp_path / ".loopwright", runs=16, points=2, seed=1)


@pytest.mark.slow
def test_a_collection_killed_at_many_points_goes_on(tmp_path: Path) -> None:
    kill_points(tmp_path / ".loopwright", runs=120, points=25, seed=2)
