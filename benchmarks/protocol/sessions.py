"""Sessions such as MLflow's clients hold them, and whether the server kept what it took."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from protocol.line import MB, Line
from protocol.seeding import START
from protocol.writing import point

__all__ = ["Kept", "Sessions"]

FILES = "/api/2.0/mlflow-artifacts/artifacts/"
AGENT = {"mlflow.user": "soak", "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL"}
STEPS, SERIES = 10, 200
SMALL, LARGE = 2048, 4 * MB


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the server acknowledged of one run."""

    run: str
    experiment: str
    params: dict[str, str]
    latest: dict[str, float]
    points: int
    file: str
    digest: str
    deleted: bool


@dataclass
class Sessions:
    """One client: a connection, its own chance, and what was acknowledged to it."""

    line: Line
    client: int
    kept: list[Kept] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    versions: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.client)
        self._name = f"soak-{self.client}-{uuid.uuid4().hex[:8]}"
        self._model = f"model of {self._name}"
        self._registered = False

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """A call that is counted."""
        self.calls[path] += 1
        return self.line.get(path, **query) if method == "GET" else self.line.call(method, path, body)

    def hold(self) -> None:
        """One session: a run from its beginning to its end, and what people look at beside it."""
        home = self._home()
        tags = [{"key": key, "value": value} for key, value in AGENT.items()]
        made = self.ask("POST", "runs/create", {
            "experiment_id": home, "run_name": "soak", "start_time": START, "tags": tags, "user_id": "soak",
        })  # fmt: skip
        run = str(made["run"]["info"]["run_id"])
        params = {f"p{number}": str(self._chance.random()) for number in range(10)}
        latest = self._logged(run, params)
        path, digest = self._stored(home, run)
        self.ask("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": START + 5})
        self._looked_at(home, run)
        if self._chance.random() < 0.2:
            self._registered_version(home, run)
        gone = self._chance.random() < 0.1
        if gone:
            self.ask("POST", "runs/delete", {"run_id": run})
        self.kept.append(Kept(
            run=run, experiment=home, params=params, latest=latest, points=SERIES, file=path, digest=digest,
            deleted=gone,
        ))  # fmt: skip

    def _home(self) -> str:
        if not self.kept:
            return str(self.ask("POST", "experiments/create", {"name": self._name})["experiment_id"])
        found = self.ask("GET", "experiments/get-by-name", experiment_name=self._name)
        return str(found["experiment"]["experiment_id"])

    def _logged(self, run: str, params: dict[str, str]) -> dict[str, float]:
        rows = [{"key": key, "value": value} for key, value in params.items()]
        latest = {f"m{number}": self._chance.random() for number in range(10)}
        metrics = [point(key, value, 0) for key, value in latest.items()]
        self.ask("POST", "runs/log-batch", {"run_id": run, "params": rows, "metrics": metrics})
        for step in range(STEPS):
            latest["loss"] = self._chance.random()
            self.ask("POST", "runs/log-metric", {"run_id": run, **point("loss", latest["loss"], step)})
        values = [self._chance.random() for _ in range(SERIES)]
        series = [point("curve", value, step) for step, value in enumerate(values)]
        self.ask("POST", "runs/log-batch", {"run_id": run, "metrics": series})
        self.ask("POST", "runs/set-tag", {"run_id": run, "key": "stage", "value": "trained"})
        return {**latest, "curve": values[-1]}

    def _stored(self, home: str, run: str) -> tuple[str, str]:
        """A file is put beside the run and read again; now and then a large one."""
        body = self._chance.randbytes(LARGE if self._chance.random() < 0.01 else SMALL)
        path = f"{FILES}{home}/{run}/artifacts/model/data.bin"
        head = self.line.head("PUT", path, len(body), "application/octet-stream")
        status, reply = self.line.send(head, body)
        self.calls["PUT a file"] += 1
        if status != 200:
            raise RuntimeError(f"PUT {path}: {status} {reply[:300]!r}")
        digest = hashlib.sha256(body).hexdigest()
        self.check_file(path, digest)
        folder = quote(f"{home}/{run}/artifacts", safe="")
        self.line.call("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={folder}")
        return path, digest

    def check_file(self, path: str, digest: str) -> None:
        """Raise when a file is not what was put there."""
        status, found = self.line.send(self.line.head("GET", path, 0))
        self.calls["GET a file"] += 1
        if status != 200 or hashlib.sha256(found).hexdigest() != digest:
            raise RuntimeError(f"GET {path}: {status}, other bytes than were put there")

    def _looked_at(self, home: str, run: str) -> None:
        self.ask("GET", "runs/get", run_id=run)
        self.ask("GET", "metrics/get-history", run_id=run, metric_key="curve")
        self.ask("GET", "metrics/get-history-bulk-interval", run_ids=run, metric_key="curve")
        body = {"experiment_ids": [home], "filter": "metrics.m1 > 0.5", "order_by": ["metrics.loss DESC"]}
        self.ask("POST", "runs/search", {**body, "max_results": 20})

    def _registered_version(self, home: str, run: str) -> None:
        if not self._registered:
            self.ask("POST", "registered-models/create", {"name": self._model})
            self._registered = True
        source = f"mlflow-artifacts:/{home}/{run}/artifacts/model"
        made = self.ask(
            "POST", "model-versions/create", {"name": self._model, "source": source, "run_id": run}
        )
        alias = {"name": self._model, "alias": "champion", "version": made["model_version"]["version"]}
        self.ask("POST", "registered-models/alias", alias)
        self.versions += 1
        self.ask("GET", "model-versions/search", filter=f"name = '{self._model}'", max_results=10)

    def verify(self, sample: int) -> int:
        """Of what was acknowledged, counts of all and the content of a sample; how many runs were read."""
        if not self.kept:
            return 0
        body = {"experiment_ids": [self.kept[0].experiment], "max_results": 50_000, "run_view_type": "ALL"}
        listed = {each["info"]["run_id"] for each in self.line.call("POST", "runs/search", body)["runs"]}
        assert listed == {each.run for each in self.kept}, "runs are missing, or there are more"
        for each in self._chance.sample(self.kept, min(sample, len(self.kept))):
            self._check(each)
        if self._registered:
            query = {"filter": f"name = '{self._model}'", "max_results": 10_000}
            found = self.line.get("model-versions/search", **query)["model_versions"]
            assert len(found) == self.versions, (len(found), self.versions)
        return len(self.kept)

    def _check(self, each: Kept) -> None:
        found = self.line.get("runs/get", run_id=each.run)["run"]
        data, info = found["data"], found["info"]
        assert {pair["key"]: pair["value"] for pair in data["params"]} == each.params, each.run
        assert {metric["key"]: metric["value"] for metric in data["metrics"]} == each.latest, each.run
        assert info["status"] == "FINISHED", info
        assert (info["lifecycle_stage"] == "deleted") is each.deleted, info
        history = self.line.get("metrics/get-history", run_id=each.run, metric_key="curve")
        assert len(history["metrics"]) == each.points, each.run
        self.check_file(each.file, each.digest)
