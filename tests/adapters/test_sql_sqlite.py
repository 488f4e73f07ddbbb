"""SQLite: the suite of the ledger, and what only a file can do to it."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from loopwright.adapters.sql import open_ledger
from loopwright.adapters.sql.locking import FileLock
from loopwright.adapters.sql.schema import APPLICATION_ID
from loopwright.adapters.sql.sqlite import SqliteLedger
from loopwright.adapters.sql.transaction import SqlTransaction
from loopwright.core.chain import verify
from loopwright.core.errors import Conflict, Corrupt, Unavailable
from loopwright.core.nouns import LinkRole
from loopwright.ports.ledger import Ledger, PageRequest, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_suite import LedgerSuite


class TestSqliteLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[Ledger]:
        opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[Ledger]:
        opened = open_ledger(f"sqlite:///{tmp_path}/other.db")
        yield opened
        opened.close()


OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from loopwright.adapters.sql import open_ledger
from loopwright.core.errors import LoopwrightError
if os.geteuid() == 0:
    try:
        os.setuid(65534)
    except OSError:
        sys.exit(9)
try:
    ledger = open_ledger(f"sqlite:///{sys.argv[1]}")
    ledger.write(lambda tx: tx.documents.put("default", "c", "k", {}))
except LoopwrightError as error:
    print(type(error).__name__, error.hint != "")
"""
FEW = ("digest >=", "links.run_id = ?")
"""versions of one digest, edges of one run"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(file)
    yield opened
    opened.close()


def pragma(ledger: SqliteLedger, statement: str) -> Any:
    """Run a pragma on the connection that writes."""

    def work(tx: Transaction) -> Any:
        assert isinstance(tx, SqlTransaction)
        return tx.session.rows(text(f"PRAGMA {statement}"))[0][0]

    return ledger.write(work)


def put(ledger: Ledger, key: str, size: int = 1) -> None:
    def work(tx: Transaction) -> None:
        tx.documents.put("default", "c", key, {"x": "y" * size})
        tx.journal.append(make.event(key))

    ledger.write(work)


def keys(ledger: Ledger) -> list[str]:
    with ledger.read() as tx:
        assert verify(tx.journal.read(0, 100_000)).ok
        found = list(tx.documents.all("default", "c"))
        assert tx.journal.head().count == len(found)
    return found


def test_the_file_is_durable_and_ours(ledger: SqliteLedger, file: Path) -> None:
    assert pragma(ledger, "journal_mode") == "wal"
    assert pragma(ledger, "synchronous") == 2
    assert pragma(ledger, "foreign_keys") == 1
    with contextlib.closing(sqlite3.connect(file)) as other:
        assert other.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_every_query_of_a_page_uses_an_index(ledger: SqliteLedger) -> None:
    """No listing scans a table; none sorts, but where few rows are left. SQLite itself is asked."""
    asset = make.asset()
    ledger.write(lambda tx: tx.assets.add(asset))
    ledger.write(lambda tx: tx.versions.add(make.version(asset, 1)))
    ledger.write(lambda tx: tx.runs.add(make.run()))
    first = PageRequest(limit=1)
    with ledger.read() as tx:
        assert isinstance(tx, SqlTransaction)
        tx.assets.page("s", "k", first)
        tx.assets.page("s", None, first)
        tx.versions.page("a1", first)
        tx.versions.latest("a1", at=make.at(9))
        tx.versions.by_digest("a1", "00")
        tx.runs.page("s", first)
        for name in ("kind", "experiment", "parent_id"):
            tx.runs.page("s", first, **{name: "x"})  # type: ignore[arg-type]  # by name
        tx.runs.links("r1")
        tx.runs.users("dataset", "a1", 1, LinkRole.INPUT)
        tx.signals.window("s", "x", name="y", start=make.at(0))
        tx.signals.window("s", "x")
        tx.decisions.page("s", first, subject="x")
        tx.decisions.page("s", first, action="x")
        tx.journal.page("s", first, subject="x")
        tx.journal.page("s", first, kind="x")
        tx.journal.page("s", first)
        tx.journal.read(0, 1)
        tx.jobs.page("s", first, operation="x")
        tx.jobs.due(("x",), make.at(0), make.at(0), 1)
        tx.segments.between("s", "x", make.at(0), make.at(1))
        tx.documents.all("s", "c")
        compiled = [each for each in ledger.compiled() if each.text.startswith("SELECT")]
        with contextlib.closing(sqlite3.connect(ledger.path)) as asking:
            for each in compiled:
                plan = asking.execute(f"EXPLAIN QUERY PLAN {each.text}", [None] * len(each.names)).fetchall()
                steps = [row[3] for row in plan]
                assert not [s for s in steps if s.startswith("SCAN") and "USING" not in s], each.text
                sorts = [s for s in steps if "TEMP B-TREE FOR ORDER BY" in s]
                assert not sorts or any(few in each.text for few in FEW), each.text
    assert len(compiled) > 20


def test_a_full_disk_loses_nothing_and_later_writes_work(ledger: SqliteLedger) -> None:
    put(ledger, "before")
    pages = pragma(ledger, "page_count")
    pragma(ledger, f"max_page_count={pages + 3}")
    with pytest.raises(Unavailable, match="disk is full") as caught:
        put(ledger, "large", 200_000)
    assert caught.value.hint
    put(ledger, "small")
    assert keys(ledger) == ["before", "small"]
    pragma(ledger, "max_page_count=1000000")
    put(ledger, "large", 200_000)
    assert keys(ledger) == ["before", "large", "small"]


def test_works_beside_one_that_fills_the_disk_are_kept(ledger: SqliteLedger) -> None:
    """They shared its transaction, which SQLite may have rolled back, and are carried out again."""
    pragma(ledger, f"max_page_count={pragma(ledger, 'page_count') + 3}")
    held, go = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        held.set()
        assert go.wait(20)

    def act(number: int) -> bool:
        try:
            put(ledger, f"k{number}", 200_000 if number == 3 else 1)
        except Unavailable:
            return False
        return True

    with ThreadPoolExecutor(9) as pool:
        holder = pool.submit(ledger.write, hold)
        assert held.wait(20)
        works = [pool.submit(act, number) for number in range(8)]
        go.set()
        holder.result()
        done = [work.result() for work in works]
    assert [n for n, kept in enumerate(done) if not kept] == [3]
    assert keys(ledger) == [f"k{n}" for n in range(8) if n != 3]


def test_a_file_size_limit_is_a_clear_error(file: Path) -> None:
    """The system refuses to write: nothing acknowledged is lost, and the ledger works again afterwards."""
    script = """
import resource, signal, sys
from pathlib import Path
from loopwright.adapters.sql.sqlite import SqliteLedger
from loopwright.core.errors import LoopwrightError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = SqliteLedger(Path(sys.argv[1]))
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
size = 600_000
ledger.write(lambda tx: tx.documents.put("default", "c", "first", {}))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
kept = []
for n in range(200):
    try:
        ledger.write(lambda tx: tx.documents.put("default", "c", f"k{n:03d}", {"x": "y" * 20_000}))
        kept.append(f"k{n:03d}")
    except LoopwrightError as error:
        print(type(error).__name__, error.hint != "", sep=",")
        break
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
ledger.write(lambda tx: tx.documents.put("default", "c", "last", {}))
with ledger.read() as tx:
    print(sorted(tx.documents.all("default", "c")) == ["first", *kept, "last"], len(kept) > 5)
ledger.close()
"""
    done = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["Unavailable,True", "True", "True"], done.stderr


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened") as caught:
        open_ledger(f"sqlite:///{tmp_path}/none/ledger.db")
    assert str(tmp_path) in caught.value.where


def test_a_file_that_cannot_be_written_is_a_clear_error(file: Path) -> None:
    """Another process holds it for longer than we wait; reading goes on."""
    ledger = SqliteLedger(file)
    put(ledger, "k")
    pragma(ledger, "busy_timeout=50")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process holds the ledger"):
            put(ledger, "l")
        assert keys(ledger) == ["k"]
        other.execute("ROLLBACK")
    put(ledger, "m")
    assert keys(ledger) == ["k", "m"]
    ledger.close()


def test_damage_is_told_and_does_not_spread(file: Path) -> None:
    ledger = SqliteLedger(file)
    for number in range(200):
        put(ledger, f"k{number:03d}", 3000)
    ledger.close()
    data = bytearray(file.read_bytes())
    for place in range(len(data) // 2 // 4096 * 4096, len(data), 4096):
        data[place : place + 64] = b"\xa5" * 64
    file.write_bytes(data)
    damaged = SqliteLedger(file)
    with pytest.raises(Corrupt) as caught:
        keys(damaged)
    assert "restore" in caught.value.hint
    assert damaged.check().faults
    damaged.close()


def test_a_cut_file_is_told(file: Path) -> None:
    ledger = SqliteLedger(file)
    put(ledger, "k", 100_000)
    ledger.close()
    file.write_bytes(file.read_bytes()[: 3 * 4096 + 100])
    with pytest.raises(Corrupt):
        _read_all(file)


def _read_all(file: Path) -> None:
    opened = SqliteLedger(file)
    try:
        keys(opened)
    finally:
        opened.close()


def test_an_empty_file_is_made_a_ledger(file: Path) -> None:
    file.touch()
    ledger = SqliteLedger(file)
    put(ledger, "k")
    assert keys(ledger) == ["k"]
    ledger.close()


def test_many_processes_make_one_ledger(file: Path) -> None:
    """All at once on a file that is not there yet."""
    script = "import sys; from pathlib import Path; from loopwright.adapters.sql.sqlite import SqliteLedger;"
    script += "sys.stdin.read(); SqliteLedger(Path(sys.argv[1])).close()"
    command = [sys.executable, "-c", script, str(file)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    for process in started:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
    ledger = SqliteLedger(file)
    assert not ledger.check().faults
    ledger.close()


def test_two_ledgers_on_one_file_see_each_other(file: Path) -> None:
    one, two = SqliteLedger(file), SqliteLedger(file)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: put((one, two)[n % 2], f"k{n:03d}"), range(100)))
    assert keys(one) == keys(two) == [f"k{n:03d}" for n in range(100)]
    one.close()
    two.close()


def test_a_ledger_that_was_opened_before_a_fork_is_refused(file: Path) -> None:
    """It has no writer thread there: to wait for it would be forever."""
    script = """
import os, sys
from pathlib import Path
from loopwright.adapters.sql.sqlite import SqliteLedger
from loopwright.core.errors import Conflict
ledger = SqliteLedger(Path(sys.argv[1]))
pid = os.fork()
if pid == 0:
    try:
        ledger.write(lambda tx: None)
    except Conflict:
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ledger.close()
"""
    done = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "7"


def test_a_file_of_another_user_is_a_clear_error(tmp_path: Path) -> None:
    """Readable, but neither it nor its folder may be written."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    SqliteLedger(folder / "ledger.db").close()
    (folder / "ledger.db").chmod(0o444)
    folder.chmod(0o555)
    for part in (tmp_path, *tmp_path.parents[:3]):
        part.chmod(part.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", OPEN_AS_NOBODY, folder / "ledger.db"],
        capture_output=True,
        text=True,
        check=False,
    )
    folder.chmod(0o755)
    if done.returncode == 9:
        pytest.skip("this user cannot become another one")
    assert done.stdout.split() == ["Unavailable", "True"], done.stderr


def test_processes_take_turns_by_a_lock_that_ends_with_its_holder(file: Path) -> None:
    """A killed process, and a child that it forked and left behind, hold nothing up."""
    script = """
import os, sys, threading, time
from pathlib import Path
from loopwright.adapters.sql.sqlite import SqliteLedger
ledger = SqliteLedger(Path(sys.argv[1]))
def hold(tx):
    if os.fork() == 0:
        os.close(1)
        time.sleep(120)
        os._exit(0)
    os.write(1, b"held")
    time.sleep(120)
ledger.write(hold)
"""
    process = subprocess.Popen([sys.executable, "-c", script, file], stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    assert process.stdout.read(4) == b"held"
    children = psutil.Process(process.pid).children()
    lock = FileLock(file.with_name("ledger.db-lock"), wait_s=0.05)
    with pytest.raises(Unavailable, match="another process holds the ledger"):
        lock.acquire()
    process.kill()
    process.wait()
    process.stdout.close()
    lock.acquire()
    lock.acquire()
    lock.close()
    ledger = SqliteLedger(file)
    put(ledger, "k")
    assert keys(ledger) == ["k"]
    ledger.close()
    for child in children:
        child.kill()


def test_a_failing_group_lets_go_of_the_lock(ledger: SqliteLedger, file: Path) -> None:
    lock = FileLock(file.with_name("ledger.db-lock"), wait_s=0)
    for attempt in (
        lambda: put(ledger, "k"),
        lambda: put(ledger, "k"),
        lambda: ledger.write(lambda _: 1 / 0),
    ):
        with contextlib.suppress(Conflict, ZeroDivisionError):
            attempt()
        lock.acquire()
        lock.release()
    lock.close()
