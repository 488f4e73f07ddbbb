"""Use cases of tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from loopwright.core.errors import Invalid
from loopwright.engine.context import Context
from loopwright.tracking.verbs import log, tracked
from loopwright.tuning.nouns import Study, StudyResult

__all__ = ["search"]


def search(ctx: Context, study: Study, score: Callable[[Mapping[str, Any]], float]) -> StudyResult:
    """Run the trials in turn, each a run of kind `trial`; `score(params)` is higher for better."""
    if study.trials < 1:
        raise Invalid(f"the study {study.name!r} has no trials", hint="ask for at least one")
    tuner = ctx.ports.tuner(study.spaces, seed=study.seed)
    best = StudyResult(params={}, score=-math.inf, run_id="", trials=study.trials)
    for number in range(study.trials):
        is_start = number == 0 and bool(study.start)
        params = dict(study.start) if is_start else dict(tuner.ask())
        with tracked(ctx, "trial", f"{study.name} {number + 1}", params=params) as trial:
            value = score(params)
            log(trial, str(trial.run_id), {study.metric: value}, step=number)
        if not is_start:
            tuner.tell(value)
        if value > best.score:
            best = StudyResult(params=params, score=value, run_id=str(trial.run_id), trials=study.trials)
    return best
