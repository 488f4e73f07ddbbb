from __future__ import annotations

import msgspec
import pytest

from loopwright.client.describing import entry_of, index_of
from loopwright.client.index import Index, Parameter
from loopwright.core.errors import NotFound
from tests.surfaces.declared import DeclaredHost

OPERATIONS = DeclaredHost().operations


def test_an_entry_says_all_that_a_request_and_a_command_need() -> None:
    entry = entry_of(OPERATIONS["boxes.show"])
    found = {p.name: p for p in entry.parameters}
    assert (entry.command, entry.method, entry.path) == ("boxes show", "GET", "/boxes/{name}")
    assert found["name"] == Parameter(
        name="name", place="path", kind="text", required=True, help="name of an asset"
    )
    assert found["limit"] == Parameter(
        name="limit", place="query", kind="integer", default=10, help="how many at most"
    )
    assert found["colour"].choices == ("red", "blue")
    assert [found[n].kind for n in ("wanted", "colour", "at", "box")] == ["list", "choice", "text", "json"]


def test_an_upload_and_a_local_operation_are_marked() -> None:
    assert entry_of(OPERATIONS["boxes.upload"]).upload_name == "content"
    local = entry_of(OPERATIONS["boxes.measure"])
    assert local.local
    assert {p.name: p.place for p in local.parameters} == {"file": "argument", "key": "local"}


def test_an_entry_leads_back_to_its_declaration() -> None:
    for name, operation in OPERATIONS.items():
        entry = msgspec.convert(msgspec.to_builtins(entry_of(operation)), type(entry_of(operation)))
        assert entry.name == name
        assert getattr(operation.function, "operation") is operation  # noqa: B009 - set by the declaration
        assert entry.function == operation.function.__name__


def test_an_index_knows_names_and_what_they_begin_with() -> None:
    index: Index = index_of(OPERATIONS.values())
    assert index.prefixes == {"boxes", "jobs"}
    assert index["boxes.show"].scope == "box:read"
    with pytest.raises(NotFound):
        index["boxes.nothing"]
