"""A store that means harm: nothing outside it is read, nothing outside ours is written, the rest comes in."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loopwright.adapters.histories import Credentials, RestHistory, Root, Roots, calls
from loopwright.app.main import main
from loopwright.core.errors import Denied, Invalid, LoopwrightError, Unavailable
from loopwright.core.nouns import Run
from loopwright.loops.bringing import Asked, Report, bring
from loopwright.workspace import Workspace
from loopwright.workspace.histories import open_history
from tests.loops.past import MADE, at_database, brought, compared, store, workspace

SECRET = b"root:x:0:0"


def _run(target: Workspace, run_id: str) -> Run:
    with target.context().read() as tx:
        return tx.runs.get(run_id)


def _contents(target: Workspace) -> set[bytes]:
    return {target.ports.objects.get(each.digest) for each in target.ports.objects.list()}


# -- a database ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "{secret}",
        "file://{secret}",
        "file://localhost{secret}",
        "file:{secret}",
        "{mlruns}/../../secret",
        "file://{mlruns}/%2e%2e/%2e%2e/secret",
        "/srv/past/three/mlruns/../../../..{secret}",
        "{mlruns}x/../../secret",
        "s3://bucket/secret",
        "http://169.254.169.254/latest",
        "ftp://127.0.0.1/x",
        "file://elsewhere/secret",
        "mlflow-artifacts:/../../secret",
        "\\\\host\\share",
    ],
)
def test_files_outside_the_roots_are_not_read(address: str, tmp_path: Path) -> None:
    at = store("three", tmp_path)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwd").write_bytes(SECRET)
    uri = address.format(secret=secret, mlruns=at / "mlruns")
    with at_database(at) as rows:
        rows.execute("update runs set artifact_uri = ?", (uri,))
    with workspace(tmp_path) as target:
        report = brought(at, target)
        assert report.counts["runs"]["new"] == 13
        assert SECRET not in _contents(target)
        assert report.notes["files outside what may be read"] == 13


def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    secret = tmp_path / "passwd"
    secret.write_bytes(SECRET)
    home = next((at / "mlruns").glob("*/*/artifacts/empty.txt")).parent
    (home / "link").symlink_to(secret)
    (home / "folder").symlink_to(tmp_path)
    (home / "inside").symlink_to(home / "notes")
    with workspace(tmp_path) as target:
        report = brought(at, target)
        assert report.ok
        assert SECRET not in _contents(target)
        assert report.notes["files outside what may be read"] == 2


def test_what_was_left_out_is_told_apart_when_both_sides_are_compared(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    home = next((at / "mlruns").glob("*/*/artifacts/empty.txt")).parent
    with workspace(tmp_path) as target:
        assert brought(at, target).ok
        assert compared(at, target).ok
        (home / "bad\nname.txt").write_text("what a path may not be")
        (tmp_path / "passwd").write_bytes(SECRET)
        (home / "link").symlink_to(tmp_path / "passwd")
        assert brought(at, target).ok
        found = compared(at, target)
    assert not found.ok
    assert found.differences == ()
    assert found.left_out_counts == {"files whose path may not be": 1, "files outside what may be read": 1}
    owner = home.parent.name
    assert sorted((each.kind, each.id, each.path, each.why) for each in found.left_out) == [
        ("runs", owner, "bad\nname.txt", "files whose path may not be"),
        ("runs", owner, "link", "files outside what may be read"),
    ]
    assert found.there["files"] == found.here["files"]


def test_the_command_says_what_was_left_out_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = store("three", tmp_path)
    home = next((at / "mlruns").glob("*/*/artifacts/empty.txt")).parent
    (home / "bad\nname.txt").write_text("what a path may not be")
    with workspace(tmp_path) as target:
        assert brought(at, target).ok
    asked = ["import", "mlflow", f"sqlite:///{at}/mlflow.db", "--verify", "--workspace"]
    roots = [f"--artifact-root={MADE}/three/mlruns={at}/mlruns"]
    with pytest.raises(SystemExit) as ended:
        main([*asked, str(tmp_path / ".loopwright"), *roots])
    assert ended.value.code == 1
    told = "".join(capsys.readouterr())
    assert "left out: files whose path may not be: 1" in told
    assert "the sides are the same but for 1 left out" in told
    assert "both sides are the same" not in told


def test_odd_rows_are_left_out_or_cut_and_the_rest_comes(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with at_database(at) as rows:
        (odd,) = rows.execute("select run_uuid from runs where name = 'odd'").fetchone()
        rows.execute("insert into params values ('huge', ?, ?)", ("x" * 1_000_000, odd))
        rows.execute("insert into params values ('../up', 'x', ?)", (odd,))
        rows.execute("insert into params values (?, 'x', ?)", ("k" * 5_000, odd))
        rows.execute("insert into tags values ('raw', cast(x'ff00fe61' as text), ?)", (odd,))
        rows.execute("insert into metrics values ('late', 1, ?, ?, 1, 0)", (1 << 62, odd))
        rows.execute("insert into latest_metrics values ('late', 1, ?, 1, 0, ?)", (1 << 62, odd))
        rows.execute("update runs set end_time = -7 where run_uuid = ?", (odd,))
    with workspace(tmp_path) as target:
        report = brought(at, target)
        kept = _run(target, odd)
    assert report.ok
    assert len(kept.params["huge"]) == 6_000
    assert not {"../up", "k" * 5_000} & set(kept.params)
    assert kept.tags["raw"] == "\ufffd\ufffd\ufffda"
    assert kept.ended_at is None
    assert report.notes["points out of range"] == 1
    assert report.notes["params whose name is none"] == 2


def test_numbers_that_are_none_fail_their_run_alone(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with at_database(at) as rows:
        (odd,) = rows.execute("select run_uuid from runs where name = 'odd'").fetchone()
        rows.execute("insert into metrics values ('bad', 1, 'when', ?, 1, 0)", (odd,))
    with workspace(tmp_path) as target:
        report = brought(at, target)
        assert report.counts["runs"] == {"found": 13, "new": 12, "failed": 1}
        assert not report.ok
        assert report.problems[0].id == odd


def test_parents_in_a_ring_are_let_go(tmp_path: Path) -> None:
    at = store("three", tmp_path)
    with at_database(at) as rows:
        ids = [row[0] for row in rows.execute("select run_uuid from runs order by run_uuid limit 3")]
        rows.execute("delete from tags where key = 'mlflow.parentRunId'")
        for child, parent in zip(ids, [*ids[1:], ids[0]], strict=True):
            rows.execute("insert into tags values ('mlflow.parentRunId', ?, ?)", (parent, child))
    with workspace(tmp_path) as target:
        report = brought(at, target)
        above, seen = ids[0], list[str]()
        while above:
            assert above not in seen
            seen.append(above)
            above = _run(target, above).parent_id or ""
    assert sum(count for note, count in report.notes.items() if "below their children" in note) == 1


@pytest.mark.parametrize("run_id", ["../../x", "a/b", "", "x" * 65, "run:1", "a\x00b", "é"])
def test_ids_that_are_none_are_refused(run_id: str, tmp_path: Path) -> None:
    at = store("two", tmp_path)
    with at_database(at) as rows:
        rows.execute("pragma foreign_keys = off")
        rows.execute("update runs set run_uuid = ? where name = 'odd'", (run_id,))
    with workspace(tmp_path) as target:
        report = brought(at, target)
    failed = report.counts["runs"].get("failed", 0)
    assert (failed, report.counts["runs"]["found"]) in {(1, 13), (0, 12)}


def test_what_is_no_history_says_so(tmp_path: Path) -> None:
    (tmp_path / "note.db").write_bytes(b"SQLite format 3\0 but not")
    (tmp_path / "empty").mkdir()
    for address in (
        f"sqlite:///{tmp_path}/note.db",
        f"sqlite:///{tmp_path}/none.db",
        str(tmp_path / "empty"),
        "mysql://host/db",
        "sqlite:///",
        "gopher://x",
        "http://",
    ):
        with pytest.raises(LoopwrightError) as caught:
            open_history(address)
        assert caught.value.hint
        assert caught.value.exit_code in {2, 6}


# -- a folder of files ---------------------------------------------------------------------


def test_a_file_store_is_not_left(tmp_path: Path) -> None:
    at = store("files", tmp_path)
    secret = tmp_path / "passwd"
    secret.write_bytes(SECRET)
    params = next((at / "mlruns").glob("*/*/params/empty")).parent
    (params / "stolen").symlink_to(secret)
    with workspace(tmp_path) as target, pytest.raises(Denied):
        brought(at, target)


def test_yaml_that_is_code_is_not_run(tmp_path: Path) -> None:
    at = store("files", tmp_path)
    meta = next(iter((at / "mlruns").glob("[0-9]*/meta.yaml")))
    meta.write_text(f"!!python/object/apply:os.mkdir ['{tmp_path}/made']")
    with workspace(tmp_path) as target, pytest.raises(LoopwrightError):
        brought(at, target)
    assert not (tmp_path / "made").exists()


# -- a server ------------------------------------------------------------------------------

Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that the library calls

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _told(body: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(body).encode()


def _asked(url: str, target: Workspace) -> Report:
    with closing(RestHistory(url, Credentials(), Roots([]))) as history:
        return bring(history, target, Asked())


def _server(files: list[dict[str, Any]], uri: str = "mlflow-artifacts:/1/r1/artifacts") -> Answer:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if "experiments/search" in path:
            return _told({"experiments": [{"experiment_id": "1", "name": "e"}]})
        if "runs/search" in path:
            info = {"run_id": "r1", "experiment_id": "1", "artifact_uri": uri, "start_time": "5"}
            return _told({"runs": [{"info": info}]})
        if "artifacts?path" in path:
            return _told({"files": files})
        if "/artifacts/" in path:
            return 200, {}, b"bytes"
        return _told({})

    return answer


@pytest.mark.parametrize(
    "name", ["../../../evil", "/etc/evil", "a\\..\\evil", "..", "", "x\x00y", "C:evil", "a\u202egpj.exe"]
)
def test_names_of_files_lead_nowhere(name: str, tmp_path: Path) -> None:
    with serving(_server([{"path": name, "file_size": 5}])) as url, workspace(tmp_path) as target:
        report = _asked(url, target)
        assert report.counts["runs"] == {"found": 1, "new": 1}
        with target.context().read() as tx:
            paths = [file.path for file in tx.artifacts.under("default", "run:r1", "")]
        assert all(".." not in path and "/" not in path and "\\" not in path for path in paths)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".loopwright"]


@pytest.mark.parametrize(
    "uri",
    [
        "mlflow-artifacts://169.254.169.254/1/r1/artifacts",
        "mlflow-artifacts:/1/../../r1",
        "http://127.0.0.1:1/x",
        "file:///etc",
        "s3://bucket/x",
    ],
)
def test_no_other_server_and_no_file_of_ours_is_asked(uri: str, tmp_path: Path) -> None:
    with serving(_server([{"path": "x", "file_size": 5}], uri)) as url, workspace(tmp_path) as target:
        report = _asked(url, target)
    assert report.notes["files outside what may be read"] == 1
    assert report.files == 0


def test_redirections_are_not_followed(tmp_path: Path) -> None:
    asked: list[str] = []

    def elsewhere(path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return _told({})

    with serving(elsewhere) as other, serving(lambda _: (302, {"location": other}, b"")) as url:
        with workspace(tmp_path) as target, pytest.raises(Invalid, match="elsewhere"):
            _asked(url, target)
        assert asked == []


@pytest.mark.parametrize(("version", "read"), [("3.17.2", ["m-1"]), ("2.22.5", []), ("", ["m-1"])])
def test_models_that_a_run_read_are_asked_for_run_by_run(
    version: str, read: list[str], tmp_path: Path
) -> None:
    """MLflow's search of runs leaves them out."""
    searched = _server([])

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/version"):
            return 200, {}, version.encode()
        if "runs/get?run_id=r1" in path:
            info = {"run_id": "r1", "experiment_id": "1"}
            return _told({"run": {"info": info, "inputs": {"model_inputs": [{"model_id": "m-1"}]}}})
        return searched(path)

    with serving(answer) as url, workspace(tmp_path) as target:
        assert _asked(url, target).counts["runs"]["new"] == 1
        facts = target.call("runs.show", run_id="r1").run.facts
        assert [each["model_id"] for each in facts.get("model_inputs", ())] == read


def test_folders_without_end_end(tmp_path: Path) -> None:
    with serving(_server([{"path": "deeper", "is_dir": True}])) as url, workspace(tmp_path) as target:
        assert _asked(url, target).counts["runs"]["new"] == 1


@pytest.mark.parametrize("body", [b"<html>", b"[" * 200_000, b'{"experiments": 7}', b"\xff\xfe", b"null"])
def test_answers_that_are_none_are_refused(body: bytes, tmp_path: Path) -> None:
    with (
        serving(lambda _: (200, {}, body)) as url,
        workspace(tmp_path) as target,
        pytest.raises(Invalid, match="tracking server"),
    ):
        _asked(url, target)


def test_an_answer_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_LARGEST", 1_000)
    with (
        serving(lambda _: (200, {}, b" " * 2_000)) as url,
        workspace(tmp_path) as target,
        pytest.raises(Invalid, match="limit"),
    ):
        _asked(url, target)


def test_pages_without_end_end(tmp_path: Path) -> None:
    body = {"experiments": [{"experiment_id": "1", "name": "e"}], "next_page_token": "again"}
    with serving(lambda _: _told(body)) as url, workspace(tmp_path) as target:
        assert _asked(url, target).counts["experiments"]["found"] == 2


def test_secrets_are_in_no_address_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_PAUSE_S", 0.0)
    with serving(lambda _: (500, {}, b"")) as url:
        named = url.replace("http://", "http://ada:s3cret@")
        with pytest.raises(Unavailable) as caught:
            open_history(named)
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Credentials(token="s3cret"))


def test_credentials_come_from_mlflows_own_environment(tmp_path: Path) -> None:
    seen: list[str] = []

    class Noted(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization") or "")
            self.send_response(200)
            self.send_header("content-length", "1")
            self.end_headers()
            self.wfile.write(b"3")

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Noted) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        named = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "pw"}
        for environment in ({"MLFLOW_TRACKING_TOKEN": "tok"}, named, {}):
            open_history(url, environment=environment).close()
        server.shutdown()
        thread.join()
    assert seen == ["Bearer tok", "Basic YWRhOnB3", ""]


def test_a_declared_root_is_read_under_its_own_address_alone(tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "x.txt").write_text("x")
    roots = Roots([Root(prefix="s3://bucket/runs", folder=folder)])
    assert [file.path for file in roots.files("s3://bucket/runs/a")] == ["x.txt"]
    for address in ("s3://bucket/runs2/a", "s3://bucket", "s3://bucket/runs/../x", str(folder)):
        with pytest.raises(Denied):
            list(roots.files(address))
