"""Answering: routes, pins, shadow, swaps, admission, what is logged."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from msgspec.structs import replace

from loopwright.core.errors import Invalid, NotFound, TooLarge, Unavailable
from loopwright.core.expressions import Scalar
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.engine.context import Context
from loopwright.features.verbs import define_service
from loopwright.serving.history import predictions
from loopwright.serving.runtime import Runtime
from loopwright.serving.verbs import deploy, rollback, split
from tests.serving.worlds import (
    ENDPOINT,
    SERVICE,
    Linear,
    add_version,
    config,
    deployed,
    expected,
    row,
    world,
)

FIRST, SECOND = [0.1, 0.001, 0.01], [0.2, -0.001, 0.02]


def logged(ctx: Context) -> list[dict[str, object]]:
    now = ctx.now()
    day = timedelta(days=1)
    found: list[dict[str, object]] = predictions(ctx, ENDPOINT, now - day, now + day).to_pylist()
    return found


def test_a_reply_holds_scores_versions_and_prediction_ids() -> None:
    ctx = deployed((1, 100.0))
    rows = [row(), row(carrier="ZZ", distance=None), row(carrier="UA", month=12)]
    reply = Runtime(ctx).predict(ENDPOINT, rows, "q7")

    assert reply.scores == pytest.approx(expected(FIRST, *rows), rel=1e-12)
    assert reply.versions == [1, 1, 1]
    assert reply.prediction_ids == ["q7.0", "q7.1", "q7.2"]


def test_a_request_without_an_id_is_given_one() -> None:
    runtime = Runtime(deployed((1, 100.0)))
    first, second = (runtime.predict(ENDPOINT, [row()]).request_id for _ in range(2))

    assert first != second


def test_everything_that_was_answered_is_logged() -> None:
    ctx = deployed((1, 100.0))
    runtime = Runtime(ctx)
    at_us = to_micros(ctx.now()) - 60_000_000
    sent = row(carrier="UA", distance=None, tailnum=None)
    reply = runtime.predict(ENDPOINT, [row(), sent], "q1", at_us=at_us)
    runtime.flush()

    found = logged(ctx)
    assert [each["prediction_id"] for each in found] == reply.prediction_ids
    assert [each["score"] for each in found] == reply.scores
    last = found[1]
    assert last["at"] == from_micros(at_us)
    assert (last["model_version"], last["variant"], last["request_id"]) == (1, "live", "q1")
    assert {name: last[f"in_{name}"] for name in sent} == {
        **sent,
        "scheduled_at": from_micros(1_372_680_000_000_000),
    }
    assert last["x_carrier"] == 2.0
    assert str(last["x_distance"]) == "nan"
    assert last["x_late_month"] == 14.0
    assert isinstance(last["latency_us"], int)


def test_a_request_asked_again_is_logged_once() -> None:
    ctx = deployed((1, 100.0), shadow=(2,))
    runtime = Runtime(ctx)
    for _ in range(3):
        runtime.predict(ENDPOINT, [row(), row(month=1)], "q1")
        runtime.flush()

    assert sorted((each["prediction_id"], each["variant"]) for each in logged(ctx)) == [
        ("q1.0", "live"),
        ("q1.0", "shadow"),
        ("q1.1", "live"),
        ("q1.1", "shadow"),
    ]


def test_shadow_is_scored_and_logged_and_not_heard() -> None:
    ctx = deployed((1, 100.0), shadow=(2,))
    runtime = Runtime(ctx)
    rows = [row(), row(distance=None)]
    reply = runtime.predict(ENDPOINT, rows, "q1")
    runtime.flush()

    assert reply.versions == [1, 1]
    shadows = [each for each in logged(ctx) if each["variant"] == "shadow"]
    assert [each["model_version"] for each in shadows] == [2, 2]
    assert [each["score"] for each in shadows] == pytest.approx(expected(SECOND, *rows), rel=1e-12)
    assert runtime.statistics(ENDPOINT).shadow_rows == 2


def test_routed_and_shadowed_two_versions_score_every_row() -> None:
    ctx = deployed((1, 50.0), (2, 50.0), shadow=(1, 2), sticky="tailnum")
    runtime = Runtime(ctx)
    rows = [row(tailnum=f"N{number}") for number in range(40)]
    reply = runtime.predict(ENDPOINT, rows, "q1")
    runtime.flush()

    assert set(reply.versions) == {1, 2}
    scores = {(each["prediction_id"], each["model_version"]): each["score"] for each in logged(ctx)}
    assert len(scores) == len(logged(ctx)) == 80
    for weights, version in ((FIRST, 1), (SECOND, 2)):
        for place, score in enumerate(expected(weights, *rows)):
            assert scores[f"q1.{place}", version] == pytest.approx(score, rel=1e-12)


def test_a_split_follows_the_sticky_column_row_by_row() -> None:
    ctx = deployed((1, 60.0), (2, 40.0), sticky="tailnum")
    runtime = Runtime(ctx)
    rows = [row(tailnum=f"N{number}", month=number % 12 + 1) for number in range(200)]
    reply = runtime.predict(ENDPOINT, rows)

    for weights, version in ((FIRST, 1), (SECOND, 2)):
        chosen = [at for at, number in enumerate(reply.versions) if number == version]
        assert 40 < len(chosen) < 160
        wanted = expected(weights, *(rows[at] for at in chosen))
        assert [reply.scores[at] for at in chosen] == pytest.approx(wanted, rel=1e-12)
    alone = [runtime.predict(ENDPOINT, [each]).versions[0] for each in rows]
    assert alone == reply.versions


def test_without_a_sticky_column_a_request_meets_one_version() -> None:
    runtime = Runtime(deployed((1, 50.0), (2, 50.0)))
    replies = [runtime.predict(ENDPOINT, [row()] * 3, f"q{number}") for number in range(60)]

    assert all(len(set(reply.versions)) == 1 for reply in replies)
    assert {reply.versions[0] for reply in replies} == {1, 2}


def test_a_version_asked_by_name_answers_outside_the_split() -> None:
    ctx = deployed((1, 100.0), shadow=(2,))
    runtime = Runtime(ctx)
    reply = runtime.predict(ENDPOINT, [row()], "q1", version=2)
    runtime.flush()

    assert reply.scores == pytest.approx(expected(SECOND, row()), rel=1e-12)
    assert [each["variant"] for each in logged(ctx)] == ["pinned"]
    with pytest.raises(NotFound, match="does not serve version 3"):
        runtime.predict(ENDPOINT, [row()], version=3)


def test_a_swap_takes_loaded_versions_over() -> None:
    ctx = deployed((1, 100.0))
    framework = ctx.ports.frameworks["linear"]
    assert isinstance(framework, Linear)
    runtime = Runtime(ctx)
    runtime.predict(ENDPOINT, [row()])
    split(ctx, ENDPOINT, 2, 100.0)
    assert runtime.predict(ENDPOINT, [row()]).versions == [1]

    with ctx.read() as tx:
        runtime.on_events(tx.journal.read(0, 1000))
    runtime.settle()
    assert runtime.predict(ENDPOINT, [row()]).versions == [2]
    assert framework.loads == 2
    rollback(ctx, ENDPOINT, reason="worse")
    runtime.refresh(ENDPOINT)
    assert runtime.predict(ENDPOINT, [row()]).versions == [1]


def test_a_configuration_that_cannot_be_loaded_leaves_the_old_one_answering() -> None:
    ctx = deployed((1, 100.0))
    runtime = Runtime(ctx)
    runtime.predict(ENDPOINT, [row()])
    broken = add_version(ctx, [1.0])
    with ctx.read() as tx:
        asset = tx.assets.find("default", "model", "arrival-delay")
        assert asset is not None
        version = tx.versions.get(asset.id, broken)
        assert version is not None
    ctx.ports.objects.remove(version.digest)
    split(ctx, ENDPOINT, broken, 100.0)
    with pytest.raises(NotFound):
        runtime.refresh(ENDPOINT)

    assert runtime.predict(ENDPOINT, [row()]).versions == [1]


def test_no_call_fails_while_routes_are_swapped() -> None:
    ctx = deployed((1, 100.0), sticky="tailnum")
    runtime = Runtime(ctx)
    runtime.start()
    failures: list[BaseException] = []
    seen: set[int] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                seen.update(runtime.predict(ENDPOINT, [row(tailnum=str(n)) for n in range(8)]).versions)
            except BaseException as error:  # noqa: BLE001  # whatever it is, the test has to see it
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for percent in (5.0, 25.0, 60.0, 100.0):
        split(ctx, ENDPOINT, 2, percent)
        runtime.refresh(ENDPOINT)
    stop.set()
    for thread in threads:
        thread.join()
    runtime.close()

    assert failures == []
    assert 1 in seen
    counted = runtime.statistics(ENDPOINT)
    assert counted.failed == 0
    assert counted.rows == 8 * counted.requests


def test_what_another_process_routes_is_found_in_the_journal() -> None:
    ctx = deployed((1, 100.0))
    runtime = Runtime(ctx)
    runtime.start()
    split(ctx, ENDPOINT, 2, 100.0)
    waited = threading.Event()
    for _ in range(100):
        if runtime.predict(ENDPOINT, [row()]).versions == [2]:
            break
        waited.wait(0.05)
    assert runtime.is_ready
    assert runtime.predict(ENDPOINT, [row()]).versions == [2]
    runtime.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([row(colour="red")], "unknown field `colour`"),
        ([row(month="July")], r"Expected `int`, got `str` - at `\$\[0\].month`"),
        ([row(), row(month=2**70)], r"\$\[1\].month"),
        ([row(carrier=None)], r"\$\[0\].carrier"),
        ([{k: v for k, v in row().items() if k != "carrier"}], "missing required field `carrier`"),
        ([row(carrier="\ud800")], "row 0 has a 'carrier' that is not Unicode"),
        ([], "no rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused_without_their_values(
    wrong: list[dict[str, Scalar]], said: str
) -> None:
    runtime = Runtime(deployed((1, 100.0)))
    with pytest.raises(Invalid, match=said) as caught:
        runtime.predict(ENDPOINT, wrong)
    assert "July" not in str(caught.value)


def test_null_stands_for_what_is_left_out_nan_and_infinite() -> None:
    runtime = Runtime(deployed((1, 100.0)))
    asked = [row(distance=None), row(distance=float("nan")), row(distance=float("-inf"))]
    left_out = {name: value for name, value in row().items() if name != "distance"}
    scores = runtime.predict(ENDPOINT, [*asked, left_out]).scores

    assert len(set(scores)) == 1


def test_too_many_rows_and_bad_ids_are_refused() -> None:
    runtime = Runtime(deployed((1, 100.0)))
    with pytest.raises(TooLarge, match="at most 10,000 rows"):
        runtime.predict(ENDPOINT, [row()] * 10_001)
    for wrong in ("x" * 201, "a\nb"):
        with pytest.raises(Invalid, match="request id"):
            runtime.predict(ENDPOINT, [row()], wrong)
    assert runtime.statistics(ENDPOINT).requests == 0


def test_more_than_may_wait_is_refused_at_once_and_counted() -> None:
    ctx = world()
    gate = threading.Event()
    framework = ctx.ports.frameworks["linear"]
    assert isinstance(framework, Linear)
    framework.gate = gate
    deploy(ctx, ENDPOINT, config((1, 100.0)))
    runtime = Runtime(ctx, max_waiting_rows=10)
    runtime.refresh(ENDPOINT)
    first = threading.Thread(target=runtime.predict, args=(ENDPOINT, [row()] * 8))
    first.start()
    waited = threading.Event()
    for _ in range(400):
        if runtime.waiting_rows == 8:
            break
        waited.wait(0.01)
    with pytest.raises(Unavailable, match="8 rows wait already"):
        runtime.predict(ENDPOINT, [row()] * 3)
    gate.set()
    first.join()

    assert runtime.waiting_rows == 0
    assert len(runtime.predict(ENDPOINT, [row()] * 30).scores) == 30  # alone, a large request is served


def test_an_endpoint_that_does_not_exist_is_not_found() -> None:
    runtime = Runtime(world())
    with pytest.raises(NotFound, match="no endpoint named 'nobody'"):
        runtime.predict("nobody", [row()])


def test_a_model_that_needs_other_inputs_is_not_loaded() -> None:
    ctx = world()
    wider = Schema(columns=(*SERVICE.request.columns, Column(name="colour", type=ColumnType.STRING)))
    define_service(ctx, replace(SERVICE, name="wider", request=wider))
    number = add_version(ctx, FIRST, service="feature_service:wider@1")
    deploy(ctx, ENDPOINT, config((number, 100.0)))

    with pytest.raises(Invalid, match="needs the input 'colour'"):
        Runtime(ctx).predict(ENDPOINT, [row()])
