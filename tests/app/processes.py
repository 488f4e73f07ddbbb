"""Starts the console script as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["loopwright", "server", "started"]

PATIENCE_S = 60.0


def _environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
    return {**kept, **more}


def loopwright(
    folder: Path, *args: str, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "loopwright", *args],
        cwd=folder,
        env=_environment(**environment),
        input=stdin.decode(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextmanager
def started(folder: Path, *args: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that goes on; it is killed at the end when it has not ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loopwright", *args],
        cwd=folder,
        env=_environment(**environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def server(
    folder: Path, *args: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A server that answers, with what it said of itself."""
    said = folder / "up.json"
    said.unlink(missing_ok=True)
    with started(folder, "up", "--port", "0", "--json", str(said), *args, **environment) as process:
        until = time.monotonic() + PATIENCE_S
        while not said.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(process.communicate()[1].decode())
            time.sleep(0.02)
        told = json.loads(said.read_text())
        assert "url" in told, told
        yield process, told
