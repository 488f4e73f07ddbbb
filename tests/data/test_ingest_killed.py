"""A reader of a stream is killed at random points, again and again: each record is in the dataset once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from loopwright.core import chain
from loopwright.data.reading import read
from loopwright.data.sources import ingest
from tests.data.test_killed import workspace

pytest_plugins = ["loopwright.testing.valkey"]

PROGRAM = """
import sys
from pathlib import Path
import loopwright.data.parcels as parcels
parcels._RECORDS = 7
from loopwright.data.sources import ingest
from tests.data.test_killed import workspace
ctx = workspace(Path(sys.argv[1]))
sys.stdout.write("ready")
sys.stdout.flush()
while True:
    ingest(ctx, sys.argv[2])
"""


@pytest.mark.slow
def test_each_record_is_kept_once_however_often_its_reader_is_killed(tmp_path: Path, valkey_url: str) -> None:
    chance, client = random.Random(11), redis.Redis.from_url(valkey_url)
    client.delete("often")
    place, written = f"{valkey_url}/0/often", 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), place],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(20, 60)):
            client.xadd("often", {"n": written})
            written += 1
        assert process.stdout.read(5) == b"ready"
        time.sleep(chance.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    ctx = workspace(tmp_path)
    ingest(ctx, place)
    found = [int(row["n"]) for row in read(ctx, "dataset:often").to_pylist()]
    assert found == list(range(written))
    with ctx.read() as tx:
        assert chain.verify(tx.journal.read(0, 10_000)).ok
    ctx.ports.ledger.close()
    client.close()
