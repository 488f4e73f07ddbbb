"""Folders of files as versions, ours and DVC's on the same files in one run. Prints a table and JSON.

Whole processes (the commands of both), but for the rows that say warm: a call in a warm process.
`--peer` makes an environment with DVC in the user's cache at its first use. Each figure is the least of
`--rounds`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from loopwright.data.checkouts import checkout
from loopwright.data.folders import add_folder
from loopwright.workspace import Workspace

DVC = "dvc==3.67.1"
LIMITS = {
    "add large, link": 1.0,
    "add large, copy": 4.5,
    "add small again, warm": 0.2,
    "check out small, warm": 1.2,
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
    """Seconds of a command."""
    began = time.perf_counter()
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        env={**os.environ, **QUIET},
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


def peer_python() -> Path:
    """The Python of an environment with DVC."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loopwright" / "peers"
    folder = cache / DVC.replace("==", "-")
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin/python"), "-m", "pip", "install", "-q", DVC], check=True)
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
    parser.add_argument("--peer", action="store_true", help="DVC too")
    parser.add_argument(
        "--at", type=Path, default=Path(".bench-data"), help="a folder on the disk to measure"
    )
    asked = parser.parse_args()
    place = cleared(asked.at.absolute())
    try:
        large, small = place / "source/large", place / "source/small"
        make_large(large, asked.megabytes)
        make_small(small, asked.files)
        mine = best(asked.rounds, lambda: ours(cleared(place / "ours"), large, small))
        peer: dict[str, float] = {}
        if asked.peer:
            peer = best(asked.rounds, lambda: theirs(peer_python(), place / "dvc", large, small))
        report(mine, peer)
    finally:
        cleared(place)


def report(mine: dict[str, float], peer: dict[str, float]) -> None:
    for name, seconds in mine.items():
        other = peer.get(name)
        beside = "" if other is None else f"{other:9.2f} s {other / seconds:7.1f}x"
        limit = f"  (reach {LIMITS[name]} s)" if name in LIMITS else ""
        print(f"{name:36s} {seconds:8.3f} s {beside}{limit}", file=sys.stderr)
    print(json.dumps({"load": os.getloadavg()[0], "ours_s": mine, "dvc_s": peer}, indent=1))


if __name__ == "__main__":
    main()
