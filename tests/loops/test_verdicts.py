"""What the loops decide, from facts alone: when to train again, and when a rollout goes on."""

from datetime import UTC, datetime, timedelta

import pytest

from loopwright.core.nouns import Verdict
from loopwright.core.policies import Fact
from loopwright.loops.nouns import RetrainRule, RolloutSpec, RolloutState
from loopwright.loops.verdicts import (
    asks_for_training,
    may_train,
    next_share,
    rollout_guard,
    step_is_over,
)

RULE = RetrainRule(window="14d", gap=0.02, auc_margin=0.03, cooldown="28d")
SPEC = RolloutSpec(shadow="2d", steps=(5.0, 25.0, 100.0), each="1d", margin=0.02)


def _gap(value: float, low: float, high: float) -> Fact:
    return Fact(name="calibration gap", value=value, low=low, high=high, n=12_000)


def _auc(value: float, high: float) -> Fact:
    return Fact(name="ROC-AUC", value=value, low=2 * value - high, high=high, n=12_000)


@pytest.mark.parametrize(
    ("gap", "auc", "promised", "asked"),
    [
        (_gap(0.05, 0.01, 0.09), _auc(0.80, 0.82), 0.80, True),
        (_gap(-0.05, -0.09, -0.01), _auc(0.80, 0.82), 0.80, True),
        (_gap(0.05, -0.01, 0.11), _auc(0.80, 0.82), 0.80, False),
        (_gap(0.01, 0.005, 0.015), _auc(0.80, 0.82), 0.80, False),
        (_gap(0.0, -0.01, 0.01), _auc(0.74, 0.765), 0.80, True),
        (_gap(0.0, -0.01, 0.01), _auc(0.74, 0.775), 0.80, False),
        (_gap(0.0, -0.01, 0.01), _auc(0.60, 0.62), None, False),
        (None, None, 0.80, False),
    ],
)
def test_a_training_is_asked_for_only_when_the_interval_says_so(
    gap: Fact | None, auc: Fact | None, promised: float | None, asked: bool
) -> None:
    assert bool(asks_for_training(RULE, gap, auc, promised)) is asked


@pytest.mark.parametrize(
    ("incidents", "rollouts", "days", "verdict"),
    [
        (0, 0, None, Verdict.ALLOW),
        (0, 0, 28, Verdict.ALLOW),
        (0, 0, 27, Verdict.DENY),
        (1, 0, 60, Verdict.DENY),
        (0, 1, 60, Verdict.DENY),
    ],
)
def test_a_training_starts_on_sound_data_after_the_cool_down(
    incidents: int, rollouts: int, days: int | None, verdict: Verdict
) -> None:
    since = None if days is None else timedelta(days=days)
    found = may_train("m", open_incidents=incidents, rollouts=rollouts, since_last=since, rule=RULE)
    assert found.verdict is verdict
    assert len(found.evidence) == 3


def _difference(value: float, low: float, high: float) -> Fact:
    return Fact(name="ROC-AUC against the champion, live", value=value, low=low, high=high, n=900)


@pytest.mark.parametrize(
    ("difference", "incidents", "verdict"),
    [
        (_difference(0.005, -0.013, 0.023), 0, Verdict.ALLOW),
        (_difference(-0.010, -0.030, 0.010), 0, Verdict.ALLOW),
        (_difference(-0.010, -0.015, -0.005), 0, Verdict.DENY),
        (_difference(-0.030, -0.070, 0.010), 0, Verdict.DENY),
        (_difference(0.005, -0.013, 0.023), 1, Verdict.DENY),
        (None, 0, Verdict.DENY),
    ],
)
def test_a_rollout_goes_on_unless_harm_is_shown(
    difference: Fact | None, incidents: int, verdict: Verdict
) -> None:
    assert rollout_guard("m", SPEC, difference, incidents).verdict is verdict


def test_steps_follow_the_clock() -> None:
    start = datetime(2013, 7, 1, tzinfo=UTC)
    state = RolloutState(run_id="r", challenger=2, champion=1, step=-1, since=start)
    assert not step_is_over(state, SPEC, start + timedelta(days=1, hours=23))
    assert step_is_over(state, SPEC, start + timedelta(days=2))
    assert next_share(state, SPEC) == 5.0
