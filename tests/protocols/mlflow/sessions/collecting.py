"""Evaluation datasets: made, filled from lists and tables, read back, found, tagged, linked, deleted."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    sets, pandas = mlflow.genai.datasets, import_module("pandas")
    experiment = told.hide(mlflow.set_experiment("collecting-session").experiment_id, "experiment")
    made = sets.create_dataset("trivia", experiment_id=experiment, tags={"team": "blue"})
    told.tell("made", [made.name, made.tags["team"], made.schema, made.profile])
    told.tell("of its experiment", made.experiment_ids == [experiment])
    told.tell("empty", made.to_df().columns.tolist())
    made.merge_records(
        [
            {"inputs": {"q": "capital of France", "n": 1}, "expectations": {"answer": "Paris"}},
            {"inputs": {"q": "capital of Peru", "n": 2}},
        ]
    )
    made.merge_records([{"inputs": {"n": 1, "q": "capital of France"}, "expectations": {"why": "known"}}])
    frame = pandas.DataFrame(
        [
            {
                "inputs": {"q": "größte Stadt", "n": 3},
                "expectations": {"answer": "東京"},
                "tags": {"lang": "de"},
            },
            {
                "inputs": {"q": "deep", "n": 4, "more": {"a": [1, None, {"b": 2.5}]}},
                "expectations": {},
                "tags": {},
            },
        ]
    )
    made.merge_records(frame)
    again = sets.get_dataset(dataset_id=made.dataset_id)
    _told(told, "read", again.to_df())
    told.tell("schema", json.loads(again.schema))
    told.tell("profile", again.profile)
    told.tell("digest changed", again.digest != made.digest)
    one = again.to_df()["dataset_record_id"].tolist()[0]
    told.tell("removed", [again.delete_records([one]), again.delete_records([one])])
    told.tell("left", len(sets.get_dataset(dataset_id=made.dataset_id).to_df()))
    _many(sets, told, experiment)
    _found(mlflow, sets, told, made, experiment)


def _told(told: Told, name: str, frame: Any) -> None:
    kept = frame[["inputs", "outputs", "expectations", "source_type"]].to_dict("records")
    told.tell(name, sorted(kept, key=lambda each: int(each["inputs"]["n"])))
    tags = {key for each in frame["tags"] for key in each if key != "mlflow.user"}
    told.tell(f"{name}: tags", sorted(tags))


def _many(sets: Any, told: Told, experiment: str) -> None:
    """More records than one page holds."""
    many = sets.create_dataset("many", experiment_id=experiment)
    many.merge_records([{"inputs": {"n": n}, "expectations": {"twice": 2 * n}} for n in range(2_300)])
    frame = sets.get_dataset(dataset_id=many.dataset_id).to_df()
    told.tell("many", [len(frame), sorted(each["n"] for each in frame["inputs"]) == list(range(2_300))])
    told.tell("no two alike", frame["dataset_record_id"].nunique())


def _found(mlflow: Any, sets: Any, told: Told, made: Any, experiment: str) -> None:
    other = told.hide(mlflow.create_experiment("collecting-other"), "other")
    sets.set_dataset_tags(dataset_id=made.dataset_id, tags={"team": "red", "stage": "draft"})
    sets.delete_dataset_tag(dataset_id=made.dataset_id, key="stage")
    told.tell("tagged", sets.get_dataset(dataset_id=made.dataset_id).tags["team"])
    client = mlflow.MlflowClient()
    told.tell("by name", [each.name for each in client.search_datasets(filter_string="name LIKE 'tri%'")])
    told.tell("by tag", [each.name for each in client.search_datasets(filter_string="tags.team = 'red'")])
    mine = {"experiment_ids": [experiment], "filter_string": "name != 'none'"}
    ordered = client.search_datasets(order_by=["name ASC"], **mine)
    told.tell("in order", [each.name for each in ordered])
    sets.add_dataset_to_experiments(dataset_id=made.dataset_id, experiment_ids=[other])
    told.tell("linked", [each.name for each in client.search_datasets(experiment_ids=[other])])
    sets.remove_dataset_from_experiments(dataset_id=made.dataset_id, experiment_ids=[other])
    told.tell("unlinked", list(client.search_datasets(experiment_ids=[other])))
    sets.delete_dataset(dataset_id=made.dataset_id)
    told.tell("gone", refusal(lambda: sets.get_dataset(dataset_id=made.dataset_id)))
