"""The SQLite store: the suite, restarts, two processes, kill -9, and what it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path

import pytest

from loopwright.adapters.online import SqliteOnline
from loopwright.core.errors import Corrupt, Unavailable
from loopwright.core.expressions import col
from loopwright.ports.online import Online, OnlineRow, OnlineView
from loopwright.testing.online import OnlineSuite

START = 1_370_000_000_000_000
HOUR = 3_600_000_000
VIEW = OnlineView(name="v@1", latest=("n",), windows={"total": col("n").sum("2h")})


def row(n: int, key: str = "a") -> OnlineRow:
    return OnlineRow(key=(key,), event_us=START + n, known_us=START + n, values={"n": n}, row_id=f"{key}{n}")


class TestSqliteOnline(OnlineSuite):
    def fresh(self) -> Online:
        self.folder = Path(tempfile.mkdtemp(prefix="loopwright-test-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        return SqliteOnline(self.folder / "online.db")

    def reopen(self, online: Online) -> Online:
        online.close()
        return SqliteOnline(self.folder / "online.db")


def test_two_stores_on_one_file_see_each_other_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    first, second = SqliteOnline(path), SqliteOnline(path)
    first.define(VIEW)
    second.define(VIEW)
    first.push("v@1", [row(1)])
    first.flush(START + 1)
    second.push("v@1", [row(2), row(1)])
    second.flush(START + 2)
    first.push("v@1", [row(3), row(4, "b")])
    first.flush(START + 2)
    third = SqliteOnline(path)
    for store in (first, second, third):
        time.sleep(0.25)
        found = store.read("v@1", [("a",), ("b",)], START + HOUR)
        assert [(answer["n"], answer["total"]) for answer in found] == [(3, 6), (4, 4)]
        assert store.watermark("v@1") == START + 2
    second.forget("v@1", ("a",))
    time.sleep(0.25)
    assert first.read("v@1", [("a",)], START + HOUR)[0]["total"] == 0
    for store in (first, second, third):
        store.close()


def test_forgotten_bytes_are_gone_from_the_file(tmp_path: Path) -> None:
    store = SqliteOnline(tmp_path / "online.db")
    store.define(OnlineView(name="v@1", latest=("s",)))
    secret = OnlineRow(
        key=("passenger-123",), event_us=0, known_us=0, values={"s": "a secret value"}, row_id="row-of-123"
    )
    store.push("v@1", [secret])
    store.flush(1)
    assert store.forget("v@1", ("passenger-123",)) == 1
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        for word in (b"passenger-123", b"a secret value", b"row-of-123"):
            assert word not in content, file.name
    store.close()


def test_a_damaged_or_newer_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    path.write_bytes(b"this is not a database, " * 100)
    with pytest.raises(Corrupt) as damaged:
        SqliteOnline(path)
    assert "materialize" in damaged.value.hint
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Unavailable, match="newer"):
        SqliteOnline(path)


def test_a_damaged_entity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    store = SqliteOnline(path)
    store.define(VIEW)
    store.push("v@1", [row(1)])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entities SET content = x'93'")
    connection.close()
    again = SqliteOnline(path)
    with pytest.raises(Corrupt, match="v@1"):
        again.read("v@1", [("a",)], START + 5)
    again.close()


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        SqliteOnline(tmp_path / "nowhere" / "online.db")


def test_what_is_out_of_reach_leaves_memory_and_file(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    store = SqliteOnline(path)
    store.define(OnlineView(name="v@1", windows={"total": col("n").sum("2h")}))
    for hour in range(100):
        store.push("v@1", [row(hour * HOUR, f"k{hour}"), row(hour * HOUR)])
        store.flush(START + hour * HOUR)
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM entities").fetchone()[0] < 40
    connection.close()


WRITER = """
import sys
from pathlib import Path
from loopwright.adapters.online import SqliteOnline
from tests.adapters.test_online_sqlite import START, VIEW, row
store = SqliteOnline(Path(sys.argv[1]))
store.define(VIEW)
n = (store.watermark("v@1") or START) - START
while True:
    n += 1
    store.push("v@1", [row(n), row(n, "b")])
    if n % 3 == 0:
        store.flush(START + n)
        print(n, flush=True)
"""


def test_kill_9_leaves_the_data_of_the_watermark(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    for wait_s in (0.05, 0.013, 0.021):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert process.stdout is not None
        seen = int(process.stdout.readline())
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        seen = max([seen, *map(int, process.stdout.read().split())])
        process.stdout.close()
        process.wait()
        store = SqliteOnline(path)
        watermark = store.watermark("v@1")
        assert watermark is not None
        until = watermark - START
        assert until >= seen
        assert until % 3 == 0
        found = store.read("v@1", [("a",), ("b",)], watermark)
        assert [(answer["n"], answer["total"]) for answer in found] == [(until, until * (until + 1) // 2)] * 2
        store.close()
