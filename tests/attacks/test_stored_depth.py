"""JSON within texts that are kept, deep and wide: whatever reads it later answers, and makes little of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.attacks.worlds import World, answered, furnished

DEEP = ("[" * 3_000, '{"a":' * 1_500, "[" * 900 + "]" * 900, "[1]", '[{"role":1}]', "\x00")
WIDE = "[" + "[]," * 300_000 + "[]]"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("deep"), is_serving=False) as found:
        yield found


def posted(world: World, path: str, value: Any, method: str = "POST") -> Any:
    target = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
    answer = world.ask(method, target, value=value)
    answered(answer, path)
    return answer


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_the_history_of_models_of_a_run(world: World, text: str) -> None:
    run = world.names["run_id"]
    posted(world, "runs/set-tag", {"run_id": run, "key": "mlflow.log-model.history", "value": text})
    told = {"artifact_path": "m", "flavors": {}, "utc_time_created": "x", "run_id": run}
    if text.isprintable():
        assert posted(world, "runs/log-model", {"run_id": run, "model_json": json.dumps(told)}).status == 200
    assert posted(world, "runs/log-model", {"run_id": run, "model_json": text}).status == 400
    answered(world.ask("GET", f"/runs/{run}"), "its page")


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_prompts_and_the_pages_that_show_them(world: World, text: str) -> None:
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    posted(world, "registered-models/create", {"name": "p", "tags": prompt})
    tags = [
        *prompt,
        {"key": "mlflow.prompt.text", "value": text},
        {"key": "_mlflow_prompt_type", "value": "chat"},
    ]
    posted(world, "model-versions/create", {"name": "p", "source": "prompt-template", "tags": tags})
    for page in ("/prompts", "/prompts/p", "/models", "/models/p", "/models/compare?model=p&left=1&right=1"):
        answered(world.ask("GET", page), page)


def started(world: World, number: int, told: dict[str, str]) -> str:
    trace = f"tr-{number:032x}"
    place = {
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": world.names["experiment_id"]},
    }
    info = {
        "trace_id": trace,
        "trace_location": place,
        "request_time": "2024-01-01T00:00:00Z",
        "state": "OK",
        "trace_metadata": told,
    }
    answer = posted(world, "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})
    assert answer.status == 200 or b"characters" in answer.body or b"length" in answer.body, answer.body
    return trace


NAMES = (
    "mlflow.trace.tokenUsage",
    "mlflow.trace.sizeStats",
    "mlflow.trace.cost",
    "mlflow.traceInputs",
    "mlflow.trace.session",
)


@pytest.mark.parametrize("text", [*DEEP, WIDE], ids=range(len(DEEP) + 1))
def test_what_is_told_of_traces(world: World, text: str) -> None:
    trace = started(world, hash(text) % 2**63, dict.fromkeys(NAMES, text))
    home = world.names["experiment_id"]
    places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": home}}]
    assert posted(world, "/api/3.0/mlflow/traces/search", {"locations": places}).status == 200
    for page in (
        f"/traces/{trace}",
        "/experiments/e",
        "/experiments/e?tab=traces",
        f"/api/v1/traces/{trace}",
    ):
        answered(world.ask("GET", page), page)


@pytest.mark.parametrize(
    "text", [*DEEP, pytest.param(WIDE, marks=pytest.mark.slow)], ids=range(len(DEEP) + 1)
)
def test_assessments_and_records_in_texts(world: World, text: str) -> None:
    trace = started(world, 1, {})
    expected = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": text}}
    said = {
        "assessment_name": "a",
        "source": {"source_type": "HUMAN", "source_id": "x"},
        "expectation": expected,
    }
    posted(world, f"/api/3.0/mlflow/traces/{trace}/assessments", {"assessment": said})
    answered(world.ask("GET", f"/api/3.0/mlflow/traces/{trace}"), "read again")
    answered(world.ask("GET", f"/traces/{trace}"), "its page")
    made = posted(world, "/api/3.0/mlflow/datasets/create", {"name": f"d{hash(text)}", "tags": text})
    found = made.json.get("dataset", {}).get("dataset_id", "d-none")
    for records in (text, json.dumps([{"inputs": {"a": text}}]), f'[{{"inputs":{{"a":{text}}}}}]'):
        posted(world, f"/api/3.0/mlflow/datasets/{quote(found)}/records", {"records": records})


def test_attributes_of_spans_that_are_texts(world: World) -> None:
    """An instrumentation writes JSON into its attributes: it is decoded where that makes little."""
    texts = [*DEEP, WIDE]
    names = (
        "mlflow.spanInputs",
        "mlflow.spanOutputs",
        "mlflow.chat.tokenUsage",
        "gen_ai.prompt",
        "input.value",
    )
    spans = [
        {
            "traceId": f"{at + 1:032x}",
            "spanId": f"{at + 1:016x}",
            "name": "s",
            "startTimeUnixNano": "1700000000000000000",
            "endTimeUnixNano": "1700000000000000001",
            "attributes": [{"key": name, "value": {"stringValue": text}} for name in names],
        }
        for at, text in enumerate(texts)
    ]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    told = {"content-type": "application/json", "x-mlflow-experiment-id": world.names["experiment_id"]}
    answer = world.ask("POST", "/v1/traces", body=body, headers=told)
    assert answer.status == 200, answer.body
    for at in range(len(texts)):
        answered(world.ask("GET", f"/traces/tr-{at + 1:032x}"), texts[at][:20])
        answered(world.ask("GET", f"/api/3.0/mlflow/traces/tr-{at + 1:032x}"), texts[at][:20])
