"""An appending process that is killed: what was acknowledged is there, and repeating goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopwright.adapters.objects import FolderObjects
from loopwright.adapters.sql import open_ledger
from loopwright.core import chain
from loopwright.data.verbs import append, define_contract, read, read_stream
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context, memory_ports
from tests.data.weather import contract, weather

BATCHES = 12


def workspace(folder: Path) -> Context:
    ports = memory_ports(
        ledger=open_ledger(f"sqlite:///{folder / 'ledger.db'}"), objects=FolderObjects(folder / "objects")
    )
    return memory_context(ports)


def append_all(ctx: Context) -> None:
    """Every batch under its name, one row of each broken; each is told once it is acknowledged."""
    define_contract(ctx, "weather", contract())
    for day in range(BATCHES):
        batch = weather(8, start=8 * day, wind={day: 1048.0})
        append(ctx, "weather", batch, event_time="observed_at", batch=f"day-{day}")
        sys.stdout.write(f"{day}\n")
        sys.stdout.flush()


PROGRAM = """
import sys
from pathlib import Path
from tests.data.test_killed import append_all, workspace
append_all(workspace(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("wanted", [0, 3, 8])
def test_what_was_acknowledged_survives_and_the_rest_can_be_repeated(tmp_path: Path, wanted: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(wanted + 1)]
    time.sleep(0.01 * wanted)
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.wait()
    process.stdout.close()

    ctx = workspace(tmp_path)
    found = read(ctx, "dataset:weather").num_rows
    assert found in (23 * len(acknowledged), 23 * (len(acknowledged) + 1))
    append_all(ctx)
    rows = read(ctx, "dataset:weather")
    assert rows.num_rows == 23 * BATCHES
    assert rows["observed_at"].to_pylist() == sorted(rows["observed_at"].to_pylist())
    assert read_stream(ctx, "quarantine/weather").num_rows == BATCHES
    with ctx.read() as tx:
        assert chain.verify(tx.journal.read(0, 10_000)).ok
    ctx.ports.ledger.close()
