"""Holds the trees of foreign models against their own bounds, which native readers trust blindly.

A child out of range, or one of two parents, makes LightGBM and XGBoost read past their memory or never end. A
model of a signer who is trusted is not looked at.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.adapters.frameworks.ubjson import decode
from loopwright.core.errors import Corrupt

__all__ = ["check_lightgbm", "check_xgboost"]

_BROKEN = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError, MemoryError)
_FEATURES = 10_000_000
_INNER_INTEGERS = ("left_child", "right_child", "split_feature", "decision_type", "internal_count")
_JSON = re.compile(rb"\{\s*\"")


def check_xgboost(data: bytes, file: str) -> None:
    """`Corrupt` unless JSON or UBJSON of a model whose trees stay within themselves."""
    try:
        content = json.loads(data) if _JSON.match(data) else decode(data)
        learner = content["learner"]
        width = int(learner["learner_model_param"]["num_feature"])
        booster = learner["gradient_booster"]
        _held(0 <= width <= _FEATURES)
        if booster["name"] == "gblinear":
            groups = max(int(learner["learner_model_param"]["num_class"]), 1)
            _held(len(booster["model"]["weights"]) == (width + 1) * groups)
            return
        _held(booster["name"] in {"gbtree", "dart"})
        model = booster["model"] if booster["name"] == "gbtree" else booster["gbtree"]["model"]
        _held(int(model["gbtree_model_param"]["num_trees"]) == len(model["trees"]) == len(model["tree_info"]))
        groups = max(int(learner["learner_model_param"]["num_class"]), 1)
        targets = max(int(learner["learner_model_param"].get("num_target", 1)), 1)
        _held(all(0 <= int(group) < groups * targets for group in model["tree_info"]))
        for tree in model["trees"]:
            _check_tree(tree, width)
    except _BROKEN as error:
        raise _corrupt(file, "XGBoost") from error


def _check_tree(tree: dict[str, Any], width: int) -> None:
    param = tree["tree_param"]
    nodes = int(param["num_nodes"])
    _held(nodes >= 1 and int(param["num_feature"]) == width and int(param["size_leaf_vector"]) in {0, 1})
    for name in ("left_children", "right_children", "parents", "split_indices", "split_conditions",
                 "default_left", "base_weights", "loss_changes", "sum_hessian", "split_type"):  # fmt: skip
        _held(len(tree[name]) == nodes)
    left, right = _integers(tree["left_children"]), _integers(tree["right_children"])
    _held(bool(np.all((left == -1) == (right == -1))))
    inner = left != -1
    children = np.concatenate([left[inner], right[inner]])
    _check_children(children, nodes)
    features = _integers(tree["split_indices"])[inner]
    _held(bool(np.all((features >= 0) & (features < max(width, 1)))))
    _check_categories(tree, nodes)


def _check_categories(tree: dict[str, Any], nodes: int) -> None:
    owners, starts = _integers(tree["categories_nodes"]), _integers(tree["categories_segments"])
    sizes, values = _integers(tree["categories_sizes"]), _integers(tree["categories"])
    _held(len(owners) == len(starts) == len(sizes))
    _held(bool(np.all((owners >= 0) & (owners < nodes))))
    _held(bool(np.all((starts >= 0) & (sizes >= 0) & (starts + sizes <= len(values)))))
    _held(bool(np.all((values >= 0) & (values < 1 << 24))))
    marked = np.flatnonzero(_integers(tree["split_type"]))
    _held(set(marked.tolist()) <= set(owners.tolist()))


def _check_children(children: NDArray[np.int64], nodes: int) -> None:
    """Each node has one parent at most, and the root none: no walk leaves the tree or comes back."""
    _held(bool(np.all((children > 0) & (children < nodes))))
    _held(len(np.unique(children)) == len(children))


def check_lightgbm(data: bytes, file: str) -> None:
    """`Corrupt` unless the text of a model whose trees stay within themselves."""
    try:
        at = data.index(b"Tree=0\n")
        fields = _fields(data[:at].decode())
        width = int(fields["max_feature_idx"]) + 1
        _held(data.startswith(b"tree\n") and 0 < width <= _FEATURES)
        _held(len(fields["feature_names"].split()) == len(fields["feature_infos"].split()) == width)
        sizes = [int(each) for each in fields["tree_sizes"].split()]
        _held(len(sizes) % max(int(fields["num_tree_per_iteration"]), 1) == 0)
        for number, size in enumerate(sizes):
            block = data[at : at + size]
            _held(size > 0 and len(block) == size and block.startswith(b"Tree=%d\n" % number))
            _check_leaves(_fields(block.decode()), width)
            at += size
        _held(data[at:].startswith(b"end of trees"))
    except _BROKEN as error:
        raise _corrupt(file, "LightGBM") from error


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _check_leaves(tree: dict[str, str], width: int) -> None:
    """Inner nodes are numbered from 0, leaf `l` is the child `-l - 1`."""
    leaves = int(tree["num_leaves"])
    _held(leaves >= 1 and len(tree["leaf_value"].split()) == leaves and tree.get("is_linear", "0") == "0")
    if leaves == 1:
        return
    numbers = {name: _column(tree, name, leaves - 1, np.int64) for name in _INNER_INTEGERS}
    for name in ("split_gain", "threshold", "internal_value", "internal_weight"):
        _column(tree, name, leaves - 1, np.float64)
    for name in ("leaf_value", "leaf_weight", "leaf_count"):
        _column(tree, name, leaves, np.float64)
    children = np.concatenate([numbers["left_child"], numbers["right_child"]])
    inner, outer = children[children >= 0], -children[children < 0] - 1
    _check_children(inner, leaves - 1)
    _held(bool(np.all(outer < leaves)) and len(np.unique(outer)) == len(outer) == leaves)
    features = numbers["split_feature"]
    _held(bool(np.all((features >= 0) & (features < width))))
    _check_sets(tree, numbers["decision_type"], leaves)


def _column(tree: dict[str, str], name: str, length: int, kind: type[np.generic]) -> NDArray[Any]:
    found = np.array(tree[name].split(), dtype=kind)
    _held(len(found) == length)
    return found


def _check_sets(tree: dict[str, str], kinds: NDArray[np.int64], leaves: int) -> None:
    """Categorical splits name one of the tree's sets, whose bounds rise within its words."""
    categorical = (kinds & 1) == 1
    count = int(tree.get("num_cat", "0"))
    if not categorical.any() and not count:
        return
    bounds, words = _column(tree, "cat_boundaries", count + 1, np.int64), tree["cat_threshold"].split()
    thresholds = np.array(tree["threshold"].split(), dtype=np.float64)[categorical]
    _held(bounds[0] == 0 and bool(np.all(np.diff(bounds) >= 0)))
    _held(int(bounds[-1]) <= len(words) and bool(np.all((thresholds >= 0) & (thresholds < count))))


def _integers(values: Any) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.size and found.dtype.kind == "f":
        raise ValueError("not integers")
    return found.astype(np.int64)


def _held(holds: bool) -> None:
    if not holds:
        raise ValueError("out of bounds")


def _corrupt(file: str, who: str) -> Corrupt:
    return Corrupt(
        f"{file} is not a {who} model, or its trees lead out of themselves",
        hint=f"save it again with {who}; of a signer you trust, it is not looked into",
        where=file,
    )
