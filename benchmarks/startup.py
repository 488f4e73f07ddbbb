"""How soon Loopwright is there: import, help, a server that answers; what it holds at rest, how it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ROUNDS = 5
LIMITS = {"import_s": 0.15, "help_s": 0.4, "up_ready_s": 1.5, "rest_rss_mb": 200.0}
ABSENT = ("scipy", "sklearn", "lightgbm", "onnxruntime", "polars", "pyarrow", "duckdb")


def seconds(command: list[str]) -> float:
    """Wall seconds of a command, start of the interpreter included."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def median(measure: Callable[[], float]) -> float:
    """The median of some rounds after one that warms the disk's cache."""
    measure()
    return round(statistics.median(measure() for _ in range(ROUNDS)), 3)


def wait_for(url: str, server: subprocess.Popen[bytes], patience_s: float = 30.0) -> None:
    """Return once the address answers with 200."""
    until = time.perf_counter() + patience_s
    while time.perf_counter() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1.0):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.005)
    raise SystemExit(f"nothing answered at {url}")


def loaded(process: psutil.Process) -> list[str]:
    """Which of the libraries that may not be there at rest have a binary mapped."""
    maps = {Path(entry.path) for entry in process.memory_maps()}
    folders = {part.removesuffix(".libs") for path in maps for part in path.parts}
    return sorted(name for name in ABSENT if name in folders)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def up(folder: str) -> dict[str, Any]:
    """One start of a server on a folder: ready, at rest, stopped."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "loopwright",
        "up",
        "--port",
        str(port),
        "--workspace",
        f"{folder}/.loopwright",
    ]
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", server)
        ready = time.perf_counter() - started
        process = psutil.Process(server.pid)
        spent = sum(process.cpu_times()[:2])
        time.sleep(2.0)
        found = {"rss_mb": process.memory_info().rss / 1e6, "loaded": loaded(process)}
        stopping = time.perf_counter()
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=20)
        return {
            "ready_s": ready,
            "cpu_s": spent,
            "stop_s": time.perf_counter() - stopping,
            "exit": code,
            **found,
        }
    finally:
        server.kill()
        server.wait()


def main() -> None:
    """Print one JSON document with the figures, their limits, and whether all hold."""
    with tempfile.TemporaryDirectory() as folder:
        starts = [up(folder) for _ in range(4)]
    found: dict[str, Any] = {
        "import_s": median(lambda: seconds([sys.executable, "-c", "import loopwright"])),
        "help_s": median(lambda: seconds([sys.executable, "-m", "loopwright", "--help"])),
        "up_new_workspace_s": round(starts[0]["ready_s"], 3),
        "up_ready_s": round(statistics.median(start["ready_s"] for start in starts[1:]), 3),
        "up_ready_cpu_s": round(statistics.median(start["cpu_s"] for start in starts[1:]), 3),
        "load": round(os.getloadavg()[0], 1),
        "stop_s": round(max(start["stop_s"] for start in starts), 3),
        "exit": sorted({start["exit"] for start in starts}),
        "rest_rss_mb": round(max(start["rss_mb"] for start in starts), 1),
        "loaded_at_rest": starts[-1]["loaded"],
    }
    holds = all(found[name] < limit for name, limit in LIMITS.items()) and not found["loaded_at_rest"]
    print(json.dumps({**found, "limits": LIMITS, "holds": holds}, indent=2))


if __name__ == "__main__":
    main()
