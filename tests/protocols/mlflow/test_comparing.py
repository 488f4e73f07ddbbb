"""The comparison itself: what it binds, what it finds, and that the recorded files are whole and small."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.protocols.mlflow.comparing import differences
from tests.protocols.mlflow.groups import DONE_GROUPS, SCRIPTS
from tests.protocols.mlflow.keeping import RECORDED, kept
from tests.protocols.mlflow.names import Bindings, Namer, pairs
from tests.protocols.mlflow.wire import Exchange, Reply, Request, expanded, shortened

NOW = 1_790_000_000_000
NOW_TEXT = "2026-09-21T13:46:40.125Z"
RUN = {
    "run_id": "{run:1}",
    "uri": "mlflow-artifacts:/{experiment:1}/{run:1}/artifacts",
    "at": "{time}",
    "n": 1,
}


def reply(json: Any, status: int = 200) -> Reply:
    return Reply(status=status, headers={"content-type": "application/json"}, json=json)


def exchange(json: Any, status: int = 200, **more: Any) -> Exchange:
    request = Request(method="GET", path="/")
    return Exchange(says="", request=request, reply=reply(json, status), **more)


def test_names_are_bound_on_first_sight_and_held_to() -> None:
    bound = Bindings()
    first = {"run_id": "abc", "uri": "mlflow-artifacts:/17/abc/artifacts", "at": NOW, "n": 1}
    assert differences(exchange(RUN), reply(first), bound) == []
    assert bound.filled({"path": "x/{experiment:1}/{run:1}/{run:2}"}) == {"path": "x/17/abc/{run:2}"}
    assert len(differences(exchange(RUN), reply({**first, "run_id": "other"}), bound)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1.0},
        {"n": "1"},
        {"n": True},
        {"at": f"{NOW}"},
        {"at": 5},
        {"more": 1},
        {"uri": "abc"},
        {"n": None},
    ],
)
def test_types_values_and_further_fields_count(change: dict[str, Any]) -> None:
    first = {"run_id": "abc", "uri": "mlflow-artifacts:/17/abc/artifacts", "at": NOW, "n": 1}
    assert len(differences(exchange(RUN), reply({**first, **change}), Bindings())) == 1


def test_sets_have_no_order_and_histories_have_one() -> None:
    def points(*steps: int) -> dict[str, Any]:
        return {"metrics": [{"key": "m", "step": step} for step in steps]}

    tags = [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]
    assert differences(exchange({"tags": tags}), reply({"tags": tags[::-1]}), Bindings()) == []
    assert differences(exchange(points(1, 2)), reply(points(2, 1)), Bindings()) != []
    assert differences(exchange(points(1, 2)), reply(points(1)), Bindings()) != []


def test_errors_are_held_to_their_code_and_where_asked_to_their_words() -> None:
    said = "Invalid value 7 for parameter 'name' supplied:  Hint: Value was of type 'int'."
    recorded = exchange({"error_code": "INVALID_PARAMETER_VALUE", "message": said}, 400)
    ours = {"error_code": "INVALID_PARAMETER_VALUE", "message": "'name' must be a text"}
    assert differences(recorded, reply(ours, 400), Bindings()) == []
    assert differences(replace(recorded, wording=True), reply(ours, 400), Bindings()) != []
    close = {**ours, "message": "Invalid value 7 for parameter 'name' supplied: a text is needed"}
    assert differences(replace(recorded, wording=True), reply(close, 400), Bindings()) == []
    for wrong in ({**ours, "error_code": "BAD_REQUEST"}, {**ours, "message": ""}, {**ours, "trace": "x"}, {}):
        assert differences(recorded, reply(wrong, 400), Bindings()) != []
    assert differences(recorded, reply(ours, 404), Bindings()) != []


def test_our_server_never_answers_5xx_to_a_mistake() -> None:
    recorded = exchange({"error_code": "INTERNAL_ERROR", "message": "x"}, 500)
    ours = {"error_code": "INVALID_PARAMETER_VALUE", "message": "x"}
    assert differences(recorded, reply(ours, 400), Bindings()) == []
    assert differences(recorded, reply(ours, 500), Bindings()) != []
    assert differences(exchange({}, free="why"), reply(ours, 400), Bindings()) == []
    assert differences(exchange({}, free="why"), reply(ours, 500), Bindings()) != []


def test_the_namer_writes_what_a_server_chose_by_stable_names() -> None:
    namer, run, model = Namer(), "a" * 32, "m-" + "b" * 32
    namer.learn({"run": {"run_id": run, "experiment_id": "7300000001"}, "model_id": model})
    written = namer.named(
        {"uri": f"x:/7300000001/{run}", "text": f"{model} at {NOW}", "at": NOW, "given": 17}
    )
    assert written == {
        "uri": "x:/{experiment:1}/{run:1}", "text": "{model:1} at {time}", "at": "{time}", "given": 17
    }  # fmt: skip


def test_long_texts_and_lists_are_written_short() -> None:
    long = {"a": "x" * 6000, "b": "short"}
    assert shortened(long) == {"a": "{x*6000}", "b": "short"}
    assert expanded(shortened(long)) == long
    written = {"$each": 3, "$of": {"key": "k{i}", "step": "{#}"}}
    assert expanded(written) == [{"key": f"k{n}", "step": n} for n in range(3)]


@pytest.mark.parametrize("group", SCRIPTS)
def test_recorded_groups_are_whole(group: str) -> None:
    exchanges = kept(group)
    assert exchanges
    bound: set[str] = set()
    for each in exchanges:
        bound |= {value for _, value in pairs(each.reply.json) if isinstance(value, str)}
        assert differences(each, _as_recorded(each), Bindings()) == [] or each.reply.status >= 400, each.says


def _as_recorded(each: Exchange) -> Reply:
    """The recorded reply with some instant: it must be as it is itself."""

    def with_times(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: with_times(one) for name, one in value.items()}
        if isinstance(value, list):
            return [with_times(one) for one in value]
        if isinstance(value, str):
            value = value.replace("{instant}", NOW_TEXT)
        return NOW if value == "{time}" else expanded(value)

    return replace(each.reply, json=with_times(each.reply.json), text=expanded(each.reply.text))


def test_recorded_files_are_small_and_of_known_groups() -> None:
    files = sorted(RECORDED.glob("*.json"))
    assert {path.stem for path in files} == set(SCRIPTS)
    assert max(path.stat().st_size for path in files) < 64_000
    assert set(DONE_GROUPS) <= set(SCRIPTS)
    for mark in ("/tmp/", "localhost:", "127.0.0.1:"):  # of the server and the machine they were recorded on
        assert not [path.name for path in files if mark in path.read_text()]
