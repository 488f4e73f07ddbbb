"""What MLflow's servers answer, as far as a history needs it; some versions write numbers as texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

__all__ = [
    "DatasetInput",
    "Experiments",
    "Files",
    "Logged",
    "LoggedModels",
    "Model",
    "ModelPoint",
    "Models",
    "OneRun",
    "Pair",
    "Point",
    "Points",
    "Run",
    "Runs",
    "Version",
    "Versions",
    "Webhooks",
    "texts",
]

Value = float | Literal["NaN", "Infinity", "-Infinity"]


class Pair(msgspec.Struct, frozen=True):
    """A tag or a param."""

    key: str
    value: str = ""


def texts(pairs: Sequence[Pair]) -> dict[str, str]:
    """Pairs by key."""
    return {pair.key: pair.value for pair in pairs}


class _Experiment(msgspec.Struct, frozen=True):
    experiment_id: str
    name: str
    artifact_location: str = ""
    lifecycle_stage: str = "active"
    creation_time: int | None = None
    last_update_time: int | None = None
    tags: list[Pair] = []


class Experiments(msgspec.Struct, frozen=True):
    """A page of experiments."""

    experiments: list[_Experiment] = []
    next_page_token: str = ""


class Point(msgspec.Struct, frozen=True, gc=False):
    """A point of a metric."""

    key: str = ""
    value: Value = 0.0
    timestamp: int = 0
    step: int = 0


class Points(msgspec.Struct, frozen=True):
    """A page of a metric's history."""

    metrics: list[Point] = []
    next_page_token: str = ""


class _Info(msgspec.Struct, frozen=True):
    experiment_id: str
    run_id: str = ""
    run_uuid: str = ""
    run_name: str = ""
    user_id: str = ""
    status: str = "FINISHED"
    start_time: int | None = None
    end_time: int | None = None
    lifecycle_stage: str = "active"
    artifact_uri: str = ""


class _Data(msgspec.Struct, frozen=True):
    metrics: list[Point] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class _Dataset(msgspec.Struct, frozen=True):
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class DatasetInput(msgspec.Struct, frozen=True):
    """A dataset that a run read."""

    dataset: _Dataset
    tags: list[Pair] = []


class _ModelUse(msgspec.Struct, frozen=True):
    model_id: str
    step: int = 0


class _Inputs(msgspec.Struct, frozen=True):
    dataset_inputs: list[DatasetInput] = []
    model_inputs: list[_ModelUse] = []


class _Outputs(msgspec.Struct, frozen=True):
    model_outputs: list[_ModelUse] = []


class Run(msgspec.Struct, frozen=True):
    """A run."""

    info: _Info
    data: _Data = _Data()
    inputs: _Inputs = _Inputs()
    outputs: _Outputs = _Outputs()


class OneRun(msgspec.Struct, frozen=True):
    """A run that was asked for alone."""

    run: Run | None = None


class Runs(msgspec.Struct, frozen=True):
    """A page of runs."""

    runs: list[Run] = []
    next_page_token: str = ""


class _LoggedInfo(msgspec.Struct, frozen=True):
    model_id: str
    experiment_id: str
    name: str = ""
    creation_timestamp_ms: int = 0
    last_updated_timestamp_ms: int = 0
    artifact_uri: str = ""
    status: str | int = ""
    model_type: str = ""
    source_run_id: str = ""
    tags: list[Pair] = []


class ModelPoint(Point, frozen=True, gc=False):
    """A point of a logged model's metric."""

    run_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class _LoggedData(msgspec.Struct, frozen=True):
    params: list[Pair] = []
    metrics: list[ModelPoint] = []


class Logged(msgspec.Struct, frozen=True):
    """A logged model."""

    info: _LoggedInfo
    data: _LoggedData = _LoggedData()


class LoggedModels(msgspec.Struct, frozen=True):
    """A page of logged models."""

    models: list[Logged] = []
    next_page_token: str = ""


class _Alias(msgspec.Struct, frozen=True):
    alias: str
    version: int


class Model(msgspec.Struct, frozen=True):
    """A registered model."""

    name: str
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0
    description: str = ""
    tags: list[Pair] = []
    aliases: list[_Alias] = []


class Models(msgspec.Struct, frozen=True):
    """A page of registered models."""

    registered_models: list[Model] = []
    next_page_token: str = ""


class Version(msgspec.Struct, frozen=True):
    """A version of a registered model."""

    version: int
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0
    user_id: str = ""
    current_stage: str = ""
    description: str = ""
    source: str = ""
    run_id: str = ""
    run_link: str = ""
    status: str = ""
    tags: list[Pair] = []


class Versions(msgspec.Struct, frozen=True):
    """A page of versions."""

    model_versions: list[Version] = []
    next_page_token: str = ""


class _File(msgspec.Struct, frozen=True):
    path: str
    is_dir: bool = False
    file_size: int = 0


class Files(msgspec.Struct, frozen=True):
    """What is in a folder."""

    files: list[_File] = []


class Webhooks(msgspec.Struct, frozen=True):
    """A page of webhooks."""

    webhooks: list[Any] = []
