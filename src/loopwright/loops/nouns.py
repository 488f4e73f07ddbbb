"""What a loop is told: how to train, when to train again, how to let a challenger in."""

from __future__ import annotations

from datetime import datetime

import msgspec

from loopwright.core.nouns import Decision, Json, Version
from loopwright.ports.predictors import SearchSpace

__all__ = [
    "LoopSpec",
    "RetrainRule",
    "RolloutSpec",
    "RolloutState",
    "Trained",
    "TrainingSpec",
    "TuningSpec",
    "Window",
]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time, start inclusive, end exclusive."""

    start: datetime
    end: datetime


class TuningSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How parameters are searched before the first training."""

    spaces: tuple[SearchSpace, ...]
    trials: int
    rows: int
    """size of the sample the trials are trained on"""
    rounds: int


class TrainingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is made from a spine of labelled questions."""

    model: str
    service: str
    """name of the feature service that makes its inputs"""
    spine: str
    """dataset with a row for each question that was asked"""
    row_id: str
    """column that names a row"""
    time: str
    """column of the instant a question is asked"""
    label: str
    label_known_at: str
    """column of the instant the label is known"""
    since: datetime
    """questions asked earlier are left out"""
    holdout: str
    """the newest stretch of labels, kept out of training to judge the candidate by"""
    slices: tuple[str, ...] = ()
    objective: str = "binary"
    params: Json = {}
    rounds: int
    seed: int
    tuning: TuningSpec | None = None


class RetrainRule(msgspec.Struct, frozen=True, kw_only=True):
    """When the realised signals ask for a new model.

    Over the trailing `window` of labelled predictions: the calibration gap (mean score less late
    rate, with an interval clustered by day) is beyond `gap` with its whole interval on one side of
    zero; or the high end of the realised AUC is more than `auc_margin` below what the champion had
    on its holdout. `cooldown` passes between two trainings.
    """

    window: str
    gap: float
    auc_margin: float
    cooldown: str


class RolloutSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a challenger comes in: in shadow first, then by growing percentages, guarded at each step."""

    shadow: str
    steps: tuple[float, ...]
    each: str
    margin: float
    """a challenger is stopped when it is worse than the champion by more than this, or shown to be worse"""


class LoopSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One model kept right: how it is trained, watched, retrained and rolled out."""

    model: str
    endpoint: str
    monitor: str
    training: TrainingSpec
    retrain: RetrainRule
    rollout: RolloutSpec


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate with the run that made it and, once judged, its verdict."""

    version: Version
    run_id: str
    decision: Decision | None = None


class RolloutState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollout stands; `step` -1 is the shadow."""

    run_id: str
    challenger: int
    champion: int
    step: int
    since: datetime
