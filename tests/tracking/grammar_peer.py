"""What MLflow itself makes of searches; run by its Python: `python -m tests.tracking.grammar_peer TASK FILE`.

The file holds JSON, so does the answer on standard output. Nothing of ours is imported here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from sqlalchemy.orm import Session

# Installed beside, not here: imported by name, so that this file has types in both places.
entities: Any = import_module("mlflow.entities")
registry: Any = import_module("mlflow.store.model_registry.sqlalchemy_store")
tables: Any = import_module("mlflow.store.tracking.dbmodels.models")
tracking: Any = import_module("mlflow.store.tracking.sqlalchemy_store")
logged: Any = import_module("mlflow.utils.search_logged_model_utils")
search: Any = import_module("mlflow.utils.search_utils")

Read = Callable[[str], Any]

REGISTRY = SimpleNamespace(
    _get_workspace_clauses=lambda table: [],
    _is_querying_prompt=lambda filters: True,
)


def runs(text: str) -> Any:
    found = search.SearchUtils.parse_search_filter(text)
    tracking._get_sqlalchemy_filter_clauses(found, Session(), "sqlite")
    return found


def experiments(text: str) -> Any:
    found = search.SearchExperimentsUtils.parse_search_filter(text)
    tracking._get_search_experiments_filter_clauses(found, "sqlite")
    return found


def registered_models(text: str) -> Any:
    found = search.SearchModelUtils.parse_search_filter(text)
    registry.SqlAlchemyStore._get_search_registered_model_filter_query(REGISTRY, None, found, "sqlite")
    return found


def model_versions(text: str) -> Any:
    found = search.SearchModelVersionUtils.parse_search_filter(text)
    registry.SqlAlchemyStore._get_search_model_versions_filter_clauses(REGISTRY, found, "sqlite")
    return found


def logged_models(text: str) -> Any:
    found = logged.parse_filter_string(text)
    for each in found:
        if each.entity.type.value == "attributes":
            getattr(tables.SqlLoggedModel, each.entity.key)
    return [
        {"type": each.entity.type.value, "key": each.entity.key, "comparator": each.op, "value": each.value}
        for each in found
    ]


def run_order(text: str) -> Any:
    tracking._get_orderby_clauses([text], Session())
    return search.SearchUtils.parse_order_by_for_search_runs(text)


def experiment_order(text: str) -> Any:
    tracking._get_search_experiments_order_by_clauses([text])
    return search.SearchExperimentsUtils.parse_order_by_for_search_experiments(text)


def registered_model_order(text: str) -> Any:
    registry.SqlAlchemyStore._parse_search_registered_models_order_by([text])
    return ("attribute", *search.SearchUtils.parse_order_by_for_search_registered_models(text))


def model_version_order(text: str) -> Any:
    registry.SqlAlchemyStore._parse_search_model_versions_order_by([text])
    return search.SearchModelVersionUtils.parse_order_by_for_search_model_versions(text)


FILTERS = {
    "runs": runs,
    "experiments": experiments,
    "registered_models": registered_models,
    "model_versions": model_versions,
    "logged_models": logged_models,
}
ORDERS = {
    "runs": run_order,
    "experiments": experiment_order,
    "registered_models": registered_model_order,
    "model_versions": model_version_order,
}


def answers(readers: Mapping[str, Read], asked: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """For each dialect and text what is read, or the error as a text."""
    return {dialect: [answer(readers[dialect], text) for text in texts] for dialect, texts in asked.items()}


def answer(read: Read, text: str) -> dict[str, Any]:
    try:
        return {"read": read(text)}
    except Exception as error:  # noqa: BLE001 - whatever it raises, it refuses
        return {"refused": f"{type(error).__name__}: {error}"}


def entity(run: dict[str, Any]) -> Any:
    info = entities.RunInfo(
        run_id=run["id"],
        experiment_id="0",
        user_id=run["user"],
        status=run["status"],
        start_time=run["start"],
        end_time=run["end"],
        lifecycle_stage="active",
        artifact_uri=run["artifacts"],
        run_name=run["name"],
    )
    data = entities.RunData(
        metrics=[entities.Metric(key, float(value), 0, 0) for key, value in run["metrics"].items()],
        params=[entities.Param(key, value) for key, value in run["params"].items()],
        tags=[entities.RunTag(key, value) for key, value in run["tags"].items()],
    )
    read = [
        entities.DatasetInput(
            dataset=entities.Dataset(name=each["name"], digest=each["digest"], source_type="s", source="s"),
            tags=[entities.InputTag("mlflow.data.context", each["context"])] if "context" in each else [],
        )
        for each in run["datasets"]
    ]
    return entities.Run(info, data, entities.RunInputs(dataset_inputs=read))


def found(asked: dict[str, Any]) -> list[list[str]]:
    """The ids that each search finds, in its order."""
    everything = [entity(run) for run in asked["runs"]]
    return [
        [
            run.info.run_id
            for run in search.SearchUtils.sort(search.SearchUtils.filter(everything, text), order)
        ]
        for text, order in asked["searches"]
    ]


TASKS: dict[str, Callable[[Any], Any]] = {
    "filters": lambda asked: answers(FILTERS, asked),
    "orders": lambda asked: answers(ORDERS, asked),
    "found": found,
}

if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        json.dump(TASKS[sys.argv[1]](json.load(file)), sys.stdout)
