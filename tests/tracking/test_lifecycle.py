"""Runs as clients make them: names, states, the trash, and what the journal keeps of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.nouns import Run, RunState, move_run
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context, memory_ports
from loopwright.tracking.lifecycle import NewRun, change_run, create_run, delete_run, found_run, restore_run
from loopwright.tracking.names import hex_id, made_up_name
from loopwright.tracking.verbs import end, log, start

_THEN = datetime(2023, 11, 14, tzinfo=UTC)


def _made(ctx: Context, **more: object) -> Run:
    return create_run(ctx, NewRun(experiment_id="0", started_at=_THEN, **more))  # type: ignore[arg-type]  # by name


def _kinds(ctx: Context, run: Run) -> list[str]:
    with ctx.read() as tx:
        return [line.kind for line in tx.journal.read(0, 100, subject=f"run:{run.id}")]


def test_a_run_has_a_name_and_its_tag_says_it_too() -> None:
    ctx = memory_context()
    run = _made(ctx)
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", run.name)
    assert run.tags == {"mlflow.runName": run.name}
    assert _made(ctx, tags={"mlflow.runName": "t"}).name == "t"
    assert _made(ctx, name="n", tags={"mlflow.runName": "n"}).name == "n"
    with pytest.raises(Invalid, match="Both"):
        _made(ctx, name="n", tags={"mlflow.runName": "t"})
    with pytest.raises(Invalid, match="maximum length"):
        _made(ctx, name="n" * 251)


def test_a_run_lies_in_its_experiment_under_its_parent() -> None:
    ctx = memory_context()
    outer = _made(ctx, user="ann")
    inner = _made(ctx, tags={"mlflow.parentRunId": outer.id})
    assert re.fullmatch(r"[0-9a-f]{32}", outer.id)
    assert (outer.experiment, outer.state, outer.started_at) == ("Default", RunState.RUNNING, _THEN)
    assert outer.facts == {
        "experiment_id": "0",
        "artifact_uri": f"mlflow-artifacts:/0/{outer.id}/artifacts",
        "user_id": "ann",
    }
    assert inner.parent_id == outer.id
    assert _kinds(ctx, outer) == ["run.started"]
    with pytest.raises(NotFound, match="No Experiment"):
        create_run(ctx, NewRun(experiment_id="73", started_at=_THEN))


def test_a_run_ends_is_resumed_and_ends_again() -> None:
    ctx = memory_context()
    run = _made(ctx)
    ended = change_run(ctx, run.id, state=RunState.FINISHED, ended_at=_THEN)
    assert (ended.state, ended.ended_at) == (RunState.FINISHED, _THEN)
    assert change_run(ctx, run.id, state=RunState.RUNNING).ended_at == _THEN
    change_run(ctx, run.id, state=RunState.FAILED)
    change_run(ctx, run.id, state=RunState.FAILED)
    change_run(ctx, run.id, state=RunState.FINISHED)
    assert _kinds(ctx, run) == [
        "run.started",
        "run.finished",
        "run.resumed",
        "run.failed",
        "run.resumed",
        "run.finished",
    ]


@given(moves=st.lists(st.sampled_from(RunState), max_size=8))
def test_whatever_clients_ask_for_is_reached_by_legal_moves(moves: list[RunState]) -> None:
    ctx = memory_context()
    run = _made(ctx)
    for to in moves:
        changed = change_run(ctx, run.id, state=to)
        assert changed.state is to
    with ctx.read() as tx:
        assert tx.runs.get(run.id).state is (moves[-1] if moves else RunState.RUNNING)


def test_a_run_of_ones_own_is_resumed_before_it_ends_again() -> None:
    ctx = memory_context()
    run = start(ctx, "training", "r")
    end(ctx, run.id)
    with pytest.raises(Conflict):
        end(ctx, run.id, RunState.FAILED)
    with pytest.raises(Conflict):
        log(ctx, run.id, {"a": 1.0})
    change_run(ctx, run.id, state=RunState.RUNNING)
    log(ctx, run.id, {"a": 1.0})
    assert end(ctx, run.id, RunState.FAILED).state is RunState.FAILED


def test_running_and_waiting_follow_one_another() -> None:
    ctx = memory_context()
    run = _made(ctx)
    assert move_run(run, RunState.SCHEDULED) is RunState.SCHEDULED


def test_a_new_name_changes_the_tag() -> None:
    ctx = memory_context()
    run = _made(ctx, name="old")
    assert change_run(ctx, run.id, name="new").tags["mlflow.runName"] == "new"
    assert change_run(ctx, run.id, name="").name == "new"


def test_a_deleted_run_takes_nothing_until_it_is_back() -> None:
    ctx = memory_context()
    run = _made(ctx)
    delete_run(ctx, run.id)
    delete_run(ctx, run.id)
    with pytest.raises(Invalid, match="must be in the 'active' state"):
        change_run(ctx, run.id, state=RunState.FAILED)
    restore_run(ctx, run.id)
    restore_run(ctx, run.id)
    assert change_run(ctx, run.id, state=RunState.FAILED).state is RunState.FAILED
    assert _kinds(ctx, run) == ["run.started", "run.deleted", "run.restored", "run.failed"]


def test_runs_of_other_spaces_are_not_found() -> None:
    ports = memory_ports()
    run = _made(memory_context(ports))
    other = memory_context(ports, space="other")
    with other.read() as tx, pytest.raises(NotFound, match="not found"):
        found_run(other, tx, run.id)
    with pytest.raises(NotFound):
        change_run(other, "none")


@given(value=st.integers(0, 2**128 - 1), other=st.integers(0, 2**128 - 1))
def test_ids_keep_their_order_as_hex(value: int, other: int) -> None:
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

    def written(number: int) -> str:
        return "".join(alphabet[(number >> shift) & 31] for shift in range(125, -1, -5))

    one, two = hex_id(written(value)), hex_id(written(other))
    assert int(one, 16) == value
    assert (one < two) == (value < other)
    assert made_up_name(one) == made_up_name(one)
