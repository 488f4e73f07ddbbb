"""Optuna's tree-structured Parzen estimator, asked and told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from loopwright.core.errors import Invalid
from loopwright.ports.predictors import SearchSpace

__all__ = ["OptunaTuner"]


class OptunaTuner:
    """One in-memory study that maximises; the trials themselves are kept by the caller as runs."""

    def __init__(self, spaces: tuple[SearchSpace, ...], *, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._spaces = spaces
        self._open: optuna.trial.Trial | None = None

    def ask(self) -> Mapping[str, Any]:
        """Parameters of the next trial."""
        self._open = self._study.ask()
        return {space.name: _suggest(self._open, space) for space in self._spaces}

    def tell(self, score: float) -> None:
        """The score of the trial that was asked for last; higher is better."""
        if self._open is None:
            raise Invalid("no trial is open", hint="ask before telling")
        self._study.tell(self._open, score)
        self._open = None

    def best(self) -> tuple[Mapping[str, Any], float]:
        """The best parameters so far and their score."""
        return self._study.best_params, self._study.best_value


def _suggest(trial: optuna.trial.Trial, space: SearchSpace) -> object:
    if space.choices:
        return trial.suggest_categorical(space.name, space.choices)
    if space.integer:
        return trial.suggest_int(space.name, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(space.name, space.low, space.high, log=space.log)
