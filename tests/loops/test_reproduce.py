"""Two runs side by side: outcomes by params, points, files and versions; what changed by kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import Json, MetricPoint
from loopwright.engine.context import Context
from loopwright.loops.reproduce import Outcome, reproduction
from loopwright.testing.builders import memory_context
from loopwright.tracking.artifacts import store
from loopwright.tracking.homes import in_run
from loopwright.tracking.paths import file_path
from loopwright.tracking.verbs import end, log_points, start


def made(
    ctx: Context,
    points: Sequence[float] = (1.0, 0.5),
    *,
    params: dict[str, str] | None = None,
    facts: Json | None = None,
    files: dict[str, bytes] | None = None,
) -> str:
    run = start(ctx, "run", "train", params=params, facts=facts)
    log_points(
        ctx, run.id, [MetricPoint(key="loss", value=v, step=at, at_us=at) for at, v in enumerate(points)]
    )
    log_points(ctx, run.id, [MetricPoint(key="system/cpu_percent", value=float(int(run.id[-2:], 36)))])
    for path, data in (files or {}).items():
        asked = file_path(path)
        store(ctx, lambda tx, asked=asked: in_run(tx, ctx.space, run.id, asked), data)  # type: ignore[misc]  # bound at once
    end(ctx, run.id)
    return run.id


def test_equal_runs_are_equal_to_the_bit() -> None:
    ctx = memory_context()
    files = {"weight.txt": b"1", "loopwright/environment.lock.txt": b"a==1\n", "model/MLmodel": b"first"}
    first = made(ctx, (1.0, math.nan, math.inf), files=files)
    second = made(ctx, (1.0, math.nan, math.inf), files={**files, "model/MLmodel": b"second"})
    found = reproduction(ctx, first, second)
    assert (found.outcome, found.changed) == (Outcome.EQUAL, ())
    assert [each.what for each in found.compared] == ["metric loss", "file weight.txt"]


@given(st.floats(1e-9, 1e-3), st.floats(0.5, 2.0).filter(lambda share: abs(share - 1) > 1e-3))
def test_tolerance_is_the_greatest_distance_of_a_step(distance: float, share: float) -> None:
    ctx = memory_context()
    first, second = made(ctx, (1.0, 0.0, 3.0)), made(ctx, (1.0, distance, 3.0))
    found = reproduction(ctx, first, second, tolerance=(f"loss={distance * share!r}",))
    assert found.outcome is (Outcome.WITHIN if share > 1 else Outcome.DIFFERENT)
    assert found.compared[0].distance == distance


@pytest.mark.parametrize("other", [(1.0,), (1.0, math.nan), (1.0, 0.5, 0.1), ()])
def test_other_steps_and_other_kinds_of_numbers_are_never_near(other: tuple[float, ...]) -> None:
    ctx = memory_context()
    assert reproduction(ctx, made(ctx), made(ctx, other), tolerance=("*=1e9",)).outcome is Outcome.DIFFERENT


def test_params_and_files_have_no_tolerance() -> None:
    ctx = memory_context()
    first = made(ctx, params={"lr": "0.1"}, files={"a": b"1"})
    second = made(ctx, params={"lr": "0.2"}, files={"a": b"2"})
    found = reproduction(ctx, first, second, tolerance=("*=1",))
    assert [each.what for each in found.compared if each.outcome is Outcome.DIFFERENT] == [
        "param lr",
        "file a",
    ]


def test_each_kind_of_change_is_told() -> None:
    ctx = memory_context()
    lock = "loopwright/environment.lock.txt"
    first = made(
        ctx,
        params={"random_state": "1"},
        facts={"code": {"commit": "a" * 40, "diff": ""}, "environment": {"python": "3.11"}},
        files={lock: b"numpy==1\nold==1\n"},
    )
    second = made(
        ctx,
        params={"random_state": "2"},
        facts={"code": {"commit": "a" * 40, "diff": "f" * 64}, "environment": {"python": "3.12"}},
        files={lock: b"numpy==2\n"},
    )
    told = {(each.kind, each.what) for each in reproduction(ctx, first, second).changed}
    assert told == {
        ("code", "commit and changes"),
        ("environment", "python"),
        ("environment", "numpy"),
        ("environment", "old"),
        ("seed", "random_state"),
    }


@pytest.mark.parametrize("text", ["loss", "loss=x", "loss=-1", "=1", "loss=nan"])
def test_a_tolerance_that_is_none_is_refused(text: str) -> None:
    ctx = memory_context()
    first = made(ctx)
    with pytest.raises(Invalid, match="tolerance"):
        reproduction(ctx, first, first, tolerance=(text,))
    with pytest.raises(NotFound):
        reproduction(ctx, first, "nobody")
