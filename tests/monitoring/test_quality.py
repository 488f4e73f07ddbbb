"""Quality of groups of predictions, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from loopwright.core.errors import Invalid
from loopwright.monitoring.quality import expected_auc, quality


def test_metrics_of_the_labelled_part() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(2000)
    labels = (rng.random(2000) < scores).astype(float)
    labels[::3] = np.nan
    known = np.isfinite(labels)
    found = quality("live", scores, labels)

    assert (found.predictions, found.labelled) == (2000, int(known.sum()))
    assert found.labelled_share == pytest.approx(known.mean())
    assert found.mean_score == pytest.approx(scores.mean())
    assert found.mean_label == pytest.approx(labels[known].mean())
    auc, brier, gap = found.roc_auc, found.brier, found.calibration_gap
    assert auc.value == pytest.approx(roc_auc_score(labels[known], scores[known]), abs=1e-12)
    assert brier.value == pytest.approx(brier_score_loss(labels[known], scores[known]), abs=1e-12)
    assert gap.value == pytest.approx((scores - labels)[known].mean(), abs=1e-12)
    for reading in (auc, brier, gap):
        assert reading.low is not None
        assert reading.high is not None
        assert reading.value is not None
        assert reading.low < reading.value < reading.high
        assert reading.n == known.sum()
    assert found.calibration_error.value == pytest.approx(0.0, abs=0.06)


def test_a_metric_without_a_value_says_why() -> None:
    none = quality("live", np.array([0.2, 0.3]), np.array([np.nan, np.nan]))
    assert none.roc_auc.value is None
    assert none.roc_auc.absent
    assert (none.labelled, none.mean_label) == (0, None)
    one_class = quality("live", np.array([0.2, 0.3]), np.array([0.0, 0.0]))
    assert one_class.roc_auc.value is None
    assert "positive" in one_class.roc_auc.absent
    assert one_class.brier.value is not None
    empty = quality("live", np.zeros(0), np.zeros(0))
    assert (empty.predictions, empty.mean_score, empty.labelled_share) == (0, None, 0.0)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=2, max_size=12))
def test_the_expected_auc_is_that_of_all_pairs(chances: list[float]) -> None:
    right = pairs = 0.0
    for i, p in enumerate(chances):
        for j, q in enumerate(chances):
            if i != j:
                pairs += p * (1 - q)
                right += p * (1 - q) * (1.0 if p > q else 0.5 if p == q else 0.0)
    scores = np.array(chances)
    if pairs <= 1e-12:
        with pytest.raises(Invalid, match="one class only"):
            expected_auc(scores)
    else:
        assert expected_auc(scores) == pytest.approx(right / pairs, rel=1e-9)


def test_a_calibrated_model_reaches_the_auc_it_expects() -> None:
    rng = np.random.default_rng(4)
    scores = rng.beta(0.8, 2.0, 60_000)
    found = quality("live", scores, (rng.random(len(scores)) < scores).astype(float))

    assert found.roc_auc.low is not None
    assert found.roc_auc.high is not None
    assert found.roc_auc_expected.value is not None
    assert found.roc_auc.low - 0.002 < found.roc_auc_expected.value < found.roc_auc.high + 0.002
