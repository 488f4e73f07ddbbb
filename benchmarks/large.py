"""Larger than memory: two files are joined, the result is checked and profiled, each as a whole process.

At `--scale 1` both files and the result are about 20 GB each in memory form, and every process may take 4 GB
of anonymous memory and 30 GB of scratch; `--scale 0.1 --memory 600MB` is a tenth of it. The greatest
anonymous memory is sampled every 20 ms, scratch twice a second. Needs 60 GB of free disk times the scale.
What comes out is compared: all rows in their order, and those of some keys with the contract of the join
written down row by row; the counts and first failing rows of the checks with what was put in. Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loopwright.core.sizes import parse_size

SPINE_ROWS, VIEW_ROWS, ENTITIES = 94_000_000, 71_000_000, 4_000_000
DISK = 60 * 10**9
SCRATCH = 30 * 10**9
CHUNK = 1 << 18
TTL_S = 30 * 86_400
YEAR_US = 365 * 86_400 * 1_000_000
START_US = 1_700_000_000_000_000
COUNTRIES = ["US", "DE", "FR", "GB", "IT", "ES", "NL", "SE"]
CITIES = ["Amsterdam", "Berlin", "Copenhagen", "Dublin", "Edinburgh", "Frankfurt am Main", "Gothenburg"]
SECRET = 0.001
"""share of rows whose key is null"""
MANY = 50
"""of every chunk so many rows break each check"""
CHECK = """
import sys, json
import loopwright as lw
from datetime import datetime
class Rows(lw.Contract):
    id: int = lw.field(unique=True)
    amount: float = lw.field(min=0, max=100000)
    qty: int = lw.field(min=0)
    country: str = lw.field(allowed={countries})
    code: str = lw.field(pattern="C[0-9]{{9}}")
    score: float
    asked: datetime = lw.field(min="2023-01-01T00:00:00Z")
    start: float
    end: float
    ends_after_start = lw.row(lw.col("end") >= lw.col("start"))
    affordable = lw.row(lw.col("amount") <= 5000)
report = lw.check(Rows, sys.argv[1], engine="{engine}", memory=sys.argv[2])
broken = [rule for rule in report.rules if rule.failed]
found = {{rule.rule: [rule.failed, [each["row"] for each in rule.first]] for rule in broken}}
print(json.dumps({{"rules": len(report.rules), "rows": report.rows, "broken": found}}))
"""


def instants(micros: np.ndarray) -> pa.Array:
    return pa.array(micros).cast(pa.timestamp("us", "UTC"))


def worded(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(numbers), pa.string()), "")


def keys_of(chance: np.random.Generator, rows: int, entities: int) -> pa.Array:
    """Some entities have far more rows than others; some rows have none."""
    drawn = (entities * chance.random(rows) ** 3).astype(np.int64) * 7919
    return pa.array(drawn, mask=chance.random(rows) < SECRET)


def spine_chunk(chance: np.random.Generator, first: int, rows: int, whole: tuple[int, int]) -> pa.Table:
    """Rows in the order of their place, with `MANY` bad values of every sort; an id repeats as often."""
    total, entities = whole
    ids = np.arange(first, first + rows)
    amount, qty = np.round(chance.gamma(2, 50, rows), 2), chance.integers(0, 100, rows)
    country, code = chance.integers(0, 8, rows), chance.integers(10**8, 10**9, rows)
    start = np.round(chance.random(rows) * 1000, 3)
    end = np.round(start + chance.random(rows) * 100, 3)
    bad = min(MANY, rows // 8)
    ids[bad : 2 * bad] = ids[:bad]
    amount[:bad], qty[bad : 2 * bad], end[2 * bad : 3 * bad] = -1.0, -5, -1.0
    code[3 * bad : 4 * bad] = 7
    score = pa.array(np.round(chance.normal(size=rows), 4), mask=np.arange(rows) // max(bad, 1) == 4)
    asked = START_US + (np.arange(first, first + rows) * (YEAR_US // total)) + chance.integers(0, 10**9, rows)
    return pa.table(
        {
            "place": np.arange(first, first + rows),
            "k": keys_of(chance, rows, entities),
            "asked": instants(asked),
            "id": ids,
            "amount": amount,
            "qty": qty,
            "country": pa.array([*COUNTRIES, "XX"]).take(pa.array(np.where(ids % 2**17 == 9, 8, country))),
            "code": worded("C", code),
            "score": score,
            "start": start,
            "end": end,
            "note": worded("order of the customer ", chance.integers(0, 10**7, rows)),
        }
    )


def view_chunk(chance: np.random.Generator, first: int, rows: int, whole: tuple[int, int]) -> pa.Table:
    """Rows about as they came: events a little out of order, known up to a day later or not said."""
    total, entities = whole
    event = (
        START_US + (np.arange(first, first + rows) * (YEAR_US // total)) + chance.integers(0, 10**11, rows)
    )
    known = event + chance.integers(0, 86_400_000_000, rows)
    table = {
        "k": keys_of(chance, rows, entities),
        "event": instants(event // 10**6 * 10**6),
        "known": pa.array(known, mask=chance.random(rows) < 0.01).cast(pa.timestamp("us", "UTC")),
        "seq": chance.integers(0, 1000, rows),
    }
    table |= {f"f{at}": np.round(chance.normal(size=rows), 3) for at in range(6)}
    table |= {f"f{at}": chance.integers(0, 1000, rows) for at in range(6, 9)}
    table["city"] = pa.array(CITIES).take(pa.array(chance.integers(0, len(CITIES), rows)))
    table["session"] = worded("session-", chance.integers(0, 10**12, rows))
    return pa.table(table)


Chunk = Callable[[np.random.Generator, int, int, tuple[int, int]], pa.Table]


def write(path: Path, rows: int, entities: int, chunk: Chunk) -> dict[str, float]:
    """A file by streaming; each chunk has a seed of its own. Its bytes on disk and in memory."""
    writer, held = None, 0
    for number, first in enumerate(range(0, rows, CHUNK)):
        chance = np.random.default_rng([len(path.name), number])
        table = chunk(chance, first, min(CHUNK, rows - first), (rows, entities))
        held += table.nbytes
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="zstd", compression_level=1)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return {"rows": rows, "file_gb": gigabytes(path.stat().st_size), "memory_gb": gigabytes(held)}


def gigabytes(size: float) -> float:
    return round(size / 1e9, 3)


class Watch(threading.Thread):
    """The greatest anonymous memory of a process and those it started, and the most bytes of its scratch."""

    def __init__(self, pid: int, folder: Path, apart: set[Path]) -> None:
        super().__init__(daemon=True)
        self._pid, self._folder, self._apart = pid, folder, apart
        self._ended = threading.Event()
        self.memory, self.scratch = 0, 0

    def run(self) -> None:
        turn = 0
        while not self._ended.wait(0.02):
            self.memory = max(self.memory, sum(anonymous(pid) for pid in tree_of(self._pid)))
            if turn % 25 == 0:
                self.scratch = max(self.scratch, below(self._folder, self._apart))
            turn += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


def anonymous(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def tree_of(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        try:
            threads = list(Path(f"/proc/{each}/task").iterdir())
            found += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except OSError:
            pass
    return found


def below(folder: Path, apart: set[Path]) -> int:
    """Bytes of all files below a folder but some."""
    size, names_apart = 0, {each.name for each in apart}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            with contextlib.suppress(OSError):
                size += 0 if name in names_apart else path.stat().st_size
    return size


class Measured(NamedTuple):
    """What a process took, and what it printed."""

    figures: dict[str, float]
    said: str


def process(command: list[str], folder: Path, apart: set[Path]) -> Measured:
    """Run a whole process; its temporary files go below the folder."""
    spot = folder / "tmp"
    spot.mkdir(exist_ok=True)
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdout=out, env={**os.environ, "TMPDIR": str(spot)})
        watch = Watch(child.pid, folder, apart)
        watch.start()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        watch.end()
        out.seek(0)
        said = out.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {child.returncode}")
    left = below(folder, apart)
    figures = {
        "s": round(time.perf_counter() - begun, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "anonymous_gb": gigabytes(watch.memory),
        "scratch_gb": gigabytes(watch.scratch),
        "left_bytes": left,
    }
    return Measured(figures, said)


class Place(NamedTuple):
    """Where the files lie."""

    folder: Path

    @property
    def spine(self) -> Path:
        return self.folder / "spine.parquet"

    @property
    def view(self) -> Path:
        return self.folder / "view.parquet"

    @property
    def joined(self) -> Path:
        return self.folder / "joined.parquet"

    @property
    def apart(self) -> set[Path]:
        return {self.spine, self.view, self.joined, self.folder / "page.html"}


def join(place: Place, memory: str) -> Measured:
    files = ["--spine", str(place.spine), "--view", str(place.view), "--out", str(place.joined)]
    columns = ["--key", "k", "--time", "asked", "--event-time", "event", "--known-at", "known"]
    more = ["--order-by", "seq", "--ttl", str(TTL_S), "--memory", memory]
    command = [sys.executable, "-m", "loopwright", "features", "join", *files, *columns, *more]
    return process(command, place.folder, place.apart)


def check(place: Place, memory: str, engine: str) -> Measured:
    program = CHECK.format(countries=COUNTRIES, engine=engine)
    command = [sys.executable, "-W", "ignore", "-c", program, str(place.joined), memory]
    return process(command, place.folder, place.apart)


def profile(place: Place, memory: str) -> Measured:
    del memory  # a profile reads its file in pieces whatever there is
    page = ["--html", str(place.folder / "page.html")]
    command = [sys.executable, "-m", "loopwright", "data", "profile", str(place.joined), *page]
    return process(command, place.folder, place.apart)


# ------------------------------------------------------------------------------------------- is it right?


def same_order(place: Place) -> None:
    """Every row of the spine is there once, in its order, with its own columns."""
    spine, joined = pq.ParquetFile(place.spine), pq.ParquetFile(place.joined)
    assert spine.metadata.num_rows == joined.metadata.num_rows
    assert joined.schema_arrow.names[: len(spine.schema_arrow.names)] == spine.schema_arrow.names
    names = ["place", "amount", "note"]
    theirs = joined.iter_batches(batch_size=CHUNK, columns=names)
    waiting = pa.table({name: pa.array([], joined.schema_arrow.field(name).type) for name in names})
    for batch in spine.iter_batches(batch_size=CHUNK, columns=names):
        while waiting.num_rows < batch.num_rows:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([next(theirs)])])
        assert waiting.slice(0, batch.num_rows).equals(pa.Table.from_batches([batch])), "rows differ"
        waiting = waiting.slice(batch.num_rows)


def rows_of(path: Path, keys: pa.Array) -> pa.Table:
    """The rows of some keys, with their place in the file."""
    found, first = [], 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=CHUNK):
        at = np.flatnonzero(pc.is_in(batch.column("k"), value_set=keys).to_numpy(zero_copy_only=False))
        table = pa.Table.from_batches([batch]).take(pa.array(at))
        found.append(table.append_column("at", pa.array(at + first)))
        first += batch.num_rows
    return pa.concat_tables(found)


def winner(row: dict[str, object], view: list[tuple[int, int, int, int]]) -> int:
    """The place of the row that is known and newest, by the words of the contract; -1 for none."""
    asked = row["asked"]
    assert isinstance(asked, int)
    known = [
        each for each in view if each[0] <= asked and each[1] <= asked and each[0] >= asked - TTL_S * 10**6
    ]
    return max(known)[3] if known else -1


def micros(table: pa.Table, name: str) -> list[int | None]:
    found: list[int | None] = table.column(name).cast(pa.int64()).to_pylist()
    return found


def same_winners(place: Place, entities: int) -> int:
    """Rows of keys all over, of frequent ones too: how many were compared."""
    step = max(1, entities // 200)
    keys = pa.array(np.append(np.arange(step // 2, entities, step), 100) * 7919)
    view, joined = rows_of(place.view, keys), rows_of(place.joined, keys)
    history: dict[int, list[tuple[int, int, int, int]]] = {}
    times = zip(micros(view, "event"), micros(view, "known"), strict=True)
    rows = zip(view["k"].to_pylist(), times, view["seq"].to_pylist(), range(view.num_rows), strict=True)
    for key, (event, known), seq, at in rows:
        assert event is not None
        history.setdefault(key, []).append((event, event if known is None else known, seq, at))
    wanted = [
        winner({"asked": asked}, history.get(key, []))
        for key, asked in zip(joined["k"].to_pylist(), micros(joined, "asked"), strict=True)
    ]
    places = np.array(wanted)
    taken = view.take(pa.array(places, mask=places < 0))
    for name in view.column_names[4:-1]:
        assert joined.column(name).combine_chunks().equals(taken.column(name).combine_chunks()), name
    assert joined.num_rows > 0
    assert (places >= 0).any()
    return joined.num_rows


def right_checks(said: str, rows: int) -> dict[str, int]:
    """The counts of what was put in, and where the first of it is."""
    told = json.loads(said.strip().splitlines()[-1])
    sizes = [min(CHUNK, rows - first) for first in range(0, rows, CHUNK)]
    bad = sum(min(MANY, size // 8) for size in sizes)
    first = min(MANY, sizes[0] // 8)
    assert told["rows"] == rows
    broken = told["broken"]
    for name, begins in {
        "id is unique": first,
        "amount": 0,
        "qty": first,
        "ends after start": 2 * first,
    }.items():
        found = next(each for rule, each in broken.items() if rule.startswith(name))
        assert found == [bad, list(range(begins, begins + min(10, first)))], (name, found, bad)
    return {rule: found[0] for rule, found in broken.items()}


# ------------------------------------------------------------------------------------------- the whole of it


def room(folder: Path, scale: float) -> None:
    """Refuse where the disk has not the room."""
    free, needed = shutil.disk_usage(folder).free, DISK * scale
    if free < needed:
        raise SystemExit(
            f"{folder} has {free / 1e9:.0f} GB free, {needed / 1e9:.0f} are needed: "
            "free some, give another --folder, or do less by --scale"
        )


def say(what: object) -> None:
    """What is known already, for who waits."""
    print(json.dumps(what), file=sys.stderr, flush=True)


def make(place: Place, scale: float) -> dict[str, dict[str, float]]:
    entities = max(100, int(ENTITIES * scale))
    return {
        "spine": write(place.spine, int(SPINE_ROWS * scale), entities, spine_chunk),
        "view": write(place.view, int(VIEW_ROWS * scale), entities, view_chunk),
    }


def run(place: Place, scale: float, memory: str, engine: str, steps: list[str]) -> dict[str, object]:
    """Make the files, do what is asked of them, and compare."""
    found: dict[str, object] = {"scale": scale, "memory": memory, "load": os.getloadavg()[0]}
    if "make" in steps:
        found["files"] = make(place, scale)
        say(found["files"])
    if "join" in steps:
        found["join"] = join(place, memory).figures
        say(found["join"])
        found["joined_gb"] = gigabytes(place.joined.stat().st_size)
    if "compare" in steps:
        same_order(place)
        found["rows_compared"] = same_winners(place, max(100, int(ENTITIES * scale)))
    if "check" in steps:
        measured = check(place, memory, engine)
        found["check"] = measured.figures
        say(found["check"])
        found["broken"] = right_checks(measured.said, int(SPINE_ROWS * scale))
    if "profile" in steps:
        found["profile"] = profile(place, memory).figures
        say(found["profile"])
    held = [found[step] for step in ("join", "check", "profile") if step in found]
    found["within"] = all(
        isinstance(each, dict)
        and each["anonymous_gb"] <= parse_size(memory) / 1e9
        and each["scratch_gb"] <= SCRATCH * scale / 1e9
        and not each["left_bytes"]
        for each in held
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--engine", choices=["polars", "duckdb"], default="polars")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; the files stay there")
    parser.add_argument("--steps", default="make,join,compare,check,profile")
    given = parser.parse_args()
    steps = given.steps.split(",")
    with tempfile.TemporaryDirectory(prefix="loopwright-large-") as name:
        folder = given.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if "make" in steps:
            room(folder, given.scale)
        found = run(Place(folder), given.scale, given.memory, given.engine, steps)
    json.dump(found, sys.stdout, indent=2)
    print()
    sys.exit(0 if found["within"] else 1)


if __name__ == "__main__":
    main()
