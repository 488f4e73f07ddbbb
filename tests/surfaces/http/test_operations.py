from __future__ import annotations

import json

import pytest
from starlette.types import Receive, Scope, Send

from loopwright.surfaces.http import Application, Limits, build_app
from loopwright.workspace.settings import Settings
from tests.surfaces.asking import Answer, ask
from tests.surfaces.declared import DeclaredHost

API = "/api/v1"


@pytest.fixture(scope="module")
def app() -> Application:
    return build_app(DeclaredHost(), limits=Limits(body_bytes=10_000, upload_bytes=100_000, deadline_s=0.2))


def _refused(answer: Answer, status: int, code: str) -> dict[str, str]:
    assert answer.status == status, answer.body
    failure: dict[str, str] = answer.json
    assert failure["code"] == code
    assert failure["message"]
    assert "Traceback" not in answer.body.decode()
    return failure


def test_a_value_is_decoded_from_path_and_query(app: Application) -> None:
    box = json.dumps({"name": "q", "size": 1})
    answer = ask(
        app,
        "GET",
        f"{API}/boxes/a%2Fb%20c?wanted=x&wanted=y&colour=blue&at=2013-07-01T00:00:00Z&limit=7&box="
        + box.replace('"', "%22").replace(" ", ""),
        headers={"loopwright-space": "other"},
    )
    assert answer.status == 200
    assert answer.json["name"] == "a/b c"
    assert answer.json["wanted"] == ["x", "y"]
    assert answer.json["colour"] == "blue"
    assert answer.json["at"] == "2013-07-01T00:00:00Z"
    assert answer.json["box"]["name"] == "q"
    assert (answer.json["space"], answer.json["principal"], answer.json["limit"]) == ("other", "ada", 7)


def test_a_body_is_decoded_strictly(app: Application) -> None:
    assert ask(app, "POST", f"{API}/boxes/a", value={"size": 3}).status == 201
    failure = _refused(ask(app, "POST", f"{API}/boxes/a", value={"size": "3"}), 400, "invalid")
    assert failure["where"] == "body $.size"


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("/boxes?limit=many", "query $.limit"),
        ("/boxes?colour=red", "query"),
        ("/boxes?limit=1&limit=2", "query"),
        ("/boxes/a?limit=0", "query $.limit"),
        ("/boxes/a?limit=99999999999999999999999", "query $.limit"),
        ("/boxes/a?colour=green", "query $.colour"),
        ("/boxes/a?at=2013-07-01T10:00", "query $.at"),
        ("/boxes/a?at=20130701000000", "query $.at"),
        ("/boxes/a?box=%7B%22", "query box"),
        ("/boxes/a?colour=%ff", "query"),
        ("/boxes/a?colour=%00", "query"),
        ("/boxes?limit=" + "9" * 30, "limit"),
        ("/boxes/" + "a" * 600, "path $.name"),
    ],
)
def test_wrong_queries_are_refused_with_their_place(app: Application, target: str, where: str) -> None:
    failure = _refused(ask(app, "GET", API + target), 400, "invalid")
    assert failure["where"] == where
    assert failure["hint"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"size": 1} {}',
        b'{"size": NaN}',
        b'{"size": 1e999}',
        b'{"size": 3, "other": 1}',
        b'{"size": 3, "reason": "\\u0000"}',
        b'{"size": 3, "reason": "\\ud800"}',
        b'{"size": 100000000000000000000}',
        b'{"size": 3, "reason": "\xff"}',
        b'{"size":' + b"[" * 4000,
        b'{"size": 1, "box": {"name": "a", "size": 1, "tags":' + b'{"a":' * 900,
    ],
)
def test_malformed_bodies_are_refused(app: Application, body: bytes) -> None:
    answer = ask(app, "POST", f"{API}/boxes/a", body=body, headers={"content-type": "application/json"})
    assert _refused(answer, 400, "invalid")["hint"]


def test_deep_json_is_refused_wherever_it_is_decoded() -> None:
    app = build_app(DeclaredHost(), limits=Limits(body_bytes=10_000_000))
    deep = b'{"size": 1, "box": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    _refused(ask(app, "POST", f"{API}/boxes/a", body=deep), 400, "invalid")
    query = "%5B" * 1200
    _refused(ask(app, "GET", f"{API}/boxes/a?box={query}"), 400, "invalid")


def test_another_media_type_is_refused(app: Application) -> None:
    answer = ask(app, "POST", f"{API}/boxes/a", body=b"size=3", headers={"content-type": "text/plain"})
    _refused(answer, 415, "invalid")


def test_a_large_body_is_refused_by_its_declared_length_before_it_is_read(app: Application) -> None:
    answer = ask(app, "POST", f"{API}/boxes/a", body=[b""], headers={"content-length": "100000000"})
    _refused(answer, 413, "too_large")


def test_a_large_body_without_a_length_is_refused_while_it_comes(app: Application) -> None:
    _refused(ask(app, "POST", f"{API}/boxes/a", body=[b"x" * 4000] * 30), 413, "too_large")


def test_a_bad_length_is_refused(app: Application) -> None:
    _refused(ask(app, "POST", f"{API}/boxes/a", headers={"content-length": "-1"}), 400, "invalid")


def test_pages_follow_each_other_to_the_end(app: Application) -> None:
    names, token = [], ""
    while True:
        page = ask(app, "GET", f"{API}/boxes?limit=3&token={token}").json
        assert set(page) == {"items", "next_token"}
        names += [item["name"] for item in page["items"]]
        token = page["next_token"]
        if not token:
            break
    assert names == [f"box {i}" for i in range(7)]


def test_a_stream_is_lines_or_events(app: Application) -> None:
    lines = ask(app, "GET", f"{API}/stream?count=350")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["size"] for line in lines.body.splitlines()] == list(range(350))
    events = ask(app, "GET", f"{API}/stream?count=3", headers={"accept": "text/event-stream"})
    assert events.headers["content-type"].startswith("text/event-stream")
    texts = events.body.decode().strip().split("\n\n")
    assert [json.loads(text.removeprefix("data: "))["size"] for text in texts] == [0, 1, 2]


def test_a_stream_that_fails_at_once_has_a_status_and_one_that_fails_later_an_ending(
    app: Application,
) -> None:
    _refused(ask(app, "GET", f"{API}/stream?fail_at=0"), 503, "unavailable")
    last = ask(app, "GET", f"{API}/stream?fail_at=3").body.splitlines()[-1]
    assert json.loads(last)["$error"]["hint"] == "fetch a ladder"
    fault = ask(app, "GET", f"{API}/stream?fail_at=3&with_fault=true").body
    assert json.loads(fault.splitlines()[-1])["$error"]["code"] == "fault"
    assert b"secret" not in fault


CONTENT = bytes(i % 251 for i in range(1000))


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        (None, 200, 0, 1000),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=990-5000", 206, 990, 1000),
        ("bytes=995-", 206, 995, 1000),
        ("bytes=-7", 206, 993, 1000),
        ("bytes=-5000", 206, 0, 1000),
        ("bytes=0-1,5-6", 200, 0, 1000),
        ("lines=0-1", 200, 0, 1000),
        ("bytes=-", 200, 0, 1000),
    ],
)
def test_a_blob_is_sent_whole_or_in_part(
    app: Application, asked: str | None, status: int, start: int, stop: int
) -> None:
    answer = ask(app, "GET", f"{API}/boxes/a%2Fb/content", headers={"range": asked} if asked else {})
    assert (answer.status, answer.body) == (status, CONTENT[start:stop])
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["content-type"] == "application/x-box"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a%2Fb.box"
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/1000"


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5-2", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_outside_is_refused(app: Application, asked: str) -> None:
    _refused(ask(app, "GET", f"{API}/boxes/a/content", headers={"range": asked}), 416, "invalid")


def test_an_upload_arrives_piece_by_piece(app: Application) -> None:
    answer = ask(
        app,
        "POST",
        f"{API}/boxes/a/content?note=hi",
        body=[b"abc"] * 1000,
        headers={"content-type": "text/csv; charset=utf-8"},
    )
    assert answer.json == {"name": "a", "size": 3000, "sum": 294 * 1000, "type": "text/csv", "note": "hi"}


def test_an_upload_over_its_limit_is_refused(app: Application) -> None:
    _refused(ask(app, "POST", f"{API}/boxes/a/content", body=[b"x" * 30_000] * 5), 413, "too_large")
    large = {"content-length": "100001"}
    _refused(ask(app, "POST", f"{API}/boxes/a/content", headers=large), 413, "too_large")


def test_a_job_is_accepted_and_says_where_to_look(app: Application) -> None:
    answer = ask(app, "POST", f"{API}/boxes/a/ship")
    assert answer.status == 202
    assert answer.headers["location"] == "/api/v1/jobs/j1"
    assert answer.json["state"] == "queued"
    assert ask(app, "GET", answer.headers["location"]).status == 200


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [("blocked", 409, "blocked"), ("conflict", 409, "conflict"), ("fault", 500, "fault")],
)
def test_errors_have_their_status_and_their_code(app: Application, how: str, status: int, code: str) -> None:
    failure = _refused(ask(app, "POST", f"{API}/fail/{how}"), status, code)
    assert failure["decision_id"] == ("d1" if how == "blocked" else "")


def test_a_mistake_of_ours_tells_a_number_and_nothing_else(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    failure = _refused(ask(app, "POST", f"{API}/fail/crash"), 500, "fault")
    assert "secret" not in json.dumps(failure)
    number = failure["message"].partition("(fault ")[2].rstrip(")")
    assert [vars(record)["fault"] for record in caplog.records] == [number]


def test_what_takes_too_long_lets_the_caller_go(app: Application) -> None:
    failure = _refused(ask(app, "POST", f"{API}/wait", value={"seconds": 0.5}), 503, "unavailable")
    assert "0.2 s" in failure["message"]


def test_unknown_paths_and_methods_are_json(app: Application) -> None:
    for target in ("/nope", f"{API}/nope", "/api/v9/boxes"):
        _refused(ask(app, "GET", target), 404, "not_found")
    answer = ask(app, "PATCH", f"{API}/boxes/a")
    _refused(answer, 405, "invalid")
    assert answer.headers["allow"] == "GET, POST"


def test_a_bad_space_is_refused(app: Application) -> None:
    _refused(ask(app, "GET", f"{API}/boxes", headers={"loopwright-space": "a/../b"}), 400, "invalid")


def test_a_local_operation_has_no_route(app: Application) -> None:
    _refused(ask(app, "POST", f"{API}/measure"), 404, "not_found")


def test_probes_and_metrics_answer(app: Application) -> None:
    assert ask(app, "GET", "/healthz", host="anything").json == {"status": "ok"}
    assert ask(app, "GET", "/readyz", host=None).json["status"] == "ready"
    ask(app, "GET", f"{API}/boxes/a")
    text = ask(app, "GET", "/metrics").body.decode()
    assert 'loopwright_requests_total{operation="boxes.show",status="' in text
    assert "process_resident_memory_bytes" in text


def test_metrics_take_no_label_from_a_caller() -> None:
    app = build_app(DeclaredHost())
    before = ask(app, "GET", "/metrics").body.count(b"\n")
    for i in range(30):
        ask(app, "GET", f"{API}/nope{i}")
    text = ask(app, "GET", "/metrics").body
    assert b"nope" not in text
    assert text.count(b"\n") < before + 60


def test_every_reply_has_the_safety_headers(app: Application) -> None:
    for target in (f"{API}/boxes", "/nope", "/healthz"):
        headers = ask(app, "GET", target).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "frame-ancestors 'none'"
        assert headers["referrer-policy"] == "same-origin"


async def _mounted(scope: Scope, receive: Receive, send: Send) -> None:
    body = json.dumps([scope["path"], scope["loopwright.principal"].name]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"own")]})
    await send({"type": "http.response.body", "body": body})


def test_a_mount_gets_its_prefix_and_nothing_else() -> None:
    app = build_app(DeclaredHost(), mounts=[("/v2", _mounted)])
    answer = ask(app, "GET", "/v2/models/a")
    assert answer.json == ["/v2/models/a", "ada"]
    assert answer.headers["x-frame-options"] == "own"
    assert ask(app, "GET", "/v2").status == 200
    _refused(ask(app, "GET", "/v20"), 404, "not_found")
    _refused(ask(app, "GET", "/v2/../api"), 400, "invalid")


def test_the_root_may_be_mounted_without_hiding_the_api() -> None:
    app = build_app(DeclaredHost(), mounts=[("/", _mounted)])
    assert ask(app, "GET", "/").json[0] == "/"
    assert ask(app, "GET", "/assets/x").json[0] == "/assets/x"
    _refused(ask(app, "GET", "/api/nope"), 404, "not_found")
    assert ask(app, "GET", f"{API}/boxes").status == 200


@pytest.fixture(scope="module")
def locked() -> Application:
    return build_app(DeclaredHost(Settings(workspace="/nowhere", token="s3 cret")), mounts=[("/", _mounted)])


def test_a_token_is_asked_for_everywhere_but_at_the_probes(locked: Application) -> None:
    for target in (f"{API}/boxes", "/", "/metrics"):
        answer = ask(locked, "GET", target)
        _refused(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(locked, "GET", "/healthz").status == 200
    right = {"authorization": "Bearer s3 cret"}
    assert ask(locked, "GET", f"{API}/boxes", headers=right).status == 200


def test_a_browser_signs_in_by_address_and_keeps_a_cookie(locked: Application) -> None:
    answer = ask(locked, "GET", "/runs/x?token=s3%20cret")
    assert (answer.status, answer.headers["location"]) == (303, "/runs/x")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert ask(locked, "GET", "/runs/x", headers={"cookie": cookie.partition(";")[0]}).status == 200
    _refused(ask(locked, "GET", "/runs/x?token=wrong"), 401, "unauthenticated")


def test_signing_in_never_leads_to_another_host(locked: Application) -> None:
    for target in ("//evil.example/?token=s3+cret", "/%5Cevil.example?token=s3+cret"):
        location = ask(locked, "GET", target).headers.get("location", "/")
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))


def test_a_foreign_host_or_origin_is_refused(app: Application) -> None:
    _refused(ask(app, "GET", f"{API}/boxes", host="evil.example"), 403, "denied")
    origin = {"origin": "http://evil.example"}
    _refused(ask(app, "POST", f"{API}/boxes/a", value={"size": 1}, headers=origin), 403, "denied")


def test_overlong_headers_are_refused(app: Application) -> None:
    _refused(ask(app, "GET", f"{API}/boxes", headers={"x": "y" * 70_000}), 413, "too_large")
