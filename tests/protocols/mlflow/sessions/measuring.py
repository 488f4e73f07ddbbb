"""Metrics of the machine, sampled in the background while a run goes on."""

from __future__ import annotations

import time
from typing import Any

from tests.protocols.mlflow.sessions.told import Told

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    client = mlflow.MlflowClient()
    told.hide(mlflow.set_experiment("measuring-session").experiment_id, "experiment")
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(run_name="measured", log_system_metrics=True) as run:
        time.sleep(2)
    keys = sorted(client.get_run(run.info.run_id).data.metrics)
    told.tell("system", [key for key in keys if not key.startswith("system/gpu")])
    history = client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")
    told.tell("sampled", [point.step for point in history][:2])
