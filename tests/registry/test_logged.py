"""Logged models: begun, filled, measured, found by all of that, and put in the trash."""

from __future__ import annotations

import math
import re
from datetime import timedelta

import pytest

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.queries import OnDataset
from loopwright.engine.context import Context
from loopwright.registry import finding, logged
from loopwright.registry.nouns import LoggedModel, LoggedModelState, ModelPoint
from loopwright.testing.builders import SetClock
from loopwright.tracking import experiments
from loopwright.tracking.grammar import ModelOrder
from tests.registry.worlds import made_experiment, made_run, world


def measure(ctx: Context, *points: ModelPoint) -> None:
    ctx.write(lambda tx: logged.measure(ctx, tx, points))


def point(
    model: LoggedModel, key: str, value: float, at: int = 1, on: str = "", run: str = "r"
) -> ModelPoint:
    return ModelPoint(
        model_id=model.id,
        run_id=run,
        key=key,
        value=value,
        at_us=at * 1000,
        dataset_name=on,
        dataset_digest=on,
    )


def found(ctx: Context, home: str, where: str = "", **more: object) -> list[str]:
    return [each.model.name for each in finding.search(ctx, [home], where=where, **more).items]  # type: ignore[arg-type]  # given as they are


def test_it_begins_pending_under_its_experiment() -> None:
    ctx = world()
    home = made_experiment(ctx)
    run = made_run(ctx, home)
    model = logged.create(ctx, home, "tree", source_run_id=run.id, params={"depth": "3"}, tags={"t": "1"})
    assert re.fullmatch("m-[0-9a-f]{32}", model.id)
    assert model.artifact_uri == f"mlflow-artifacts:/{home}/models/{model.id}/artifacts"
    assert (model.state, model.source_run_id) == (LoggedModelState.PENDING, run.id)
    assert logged.finalize(ctx, model.id, LoggedModelState.READY).state is LoggedModelState.READY
    assert logged.show(ctx, model.id)[0].params == {"depth": "3"}


def test_names_repeat_and_are_made_up() -> None:
    ctx = world()
    home = made_experiment(ctx)
    one, two = logged.create(ctx, home, "tree"), logged.create(ctx, home, "tree")
    assert one.id != two.id
    assert one.name == two.name
    assert re.fullmatch("[a-z]+-[a-z]+-[0-9]{1,3}", logged.create(ctx, home).name)


@pytest.mark.parametrize("name", ["a/b", "a:b", "a.b", "a%b", 'a"b', "a'b", " ", "a\nb", "x" * 251])
def test_names_that_none_may_have(name: str) -> None:
    ctx = world()
    with pytest.raises(Invalid):
        logged.create(ctx, made_experiment(ctx), name)


def test_an_experiment_has_to_take_it() -> None:
    ctx = world()
    home = made_experiment(ctx)
    experiments.trash(ctx, home)
    with pytest.raises(Invalid):
        logged.create(ctx, home, "tree")
    with pytest.raises(NotFound):
        logged.create(ctx, "123", "tree")


def test_params_are_written_once() -> None:
    ctx = world()
    model = logged.create(ctx, made_experiment(ctx), "tree", params={"depth": "3"})
    logged.add_params(ctx, model.id, {"depth": "3", "leaves": "7"})
    with pytest.raises(Invalid, match="'leaves'"):
        logged.add_params(ctx, model.id, {"leaves": "8", "more": "1"})
    assert logged.show(ctx, model.id)[0].params == {"depth": "3", "leaves": "7"}


def test_tags_come_and_go() -> None:
    ctx = world()
    model = logged.create(ctx, made_experiment(ctx), "tree")
    logged.set_tags(ctx, model.id, {"a": "1", "b": ""})
    logged.unset_tag(ctx, model.id, "a")
    assert logged.show(ctx, model.id)[0].tags == {"b": ""}
    with pytest.raises(NotFound):
        logged.unset_tag(ctx, model.id, "a")


def test_in_the_trash_it_takes_nothing() -> None:
    ctx = world()
    home = made_experiment(ctx)
    model = logged.create(ctx, home, "tree")
    logged.delete(ctx, model.id)
    logged.delete(ctx, model.id)
    assert found(ctx, home) == []
    assert logged.show(ctx, model.id, trashed=True)[0].id == model.id
    with pytest.raises(NotFound):
        logged.set_tags(ctx, model.id, {"a": "1"})
    with pytest.raises(Invalid):
        measure(ctx, point(model, "acc", 1.0))


def test_points_are_kept_once_and_numbers_without_words_in_json_too() -> None:
    ctx = world()
    model = logged.create(ctx, made_experiment(ctx), "tree")
    measure(
        ctx, point(model, "loss", math.inf), point(model, "loss", math.inf), point(model, "bad", math.nan)
    )
    measure(ctx, point(model, "acc", 0.5, 2), point(model, "acc", 0.25, 1))
    _, points = logged.show(ctx, model.id)
    assert [(each.key, each.value) for each in points][:2] == [("acc", 0.25), ("acc", 0.5)]
    assert math.isnan(points[2].value)
    assert points[3].value == math.inf
    assert len(points) == 4


def test_points_of_another_model_stay_apart() -> None:
    ctx = world()
    home = made_experiment(ctx)
    one, two = logged.create(ctx, home, "a"), logged.create(ctx, home, "b")
    measure(ctx, point(one, "acc", 1.0))
    assert logged.show(ctx, two.id)[1] == ()


def test_models_are_found_by_what_they_are_and_what_was_measured() -> None:
    ctx = world()
    home = made_experiment(ctx)
    made = [logged.create(ctx, home, name, params={"depth": str(at)}) for at, name in enumerate("abcd")]
    logged.finalize(ctx, made[1].id, LoggedModelState.READY)
    for at, model in enumerate(made[1:], 1):
        measure(ctx, point(model, "acc", at / 4, on="flights" if at == 1 else ""))
    measure(ctx, point(made[1], "acc", 0.125, at=9))
    by_name = [ModelOrder(field_name="name")]
    by_metric = [ModelOrder(field_name="metrics.acc", ascending=False)]
    assert found(ctx, home, "status = 'READY'") == ["b"]
    assert found(ctx, home, "params.depth IN ('0', '3')", order=by_name) == ["a", "d"]
    assert found(ctx, home, "metrics.acc > 0.3", order=by_name) == ["c", "d"]
    assert found(ctx, home, "NOT metrics.acc > 0.3", order=by_name) == ["a", "b"]
    assert found(ctx, home, order=by_metric) == ["d", "c", "b", "a"]
    on = [OnDataset("flights")]
    assert found(ctx, home, datasets=on) == ["b"]
    assert found(ctx, home, "metrics.acc < 0.2", datasets=on) == []
    assert found(ctx, "123") == []
    with pytest.raises(Invalid):
        found(ctx, home, datasets=[OnDataset("")])


def test_pages_of_models_by_a_metric_that_some_have() -> None:
    ctx = world()
    home = made_experiment(ctx)
    made = [logged.create(ctx, home, f"n{at}") for at in range(6)]
    for model, value in zip(made, (1.0, math.nan, 3.0, 2.0), strict=False):
        measure(ctx, point(model, "acc", value))
    order = [ModelOrder(field_name="metrics.acc", ascending=False)]
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = finding.search(ctx, [home], order=order, limit=2, token=token)
        seen += [each.model.name for each in page.items]
        token = page.next_token
    assert seen[:4] == ["n2", "n3", "n0", "n1"]
    assert set(seen[4:]) == {"n4", "n5"}
    assert not token


@pytest.mark.parametrize(
    "where",
    ["", "params.depth = '1'", "name = 'even' AND tags.t = 'b'", "metrics.acc > 4", "NOT params.depth = '1'"],
)
def test_the_newest_are_found_piece_by_piece_as_all_at_once(where: str) -> None:
    """The order that is meant without one is that spelled out further."""
    ctx = world()
    homes = [made_experiment(ctx, "one"), made_experiment(ctx, "two")]
    for at in range(12):
        model = logged.create(
            ctx,
            homes[at % 5 == 4],
            "even" if at % 2 == 0 else "odd",
            params={"depth": str(at % 3)},
            tags={"t": "ab"[at % 4 == 0]},
        )
        measure(ctx, point(model, "acc", float(at)))
        if at % 3 == 2:
            clock = ctx.ports.clock
            assert isinstance(clock, SetClock)
            clock.advance(timedelta(milliseconds=1))
    spelled = [
        ModelOrder(field_name="creation_timestamp", ascending=False),
        ModelOrder(field_name="model_id"),
        ModelOrder(field_name="name"),
    ]
    for wanted in (homes, homes[:1]):
        seen, token = list[str](), ""
        while True:
            page = finding.search(ctx, wanted, where=where, limit=2, token=token)
            seen += [each.model.id for each in page.items]
            if not (token := page.next_token):
                break
        everything = finding.search(ctx, wanted, where=where, order=spelled, limit=100)
        assert seen == [each.model.id for each in everything.items]
        assert seen
