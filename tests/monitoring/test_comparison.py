"""Facts for the loops: a stretch's quality clustered by day, two versions on the same rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from loopwright.monitoring.comparison import compare_versions, promised_auc, realised_facts
from tests.monitoring.watched import DAY, MONITOR, START, Watched
from tests.serving.worlds import MODEL, config


def labelled_days(watched: Watched, days: int) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(8)
    truth: list[float] = []
    said: list[float] = []
    for day in range(days):
        ids, scores = watched.ask(day, rows=240)
        outcomes = [float(rng.random() < score - 0.05) for score in scores]
        watched.label(ids, outcomes, START + day * DAY + timedelta(hours=30))
        truth += outcomes
        said += scores
    watched.clock.set(START + (days + 2) * DAY)
    return truth, said


def test_realised_facts_are_those_of_all_labelled_rows() -> None:
    watched = Watched(config((1, 100.0), shadow=(2,)))
    truth, said = labelled_days(watched, 5)
    gap, auc = realised_facts(watched.ctx, MONITOR, START, START + 5 * DAY)

    assert gap is not None
    assert auc is not None
    assert gap.n == auc.n == len(truth) == 1200
    assert gap.value == pytest.approx(np.mean(said) - np.mean(truth), abs=1e-12)
    assert auc.value == pytest.approx(roc_auc_score(truth, said), abs=1e-12)
    for fact in (gap, auc):
        assert fact.low is not None
        assert fact.high is not None
        assert fact.low < fact.value < fact.high


def test_one_day_alone_has_no_interval_between_days() -> None:
    watched = Watched()
    labelled_days(watched, 1)

    assert realised_facts(watched.ctx, MONITOR, START, START + DAY) == (None, None)


def test_too_few_labels_are_no_facts() -> None:
    watched = Watched()
    watched.ask(0)

    assert realised_facts(watched.ctx, MONITOR, START, START + DAY) == (None, None)
    assert realised_facts(watched.ctx, MONITOR, START + 5 * DAY, START + 6 * DAY) == (None, None)
    never = compare_versions(watched.ctx, MONITOR, challenger=2, champion=1, start=START, end=START + DAY)
    assert never is None


@pytest.mark.parametrize(
    "routing", [config((1, 100.0), shadow=(2,)), config((1, 60.0), (2, 40.0), shadow=(1, 2))]
)
def test_two_versions_are_compared_on_every_row_both_scored(routing: object) -> None:
    watched = Watched(routing)  # type: ignore[arg-type]  # a configuration of parameters
    truth, _ = labelled_days(watched, 3)
    found = compare_versions(watched.ctx, MONITOR, challenger=2, champion=1, start=START, end=START + 3 * DAY)

    assert found is not None
    assert found.n == len(truth) == 720
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    same = compare_versions(watched.ctx, MONITOR, challenger=1, champion=1, start=START, end=START + 3 * DAY)
    assert same is not None
    assert same.value == 0.0


def test_without_a_champion_nothing_was_promised() -> None:
    assert promised_auc(Watched().ctx, MODEL) is None
    assert promised_auc(Watched().ctx, "nobody") is None
