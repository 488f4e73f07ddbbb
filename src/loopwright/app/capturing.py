"""What a run is worth little without later: code, environment, command and machine, as they were."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

import msgspec

from loopwright.core.digests import digest_bytes
from loopwright.core.nouns import Json

__all__ = [
    "DIFF_FILE",
    "LOCK_FILE",
    "Captured",
    "captured",
    "code_state",
    "environment_lock",
    "uncommitted_changes",
]

DIFF_FILE = "loopwright/changes.diff"
LOCK_FILE = "loopwright/environment.lock.txt"

_GIT_S = 5.0
_DIFF_LIMIT = 2_000_000


def _git(*words: str) -> str | None:
    """What git says, or None where there is no repository or no git."""
    try:
        done = subprocess.run(
            ["git", *words], capture_output=True, timeout=_GIT_S, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def environment_lock() -> str:
    """Every installed distribution with its version, a line each, as pip freezes them."""
    found = {line for each in distributions() if (line := _frozen(each))}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def _frozen(distribution: Distribution) -> str:
    """Name and version, of the head of its metadata alone: a whole one takes a millisecond to parse."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = text.partition("\n\n")[0]
    fields = dict(reversed([line.partition(": ")[::2] for line in head.splitlines() if ": " in line]))
    name, version = fields.get("Name", "").strip(), fields.get("Version", "").strip()
    return f"{name}=={version}" if name and version else ""


def uncommitted_changes() -> str:
    """The difference between the last commit and the files, empty where there is none."""
    return _git("diff", "HEAD", "--no-color", "--no-ext-diff", "--binary") or ""


def code_state(diff: str | None = None) -> Json:
    """The commit and the digest of the difference to it; nothing outside of a repository."""
    commit = (_git("rev-parse", "HEAD") or "").strip()
    if not commit:
        return {}
    told = uncommitted_changes() if diff is None else diff
    return {"commit": commit, "diff": digest_bytes(told.encode()) if told else ""}


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """What a run began with: facts, and the texts that are kept as files of the run."""

    facts: Json
    files: dict[str, str]


def captured() -> Captured:
    """Facts of a run (`code`, `environment`, `command`, `machine`, `seeds`…), its lock and its difference."""
    diff, lock = uncommitted_changes(), environment_lock()
    code = code_state(diff)
    facts: Json = {
        "command": _command(),
        "environment": {
            "python": platform.python_version(),
            "packages": lock.count("\n"),
            "digest": digest_bytes(lock.encode()),
            "file": LOCK_FILE,
        },
        "machine": _machine(),
    }
    if notebook := os.environ.get("JPY_SESSION_NAME"):
        facts["notebook"] = Path(notebook).name
    if seeds := _seeds():
        facts["seeds"] = seeds
    files = {LOCK_FILE: lock}
    if code:
        facts["code"] = {**code, "root": (_git("rev-parse", "--show-toplevel") or "").strip()}
        facts["folder"] = (_git("rev-parse", "--show-prefix") or "").strip()
    if diff and len(diff) <= _DIFF_LIMIT:
        facts["code"]["file"] = DIFF_FILE
        files[DIFF_FILE] = diff
    return Captured(facts=facts, files=files)


def _command() -> list[str]:
    """How the program was started, so that it can be again; empty for cells and lines typed by hand."""
    python = Path(sys.executable).name
    if _is_interactive() or sys.argv[0] in {"", "-"}:
        return []
    if sys.argv[0] == "-c":
        return [python, *sys.orig_argv[sys.orig_argv.index("-c") :]] if "-c" in sys.orig_argv else []
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        module = spec.name.removesuffix(".__main__")
        return [python, "-m", module, *sys.argv[1:]]
    return [python, *sys.argv]


def _is_interactive() -> bool:
    """Whether lines are given to IPython, as the cells of a notebook are."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def _seeds() -> Json:
    """What fixed chance from outside."""
    found = os.environ.get("PYTHONHASHSEED")
    return {"PYTHONHASHSEED": found} if found else {}


def _machine() -> Json:
    import psutil

    return {
        "name": platform.node(),
        "python": sys.executable,
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
    }
