"""Environments of others' programs: made from what pins them on first use, kept in the cache of the user."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["environment_of", "made_once", "run"]


def made_once(name: str, pinned: Path, make: Callable[[Path], None]) -> Path:
    """The folder of these pins; `make` fills it where nobody has, one process at a time."""
    digest = hashlib.sha256(pinned.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "loopwright" / "peers" / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make(folder)
            (folder / "made").touch()
    return folder


def environment_of(name: str, requirements: Path) -> Path:
    """The folder of an environment of Python with these requirements."""
    return made_once(name, requirements, lambda folder: _make(folder / "env", requirements)) / "env"


def _make(folder: Path, requirements: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        run(uv, "venv", "-q", "--python", sys.executable, str(folder))
        run(uv, "pip", "install", "-q", "--python", str(folder / "bin/python"), "-r", str(requirements))
        return
    run(sys.executable, "-m", "venv", str(folder))
    run(str(folder / "bin/python"), "-m", "pip", "install", "-q", "-r", str(requirements))


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a command that has to succeed, with nothing to read."""
    subprocess.run(command, cwd=cwd, check=True, stdin=subprocess.DEVNULL)
