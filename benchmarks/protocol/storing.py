"""Files by proxy, and versions of models."""

from __future__ import annotations

import random
import time
import uuid
from itertools import count as counting

from protocol.line import MB, Line
from protocol.measuring import Figures, Server, Sizes, crowd, memory_mb, peak_mb, repeated
from protocol.writing import experiment, new_run, point

__all__ = [
    "artifacts",
    "models",
    "registry",
]

FILES = "/api/2.0/mlflow-artifacts/artifacts/"


def artifacts(server: Server, sizes: Sizes) -> Figures:
    """One large file up and down, then many small ones."""
    line = server.line()
    home = experiment(line)
    base, size = f"{FILES}{home}/{new_run(line, home)}/artifacts", sizes.artifact_mb * MB
    chance = random.Random(1)
    block = chance.randbytes(MB)
    resting, told = memory_mb(server), {}

    def move(name: str, number: int) -> float:
        begun = time.perf_counter()
        if name == "up":
            head = line.head("PUT", f"{base}/{number}.bin", size, "application/octet-stream")
            blocks = (block if at else chance.randbytes(MB) for at in range(sizes.artifact_mb))
            status, _ = line.stream(head, blocks)
            assert status == 200, status
        else:
            assert line.drained(line.head("GET", f"{base}/{number}.bin", 0)) == size
        return time.perf_counter() - begun

    with peak_mb(server) as peak:
        for name in ("up", "down"):
            fastest = min(move(name, number) for number in range(3))
            told[f"{sizes.artifact_mb} MB {name}"] = {"mb_per_s": round(sizes.artifact_mb / fastest, 1)}

    def put(each: Line, client: int, count: int) -> None:
        small = b"%08d%08d" % (client, count) + block[:2032]  # no two are the same
        head = each.head("PUT", f"{base}/s/{client}-{count}.bin", len(small), "application/octet-stream")
        status, _ = each.send(head, small)
        assert status == 200, status

    told["2 KB up, 8 clients"] = crowd(server, 8, sizes.seconds, put)
    line.close()
    return {**told, "growth by large files": {"memory_mb": round(peak[0] - resting, 1)}}


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


def models(server: Server, sizes: Sizes) -> Figures:
    """Logged models created, as many as a server makes in its time, and searched by what was logged."""
    line = server.line()
    home = experiment(line)
    run, turn = new_run(line, home), counting()

    def create() -> None:
        at = next(turn)
        params = [{"key": "depth", "value": str(at % 10)}]
        told = {"experiment_id": home, "name": f"m{at}", "source_run_id": run, "params": params}
        made = line.call("POST", "logged-models", told)["model"]["info"]["model_id"]
        points = [{**point("auc", (at * 619 % 997) / 997, 0), "model_id": made}]
        line.call("POST", "runs/log-batch", {"run_id": run, "metrics": points})

    told = {"model logged": repeated(server, sizes.models, create, most_s=3 * sizes.seconds)}
    count = told["model logged"]["calls"]
    asked: dict[str, Figures] = {
        "metric": {"filter": "metrics.auc > 0.5", "order_by": [{"field_name": "metrics.auc"}]},
        "param": {"filter": "params.depth = '3'"},
        "name": {"filter": f"name = 'm{count // 2}'"},
        "nothing": {},
    }
    for name, query in asked.items():
        body = {"experiment_ids": [home], "max_results": 50, **query}
        assert line.call("POST", "logged-models/search", body)["models"], name
        told[f"models by {name}"] = repeated(
            server,
            sizes.repeats,
            lambda body=body: line.call("POST", "logged-models/search", body),
            most_s=10.0,
        )
        told[f"models by {name}"]["of"] = count
    line.close()
    return told
