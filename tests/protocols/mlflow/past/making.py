"""Makes an interesting history in the store that MLFLOW_TRACKING_URI names; run by MLflow's own Python."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import sys
import warnings
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from sklearn.linear_model import LogisticRegression

POINTS_A_BATCH = 1_000
START_MS = 1_700_000_000_000
HAS_LIGHTGBM = importlib.util.find_spec("lightgbm") is not None
IS_THREE = mlflow.__version__.startswith("3")


def data() -> Any:
    drawn = np.random.default_rng(7)
    frame = pd.DataFrame(drawn.normal(size=(80, 3)), columns=["a", "b", "c"])
    return frame, (frame["a"] + frame["b"] > 0).astype(int)


def boosted(x: Any, y: Any) -> None:
    if HAS_LIGHTGBM:
        import lightgbm

        lightgbm.train({"verbosity": -1, "num_leaves": 4}, lightgbm.Dataset(x, y), 5)


def learned() -> None:
    """Autologged fits, a nested run each, datasets read, a model by hand."""
    mlflow.set_experiment("learning")
    x, y = data()
    mlflow.sklearn.autolog(silent=True, log_input_examples=True)
    if HAS_LIGHTGBM:
        mlflow.lightgbm.autolog(silent=True)
    with mlflow.start_run(run_name="parent", tags={"team": "délais ✈"}):
        mlflow.log_input(mlflow.data.from_pandas(x, name="flights", source="made up"), context="training")
        mlflow.log_input(mlflow.data.from_pandas(x.head(9), name="few"), context="test")
        with mlflow.start_run(nested=True, run_name="logistic"):
            LogisticRegression(C=0.5).fit(x, y)
        with mlflow.start_run(nested=True):
            boosted(x, y)
    mlflow.sklearn.autolog(disable=True)
    if HAS_LIGHTGBM:
        mlflow.lightgbm.autolog(disable=True)


def measured(client: MlflowClient, count: int) -> None:
    """Long and odd histories."""
    experiment = client.create_experiment("measuring", tags={"mlflow.note.content": "# notes\n<b>bold</b>"})
    run = client.create_run(experiment, start_time=START_MS, run_name="long").info.run_id
    for start in range(0, count, POINTS_A_BATCH):
        batch = [
            Metric("loss", 1 / (1 + step), START_MS + step, step)
            for step in range(start, min(count, start + POINTS_A_BATCH))
        ]
        client.log_batch(run, metrics=batch)
    client.set_terminated(run, "FINISHED", START_MS + count)
    odd = client.create_run(experiment, start_time=START_MS, run_name="odd").info.run_id
    values = [math.nan, math.inf, -math.inf, 0.1 + 0.2, -0.0, 1e-320, 5e300]
    points = [Metric("odd", value, START_MS + at // 2, at % 3) for at, value in enumerate(values)]
    points += [Metric("only nan", math.nan, START_MS, 0), Metric("a/b.c d:e", 2.0, START_MS, -4)]
    points += [Metric("odd", 1.0, START_MS + 9, 1), Metric("odd", 1.0, START_MS + 9, 1)]
    params = [Param("empty", ""), Param("long", "x" * 5_999 + "é"), Param("p/q", "a\nb\tc")]
    client.log_batch(odd, metrics=points, params=params, tags=[RunTag("t", "ü" * 4_999)])
    client.log_text(odd, "hello\n", "notes/läuft.txt")
    client.log_text(odd, "", "empty.txt")
    client.log_dict(odd, {"a": [1, 2, {"b": None}]}, "deep/er/nested.json")
    client.set_terminated(odd, "FAILED", START_MS + 5)
    gone = client.create_run(experiment, start_time=START_MS + 1, run_name="gone").info.run_id
    client.log_metric(gone, "m", 3.0, START_MS, 2)
    client.delete_run(gone)
    killed = client.create_run(experiment, start_time=START_MS + 2).info.run_id
    client.set_terminated(killed, "KILLED", START_MS + 4)
    client.create_run(experiment, start_time=START_MS + 3, run_name="still running")


def trashed(client: MlflowClient) -> None:
    """A deleted experiment with a run in it."""
    experiment = client.create_experiment("thrown away")
    run = client.create_run(experiment, run_name="with it").info.run_id
    client.log_param(run, "p", "1")
    client.delete_experiment(experiment)


def registered(client: MlflowClient) -> None:
    """Versions with a gap, stages, aliases, tags, and one whose model was logged by hand."""
    mlflow.set_experiment("registering")
    x, y = data()
    model = LogisticRegression().fit(x, y)
    name = {"name": "clf"} if IS_THREE else {"artifact_path": "clf"}
    for number in range(1, 5):
        with mlflow.start_run(run_name=f"make {number}"):
            mlflow.log_metric("auc", 0.8 + number / 100)
            mlflow.sklearn.log_model(
                model,
                **name,
                registered_model_name="delays",
                input_example=x.head(2),
                **({"params": {"C": str(number)}} if IS_THREE else {}),
            )
    if IS_THREE:
        read = mlflow.entities.LoggedModelInput(mlflow.last_logged_model().model_id)
        with mlflow.start_run(run_name="read one") as reading:
            client.log_inputs(reading.info.run_id, models=[read])
    client.delete_model_version("delays", "2")
    client.update_registered_model("delays", "Who is late?")
    client.set_registered_model_tag("delays", "owner", "ops")
    client.update_model_version("delays", "3", "the third")
    client.set_model_version_tag("delays", "3", "checked", "yes")
    client.transition_model_version_stage("delays", "1", "Archived")
    client.transition_model_version_stage("delays", "3", "Production")
    client.set_registered_model_alias("delays", "champion", "3")
    client.set_registered_model_alias("delays", "challenger", "4")
    client.create_registered_model("nothing yet", {"empty": "very"})


def prompted() -> None:
    if not IS_THREE:
        return
    mlflow.genai.register_prompt("greeting", "Hello {{name}}", commit_message="first", tags={"a": "b"})
    mlflow.genai.register_prompt("greeting", "Dear {{name}}\n\n", commit_message="politer")
    mlflow.genai.set_prompt_alias("greeting", "production", 1)


def traced() -> None:
    mlflow.set_experiment("asking")

    @mlflow.trace(span_type="TOOL")  # type: ignore[untyped-decorator]  # MLflow gives its own type
    def look_up(key: str) -> dict[str, Any]:
        return {"key": key, "value": [1, 2, 3]}

    @mlflow.trace(name="answer", attributes={"model": "tiny"})  # type: ignore[untyped-decorator]  # as above
    def answer(question: str) -> str:
        found = look_up(question)
        return f"{question}: {found['value']}"

    @mlflow.trace  # type: ignore[untyped-decorator]  # as above
    def refuse() -> None:
        raise ValueError("no weather")

    answer("what?")
    with contextlib.suppress(ValueError):
        refuse()
    with mlflow.start_run(run_name="under a run"):
        answer("and then " + "on " * 200)
    if IS_THREE:
        said_of_traces()


def said_of_traces() -> None:
    """Feedback and expectations of a trace, a run and a prompt that it is linked to."""
    mlflow.flush_trace_async_logging()
    trace_id = mlflow.get_last_active_trace_id()
    mlflow.log_feedback(trace_id=trace_id, name="good", value=True, rationale="it is")
    mlflow.log_feedback(trace_id=trace_id, name="score", value=4, metadata={"by": "hand"})
    mlflow.log_expectation(trace_id=trace_id, name="wanted", value={"a": 1})
    mlflow.set_trace_tag(trace_id, "asked", "once")
    with mlflow.start_run(run_name="linked later") as run:
        pass
    MlflowClient().link_traces_to_run([trace_id], run.info.run_id)
    prompt = mlflow.genai.load_prompt("prompts:/greeting/2")
    MlflowClient().link_prompt_versions_to_trace([prompt], trace_id)


def evaluated() -> None:
    """Evaluation datasets: one with records of two kinds, an empty one."""
    if not IS_THREE:
        return
    experiment = mlflow.set_experiment("evaluating").experiment_id
    made = mlflow.genai.datasets.create_dataset(
        name="questions", experiment_id=[experiment], tags={"team": "blue", "mlflow.user": "ada"}
    )
    made.merge_records(
        [
            {"inputs": {"question": f"number {number}?"}, "expectations": {"answer": number, "é": None}}
            for number in range(7)
        ]
    )
    made.merge_records(
        [
            {"inputs": {"question": "number 3?"}, "tags": {"hard": "yes"}, "outputs": ["a", {"b": 1.5}]},
            {
                "inputs": {"question": "from a trace"},
                "source": {"source_type": "TRACE", "source_data": {"trace_id": "tr-0"}},
            },
        ]
    )
    mlflow.genai.datasets.create_dataset(name="nothing yet", experiment_id=[])


def main(points: int) -> None:
    warnings.simplefilter("ignore")
    client = MlflowClient()
    learned()
    measured(client, points)
    trashed(client)
    registered(client)
    prompted()
    traced()
    evaluated()


main(int(sys.argv[1]))
