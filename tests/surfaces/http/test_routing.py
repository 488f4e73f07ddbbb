from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Fault, Invalid, TooLarge
from loopwright.surfaces.http.routing import Router, segments_of


def _router() -> Router[str]:
    router: Router[str] = Router()
    for route in (
        "GET /boxes",
        "POST /boxes",
        "GET /boxes/{name}",
        "GET /boxes/all",
        "GET /boxes/{name}/content",
        "DELETE /boxes/{name}/{part}",
    ):
        method, path = route.split(" ")
        router.add(method, path, route)
    return router


@pytest.mark.parametrize(
    ("method", "parts", "endpoint", "values"),
    [
        ("GET", ("boxes",), "GET /boxes", {}),
        ("GET", ("boxes", "x"), "GET /boxes/{name}", {"name": "x"}),
        ("GET", ("boxes", "all"), "GET /boxes/all", {}),
        ("GET", ("boxes", "all", "content"), "GET /boxes/{name}/content", {"name": "all"}),
        (
            "DELETE",
            ("boxes", "all", "content"),
            "DELETE /boxes/{name}/{part}",
            {"name": "all", "part": "content"},
        ),
    ],
)
def test_a_path_leads_to_its_most_fixed_route(
    method: str, parts: tuple[str, ...], endpoint: str, values: dict[str, str]
) -> None:
    found = _router().match(method, parts)
    assert (found.endpoint, found.values) == (endpoint, values)


def test_a_wrong_method_tells_the_right_ones_and_no_path_tells_none() -> None:
    assert _router().match("PUT", ("boxes", "x")).methods == ("GET",)
    assert _router().match("PUT", ("boxes", "all", "content")).methods == ("DELETE", "GET")
    assert _router().match("GET", ("nope",)).methods == ()


def test_two_claims_and_partial_placeholders_are_faults() -> None:
    router = _router()
    with pytest.raises(Fault):
        router.add("GET", "/boxes/{other}", "twice")
    with pytest.raises(Fault):
        router.add("GET", "/boxes/{name}.json", "partial")


@given(st.lists(st.text(min_size=1).filter(lambda t: t.isprintable() and "." not in t), max_size=5))
def test_any_printable_parts_come_back_from_their_percent_encoding(parts: list[str]) -> None:
    raw = "/" + "/".join(quote(part, safe="") for part in parts)
    assert segments_of(raw.encode(), 100_000) == tuple(parts)


@pytest.mark.parametrize(
    "raw",
    [
        b"/a/../b",
        b"/a/%2e%2e/b",
        b"/a/..%2fb",
        b"/a/b%5c..",
        b"/a//b",
        b"/a/.",
        b"/a%00b",
        b"/a%0ab",
        b"/%c0%ae%c0%ae/",
        b"/%ff",
        b"http://elsewhere/a",
        b"",
    ],
)
def test_path_tricks_are_refused(raw: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        segments_of(raw, 4096)
    assert caught.value.hint
    assert caught.value.where == "path"


def test_an_overlong_path_is_refused() -> None:
    with pytest.raises(TooLarge):
        segments_of(b"/" + b"a" * 5000, 4096)
