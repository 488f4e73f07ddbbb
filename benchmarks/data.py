"""Folders of files beside DVC, and tables that grow beside Delta, in one run. Prints a table and JSON.

Whole processes (the commands of both), but for the rows that say warm: a call in a warm process.
`--peer` makes environments with the peers in the user's cache at its first use. Each figure of files is the
least of `--rounds`; of appends the median of each fifth of the versions is shown, to see whether it grows.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from loopwright.core.expressions import col
from loopwright.core.schema import ColumnType
from loopwright.data.appending import append
from loopwright.data.checkouts import checkout
from loopwright.data.contracts import define_contract
from loopwright.data.folders import add_folder
from loopwright.data.nouns import ColumnRule, Contract, RowRule
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.workspace import Workspace

DVC = "dvc==3.67.1"
DELTA = "deltalake==1.6.6"
ROWS = 10_000
LIMITS = {
    "add large, link": 1.0,
    "add large, copy": 4.5,
    "add small again, warm": 0.2,
    "check out small, warm": 1.2,
    "append": 0.025,
    "append, 10 checks": 0.060,
    "open any version": 0.005,
}
QUIET = {"DVC_NO_ANALYTICS": "1", "GIT_TERMINAL_PROMPT": "0", "LOOPWRIGHT_WORKSPACE": ".loopwright"}


def make_large(folder: Path, megabytes: int) -> None:
    chance = random.Random(1)
    folder.mkdir(parents=True)
    for place in range(8):
        with (folder / f"{place}.bin").open("wb") as file:
            for _ in range(megabytes // 8):
                file.write(chance.randbytes(1 << 20))


def make_small(folder: Path, files: int) -> None:
    chance = random.Random(2)
    for place in range(files):
        file = folder / f"d{place // 1000:03d}" / f"{place}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(4096 + place % 8192))


def run(command: list[str], folder: Path) -> float:
    """Seconds of a command, its modules compiled as those of an installed package are."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        env={**env, **QUIET},
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )
    return time.perf_counter() - began


def timed(work: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def change_one(folder: Path) -> None:
    """Replace a file as an editor does."""
    victim = min(file for file in folder.rglob("*") if file.is_file())
    draft = victim.with_name("draft~")
    draft.write_bytes(victim.read_bytes() + b"x")
    draft.replace(victim)


def ours(place: Path, large: Path, small: Path) -> dict[str, float]:
    """One round of ours; the files are copies, as linking makes them read-only."""
    found: dict[str, float] = {}
    command = [str(Path(sys.executable).with_name("loopwright"))]
    for name, source in (("large", large), ("small", small)):
        for way in ("copy", "link"):
            folder = place / way
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, folder / name)
            os.sync()
            flags = ["--link"] if way == "link" else []
            found[f"add {name}, {way}"] = run([*command, "data", "add", name, *flags], folder)
        folder = place / "copy"
        found[f"add {name} again"] = run([*command, "data", "add", name], folder)
        found |= warm(folder, name)
        found[f"check out {name}"] = run([*command, "data", "checkout", name, f"{name}-out"], folder)
    return found


def warm(folder: Path, name: str) -> dict[str, float]:
    """Calls in this process."""
    found: dict[str, float] = {}
    with Workspace.open(str(folder / ".loopwright")) as workspace:
        add = (add_folder, workspace.context(), name, folder / name)
        timed(*add)
        found[f"add {name} again, warm"] = timed(*add)
        change_one(folder / name)
        found[f"add {name}, one file changed, warm"] = timed(*add)
        out = folder / "warm"
        found[f"check out {name}, warm"] = timed(checkout, workspace.context(), f"dataset:{name}", out)
    shutil.rmtree(out)
    return found


def peer_python(package: str) -> Path:
    """The Python of an environment with a peer."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loopwright" / "peers"
    folder = cache / package.replace("==", "-")
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [str(folder / "bin/python"), "-m", "pip", "install", "-q", package, "pyarrow", "numpy"],
            check=True,
        )
        (folder / "made").touch()
    return folder / "bin/python"


def theirs(python: Path, place: Path, large: Path, small: Path) -> dict[str, float]:
    """One round of DVC, with its cache linked and copied."""
    found: dict[str, float] = {}
    dvc = [str(python), "-m", "dvc"]
    for way, kind in (("link", "hardlink"), ("copy", "copy")):
        cleared(place).mkdir(parents=True)
        for command in (["git", "init", "-q"], [*dvc, "init", "-q"], [*dvc, "config", "cache.type", kind]):
            run(command, place)
        for name, source in (("large", large), ("small", small)):
            shutil.copytree(source, place / name)
            os.sync()
            found[f"add {name}, {way}"] = run([*dvc, "add", "-q", name], place)
            if way == "copy":
                found[f"add {name} again"] = run([*dvc, "add", "-q", name], place)
            shutil.rmtree(place / name)
            seconds = run([*dvc, "checkout", "-q", "-f", name], place)
            found[f"check out {name}"] = min(seconds, found.get(f"check out {name}", seconds))
    return found


def grown(place: int) -> pa.Table:
    """A batch of eight columns; each follows the one before it in time."""
    chance = np.random.default_rng(place)
    ids = np.arange(place * ROWS, (place + 1) * ROWS)
    return pa.table(
        {
            "id": ids,
            "origin": np.array(["EWR", "JFK", "LGA"])[chance.integers(0, 3, ROWS)],
            "at": pa.array(1_700_000_000_000_000 + ids * 1_000_000).cast(pa.timestamp("us", "UTC")),
            "wind": chance.normal(size=ROWS),
            "humid": chance.random(ROWS),
            "delay": chance.integers(0, 1000, ROWS),
            "score": chance.random(ROWS),
            "late": chance.integers(0, 2, ROWS).astype(bool),
        }
    )


def ten_checks() -> Contract:
    """Two checks of rows and eight of columns, each held for every row."""
    types = ("int", "string", "instant", "float", "float", "int", "float", "bool")
    kinds = dict(zip(grown(0).column_names, types, strict=True))
    limits: dict[str, dict[str, Any]] = {
        "id": {"min": 0, "nullable": False},
        "origin": {"allowed": ("EWR", "JFK", "LGA"), "pattern": "[A-Z]{3}"},
        "wind": {"min": -99.0, "max": 99.0},
        "humid": {"min": 0.0, "max": 1.0},
        "delay": {"min": 0, "max": 1000, "nullable": False},
        "score": {"min": 0.0},
    }
    rules = [
        ColumnRule(name=name, type=ColumnType(kind), **limits.get(name, {})) for name, kind in kinds.items()
    ]
    rows = (RowRule(name="paired", expr=col("score") < col("delay") + 2),)
    return Contract(name="checked", columns=tuple(rules), rows=rows)


def fifths(seconds: Sequence[float]) -> list[float]:
    """The median of each fifth."""
    size = max(len(seconds) // 5, 1)
    return [round(statistics.median(seconds[at : at + size]), 5) for at in range(0, size * 5, size)]


def ours_grows(place: Path, versions: int) -> dict[str, list[float]]:
    """Appends to two datasets in turn, one of them with a contract, and then openings of all versions."""
    found: dict[str, list[float]] = {"append": [], "append, 10 checks": [], "open any version": []}
    with Workspace.open(str(place / ".loopwright")) as workspace:
        ctx = workspace.context()
        define_contract(ctx, "checked", ten_checks())
        for at in range(versions):
            batch = grown(at)
            for name, dataset in (("append", "plain"), ("append, 10 checks", "checked")):
                began = time.perf_counter()
                append(ctx, dataset, batch, event_time="at")
                found[name].append(time.perf_counter() - began)
        for number in range(1, versions + 1):
            began = time.perf_counter()
            manifest_of(ctx, resolve(ctx, f"dataset:plain@{number}"))
            found["open any version"].append(time.perf_counter() - began)
    return found


DELTA_PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[3])
from deltalake import DeltaTable, write_deltalake
from data_batches import grown
found = {"append": [], "open any version": []}
for at in range(int(sys.argv[2])):
    batch = grown(at)
    began = time.perf_counter()
    write_deltalake(sys.argv[1], batch, mode="append")
    found["append"].append(time.perf_counter() - began)
for number in range(int(sys.argv[2])):
    began = time.perf_counter()
    DeltaTable(sys.argv[1], version=number)
    found["open any version"].append(time.perf_counter() - began)
print(json.dumps(found))
"""


def delta_grows(python: Path, place: Path, versions: int) -> dict[str, list[float]]:
    """The same appends and openings by Delta, in one warm process."""
    place.mkdir(parents=True)
    head = f"import numpy as np\nimport pyarrow as pa\nROWS = {ROWS}\n"
    source = head + inspect.getsource(grown)
    (place / "data_batches.py").write_text(source)
    command = [str(python), "-c", DELTA_PROGRAM, str(place / "table"), str(versions), str(place)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    told: dict[str, list[float]] = json.loads(done.stdout)
    return told


def best(rounds: int, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for _ in range(rounds):
        for name, seconds in measure().items():
            found[name] = min(seconds, found.get(name, seconds))
    return found


def cleared(place: Path) -> Path:
    if place.exists():
        subprocess.run(["chmod", "-R", "u+w", str(place)], check=True)
        shutil.rmtree(place)
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024, help="of the large files, 8 of them")
    parser.add_argument("--files", type=int, default=10_000, help="how many small ones, of 4 to 12 KB")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--versions", type=int, default=1000, help="of the tables that grow, 10,000 rows each"
    )
    parser.add_argument("--only", choices=("files", "tables"), help="one half alone")
    parser.add_argument("--peer", action="store_true", help="DVC and Delta too")
    parser.add_argument(
        "--at", type=Path, default=Path(".bench-data"), help="a folder on the disk to measure"
    )
    asked = parser.parse_args()
    place = cleared(asked.at.absolute())
    try:
        if asked.only != "tables":
            measure_files(asked, place)
        if asked.only != "files":
            measure_tables(asked, place)
    finally:
        cleared(place)


def measure_files(asked: argparse.Namespace, place: Path) -> None:
    large, small = place / "source/large", place / "source/small"
    make_large(large, asked.megabytes)
    make_small(small, asked.files)
    mine = best(asked.rounds, lambda: ours(cleared(place / "ours"), large, small))
    peer: dict[str, float] = {}
    if asked.peer:
        peer = best(asked.rounds, lambda: theirs(peer_python(DVC), place / "dvc", large, small))
    report(mine, peer)


def measure_tables(asked: argparse.Namespace, place: Path) -> None:
    (place / "grown").mkdir(parents=True)
    mine = ours_grows(place / "grown", asked.versions)
    peer: dict[str, list[float]] = {}
    if asked.peer:
        peer = delta_grows(peer_python(DELTA), place / "delta", asked.versions)
    report(
        *({name: statistics.median(each) for name, each in side.items()} for side in (mine, peer)), "delta_s"
    )
    shown = [{name: fifths(each) for name, each in side.items()} for side in (mine, peer)]
    print(json.dumps({"ours_fifths_s": shown[0], "delta_fifths_s": shown[1]}, indent=1))


def report(mine: dict[str, float], peer: dict[str, float], whose: str = "dvc_s") -> None:
    for name, seconds in mine.items():
        other = peer.get(name)
        beside = "" if other is None else f"{other:9.2f} s {other / seconds:7.1f}x"
        limit = f"  (reach {LIMITS[name]} s)" if name in LIMITS else ""
        print(f"{name:36s} {seconds:8.3f} s {beside}{limit}", file=sys.stderr)
    print(json.dumps({"load": os.getloadavg()[0], "ours_s": mine, whose: peer}, indent=1))


if __name__ == "__main__":
    main()
