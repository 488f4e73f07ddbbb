"""Ids of another space among one's own, in every call and batch: nothing of it is told or changed.

Whoever is in a space may know ids of another: they stand in addresses and logs. Knowing them is not enough.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from loopwright.app.assembling import assemble
from loopwright.client.index import load_index
from loopwright.workspace import Workspace, load_settings
from tests.attacks.test_protocol_fuzz import REQUESTS, encoded, sent
from tests.attacks.worlds import World, answered, peopled

pytestmark = pytest.mark.slow

SECRET = "told-to-nobody-else"
FOREIGN = "other"
V3 = "/api/3.0/mlflow"


class Met(NamedTuple):
    """One's own world, the ids of the other, and the rows of that."""

    world: World
    ids: dict[str, str]
    ledger: Path

    def rows(self) -> dict[str, list[str]]:
        """Every row of the other space, by its table."""
        found = {}
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as link:
            tables = [row[0] for row in link.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                columns = [row[1] for row in link.execute(f"PRAGMA table_info({table})")]
                if "space" in columns:
                    text = f"SELECT * FROM {table} WHERE space = ?"
                    found[table] = sorted(map(repr, link.execute(text, (FOREIGN,))))
        return {table: rows for table, rows in found.items() if rows}

    def asked(self, method: str, target: str, value: Any = None) -> Any:
        """Ask; whatever the answer is, it is no fault and tells nothing."""
        answer = self.world.ask(method, target, value=value)
        self.silent(answer, f"{method} {target} {value}")
        return answer

    def silent(self, answer: Any, what: str) -> None:
        """No fault, and nothing of the other space."""
        answered(answer, what[:400])
        assert SECRET.encode() not in answer.body, f"{what[:400]}: {answer.body[:400]!r}"


@contextmanager
def opened(folder: Path, space: str) -> Iterator[World]:
    found = load_settings({"workspace": str(folder / ".loopwright"), "space": space}, environment={})
    with Workspace.open(settings=found) as workspace:
        yield World(workspace, assemble(workspace), peopled(workspace))


def made(world: World, path: str, value: Any, method: str = "POST") -> Any:
    target = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
    answer = world.ask(method, target, value=value)
    assert answer.status < 300, answer.body
    return answer.json


def furnished(world: World) -> dict[str, str]:
    """One of everything that has an id, with the secret in each; the ids."""
    run, home = world.names["run_id"], world.names["experiment_id"]
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": home}}
    trace = f"tr-{7:032x}"
    info = {
        "trace_id": trace, "trace_location": place, "request_time": "2024-01-01T00:00:00Z", "state": "OK",
        "request_preview": SECRET, "tags": {"t": SECRET},
    }  # fmt: skip
    made(world, f"{V3}/traces", {"trace": {"trace_info": info}})
    said = {
        "assessment_name": "a",
        "source": {"source_type": "HUMAN", "source_id": SECRET},
        "feedback": {"value": 1},
    }
    judged = made(world, f"{V3}/traces/{trace}/assessments", {"assessment": said})
    data = {"name": SECRET, "experiment_ids": [home], "tags": json.dumps({"t": SECRET})}
    dataset = made(world, f"{V3}/datasets/create", data)["dataset"]["dataset_id"]
    records = json.dumps([{"inputs": {"q": SECRET}}])
    made(world, f"{V3}/datasets/{dataset}/records", {"dataset_id": dataset, "records": records})
    asked = {"experiment_id": home, "name": "lm", "params": [{"key": "p", "value": SECRET}]}
    model = made(world, "logged-models", asked)["model"]["info"]["model_id"]
    made(world, "runs/set-tag", {"run_id": run, "key": "t", "value": SECRET})
    made(world, "runs/log-parameter", {"run_id": run, "key": "secret", "value": SECRET})
    made(world, "experiments/set-experiment-tag", {"experiment_id": home, "key": "t", "value": SECRET})
    world.ask("POST", f"/api/v1/runs/{run}/artifacts/content?path=s.txt", body=SECRET.encode())
    hook = {"name": SECRET, "address": "https://8.8.8.8/x", "events": ["prompt.created"]}
    webhook = made(world, "/api/v1/webhooks", hook)["id"]
    view = made(world, "/api/v1/experiments/e/views", {"name": "v", "query": f"filter={SECRET}"})["id"]
    return {
        "run": run, "experiment": home, "trace": trace, "model": model, "dataset": dataset,
        "webhook": webhook, "view": view, "assessment": judged["assessment"]["assessment_id"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    folder = tmp_path_factory.mktemp("foreign")
    with opened(folder, FOREIGN) as other:
        ids = furnished(other)
    with opened(folder, "default") as world:
        yield Met(world, ids, folder / ".loopwright" / "ledger.db")


def batches(met: Met) -> Iterator[tuple[str, str, Any]]:
    """Calls that take many ids, with one's own first and a foreign one behind it."""
    mine, theirs = met.world.names, met.ids
    runs, homes = [mine["run_id"], theirs["run"]], [mine["experiment_id"], theirs["experiment"]]
    places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": each}} for each in homes]
    post, run = "POST", mine["run_id"]
    for path in (
        "get-history-bulk?metric_key=loss&run_id=",
        "get-history-bulk-interval?metric_key=loss&run_ids=",
    ):
        name = path.rpartition("&")[2]
        yield "GET", f"/api/2.0/mlflow/metrics/{path}{runs[0]}&{name}{runs[1]}", None
    for path in (
        "runs/search",
        "logged-models/search",
        "runs/search-datasets",
        "experiments/search-datasets",
    ):
        yield post, f"/api/2.0/mlflow/{path}", {"experiment_ids": homes}
    yield post, f"{V3}/traces/search", {"locations": places}
    yield "GET", f"{V3}/traces/batchGet?trace_ids={theirs['trace']}&trace_ids=tr-1", None
    yield post, f"{V3}/traces/batchGetInfos", {"trace_ids": [theirs["trace"]], "experiment_ids": homes}
    yield post, "/api/2.0/mlflow/traces/link-to-run", {"trace_ids": [theirs["trace"]], "run_id": run}
    yield post, "/api/2.0/mlflow/traces/link-to-run", {"trace_ids": [theirs["trace"]], "run_id": runs[1]}
    for home in homes:
        told = {"experiment_id": home, "request_ids": [theirs["trace"]]}
        yield post, "/api/2.0/mlflow/traces/delete-traces", told
        yield (
            post,
            "/api/2.0/mlflow/traces/delete-traces",
            {"experiment_id": home, "max_timestamp_millis": 2**60},
        )
    yield (
        post,
        f"{V3}/traces/{theirs['trace']}/link-prompts",
        {"prompt_versions": [{"name": "p", "version": "1"}]},
    )
    yield post, f"{V3}/datasets/{theirs['dataset']}/add-experiments", {"experiment_ids": homes}
    yield post, f"{V3}/datasets/{theirs['dataset']}/remove-experiments", {"experiment_ids": homes}
    yield post, f"{V3}/datasets/search", {"experiment_ids": homes}
    yield post, f"{V3}/datasets/create", {"name": "mine", "experiment_ids": homes}
    metric = {"key": "a", "value": 1, "timestamp": 1, "step": 0}
    for kind in ("metrics", "params", "tags"):
        each = metric if kind == "metrics" else {"key": "a", "value": "x"}
        yield post, "/api/2.0/mlflow/runs/log-batch", {"run_id": theirs["run"], kind: [each]}
    measured = [{**metric, "model_id": theirs["model"], "dataset_name": "d", "dataset_digest": "x"}]
    yield post, "/api/2.0/mlflow/runs/log-batch", {"run_id": run, "metrics": measured}
    models = [{"model_id": theirs["model"], "step": 0}]
    yield post, "/api/2.0/mlflow/runs/outputs", {"run_id": run, "models": models}
    yield post, "/api/2.0/mlflow/runs/log-inputs", {"run_id": run, "models": models}
    told = {"key": "mlflow.parentRunId", "value": theirs["run"]}
    yield post, "/api/2.0/mlflow/runs/create", {"experiment_id": homes[0], "tags": [told]}
    for number, source in enumerate((f"runs:/{theirs['run']}/a", f"models:/{theirs['model']}", "s3://x/y")):
        told = {"name": "m", "source": source, "run_id": theirs["run"] if number != 1 else ""}
        yield post, "/api/2.0/mlflow/model-versions/create", told
    yield post, "/api/2.0/mlflow/logged-models", {"experiment_id": homes[1], "source_run_id": theirs["run"]}
    yield post, "/api/2.0/mlflow/logged-models", {"experiment_id": homes[0], "source_run_id": theirs["run"]}
    base = f"/api/2.0/mlflow-artifacts/artifacts/{homes[1]}/{theirs['run']}/artifacts"
    for place in (base, base.replace(homes[1], homes[0])):
        for method in ("GET", "PUT", "DELETE"):
            yield method, f"{place}/s.txt", None
    yield "GET", f"/get-artifact?run_id={theirs['run']}&path=s.txt", None
    yield "GET", f"/api/2.0/mlflow/artifacts/list?run_id={theirs['run']}", None


def test_a_foreign_id_among_ones_own_is_none(met: Met) -> None:
    before = met.rows()
    assert {"runs", "traces", "assets", "artifacts", "documents"} <= before.keys()
    assert SECRET in str(before)
    for method, target, value in batches(met):
        met.asked(method, target, value)
        assert met.rows() == before, f"{method} {target} {value}"


def test_what_is_ones_own_in_a_batch_is_told_all_the_same(met: Met) -> None:
    target = f"get-history-bulk-interval?metric_key=loss&run_ids={met.ids['run']}&run_ids="
    answer = met.asked("GET", f"/api/2.0/mlflow/metrics/{target}{met.world.names['run_id']}")
    assert {each["run_id"] for each in answer.json["metrics"]} == {met.world.names["run_id"]}
    homes = [met.ids["experiment"], met.world.names["experiment_id"]]
    found = met.asked("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": homes}).json["runs"]
    assert {each["info"]["experiment_id"] for each in found} == {homes[1]}


def test_no_recorded_call_reaches_the_other_space(met: Met) -> None:
    before = met.rows()
    names = {**met.world.names, "run_id": met.ids["run"], "experiment_id": met.ids["experiment"]}
    theirs = met.world._replace(names=names)
    for request in REQUESTS:
        told = json.dumps(request.json)
        for kind in ("trace", "model", "dataset", "webhook"):
            for number in range(1, 4):
                told = told.replace(f"{{{kind}:{number}}}", met.ids[kind])
        body = None if request.json is None else encoded(json.loads(told))
        answer = sent(theirs, request, body, [(name, value) for name, value in request.query])
        met.silent(answer, f"{request.method} {request.path}")
        assert met.rows() == before, f"{request.method} {request.path}"


def test_no_operation_of_ours_reaches_it(met: Met) -> None:
    """Every foreign id in every place of every path, query and body."""
    before = met.rows()
    operations = [entry for entry in load_index().entries.values() if not entry.local and entry.method]
    assert len(operations) > 150
    for entry in operations:
        for known in met.ids.values():
            target, query, body = f"/api/v1{entry.path}", list[str](), dict[str, Any]()
            for each in entry.parameters:
                value: Any = {"integer": 1, "number": 1.0, "boolean": True}.get(str(each.kind), known)
                if each.place == "path":
                    target = target.replace(f"{{{each.name}}}", quote(str(value), safe=""))
                elif each.place == "query" and each.required:
                    query.append(f"{each.name}={quote(str(value))}")
                elif each.place == "body" and each.required:
                    body[each.name] = value
            full = f"{target}?{'&'.join(query)}" if query else target
            met.asked(entry.method, full, body if entry.method != "GET" else None)
        assert met.rows() == before, entry.name


@pytest.mark.parametrize(
    "page", ["/runs/{run}", "/traces/{trace}", "/compare?run={run}", "/webhooks/{webhook}"]
)
def test_no_page_shows_it(met: Met, page: str) -> None:
    for name, value in met.ids.items():
        page = page.replace(f"{{{name}}}", value)
    assert met.asked("GET", page).status in {200, 404}
