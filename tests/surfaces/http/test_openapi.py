from __future__ import annotations

from typing import Any

import pytest

from loopwright.surfaces.http import build_app
from tests.surfaces.asking import ask
from tests.surfaces.declared import DeclaredHost


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = ask(build_app(DeclaredHost()), "GET", "/api/v1/openapi.json").json
    return found


def _refs(node: Any) -> set[str]:
    match node:
        case dict():
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*map(_refs, node.values()))
        case list():
            return set().union(*map(_refs, node))
    return set()


def _at(document: dict[str, Any], pointer: str) -> Any:
    found: Any = document
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_every_routed_operation_is_described_with_its_scope_and_form(document: dict[str, Any]) -> None:
    operations = [op for op in DeclaredHost().operations.values() if not op.local]
    for op in operations:
        described = document["paths"][f"/api/v1{op.path}"][op.method.lower()]
        assert described["operationId"] == op.name
        assert described["x-scope"] == op.scope
        assert described["x-form"] == op.form.value
        assert described["summary"] == op.summary
    found = [entry for path in document["paths"].values() for entry in path.values()]
    assert len(found) == len(operations) + 1


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = _refs(document)
    assert "#/components/schemas/Failure" in references
    for reference in references:
        assert _at(document, reference)


def test_every_placeholder_of_a_path_is_a_parameter(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for described in methods.values():
            named = {p["name"] for p in described["parameters"] if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            assert all(p["required"] for p in described["parameters"] if p["in"] == "path")


def test_a_body_says_what_is_required_and_what_is_the_default(document: dict[str, Any]) -> None:
    body = document["paths"]["/api/v1/boxes/{name}"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert body["required"]
    assert schema["required"] == ["size"]
    assert schema["properties"]["reason"] == {"type": "string", "default": ""}
    assert schema["additionalProperties"] is False


def test_the_five_forms_have_their_own_replies(document: dict[str, Any]) -> None:
    paths = document["paths"]
    page = paths["/api/v1/boxes"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(page["properties"]) == {"items", "next_token"}
    assert set(paths["/api/v1/stream"]["get"]["responses"]["200"]["content"]) == {
        "application/x-ndjson",
        "text/event-stream",
    }
    assert "202" in paths["/api/v1/boxes/{name}/ship"]["post"]["responses"]
    assert "201" in paths["/api/v1/boxes/{name}"]["post"]["responses"]
    content = paths["/api/v1/boxes/{name}/content"]
    assert set(content["get"]["responses"]["200"]["content"]) == {"application/octet-stream"}
    assert set(content["post"]["requestBody"]["content"]) == {"application/octet-stream"}


def test_every_status_of_an_error_is_a_reply(document: dict[str, Any]) -> None:
    replies = document["paths"]["/api/v1/boxes"]["get"]["responses"]
    assert {"400", "401", "403", "404", "409", "413", "422", "500", "503"} <= set(replies)
    assert "blocked" in document["components"]["responses"]["Failure409"]["description"]
