"""What a run read and made is among its facts, each thing once."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Run
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context
from loopwright.tracking.inputs import DatasetRead, ModelUse, log_inputs, log_model, log_outputs
from loopwright.tracking.lifecycle import NewRun, create_run
from loopwright.tracking.searching import check_datasets_asked, datasets_of

_THEN = datetime(2023, 11, 14, tzinfo=UTC)


def _made(ctx: Context) -> str:
    return create_run(ctx, NewRun(experiment_id="0", started_at=_THEN)).id


def _run(ctx: Context, run_id: str) -> Run:
    with ctx.read() as tx:
        return tx.runs.get(run_id)


def _read(name: str = "d", digest: str = "1", context: str | None = "training") -> DatasetRead:
    return DatasetRead(name=name, digest=digest, source_type="local", source="{}", context=context)


def test_a_dataset_stays_as_it_was_told_first() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    log_inputs(ctx, run_id, [_read()])
    log_inputs(ctx, run_id, [_read(context="test"), _read(digest="2")], [ModelUse(model_id="m-1")])
    facts = _run(ctx, run_id).facts
    assert [(d["digest"], d.get("context")) for d in facts["datasets"]] == [
        ("1", "training"),
        ("2", "training"),
    ]
    assert facts["model_inputs"] == [{"model_id": "m-1"}]


def test_models_made_are_kept_with_their_step() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    for _ in range(2):
        log_outputs(ctx, run_id, [ModelUse(model_id="m-1", step=3)])
    assert _run(ctx, run_id).facts["model_outputs"] == [{"model_id": "m-1", "step": 3}]


@pytest.mark.parametrize(
    "read",
    [
        _read(name="n" * 501),
        _read(digest="d" * 37),
        DatasetRead(name="n", digest="d", schema="s" * 1_048_576),
        DatasetRead(name="n", digest="d", tags={"k" * 256: ""}),
    ],
)
def test_too_long_is_refused(read: DatasetRead) -> None:
    ctx = memory_context()
    with pytest.raises(Invalid, match="maximum length"):
        log_inputs(ctx, _made(ctx), [read])


def test_the_datasets_of_experiments_are_summed_up() -> None:
    ctx = memory_context()
    for _ in range(2):
        log_inputs(ctx, _made(ctx), [_read("b"), _read("a", context=None)])
    found = [(each.name, each.digest, each.context) for each in datasets_of(ctx, ["0", "73"])]
    assert found == [("a", "1", ""), ("b", "1", "training")]
    for wrong in ([], ["0"] * 21):
        with pytest.raises(Invalid):
            check_datasets_asked(wrong)


def test_models_told_of_as_text_are_kept_in_a_tag() -> None:
    ctx = memory_context()
    run_id = _made(ctx)
    told = {"run_id": "x", "artifact_path": "m", "utc_time_created": "t", "flavors": {"a": {}}}
    for _ in range(2):
        log_model(ctx, run_id, json.dumps(told))
    history = json.loads(_run(ctx, run_id).tags["mlflow.log-model.history"])
    assert history == [{**told, "model_uuid": None}] * 2
    for wrong in ("{", "[]", "{}"):
        with pytest.raises(Invalid):
            log_model(ctx, run_id, wrong)
