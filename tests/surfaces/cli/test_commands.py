from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loopwright.client.describing import index_of
from loopwright.client.index import Entry
from loopwright.core.nouns import JobState
from loopwright.engine.operation import Upload, invoke
from loopwright.surfaces.cli import LazyVerb, Output, build_tree, calling, carry_out, running
from loopwright.workspace.settings import Settings
from tests.surfaces.declared import DeclaredHost

HOST = DeclaredHost()
VERBS = {
    "greet": LazyVerb(target="tests.surfaces.cli.greeting:command", summary="Say hello."),
    "box repair": LazyVerb(target="tests.surfaces.cli.greeting:command", summary="Mend a box."),
}


class _Here:
    """Calls the declared operations in this process."""

    def call(self, name: str, /, **arguments: Any) -> Any:
        upload: Upload | None = arguments.pop("upload", None)
        return invoke(HOST.operations[name], HOST.context(), arguments, upload=upload)

    def advance(self) -> None:
        pass


@contextmanager
def _open_here(entry: Entry, settings: Settings) -> Iterator[calling.Caller]:
    yield _Here()


Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line against the declared operations, in an empty folder."""
    monkeypatch.setattr(running, "open_caller", _open_here)
    monkeypatch.chdir(tmp_path)
    tree = build_tree(index_of(HOST.operations.values()), VERBS, {"boxes": "All about boxes."})

    def run_it(*args: str) -> int:
        return carry_out(tree, args)

    return run_it


def test_path_parts_are_arguments_and_the_rest_options(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(
        "boxes", "show", "a/b", "--wanted", "x", "--wanted", "y", "--colour", "blue", "--limit", "5", "--json"
    )
    assert code == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["wanted"] == ["x", "y"]
    assert json.loads(out)["name"] == "a/b"
    assert "a/b" in err


def test_json_goes_to_a_file_and_people_keep_their_text(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("boxes", "make", "a", "--size", "3", "--json", "made.json") == 0
    assert json.loads((tmp_path / "made.json").read_text())["size"] == 3
    assert "a" in capsys.readouterr().out


def test_json_never_takes_a_word_the_command_needs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "show", "--json", "a") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "a"


def test_a_nested_value_is_json_a_file_or_standard_input(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"name": "q", "size": 1}'
    (tmp_path / "box.json").write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    for value in (text, "@box.json", "-"):
        assert run("boxes", "make", "a", "--size", "1", "--box", value, "--json") == 0
        assert json.loads(capsys.readouterr().out)["size"] == 1


def test_a_page_says_that_there_is_more(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "list") == 0
    out, err = capsys.readouterr()
    assert "box 2" in out
    assert "--token 3" in err
    assert run("boxes", "list", "--token", "6", "--json") == 0
    assert json.loads(capsys.readouterr().out)["next_token"] == ""


def test_a_stream_is_lines_or_one_document(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "stream", "--count", "3") == 0
    assert [json.loads(line)["size"] for line in capsys.readouterr().out.splitlines()] == [0, 1, 2]
    assert run("boxes", "stream", "--count", "3", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == 3


def test_a_blob_is_saved_whole_and_never_over_a_file(
    run: Run, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("boxes", "download", "b/a", "--size", "70000") == 0
    assert len((tmp_path / "a.box").read_bytes()) == 70_000
    assert run("boxes", "download", "b/a") == 2
    assert run("boxes", "download", "a", "--size", "5", "--out", "a.box") == 0
    assert (tmp_path / "a.box").read_bytes() == bytes(range(5))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.box"]


def test_an_upload_is_a_file(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"abc" * 1000)
    assert run("boxes", "upload", "a", "rows.parquet", "--note", "n", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["size"] == 3000
    assert found["type"] == "application/vnd.apache.parquet"
    assert run("boxes", "upload", "a", "nothing.csv") == 2


def test_a_job_is_waited_for_or_not(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "ship", "a", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == JobState.DONE.value
    assert run("boxes", "ship", "a", "--detach", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == JobState.QUEUED.value


def test_a_local_operation_takes_a_file(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_bytes(b"12345")
    assert run("measure", "mine", "--key", "a", "--key", "b", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"bytes": 5, "key": ["a", "b"]}


@pytest.mark.parametrize(
    ("how", "code"), [("blocked", 4), ("conflict", 2), ("fault", 70), ("crash", 70), ("fine", 0)]
)
def test_errors_have_their_exit_code_a_hint_and_no_traceback(
    run: Run, capsys: pytest.CaptureFixture[str], how: str, code: int
) -> None:
    assert run("boxes", "fail", how) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "secret" not in out + err
    assert ("error: " in err) == (code != 0)


def test_an_error_is_a_document_too(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "fail", "blocked", "--json") == 4
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["decision_id"] == "d1"
    assert "the gate said no (gate)" in err
    assert "hint: look at decision:d1" in err


@pytest.mark.parametrize(
    "args",
    [
        ("nothing",),
        ("boxes", "nothing"),
        ("boxes", "show"),
        ("boxes", "show", "a", "--unknown"),
        ("boxes", "show", "a", "--limit", "many"),
        ("boxes", "show", "a", "--limit", "0"),
        ("boxes", "show", "a", "--colour", "green"),
        ("boxes", "show", "a", "b"),
        ("boxes", "make", "a"),
        ("boxes", "make", "a", "--size", "1", "--box", "{"),
        ("boxes", "make", "a", "--size", "1", "--box", "@nothing.json"),
        ("boxes", "make", "a", "--size", "1", "--box", "[" * 100_000),
        ("boxes",),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(
    run: Run, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    assert run(*args) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "hint: " in err or "Usage: " in err
    assert "Traceback" not in err


def test_a_near_word_is_offered(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("boxes", "shwo")
    assert "did you mean show?" in capsys.readouterr().err


def test_a_json_file_that_cannot_be_written_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "list", "--json", "nowhere/at/all.json") == 6
    assert "nowhere" in capsys.readouterr().err


def test_an_interrupt_is_quiet(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(_Here, "call", interrupted)
    assert run("boxes", "list") == 130
    assert capsys.readouterr().err.strip() == "stopped"


def test_what_a_terminal_would_obey_is_shown_instead(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "make", "a", "--size", "1", "--reason", "\x1b[31m") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_help_lists_commands_and_loads_no_verb(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    sys.modules.pop("tests.surfaces.cli.greeting", None)
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "All about boxes." in text
    assert "Say hello." in text
    assert "measure" in text
    assert "tests.surfaces.cli.greeting" not in sys.modules


def test_help_of_a_command_names_its_parameters(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("boxes", "show", "--help") == 0
    text = capsys.readouterr().out
    for word in (
        "NAME",
        "--wanted",
        "red|blue",
        "how many at most",
        "[default: 10]",
        "--json",
        "second paragraph",
    ):
        assert word in text


def test_verbs_are_loaded_when_called_wherever_they_stand(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("greet", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"hello": "world"}
    assert run("box", "repair") == 0


def test_a_table_leaves_out_what_says_nothing_and_keeps_what_is_nested() -> None:
    output = Output()
    text = io.StringIO()
    row = {
        "id": "1",
        "name": "a",
        "space": "default",
        "empty": "",
        "at": "2013-07-01T00:00:00.5Z",
        "facts": {"rows": 3},
    }
    with contextlib.redirect_stdout(text):
        output.show({"items": [row]})
        output.show({"one": row, "nothing": {}, "rows": [row]})
    table, _, grid = text.getvalue().partition("one")
    for word in ("name", "a", "2013-07-01 00:00:00", '{"rows":3}'):
        assert word in table
    for word in ("space", "default", "empty", "id"):
        assert word not in table
    assert "nothing" not in grid
    assert "default" in grid
