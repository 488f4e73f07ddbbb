"""A process that rewrites, merges, prunes and collects is killed: no half version, nothing needed is gone."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from loopwright.adapters.objects import FolderObjects
from loopwright.adapters.sql import open_ledger
from loopwright.adapters.world.ids import RandomIds
from loopwright.core import chain
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.expressions import col
from loopwright.data.branches import branch, delete_branch, merge
from loopwright.data.drafting import Change
from loopwright.data.reading import read_version
from loopwright.data.retention import collect, prune, set_retention
from loopwright.data.rewriting import delete, overwrite, upsert, write_together
from loopwright.engine import collection
from loopwright.engine.collection import collect_objects
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import SetClock, memory_context, memory_ports

pytestmark = pytest.mark.slow
KEYS = 200


def workspace(folder: Path) -> Context:
    """Opened a day later, so that whatever was left behind is old enough to go."""
    ports = memory_ports(
        ledger=open_ledger(f"sqlite:///{folder / 'ledger.db'}"),
        objects=FolderObjects(folder / "objects"),
        clock=SetClock(datetime.now(UTC) + timedelta(days=1)),
    )
    ports.ids = RandomIds()  # counted ones would be those of the process before
    return memory_context(ports)


def table(keys: range, value: int) -> pa.Table:
    return pa.table({"key": list(keys), "value": [value] * len(keys)})


def write_for_ever(ctx: Context) -> None:
    """Rounds of writes under names, each told once it is acknowledged; every row of a version sums to it."""
    overwrite(ctx, "d", table(range(KEYS), 0), keys=("key",), batch="begin")
    set_retention(ctx, "d", keep_last=3)
    while True:
        step = resolve(ctx, "dataset:d").number
        value = step * 10
        upsert(ctx, "d", table(range(step % 50, step % 50 + 20), value), batch=f"u{step}")
        delete(ctx, "d", where=col("key").eq(step % KEYS), batch=f"d{step}")
        pair = [
            Change(how="append", name=name, table=table(range(1), value), batch=f"p{step}") for name in "ab"
        ]
        write_together(ctx, pair)
        try:
            branch(ctx, "d", "trial")
            overwrite(ctx, "d", table(range(KEYS), value), keys=("key",), branch="trial")
            merge(ctx, "d", "trial")
        except Conflict:
            pass
        delete_branch(ctx, "d", "trial", force=True)
        prune(ctx, "d", dry_run=False)
        collect(ctx, "d", dry_run=False, grace="10m")
        sys.stdout.write(f"{resolve(ctx, 'dataset:d').number}\n")
        sys.stdout.flush()


PROGRAM = """
import sys
from pathlib import Path
from tests.faults.test_rewrite_kill import workspace, write_for_ever
write_for_ever(workspace(Path(sys.argv[1])))
"""


def every_version_is_whole(ctx: Context, acknowledged: int) -> None:
    with ctx.read() as tx:
        assert chain.verify(tx.journal.read(0, 100_000)).ok
        datasets = tx.assets.page(ctx.space, "dataset", PageRequest()).items
        pages = {asset.name: tx.versions.page(asset.id, PageRequest(limit=1000)) for asset in datasets}
    versions = {
        name: [each for each in page.items if each.removed_at is None] for name, page in pages.items()
    }
    assert resolve(ctx, "dataset:d").number >= acknowledged
    for version in (version for found in versions.values() for version in found):
        table = read_version(ctx, version)
        assert table.num_rows == manifest_of(ctx, version).rows == version.facts["rows"]
        if version.name == "d":
            assert len(set(table["key"].to_pylist())) == table.num_rows
    assert len(versions.get("a", ())) == len(versions.get("b", ()))
    needed = collection.reachable(ctx)
    collect_objects(ctx, dry_run=False, grace=timedelta(0))
    assert {stat.digest for stat in ctx.ports.objects.list()} <= needed


def test_whatever_the_moment_versions_are_whole_and_work_goes_on(tmp_path: Path) -> None:
    chance, acknowledged = random.Random(4), 0
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        time.sleep(chance.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.strip())])
        ctx = workspace(tmp_path)
        try:
            every_version_is_whole(ctx, acknowledged)
            _forget_branch(ctx)
        finally:
            ctx.ports.ledger.close()
    assert acknowledged > 12


def _forget_branch(ctx: Context) -> None:
    try:
        delete_branch(ctx, "d", "trial", force=True)
    except NotFound:
        return
