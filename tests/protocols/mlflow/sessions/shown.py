"""What sessions tell of runs, models and versions, as plain values."""

from __future__ import annotations

from typing import Any

__all__ = ["files", "run", "version"]

# Of the peer's machine, not of the server.
LOCAL = ("mlflow.source.name", "mlflow.source.git.", "mlflow.user")


def run(found: Any) -> dict[str, Any]:
    """A run's info, params, metrics and tags; inputs and outputs by their names."""
    info, data = found.info, found.data
    inputs = getattr(found.inputs, "dataset_inputs", None) or []
    return {
        "name": info.run_name,
        "status": info.status,
        "stage": info.lifecycle_stage,
        "started": isinstance(info.start_time, int),
        "ended": isinstance(info.end_time, int),
        "artifacts": info.artifact_uri,
        "params": dict(sorted(data.params.items())),
        "metrics": dict(sorted(data.metrics.items())),
        "tags": {key: value for key, value in sorted(data.tags.items()) if not key.startswith(LOCAL)},
        "datasets": sorted(each.dataset.name for each in inputs),
    }


def version(found: Any) -> dict[str, Any]:
    """A model version."""
    names = ("name", "version", "current_stage", "description", "status", "source", "run_id", "run_link")
    told = {name: getattr(found, name) for name in names}
    aliases = sorted(getattr(found, "aliases", None) or [])
    return {**told, "tags": dict(sorted(found.tags.items())), "aliases": aliases}


def files(client: Any, run_id: str, path: str | None = None) -> list[str]:
    """Paths of all files of a run, sorted."""
    paths: list[str] = []
    for each in client.list_artifacts(run_id, path):
        paths += files(client, run_id, each.path) if each.is_dir else [each.path]
    return sorted(paths)
