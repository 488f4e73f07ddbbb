"""Runs, points and batches written over the protocol, and a run read."""

from __future__ import annotations

import time
import uuid
from typing import Any

from protocol.line import Line
from protocol.measuring import Figures, Server, Sizes, crowd, family, memory_mb
from protocol.seeding import START

__all__ = [
    "batches",
    "experiment",
    "new_run",
    "one_metric",
    "point",
    "rest",
    "runs",
    "whole_run",
]


def experiment(line: Line) -> str:
    return str(
        line.call("POST", "experiments/create", {"name": f"bench-{uuid.uuid4().hex}"})["experiment_id"]
    )


def new_run(line: Line, home: str, start: int = START) -> str:
    made = line.call("POST", "runs/create", {"experiment_id": home, "run_name": "bench", "start_time": start})
    return str(made["run"]["info"]["run_id"])


def point(key: str, value: float, step: int) -> dict[str, Any]:
    return {"key": key, "value": value, "timestamp": START + 7 + step, "step": step}


def whole_run(line: Line, home: str) -> None:
    run = new_run(line, home)
    params = [{"key": f"p{number}", "value": str(number)} for number in range(10)]
    metrics = [point(f"m{number}", number / 2, 0) for number in range(10)]
    line.call("POST", "runs/log-batch", {"run_id": run, "params": params, "metrics": metrics})
    line.call("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": START + 5})


def one_metric(line: Line, run: str, step: int) -> None:
    line.call("POST", "runs/log-metric", {"run_id": run, **point("loss", 0.5, step)})


def rest(server: Server, sizes: Sizes) -> Figures:
    """Start to the first answer, and what is there when nothing is asked."""
    if not server.pids:
        return {}
    time.sleep(min(3.0, sizes.seconds))
    return {
        "start": {"start_s": round(server.started_s, 2)},
        "rest": {"processes": len(family(server)), "memory_mb": round(memory_mb(server), 1)},
    }


def runs(server: Server, sizes: Sizes) -> Figures:
    """A run created, filled by one batch, finished; then single points, and a run read."""
    line = server.line()
    home = experiment(line)
    whole_run(line, home)
    told = {
        f"run, {clients} clients": crowd(
            server, clients, sizes.seconds, lambda each, *_: whole_run(each, home)
        )
        for clients in (1, 8)
    }
    run = new_run(line, home)
    told["one metric"] = crowd(
        server, 1, sizes.seconds / 2,
        lambda each, _, count: one_metric(each, run, count),
    )  # fmt: skip
    told["run read"] = crowd(server, 1, sizes.seconds / 2, lambda each, *_: each.get("runs/get", run_id=run))
    line.close()
    return told


def batches(server: Server, sizes: Sizes) -> Figures:
    """1,000 points a call: ten keys, a hundred steps."""
    line = server.line()
    home, told = experiment(line), {}
    for clients in (1, 4):
        filled = [new_run(line, home) for _ in range(clients)]

        def send(each: Line, client: int, count: int, filled: list[str] = filled) -> None:
            points = [point(f"k{at % 10}", at / 7, 100 * count + at // 10) for at in range(1000)]
            each.call("POST", "runs/log-batch", {"run_id": filled[client], "metrics": points})

        figures = crowd(server, clients, sizes.seconds, send)
        told[f"batch of 1000, {clients} clients"] = {
            **figures,
            "metrics_per_s": round(1000 * figures["per_s"]),
        }
    line.close()
    return told
