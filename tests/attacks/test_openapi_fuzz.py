"""The API asked for what its own description allows, and nearly that: no fault, and a status it describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.worlds import World, answered, furnished

Schema = dict[str, Any]
_NASTY = (
    "",
    "x",
    "..",
    "\0",
    "é",
    "'",
    "9" * 400,
    "model:m@1",
    "e",
    "weather",
    "m",
    "champion",
    "loss",
    "a/b.txt",
)
_DEPTH = 4
OFF_LIMITS = ("/events",)
"""streams that do not end by themselves"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("described")) as found:
        yield found


class Described:
    """The description, and values that fit a schema of it."""

    def __init__(self, document: Schema, names: list[str]) -> None:
        self._document = document
        self._words = st.sampled_from([*_NASTY, *names]) | st.text(max_size=30)
        self.calls = [
            (method.upper(), path, call)
            for path, calls in document["paths"].items()
            for method, call in calls.items()
            if isinstance(call, dict) and "responses" in call and not path.endswith(OFF_LIMITS)
        ]

    def resolved(self, schema: Schema) -> Schema:
        """The schema itself where it is a reference."""
        while "$ref" in schema:
            found: Any = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    def values(self, schema: Schema, depth: int = _DEPTH) -> st.SearchStrategy[Any]:
        """What fits a schema; beyond a depth, and now and then, what does not."""
        schema = self.resolved(schema)
        choices = schema.get("anyOf") or schema.get("oneOf")
        if depth == 0:
            return st.none() | st.booleans()
        if choices:
            return st.one_of([self.values(each, depth) for each in choices])
        if "enum" in schema or "const" in schema:
            return st.sampled_from(schema.get("enum") or [schema["const"]]) | self._words
        return self._of_type(schema, depth)

    def _of_type(self, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
        match schema.get("type"):
            case "object":
                return self._objects(schema, depth)
            case "array":
                item = self.values(schema.get("items") or {}, depth - 1)
                return st.lists(item, min_size=schema.get("minItems", 0), max_size=3)
            case "string":
                return self._words
            case "integer":
                return st.integers(-3, 200) | st.sampled_from([2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63)])
            case "number":
                return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5)
            case "boolean":
                return st.booleans()
            case "null":
                return st.none()
        return st.none() | self._words | st.integers() | st.lists(self._words, max_size=2)

    def _objects(self, schema: Schema, depth: int) -> st.SearchStrategy[Any]:
        fields = schema.get("properties", {})
        needed = set(schema.get("required", ()))
        found = {name: self.values(each, depth - 1) for name, each in fields.items()}
        if not fields and isinstance(schema.get("additionalProperties"), dict):
            more = self.values(schema["additionalProperties"], depth - 1)
            return st.dictionaries(self._words, more, max_size=3)
        return st.fixed_dictionaries(
            {name: each for name, each in found.items() if name in needed},
            optional={name: each for name, each in found.items() if name not in needed},
        )


@pytest.fixture(scope="module")
def described(world: World) -> Described:
    document = world.ask("GET", "/api/v1/openapi.json").json
    return Described(document, [*world.names.values(), "dataset", "model", "experiment", "delays"])


def asked(world: World, described: Described, data: st.DataObject) -> None:
    method, path, call = data.draw(st.sampled_from(described.calls))
    query = []
    for each in call.get("parameters", ()):
        place, name = each["in"], each["name"]
        if place == "path":
            value = data.draw(described.values(each["schema"]).filter(lambda v: v not in ("", None)))
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        elif place == "query" and (each.get("required") or data.draw(st.booleans())):
            value = data.draw(described.values(each["schema"]))
            many = value if isinstance(value, list) else [value]
            query += [f"{name}={quote(str(each), safe='')}" for each in many]
    target = path if path.startswith("/api") else f"/api/v1{path}"
    target += f"?{'&'.join(query)}" if query else ""
    content = described.resolved(call.get("requestBody") or {}).get("content", {})
    if "application/json" in content:
        value = data.draw(described.values(content["application/json"]["schema"]))
        answer = world.ask(method, target, value=value)
    else:
        body = data.draw(st.binary(max_size=60)) if content else b""
        kind = data.draw(st.sampled_from(sorted(content))) if content else "application/json"
        answer = world.ask(method, target, body=body, headers={"content-type": kind})
    answered(answer, f"{method} {target[:300]}")
    told = {str(status) for status in call["responses"]}
    assert str(answer.status) in told or f"{answer.status // 100}XX" in told or "default" in told, (
        f"{method} {target[:300]}: {answer.status} is not among {sorted(told)}"
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_calls_that_the_description_allows(world: World, described: Described, data: st.DataObject) -> None:
    asked(world, described, data)


@pytest.mark.slow
@settings(
    max_examples=3_000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_thousands_of_them(world: World, described: Described, data: st.DataObject) -> None:
    asked(world, described, data)
