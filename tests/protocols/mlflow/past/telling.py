"""Tells all that MLflow's own client sees of a server, as JSON; run by MLflow's own Python.

Places (artifact addresses) are left out: they differ from store to store. Values are told as texts.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient, artifacts
from mlflow.entities import ViewType

IS_THREE = mlflow.__version__.startswith("3")
_PROMPT = "tags.`mlflow.prompt.is_prompt` = 'true'"


def whole(search: Any, **asked: Any) -> list[Any]:
    found, token = [], None
    while True:
        page = search(**asked, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def files_at(uri: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            if not artifacts.list_artifacts(artifact_uri=uri):
                return {}  # to a download of none MLflow 2's server answers 500, and its client asks again
            root = Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        except Exception:  # noqa: BLE001 - each store has its own error for a folder without files
            return {}
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def point(metric: Any) -> list[str]:
    return [repr(float(metric.value) + 0.0), str(metric.timestamp), str(metric.step)]


def run_told(client: MlflowClient, run: Any) -> dict[str, Any]:
    info, data = run.info, run.data
    outputs = run.outputs.model_outputs if getattr(run, "outputs", None) else []
    alone = client.get_run(info.run_id)  # MLflow's searches leave out which models a run read
    inputs = getattr(alone.inputs, "model_inputs", None) or []
    return {
        "name": info.run_name,
        "user": info.user_id,
        "status": info.status,
        "times": [info.start_time, info.end_time],
        "lifecycle": info.lifecycle_stage,
        "params": data.params,
        "tags": data.tags,
        "latest": {key: repr(value + 0.0) for key, value in data.metrics.items()},
        "histories": {
            key: sorted(point(each) for each in client.get_metric_history(info.run_id, key))
            for key in data.metrics
        },
        "datasets": sorted(
            [
                [each.dataset.to_dictionary(), {tag.key: tag.value for tag in each.tags}]
                for each in run.inputs.dataset_inputs
            ],
            key=str,
        ),
        "models": [sorted(each.model_id for each in inputs), sorted([x.model_id, x.step] for x in outputs)],
        "files": files_at(info.artifact_uri),
    }


def logged_told(model: Any) -> dict[str, Any]:
    return {
        "name": model.name,
        "type": model.model_type or "",
        "status": str(model.status),
        "created": model.creation_timestamp,
        "run": model.source_run_id,
        "params": model.params,
        "tags": model.tags,
        "points": sorted(
            [
                m.key,
                repr(m.value),
                m.timestamp,
                m.step,
                m.run_id,
                m.dataset_name or "",
                m.dataset_digest or "",
            ]
            for m in model.metrics or []
        ),
        "files": files_at(model.artifact_location),
    }


def version_told(client: MlflowClient, version: Any) -> dict[str, Any]:
    """One version; a model's aliases by asking for it alone, as only folders tell them in lists too."""
    prompt = (version.tags or {}).get("mlflow.prompt.is_prompt") == "true"
    alone = version if prompt else client.get_model_version(version.name, str(version.version))
    uri = "" if prompt else client.get_model_version_download_uri(version.name, str(version.version))
    return {
        "created": version.creation_timestamp,
        "description": version.description or "",
        "stage": version.current_stage or "None",
        "run": version.run_id or "",
        "status": version.status,
        "tags": version.tags,
        "aliases": sorted(alone.aliases),
        "files": files_at(uri) if uri else {},
    }


def model_told(client: MlflowClient, model: Any, clause: str) -> dict[str, Any]:
    where = f"name = '{model.name}'" + (f" AND {clause}" if clause else "")
    versions = whole(client.search_model_versions, filter_string=where)
    return {
        "created": model.creation_timestamp,
        "description": model.description or "",
        "tags": model.tags,
        "aliases": {alias: str(number) for alias, number in model.aliases.items()},
        "versions": {str(each.version): version_told(client, each) for each in versions},
    }


def trace_told(trace: Any) -> dict[str, Any]:
    return {
        **(new_info(trace.info) if hasattr(trace.info, "state") else old_info(trace.info)),
        **steps(trace),
    }


def steps(trace: Any) -> dict[str, Any]:
    return {"steps": sorted(map(step_told, trace.data.spans))}


def tags_of(info: Any) -> dict[str, str]:
    places = ("mlflow.artifactLocation", "mlflow.trace.spansLocation")
    return {key: value for key, value in info.tags.items() if key not in places}


def old_info(info: Any) -> dict[str, Any]:
    return {
        "state": str(info.status),
        "times": [info.timestamp_ms, info.execution_time_ms],
        "tags": tags_of(info),
        "metadata": {key: value[:250] for key, value in info.request_metadata.items()},
    }


def new_info(info: Any) -> dict[str, Any]:
    return {
        "state": str(info.state),
        "times": [info.request_time, info.execution_duration],
        "previews": [info.request_preview, info.response_preview],
        "tags": tags_of(info),
        "metadata": {key: value[:250] for key, value in info.trace_metadata.items()},
        "said": sorted(
            [each.assessment_id, each.name, str(sent(each.value)), each.rationale or "", each.create_time_ms]
            for each in info.assessments
        ),
    }


def sent(value: Any) -> Any:
    """A value as it arrives from a server, where every number is a float; a database tells 4 as 4."""
    if isinstance(value, dict):
        return {key: sent(each) for key, each in value.items()}
    if isinstance(value, list):
        return [sent(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def step_told(step: Any) -> list[Any]:
    told = [json.dumps(each, sort_keys=True) for each in (step.inputs, step.outputs, step.attributes)]
    status = str(step.status.status_code)
    return [step.span_id, step.parent_id or "", step.name, step.span_type, status, step.start_time_ns, *told]


def traces_of(experiment_id: str) -> dict[str, Any]:
    if not IS_THREE:
        old = MlflowClient().search_traces(experiment_ids=[experiment_id])
        return {trace.info.request_id: trace_told(trace) for trace in old}
    found = mlflow.search_traces(locations=[experiment_id], return_type="list")
    return {trace.info.trace_id: trace_told(trace) for trace in found}


def linked(experiment_id: str, runs: list[Any]) -> dict[str, list[str]]:
    """Traces by the runs that they belong to, and by the prompt that one was linked to."""
    if not IS_THREE:
        return {}
    clauses = {run.info.run_id: f"attributes.run_id = '{run.info.run_id}'" for run in runs}
    clauses["greeting/2"] = "prompt = 'greeting/2'"
    return {
        name: sorted(
            trace.info.trace_id
            for trace in mlflow.search_traces(
                locations=[experiment_id], filter_string=clause, return_type="list"
            )
        )
        for name, clause in clauses.items()
    }


def evaluations() -> dict[str, Any]:
    if not IS_THREE:
        return {}
    return {
        each.dataset_id: {
            "name": each.name,
            "tags": each.tags,
            "times": [each.created_time, each.last_update_time],
            "by": [each.created_by or "", each.last_updated_by or ""],
            "schema": json.loads(each.schema or "null"),
            "profile": json.loads(each.profile or "null"),
            "experiments": len(each.experiment_ids),
            "records": sorted(map(record_told, each.records), key=str),
        }
        for each in MlflowClient().search_datasets()
    }


def record_told(record: Any) -> list[Any]:
    told = record.to_dict()
    wanted = ("dataset_record_id", "inputs", "outputs", "expectations", "source", "source_id")
    times = ("created_time", "last_update_time", "created_by", "last_updated_by")
    return [told.get("tags") or {}, *(told.get(each) for each in (*wanted, *times))]


def told(names: list[str]) -> dict[str, Any]:
    client, found = MlflowClient(), {}
    for experiment in whole(client.search_experiments, view_type=ViewType.ALL):
        if names and experiment.name not in names:
            continue
        of = [experiment.experiment_id]
        runs = whole(client.search_runs, experiment_ids=of, run_view_type=ViewType.ALL)
        models = []
        if hasattr(client, "search_logged_models"):
            models = whole(client.search_logged_models, experiment_ids=of)
        found[experiment.name] = {
            "lifecycle": experiment.lifecycle_stage,
            "tags": experiment.tags,
            "runs": {run.info.run_id: run_told(client, run) for run in runs},
            "traces": traces_of(experiment.experiment_id),
            "linked": linked(experiment.experiment_id, runs),
            "models": {model.model_id: logged_told(model) for model in models},
        }
    registered = {
        model.name: model_told(client, model, clause)
        for clause in ("", _PROMPT)
        for model in whole(client.search_registered_models, filter_string=clause or None)
    }
    return {"experiments": found, "registered": registered, "evaluations": evaluations()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(told(sys.argv[1:]), sort_keys=True, indent=1))
