"""The groups of recorded exchanges, and those whose routes the server has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.protocols.mlflow.script.assessing import assessments, traces_search
from tests.protocols.mlflow.script.datasets import evaluation_datasets, evaluation_datasets_search
from tests.protocols.mlflow.script.edges import edges
from tests.protocols.mlflow.script.experiments import experiments, experiments_search
from tests.protocols.mlflow.script.files import artifacts
from tests.protocols.mlflow.script.finding import histories, runs_search
from tests.protocols.mlflow.script.lineage import inputs, logged_models, logged_models_search
from tests.protocols.mlflow.script.older_traces import older_traces
from tests.protocols.mlflow.script.plumbing import plumbing
from tests.protocols.mlflow.script.prompts import prompts
from tests.protocols.mlflow.script.registry import (
    aliases,
    model_versions,
    model_versions_search,
    registered_models,
    registered_models_search,
    stages,
)
from tests.protocols.mlflow.script.runs import batches, metrics, params_and_tags, runs
from tests.protocols.mlflow.script.traces import links as trace_links
from tests.protocols.mlflow.script.traces import metrics as trace_metrics
from tests.protocols.mlflow.script.traces import spans, traces
from tests.protocols.mlflow.script.webhooks import webhooks
from tests.protocols.mlflow.talking import Talk

__all__ = ["DONE_GROUPS", "SCRIPTS"]

SCRIPTS: Mapping[str, Callable[[Talk], None]] = {
    "plumbing": plumbing,
    "experiments": experiments,
    "experiments_search": experiments_search,
    "runs": runs,
    "metrics": metrics,
    "params_and_tags": params_and_tags,
    "batches": batches,
    "histories": histories,
    "runs_search": runs_search,
    "artifacts": artifacts,
    "inputs": inputs,
    "logged_models": logged_models,
    "logged_models_search": logged_models_search,
    "registered_models": registered_models,
    "registered_models_search": registered_models_search,
    "model_versions": model_versions,
    "model_versions_search": model_versions_search,
    "stages": stages,
    "aliases": aliases,
    "prompts": prompts,
    "evaluation_datasets": evaluation_datasets,
    "evaluation_datasets_search": evaluation_datasets_search,
    "traces": traces,
    "spans": spans,
    "trace_links": trace_links,
    "trace_metrics": trace_metrics,
    "assessments": assessments,
    "traces_search": traces_search,
    "older_traces": older_traces,
    "webhooks": webhooks,
    "edges": edges,
}

# A group that is not named here is not collected; name it when the server has its routes.
DONE_GROUPS: tuple[str, ...] = (
    "plumbing",
    "experiments",
    "experiments_search",
    "runs",
    "metrics",
    "params_and_tags",
    "batches",
    "histories",
    "runs_search",
    "artifacts",
    "inputs",
    "logged_models",
    "logged_models_search",
    "registered_models",
    "registered_models_search",
    "model_versions",
    "model_versions_search",
    "stages",
    "aliases",
    "prompts",
    "evaluation_datasets",
    "evaluation_datasets_search",
    "traces",
    "spans",
    "trace_links",
    "trace_metrics",
    "assessments",
    "traces_search",
    "older_traces",
    "webhooks",
    "edges",
)
