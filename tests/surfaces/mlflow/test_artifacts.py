"""Files by proxy as one client sees them: put, read in parts, told safely, listed, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from loopwright.surfaces.mlflow.media import media_type
from tests.surfaces.asking import ask
from tests.surfaces.mlflow.places import PROXY, Place, placed

TEN = b"0123456789"
MEGABYTE = b"x" * 1_000_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed(tmp_path_factory.mktemp("files")) as made:
        made.ask("PUT", "ten.bin", TEN)
        made.ask("PUT", "empty.bin", b"")
        made.ask("PUT", "great.bin", [MEGABYTE] * 3 + [TEN])
        yield made


def test_small_and_great_files_come_back(place: Place) -> None:
    assert place.ask("GET", "ten.bin").body == TEN
    assert place.ask("GET", "empty.bin").body == b""
    assert place.ask("GET", "great.bin").body == MEGABYTE * 3 + TEN
    answer = place.ask("PUT", "again", [b"a", b"", b"b"] * 10)
    assert (answer.status, answer.body) == (200, b"")
    assert place.ask("GET", "again").body == b"ab" * 10


RANGES = {
    "bytes=0-0": b"0",
    "bytes=1-3": b"123",
    "bytes=3-": b"3456789",
    "bytes=-4": b"6789",
    "bytes=-99": TEN,
    "bytes=9-99999999999999999999999": b"9",
    "bytes = 2 - 4": b"234",
}


@pytest.mark.parametrize("asked", RANGES)
def test_a_part_is_given(place: Place, asked: str) -> None:
    answer = place.ask("GET", "ten.bin", range=asked)
    part = RANGES[asked]
    first = TEN.index(part)
    assert (answer.status, answer.body) == (206, part)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/10"
    assert answer.headers["content-length"] == str(len(part))


@pytest.mark.parametrize(
    "asked", ["bytes=0-0,2-3", "lines=1-2", "bytes=-", "bytes=4-2", "bytes=a-b", "bytes=1"]
)
def test_a_range_that_is_not_understood_is_passed_over(place: Place, asked: str) -> None:
    answer = place.ask("GET", "ten.bin", range=asked)
    assert (answer.status, answer.body) == (200, TEN)


@pytest.mark.parametrize(
    ("path", "asked"), [("ten.bin", "bytes=10-"), ("ten.bin", "bytes=-0"), ("empty.bin", "bytes=0-")]
)
def test_a_part_outside_is_refused_with_the_size(place: Place, path: str, asked: str) -> None:
    answer = place.ask("GET", path, range=asked)
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{10 if path == 'ten.bin' else 0}"
    assert answer.json["error_code"] == "INVALID_PARAMETER_VALUE"


def test_a_part_across_pieces_of_a_great_file(place: Place) -> None:
    answer = place.ask("GET", "great.bin", range="bytes=2999998-3000003")
    assert answer.body == b"xx0123"
    assert place.ask("GET", "great.bin", range="bytes=5-").body == (MEGABYTE * 3 + TEN)[5:]


def test_a_part_of_another_content_is_not_given(place: Place) -> None:
    etag = place.ask("GET", "ten.bin").headers["etag"]
    assert place.ask("GET", "ten.bin", range="bytes=1-2", if_range=etag).status == 206
    assert place.ask("GET", "ten.bin", range="bytes=1-2", if_range='"other"').status == 200


def test_a_head_tells_what_a_get_would(place: Place) -> None:
    head, get = (place.ask(method, "ten.bin") for method in ("HEAD", "GET"))
    assert (head.status, head.body, head.headers) == (200, b"", get.headers)
    assert place.ask("HEAD", "none").status == 404


ACTIVE = (
    "page.html",
    "page.HTML",
    "p.xhtml",
    "drawing.svg",
    "d.svgz",
    "feed.xml",
    "script.js",
    "m.mjs",
    "n.ipynb",
    "none",
)


@pytest.mark.parametrize("name", [*ACTIVE, "picture.png", "words.txt"])
def test_nothing_acts_at_the_servers_address(place: Place, name: str) -> None:
    """Attachments, in a sandbox, of the type that is told: by the proxy, for pages, and by the API."""
    content = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/><script>alert(1)</script>"
    assert place.ask("PUT", f"active/{name}", content, content_type="text/html").status == 200
    path = f"active/{name}"
    for target in (
        f"{PROXY}/{place.home}/{path}",
        f"/ajax-api/2.0/mlflow-artifacts/artifacts/{place.home}/{path}",
        f"/get-artifact?run_uuid={place.run_id}&path={path}",
        f"/get-artifact?run_id={place.run_id}&path={path}",
        f"/api/v1/runs/{place.run_id}/artifacts/content?path={path}",
    ):
        answer = ask(place.app, "GET", target)
        assert (answer.status, answer.body) == (200, content)
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox;")
        assert "allow" not in policy


def test_types_are_the_same_on_every_machine() -> None:
    assert media_type("MLmodel") == media_type("a.b.yaml") == "text/plain; charset=utf-8"
    assert media_type("x.png") == "image/png"
    for name in ("x", "x.tar.gz", "x.unheard", ".png.", "x.bin"):
        assert media_type(name) == "application/octet-stream"


def test_a_name_in_a_header_is_quoted(place: Place) -> None:
    path = "odd/a%22;b%C3%A4%27.txt"
    place.ask("PUT", path, b"x")
    answer = place.ask("GET", path)
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22%3Bb%C3%A4%27.txt"


def test_files_are_listed_by_run_by_place_and_by_page(place: Place) -> None:
    place.ask("PUT", "tree/b/c.txt", TEN)
    place.ask("PUT", "tree/a.txt", b"")
    assert place.files("tree") == [("tree/a.txt", False, 0), ("tree/b", True, 0)]
    assert place.files("tree/b") == place.files("tree/b/") == [("tree/b/c.txt", False, 10)]
    assert place.files("tree/a.txt") == place.files("tree/none") == []
    answer = ask(place.app, "GET", f"{PROXY}?path={place.home}/tree/b")
    assert answer.json == {"files": [{"path": "c.txt", "is_dir": False, "file_size": 10}]}
    target = f"/api/v1/runs/{place.run_id}/artifacts?path=tree&limit=1"
    page = ask(place.app, "GET", target).json
    assert [each["path"] for each in page["items"]] == ["tree/a.txt"]
    rest = ask(place.app, "GET", f"{target}&token={page['next_token']}").json
    assert ([each["path"] for each in rest["items"]], rest["next_token"]) == (["tree/b"], "")


def test_a_file_of_a_page_is_uploaded(place: Place) -> None:
    target = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={place.run_id}&path=notes/n.md"
    assert ask(place.app, "POST", target, body=b"# note").status == 200
    assert place.ask("GET", "notes/n.md").body == b"# note"
    for query in ("", "?path=x", f"?run_uuid={place.run_id}", "?run_uuid=none&path=x"):
        assert 400 <= ask(place.app, "POST", f"/ajax-api/2.0/mlflow/upload-artifact{query}").status < 500


def test_deleting_is_answered_alike_whether_there_was_something(place: Place) -> None:
    place.ask("PUT", "gone/a/b", b"x")
    for path in ("gone/a", "gone/a", "gone/none", "gone/a/b/c"):
        assert place.ask("DELETE", path).json == {}
    assert place.files("gone") == []
    for path in ("", "%2e", "/"):
        assert place.ask("DELETE", path).status == 400
    assert place.ask("GET", "ten.bin").status == 200


def test_an_upload_over_the_limit_is_refused_early_and_late(place: Place) -> None:
    announced = place.ask("PUT", "over", b"", content_length="5000000")
    sent = place.ask("PUT", "over", [MEGABYTE] * 9)
    for answer in (announced, sent):
        assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert place.ask("GET", "over").status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "mpu/create/{}/big"),
        ("POST", "mpu/complete/{}/big"),
        ("POST", "mpu/abort/{}/big"),
        ("GET", "presigned/{}/big"),
    ],
)
def test_what_is_not_offered_says_so_in_the_words_that_clients_look_for(
    place: Place, method: str, path: str
) -> None:
    for root in ("api", "ajax-api"):
        target = f"/{root}/2.0/mlflow-artifacts/{path.format(place.home)}"
        answer = ask(place.app, method, target, value={"path": "big", "num_parts": 10**9, "upload_id": "x"})
        assert (answer.status, answer.json["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert answer.json["message"].startswith("Multipart ")


def test_a_deleted_run_is_read_and_not_written(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        place.ask("PUT", "f", TEN)
        ctx = place.workspace.context()
        ctx.write(lambda tx: tx.runs.update(replace(tx.runs.get(place.run_id), deleted_at=ctx.now())))
        assert place.ask("GET", "f").body == TEN
        for method in ("PUT", "DELETE"):
            answer = place.ask(method, "f", b"y" if method == "PUT" else b"")
            assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert place.files() == [("f", False, 10)]
