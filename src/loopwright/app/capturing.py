"""What a run is worth little without later: code, environment, command and machine, as they were."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from loopwright.core.digests import digest_bytes
from loopwright.core.nouns import Json

__all__ = ["captured", "environment_lock", "uncommitted_changes"]

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
    found = {f"{d.metadata['Name']}=={d.version}" for d in distributions() if d.metadata["Name"]}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def uncommitted_changes() -> str:
    """The difference between the last commit and the files, empty where there is none."""
    return (_git("diff", "HEAD", "--no-color", "--no-ext-diff") or "")[:_DIFF_LIMIT]


def captured() -> Json:
    """Facts of a run: `code`, `environment`, `command`, `machine`."""
    commit, diff = (_git("rev-parse", "HEAD") or "").strip(), uncommitted_changes()
    lock = environment_lock()
    facts: Json = {
        "command": [Path(sys.executable).name, *sys.argv],
        "environment": {
            "python": platform.python_version(),
            "packages": lock.count("\n"),
            "digest": digest_bytes(lock.encode()),
        },
        "machine": _machine(),
    }
    if commit:
        facts["code"] = {"commit": commit, "diff": digest_bytes(diff.encode()) if diff else ""}
    return facts


def _machine() -> Json:
    import psutil

    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
    }
