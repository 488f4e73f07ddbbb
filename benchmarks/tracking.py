"""What tracking and registry cost over MLflow's protocol: ours beside a real `mlflow server`, in one run.

The same requests go to both, one server at a time, each on SQLite in a folder of its own; MLflow has two
workers and its job runner off. Requests go over kept connections by bare sockets, so that the client's own
cost does not hide the server's. Wall times depend on what else the machine does; `cpu_ms`, the processor
time of the server's whole process tree per call, holds on a busy one too. Prints JSON: figures of each
server, and `ratios`, in which more than 1 is in our favour. Sizes to search are seeded in bulk, into the
database itself; MLflow gets the smallest of them alone.

MLflow's workers leave Nagle's algorithm on, so a reply in two parts waits 40 ms for its caller's late
acknowledgement, whatever the client; `--acknowledge` answers each packet at once and takes that away.

    python benchmarks/tracking.py [--quick] [--only ROW,ROW] [--runs 10000,50000,1000000]
    python benchmarks/tracking.py --without mlflow
    python benchmarks/tracking.py --uri http://127.0.0.1:5000    # a server that runs already; no seeding
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count as counting
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from protocol.line import MB, PREFIX, Line
from protocol.seeding import ACC, LOSS, MODEL, OURS, START, THEIRS, seed_bulk

ROOT = Path(__file__).resolve().parents[1]
FILES = "/api/2.0/mlflow-artifacts/artifacts/"
PATIENCE_S = 180.0

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is done of each thing."""

    seconds: float = 10.0
    points: int = 100_000
    seeded: tuple[int, ...] = (10_000,)
    artifact_mb: int = 200
    versions: int = 1000
    repeats: int = 20


QUICK = Sizes(seconds=1.5, points=5_000, seeded=(1_000,), artifact_mb=20, versions=50, repeats=5)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server under test; `pid` and `database` are there when we started it."""

    url: str
    name: str
    started_s: float = 0.0
    pid: int | None = None
    database: Path | None = None
    peer: bool = False
    tables: Mapping[str, str] = field(default_factory=dict)
    acknowledged: bool = False

    def line(self) -> Line:
        """A connection of one's own."""
        return Line(self.url, acknowledged=self.acknowledged)


# ------------------------------------------------------------------ measuring


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_s(server: Server) -> float | None:
    """Processor seconds of the whole tree so far; nothing for a server that we did not start."""
    if server.pid is None:
        return None
    total = 0.0
    for process in family(server.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_mb(server: Server) -> float:
    return sum(process.memory_info().rss for process in family(server.pid or 0)) / MB


def spread(times: Sequence[float]) -> Figures:
    ordered = sorted(times)
    middle = 1000 * statistics.median(ordered)
    return {"p50_ms": round(middle, 3), "p95_ms": round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 3)}


def with_cpu(server: Server, before: float | None, calls: int) -> Figures:
    after = cpu_s(server)
    return {} if after is None or before is None else {"cpu_ms": round(1000 * (after - before) / calls, 3)}


def crowd(server: Server, clients: int, seconds: float, work: Callable[[Line, int, int], object]) -> Figures:
    """`work(line, client, count)` again and again by several clients at once."""
    times: list[list[float]] = [[] for _ in range(clients)]
    faults: list[Exception] = []
    lines = [server.line() for _ in range(clients)]
    until = time.perf_counter() + seconds

    def one(client: int) -> None:
        try:
            while (begun := time.perf_counter()) < until:
                work(lines[client], client, len(times[client]))
                times[client].append(time.perf_counter() - begun)
        except (OSError, RuntimeError, ValueError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=one, args=(client,)) for client in range(clients)]
    before, begun = cpu_s(server), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - begun
    for line in lines:
        line.close()
    if faults:
        raise faults[0]
    calls = [each for client in times for each in client]
    told = {"calls": len(calls), "per_s": round(len(calls) / wall, 1), **spread(calls)}
    return {**told, **with_cpu(server, before, len(calls))}


def repeated(server: Server, repeats: int, call: Callable[[], object], most_s: float = 20.0) -> Figures:
    """One caller's times; a slow call is not repeated for minutes."""
    times: list[float] = []
    before = cpu_s(server)
    while len(times) < repeats and sum(times) < most_s:
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return {"calls": len(times), **spread(times), **with_cpu(server, before, len(times))}


# ------------------------------------------------------------------ pieces of work


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
    if server.pid is None:
        return {}
    time.sleep(min(3.0, sizes.seconds))
    return {
        "start": {"start_s": round(server.started_s, 2)},
        "rest": {"processes": len(family(server.pid)), "memory_mb": round(memory_mb(server), 1)},
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


def history(server: Server, sizes: Sizes) -> Figures:
    """A long curve, whole and sampled."""
    line = server.line()
    run = new_run(line, experiment(line))
    for first in range(0, sizes.points, 1000):
        points = [point("loss", 1 / (1 + step), step) for step in range(first, first + 1000)]
        line.call("POST", "runs/log-batch", {"run_id": run, "metrics": points})
    whole = urlencode({"run_id": run, "metric_key": "loss", "max_results": sizes.points})
    request = line.head("GET", f"{PREFIX}metrics/get-history?{whole}", 0)
    some = {"run_ids": run, "metric_key": "loss", "max_results": 320}
    size = line.drained(request)
    told = {
        "history whole": {**repeated(server, 3, lambda: line.drained(request)), "bytes": size},
        "history, 320 points": repeated(
            server, sizes.repeats, lambda: line.get("metrics/get-history-bulk-interval", **some)
        ),
    }
    line.close()
    return told


def search(server: Server, sizes: Sizes) -> Figures:
    """First pages, deep pages and a walk, over runs that were seeded in bulk."""
    told: Figures = {}
    for count in sizes.seeded:
        if server.database is None or (server.peer and count > min(sizes.seeded)):
            continue
        line = server.line()
        home, begun = seeded(server, line, count), time.perf_counter()
        told |= first_pages(server, sizes, line, home, count)
        if count == min(sizes.seeded):
            told |= deep_pages(server, sizes, line, home, count)
        line.close()
        print(f"{server.name}: {count} runs searched, {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return told


def first_pages(server: Server, sizes: Sizes, line: Line, home: str, count: int) -> Figures:
    asked = {
        "filter": {"filter": "metrics.acc > 0.5 and params.model = 'm3'", "order_by": ["metrics.acc DESC"]},
        "order": {"order_by": ["metrics.loss ASC"]},
    }
    told = {}
    for name, query in asked.items():
        body = {"experiment_ids": [home], "max_results": 100, **query}
        found = line.call("POST", "runs/search", body)
        assert 0 < len(found["runs"]) <= 100, (name, found)
        told[f"search by {name}, {count} runs"] = repeated(
            server, sizes.repeats, lambda body=body: line.call("POST", "runs/search", body)
        )
    return told


def deep_pages(server: Server, sizes: Sizes, line: Line, home: str, count: int) -> Figures:
    body: dict[str, Any] = {"experiment_ids": [home], "max_results": 100}
    first = repeated(server, sizes.repeats, lambda: line.call("POST", "runs/search", body))
    deep, seen, begun = body, 0, time.perf_counter()
    before = cpu_s(server)
    walk: dict[str, Any] = {**body, "max_results": 1000}
    while True:
        page = line.call("POST", "runs/search", walk)
        seen += len(page.get("runs", []))
        if not page.get("next_page_token"):
            break
        deep = {**body, "page_token": page["next_page_token"]}
        walk = {**walk, "page_token": page["next_page_token"]}
    wall = time.perf_counter() - begun
    assert seen == count, (seen, count)
    told = {"runs_per_s": round(seen / wall, 1), **with_cpu(server, before, seen)}
    last = repeated(server, sizes.repeats, lambda: line.call("POST", "runs/search", deep))
    return {"page, first": first, "page, deep": last, f"walk of {count} runs": told}


def artifacts(server: Server, sizes: Sizes) -> Figures:
    """One large file up and down, then many small ones."""
    line = server.line()
    home = experiment(line)
    base, size = f"{FILES}{home}/{new_run(line, home)}/artifacts", sizes.artifact_mb * MB
    block = random.Random(1).randbytes(MB)
    resting, growth, told = memory_of(server), 0.0, {}
    for name in ("up", "down"):
        times = []
        for number in range(3):
            begun = time.perf_counter()
            if name == "up":
                head = line.head("PUT", f"{base}/{number}.bin", size, "application/octet-stream")
                status, _ = line.stream(head, (block for _ in range(sizes.artifact_mb)))
                assert status == 200, status
            else:
                assert line.drained(line.head("GET", f"{base}/{number}.bin", 0)) == size
            times.append(time.perf_counter() - begun)
            growth = max(growth, memory_of(server) - resting)
        told[f"{sizes.artifact_mb} MB {name}"] = {"mb_per_s": round(sizes.artifact_mb / min(times), 1)}
    small = block[:2048]

    def put(each: Line, client: int, count: int) -> None:
        head = each.head("PUT", f"{base}/s/{client}-{count}.bin", len(small), "application/octet-stream")
        status, _ = each.send(head, small)
        assert status == 200, status

    told["2 KB up, 8 clients"] = crowd(server, 8, sizes.seconds, put)
    line.close()
    return {**told, "growth by large files": {"memory_mb": round(growth, 1)}}


def memory_of(server: Server) -> float:
    return 0.0 if server.pid is None else memory_mb(server)


def registry(server: Server, sizes: Sizes) -> Figures:
    """Versions created, searched and pointed at."""
    line = server.line()
    home = experiment(line)
    run, name = new_run(line, home), f"bench-{uuid.uuid4().hex}"
    line.call("POST", "registered-models/create", {"name": name})
    source = f"mlflow-artifacts:/{home}/{run}/artifacts/model"
    made = iter(range(sizes.versions))

    def create() -> None:
        tags = [{"key": "stage", "value": str(next(made) % 3)}]
        line.call(
            "POST", "model-versions/create", {"name": name, "source": source, "run_id": run, "tags": tags}
        )

    told = {"version created": repeated(server, sizes.versions, create, most_s=120.0)}
    filters = {"name": f"name = '{name}'", "run": f"run_id = '{run}'", "tag": "tags.stage = '1'"}
    for kind, text in filters.items():
        told[f"versions by {kind}"] = repeated(
            server,
            sizes.repeats,
            lambda text=text: line.get("model-versions/search", filter=text, max_results=100),
        )
    alias, turn = {"name": name, "alias": "champion"}, counting()
    told["alias set"] = repeated(
        server, sizes.repeats * 5,
        lambda: line.call("POST", "registered-models/alias", {**alias, "version": str(1 + next(turn) % 20)}),
    )  # fmt: skip
    line.close()
    return told


def seeded(server: Server, line: Line, count: int) -> str:
    """A new experiment with so many runs: one made by calls, the others written after its pattern."""
    home = experiment(line)
    run = new_run(line, home)
    line.call("POST", "runs/log-batch", {
        "run_id": run,
        "params": [{"key": "model", "value": MODEL}, {"key": "lr", "value": "0.1"}],
        "metrics": [point("acc", ACC, 0), point("loss", LOSS, 0)],
    })  # fmt: skip
    line.call("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": START + 5})
    assert server.database is not None
    seed_bulk(server.database, server.tables, run, count - 1)
    return home


# ------------------------------------------------------------------ servers


@contextlib.contextmanager
def ours() -> Iterator[Server]:
    """Our server on an empty workspace."""
    with tempfile.TemporaryDirectory(prefix="loopwright-") as folder:
        said = Path(folder) / "up.json"
        command = [sys.executable, "-m", "loopwright", "up", "--port", "0", "--json", str(said)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=kept, stdout=subprocess.DEVNULL)
        try:
            url = answering(process, said)
            took, ledger = time.perf_counter() - begun, Path(folder) / ".loopwright/ledger.db"
            yield Server(
                url=url, name="loopwright", started_s=took, pid=process.pid, database=ledger, tables=OURS
            )
        finally:
            process.terminate()
            process.wait(30)


def answering(process: subprocess.Popen[bytes], said: Path) -> str:
    """The address of our server once its first call is answered."""
    until = time.perf_counter() + PATIENCE_S
    while not said.exists() or not said.read_text().strip():
        if process.poll() is not None or time.perf_counter() > until:
            raise RuntimeError("our server did not start")
        time.sleep(0.01)
    url = str(json.loads(said.read_text())["url"])
    Line(url).get("experiments/get", experiment_id="0")
    return url


@contextlib.contextmanager
def theirs() -> Iterator[Server]:
    """A real MLflow server, of the version that the tests of the protocol pin."""
    sys.path.insert(0, str(ROOT))
    from tests.protocols.mlflow.peers import mlflow_server

    with mlflow_server("3", workers=2) as peer:
        yield Server(
            url=peer.url, name=peer.name, started_s=peer.started_s, pid=peer.pid, database=peer.database,
            peer=True, tables=THEIRS,
        )  # fmt: skip


ROWS: dict[str, Callable[[Server, Sizes], Figures]] = {
    "rest": rest,
    "runs": runs,
    "batches": batches,
    "history": history,
    "search": search,
    "artifacts": artifacts,
    "registry": registry,
}
BETTER_HIGH = re.compile(r"per_s$")
COMPARED = re.compile(r"per_s$|^(p50_ms|cpu_ms|start_s|processes|memory_mb)$")


def measured(server: Server, sizes: Sizes, rows: Iterable[str]) -> Figures:
    """Figures by piece of work."""
    told: Figures = {}
    for name in rows:
        begun = time.perf_counter()
        told |= ROWS[name](server, sizes)
        print(f"{server.name}: {name}, {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return told


def ratios(mine: Figures, other: Figures) -> Figures:
    """How many times better ours is, for each figure that both have."""
    found: Figures = {}
    for name in mine.keys() & other.keys():
        for figure in mine[name].keys() & other[name].keys():
            one, two = mine[name][figure], other[name][figure]
            if COMPARED.search(figure) and one > 0 and two > 0:
                better = one / two if BETTER_HIGH.search(figure) else two / one
                found.setdefault(name, {})[figure] = round(better, 2)
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--uri", help="measure a server that runs already")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--runs", help="sizes to search, by commas; MLflow gets the smallest alone")
    parser.add_argument("--seconds", type=float, help="length of each repeated piece of work")
    parser.add_argument("--without", choices=["ours", "mlflow"], help="leave one server out")
    parser.add_argument("--acknowledge", action="store_true", help="acknowledge packets at once (Linux)")
    given = parser.parse_args()
    sizes = QUICK if given.quick else Sizes()
    if given.runs:
        sizes = replace(sizes, seeded=tuple(int(count) for count in given.runs.split(",")))
    if given.seconds:
        sizes = replace(sizes, seconds=given.seconds)
    rows = given.only.split(",") if given.only else list(ROWS)
    if given.uri:
        print(
            json.dumps(
                measured(Server(url=given.uri, name=given.uri, acknowledged=given.acknowledge), sizes, rows),
                indent=2,
            )
        )
        return
    told: Figures = {}
    for name, start in {"ours": ours, "mlflow": theirs}.items():
        if name != given.without:
            with start() as server:
                server = replace(server, acknowledged=given.acknowledge)
                told[name] = {"server": server.name, "figures": measured(server, sizes, rows)}
    if len(told) == 2:
        told["ratios"] = ratios(told["ours"]["figures"], told["mlflow"]["figures"])
    print(json.dumps({"load": os.getloadavg(), **told}, indent=2))


if __name__ == "__main__":
    main()
