"""A function evaluated on an evaluation dataset by a scorer of its own: no model service is asked."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.protocols.mlflow.sessions.told import Told

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    genai = mlflow.genai
    experiment = told.hide(mlflow.set_experiment("judging-session").experiment_id, "experiment")
    made = genai.datasets.create_dataset("sums", experiment_id=experiment)
    made.merge_records(
        [
            {"inputs": {"left": 1, "right": 1}, "expectations": {"answer": 2}},
            {"inputs": {"left": 2, "right": 2}, "expectations": {"answer": 4}},
            {"inputs": {"left": 2, "right": 3}, "expectations": {"answer": 6}},
        ]
    )

    def exact(outputs: Any, expectations: Any) -> bool:
        return bool(outputs == expectations["answer"])

    scorer = import_module("mlflow.genai.scorers").scorer

    def predict(left: int, right: int) -> int:
        return left + right

    result = genai.evaluate(data=made, predict_fn=predict, scorers=[scorer(exact)])
    told.tell("metrics", {name: float(value) for name, value in result.metrics.items()})
    run = mlflow.get_run(result.run_id)
    told.tell("kept", dict(run.data.metrics))
    read = [[each.dataset.name, each.dataset.source_type] for each in run.inputs.dataset_inputs]
    told.tell("read", read)
    traces = mlflow.search_traces(run_id=result.run_id)
    said = [each["feedback"]["value"] for row in traces["assessments"] for each in row if "feedback" in each]
    told.tell("said", sorted(said))
    expected = [each["expectation"] for row in traces["assessments"] for each in row if "expectation" in each]
    told.tell("expected", len(expected))
    again = genai.datasets.create_dataset("of traces", experiment_id=experiment)
    again.merge_records(traces)
    frame = again.to_df()
    told.tell("of traces", sorted(frame["source_type"]))
    told.tell("their inputs", sorted([each["left"], each["right"]] for each in frame["inputs"]))
    told.tell("their expectations", sorted(each["answer"] for each in frame["expectations"]))
