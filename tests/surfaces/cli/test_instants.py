"""Instants in commands and requests: a plain date is its midnight in UTC, a bare number is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.main import command_tree
from loopwright.surfaces.cli import carry_out
from loopwright.surfaces.http import build_app
from loopwright.workspace import Workspace
from tests.surfaces.asking import ask

FINE = ("2013-06-01", "20130601", "2013-06-01T00:00:00Z", "2013-06-01T02:00:00+02:00")
WRONG = ("2013-06-01T00:00", "2013-13-01", "now", "1370044800", "0001-01-01T00:00:00+14:00", "")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace of the current folder."""
    monkeypatch.chdir(tmp_path)
    with Workspace.open(tmp_path / ".loopwright") as found:
        return found


@pytest.mark.parametrize("text", FINE)
@pytest.mark.usefixtures("workspace")
def test_a_date_is_taken(text: str) -> None:
    assert carry_out(command_tree(), ["signals", "list", "dataset:x", "--start", text]) == 0


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.usefixtures("workspace")
def test_what_is_no_instant_is_told_how_to_write(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(command_tree(), ["signals", "list", "dataset:x", "--start", text]) == 2
    told = capsys.readouterr().err
    assert "(start)" in told
    assert "hint: " in told


def test_requests_take_the_same(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        app = build_app(workspace)
        for texts, query, body in ((FINE, 200, 404), (WRONG, 400, 400)):
            for text in texts:
                escaped = text.replace("+", "%2B")
                assert ask(app, "GET", f"/api/v1/signals/dataset:x?start={escaped}").status == query, text
                path = "/api/v1/features/views/none/materialize"
                assert ask(app, "POST", path, value={"until": text}).status == body, text
