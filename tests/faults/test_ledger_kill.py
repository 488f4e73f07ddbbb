"""A killed process, torn files, several processes: what was acknowledged is there, the journal is whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.adapters.sql.sqlite import SqliteLedger
from loopwright.core.chain import Verification
from loopwright.engine.journal import verify_ledger
from loopwright.ports.ledger import Ledger

WRITER = '''
"""Writes rows from eight threads and says on standard output which were acknowledged."""
import os, sys, threading
from loopwright.adapters.sql import open_ledger
from loopwright.core.nouns import MetricPoint
from loopwright.testing import ledger_values as make

ledger = open_ledger(sys.argv[1])
mark, most = sys.argv[2], int(sys.argv[3])

def start(tx):
    tx.runs.add(make.run(mark))

ledger.write(start)

def act(thread):
    for number in range(most):
        name = f"{mark}-{thread}-{number}"
        def work(tx):
            counted = tx.documents.get("default", "counter", "n") or {"n": 0}
            tx.documents.put("default", "counter", "n", {"n": counted["n"] + 1})
            tx.documents.put("default", "kept", name, {})
            tx.metrics.log(mark, [MetricPoint(key=f"t{thread}", value=float(number), step=number)])
            tx.journal.append(make.event(name))
        ledger.write(work)
        os.write(1, f"{name}\\n".encode())

threads = [threading.Thread(target=act, args=(n,)) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ledger.close()
'''


def writing(url: str, mark: str, most: int = 1_000_000) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, mark, str(most)], stdout=subprocess.PIPE, bufsize=0
    )


def acknowledged(data: bytes) -> set[str]:
    """Whole lines; the last one may be cut."""
    return set(data[: data.rfind(b"\n") + 1].decode().split())


def whole(ledger: Ledger) -> tuple[set[str], Verification]:
    """What is kept; every part of a work is there or none."""
    with ledger.read() as tx:
        kept = set(tx.documents.all("default", "kept"))
        counted = tx.documents.get("default", "counter", "n") or {"n": 0}
        assert counted["n"] == len(kept)
        assert {line.id for line in tx.journal.read(0, 1_000_000)} == kept
    assert not ledger.check().faults
    return kept, verify_ledger(ledger)


def kill_after(url: str, mark: str, seconds: float) -> set[str]:
    """Start a writer, kill it so long after its first row; what it had acknowledged."""
    process = writing(url, mark)
    assert process.stdout is not None
    first = process.stdout.read(1)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()
    process.stdout.close()
    process.wait()
    return acknowledged(first + rest)


def kill_points(ledger_url: str, points: int, seed: int) -> None:
    chance, known = random.Random(seed), set[str]()
    for point in range(points):
        known |= kill_after(ledger_url, f"p{point}", chance.uniform(0, 0.4))
        ledger = open_ledger(ledger_url)
        kept, verified = whole(ledger)
        ledger.close()
        assert known <= kept
        assert verified.ok, verified.reason
        known = kept


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    kill_points(f"sqlite:///{tmp_path}/ledger.db", points=3, seed=1)


@pytest.mark.slow
def test_a_writer_killed_at_twenty_points_loses_nothing_acknowledged(tmp_path: Path) -> None:
    kill_points(f"sqlite:///{tmp_path}/ledger.db", points=20, seed=2)


def test_a_killed_client_of_a_server_loses_nothing_acknowledged(postgres_url: str) -> None:
    kill_points(postgres_url, points=2, seed=3)


def test_torn_files_are_the_state_of_an_earlier_commit(tmp_path: Path) -> None:
    """The write-ahead log cut anywhere, as a power cut leaves it: a whole journal, only shorter."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    whole(ledger)  # a connection of ours keeps the log from being folded into the file
    process = writing(f"sqlite:///{tmp_path}/ledger.db", "w", 15)
    assert process.stdout is not None
    known = acknowledged(process.stdout.read())
    process.stdout.close()
    assert process.wait() == 0
    log = (tmp_path / "ledger.db-wal").read_bytes()
    assert len(log) > 100_000
    chance, lengths = random.Random(4), []
    for cut in sorted(chance.randrange(len(log)) for _ in range(12)):
        torn = tmp_path / f"torn-{cut}.db"
        shutil.copy(tmp_path / "ledger.db", torn)
        Path(f"{torn}-wal").write_bytes(log[:cut] + bytes(chance.randrange(256) for _ in range(500)))
        opened = SqliteLedger(torn)
        kept, verified = whole(opened)
        opened.close()
        assert verified.ok, verified.reason
        assert kept <= known
        lengths.append(len(kept))
    assert lengths == sorted(lengths)
    assert lengths[-1] > lengths[0]
    assert whole(ledger)[0] == known
    ledger.close()


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_two_processes_are_both_right(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each counts up from what the other one wrote."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    if store == "postgresql":
        url = request.getfixturevalue("postgres_url")
    open_ledger(url).close()
    processes = [writing(url, mark, 8) for mark in ("a", "b")]
    known = set[str]()
    for process in processes:
        assert process.stdout is not None
        known |= acknowledged(process.stdout.read())
        process.stdout.close()
        assert process.wait() == 0
    assert len(known) == 2 * 8 * 8
    ledger = open_ledger(url)
    kept, verified = whole(ledger)
    ledger.close()
    assert kept == known
    assert verified.ok, verified.reason
