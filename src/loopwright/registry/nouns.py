"""What a model version says of itself, what the registry gives back, and what a logged model is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from loopwright.core.nouns import Alias, Asset, Json, Version

__all__ = [
    "KIND",
    "LOGGED",
    "Comparison",
    "Difference",
    "LoggedModel",
    "LoggedModelState",
    "ModelBody",
    "ModelPoint",
    "NewVersion",
    "Promotion",
    "RegisteredModel",
    "RegisteredVersion",
    "Stage",
]

KIND = "model"
LOGGED = "logged_model"


class ModelBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a model's manifest: everything serving needs beside the framework's files."""

    flavor: str
    service: str
    """address of the feature service's version that makes its inputs"""
    features: tuple[str, ...]
    """its inputs in order: the service's outputs"""
    categorical: dict[str, tuple[str, ...]]
    """levels by input, fixed at training; an input's value is the index of its level"""
    objective: str
    params: Json
    rounds: int
    seed: int
    training_set: str
    """address of the dataset version it was trained on"""
    trained_until: datetime
    """no label known later than this was seen"""
    code: str
    """digest of the training code"""
    importance: dict[str, float]


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """An alias that moved, with what it pointed to before."""

    model: str
    alias: Alias
    version: Version
    previous: int | None


class Stage(StrEnum):
    """Where a version stands, for clients that speak of stages instead of aliases."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


class RegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model with the newest version of each stage and its aliases."""

    asset: Asset
    latest: tuple[Version, ...]
    aliases: tuple[Alias, ...]


class RegisteredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model with the aliases that point to it."""

    version: Version
    aliases: tuple[str, ...]


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says of a version that it brings along; None where it says nothing."""

    source: str
    """where its files are: `runs:/`, `models:/`, `mlflow-artifacts:/`, or an address of a store of others"""
    run_id: str | None = None
    model_id: str | None = None
    run_link: str = ""
    tags: dict[str, str] = {}
    description: str = ""


class LoggedModelState(StrEnum):
    """A logged model is made, its files arrive, and then it is told to be whole or not."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class LoggedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a run left it: its files are those of the owner `logged_model:<id>`."""

    id: str
    """`m-` and 32 hex digits; also the name of its asset, since names of logged models repeat"""
    name: str
    experiment_id: str
    artifact_uri: str
    state: LoggedModelState
    created_at: datetime
    updated_at: datetime
    model_type: str = ""
    source_run_id: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    deleted_at: datetime | None = None


class ModelPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a metric that a run measured of a logged model, perhaps on a dataset; never changed."""

    model_id: str
    run_id: str
    key: str
    value: float
    step: int = 0
    at_us: int = 0
    dataset_name: str = ""
    dataset_digest: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that two versions do not have in common; None where one has not got it."""

    key: str
    left: str | float | None
    right: str | float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two versions of a model side by side: what differs, and how much is the same."""

    left: Version
    right: Version
    params: tuple[Difference, ...]
    metrics: tuple[Difference, ...]
    """the latest values of the runs that made them, and of the logged models they come from"""
    signature: tuple[Difference, ...] = ()
    """columns it takes and gives, by name"""
    data: tuple[Difference, ...] = ()
    """versions of data that were read"""
    features: tuple[Difference, ...] = ()
    """its inputs with their place"""
    environment: tuple[Difference, ...] = ()
    """packages with their versions"""
    code: tuple[Difference, ...] = ()
    """commit, command, digest of the training code"""
    importance: tuple[Difference, ...]
    files: tuple[Difference, ...]
    """digests by path"""
    tags: tuple[Difference, ...]
    same: dict[str, int]
    """how many entries of each kind are equal"""
