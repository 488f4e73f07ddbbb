"""Foreign trees are held against their bounds before a native reader sees them."""

from __future__ import annotations

import json
import re
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from loopwright.adapters.frameworks.trees import check_lightgbm, check_xgboost
from loopwright.adapters.frameworks.ubjson import decode
from loopwright.core.errors import Corrupt

_RNG = np.random.default_rng(5)
X = _RNG.normal(size=(300, 4))
X[:, 3] = _RNG.integers(0, 6, 300)
Y = ((X[:, 0] > 0) ^ (X[:, 3] == 2)).astype(int)


def _xgb(form: str = "ubj", **params: Any) -> bytes:
    kinds = ["q", "q", "q", "c"] if params.pop("categories", False) else None
    data = xgboost.DMatrix(X, label=Y, feature_types=kinds, enable_categorical=kinds is not None)
    made = xgboost.train({"objective": "binary:logistic", "nthread": 1, **params}, data, num_boost_round=3)
    return bytes(made.save_raw(form))


def _lgb(**params: Any) -> bytes:
    data = lightgbm.Dataset(X, label=Y, categorical_feature=[3])
    given = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 2}
    given |= {"min_data_per_group": 1, "cat_smooth": 1.0, "max_cat_to_onehot": 1, **params}
    return lightgbm.train(given, data, num_boost_round=3).model_to_string().encode()


MODELS = [
    _xgb(),
    _xgb("json"),
    _xgb(booster="dart"),
    _xgb(booster="gblinear"),
    _xgb(categories=True, tree_method="hist"),
    _xgb(objective="multi:softprob", num_class=3),
    _xgb(num_parallel_tree=2, max_depth=1),
]
TEXTS = [
    _lgb(),
    _lgb(boosting="dart"),
    _lgb(objective="multiclass", num_class=3),
    _lgb(max_bin=4, num_leaves=2),
]


@pytest.mark.parametrize("data", MODELS)
def test_real_models_of_xgboost_pass(data: bytes) -> None:
    check_xgboost(data, "model")


@pytest.mark.parametrize("data", TEXTS)
def test_real_models_of_lightgbm_pass(data: bytes) -> None:
    check_lightgbm(data, "model")


def test_ubjson_is_read_as_xgboost_writes_the_same_model_in_json() -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | np.ndarray):
            return [plain(each) for each in value]
        return round(float(value), 5) if isinstance(value, float | int | np.generic) else value

    assert plain(decode(_xgb())) == plain(json.loads(_xgb("json")))


@given(st.data())
def test_a_cut_or_changed_model_of_xgboost_never_raises_anything_else(data: st.DataObject) -> None:
    raw = MODELS[0]
    at = data.draw(st.integers(0, len(raw) - 1))
    broken = (
        raw[:at] if data.draw(st.booleans()) else raw[:at] + data.draw(st.binary(max_size=8)) + raw[at + 1 :]
    )
    try:
        check_xgboost(broken, "model")
    except Corrupt:
        return
    assert broken[:2] == raw[:2]


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_children", 99_999_999), ("left_children", 0), ("right_children", -7), ("split_indices", 4)],
)
def test_trees_of_xgboost_that_lead_astray_are_refused(field: str, value: int) -> None:
    content = json.loads(_xgb("json"))
    tree = content["learner"]["gradient_booster"]["model"]["trees"][0]
    tree[field][0] = value
    with pytest.raises(Corrupt, match="out of themselves"):
        check_xgboost(json.dumps(content).encode(), "model")


def test_a_ring_in_a_tree_of_xgboost_is_refused() -> None:
    content = json.loads(_xgb("json"))
    tree = content["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["left_children"][1] = tree["left_children"][0]
    with pytest.raises(Corrupt):
        check_xgboost(json.dumps(content).encode(), "model")


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", "77"), ("right_child", "-500"), ("split_feature", "9"), ("left_child", "0")],
)
def test_trees_of_lightgbm_that_lead_astray_are_refused(field: str, value: str) -> None:
    text = re.sub(rf"^{field}=\S+", f"{field}={value}", TEXTS[0].decode(), count=1, flags=re.MULTILINE)
    with pytest.raises(Corrupt, match="out of themselves"):
        check_lightgbm(text.encode(), "model")


def test_sets_of_categories_beyond_their_words_are_refused() -> None:
    assert b"cat_boundaries=0" in TEXTS[0]
    text = re.sub(rb"cat_boundaries=0 \d+", b"cat_boundaries=0 4000", TEXTS[0], count=1)
    with pytest.raises(Corrupt):
        check_lightgbm(text, "model")
