"""Runs as rows: which columns there are, numbers that JSON has no word for, conditions in words."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.nouns import FoundRun, MetricPoint, Run, RunState
from loopwright.core.queries import Comparison, Field
from loopwright.surfaces.ui.tables import cell, in_list, known_names, milliseconds, row, usual_columns
from loopwright.tracking.dialects import RUNS
from loopwright.tracking.grammar import parse_filter

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def found(metrics: dict[str, float], params: dict[str, str], **tags: str) -> FoundRun:
    run = Run(
        id="r1",
        space="default",
        kind="run",
        name="one",
        state=RunState.RUNNING,
        created_at=AT,
        created_by="ana",
        started_at=AT,
        params=params,
        tags=tags,
    )
    return FoundRun(run=run, metrics=tuple(MetricPoint(key=k, value=v) for k, v in metrics.items()))


def test_a_row_holds_the_columns_asked_for_in_their_order() -> None:
    told = row(found({"val/auc": 0.5, "loss": 1.0}, {"a.b": "x"}, team="blue"), ["tags.team", "params.a.b"])
    assert told["values"] == ["blue", "x"]
    assert (told["id"], told["state"], told["by"], told["end"]) == ("r1", "running", "ana", None)
    assert row(found({"val/auc": 0.5}, {}), ["metrics.val/auc", "metrics.no", "odd"])["values"] == [
        0.5,
        None,
        None,
    ]


@given(st.floats() | st.text(max_size=500))
def test_every_value_can_be_told_as_json(value: float | str) -> None:
    told = json.loads(msgspec.json.encode(cell(value)))
    if isinstance(value, float) and math.isfinite(value):
        assert told == value
    else:
        assert isinstance(told, str)
        assert len(told) <= 201


def test_usual_columns_are_common_metrics_and_params_that_differ() -> None:
    runs = [
        found({"auc": 1.0, "system/cpu": 1.0, "rare": 1.0}, {"lr": "1", "seed": "7"}),
        found({"auc": 1.0, "system/cpu": 1.0}, {"lr": "2", "seed": "7"}),
    ]
    assert usual_columns(runs) == ["metrics.auc", "metrics.rare", "params.lr"]
    assert usual_columns(runs[:1]) == ["metrics.auc", "metrics.rare", "params.lr", "params.seed"]
    assert usual_columns([]) == []


def test_names_are_those_of_all_runs_without_the_protocols_own() -> None:
    runs = [found({"b": 1.0}, {"p": "1"}, team="x"), found({"a": 1.0}, {}, **{"mlflow.user": "ana"})]
    assert known_names(runs) == {"metrics": ["a", "b"], "params": ["p"], "tags": ["team"]}


@pytest.mark.parametrize("text", ["plain", "it's", "''", "a) OR (1 = 1", 'quo"te'])
def test_a_list_means_just_its_texts(text: str) -> None:
    read = parse_filter(in_list("attributes.run_id", [text, "other"]), RUNS)
    assert read == Comparison(Field("attribute", "run_id"), "IN", (text, "other"))


def test_instants_are_told_in_milliseconds() -> None:
    assert milliseconds(AT) == 1_767_323_045_678
    assert milliseconds(None) is None
