"""A study and what came out of it."""

from __future__ import annotations

import msgspec

from loopwright.core.nouns import Json
from loopwright.ports.predictors import SearchSpace

__all__ = ["Study", "StudyResult"]


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched, how often, under which seed; higher scores are better."""

    name: str
    metric: str
    spaces: tuple[SearchSpace, ...]
    trials: int
    seed: int
    start: Json = {}
    """parameters of the first trial, so that a study is never worse than where it began"""


class StudyResult(msgspec.Struct, frozen=True, kw_only=True):
    """The best parameters with their score and the run that had it."""

    params: Json
    score: float
    run_id: str
    trials: int
