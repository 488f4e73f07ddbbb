"""Every command, called as no one should: an exit code, what and what next, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.main import command_tree
from loopwright.client.index import Entry, load_index
from loopwright.surfaces.cli import carry_out
from loopwright.workspace import Workspace

ENTRIES = list(load_index().entries.values())
FINE = {"nothing", "model:x@99999999999999999999#"}
"""names an asset may have: a list about what is not there may be empty"""
NASTY = ["../../etc/passwd", "model:x@99999999999999999999#", "a\nb", "nothing", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("commands")
    Workspace.open(found / ".loopwright").close()
    return found


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("URL", "TOKEN", "WORKSPACE"):
        monkeypatch.delenv(f"LOOPWRIGHT_{name}", raising=False)


def _told(code: int, codes: set[int], capsys: pytest.CaptureFixture[str]) -> None:
    out, err = capsys.readouterr()
    assert code in codes, out + err
    assert "Traceback" not in out + err
    assert "a mistake of ours" not in err
    assert "error: " in err
    assert "hint: " in err


def _required(entry: Entry) -> list[str]:
    """Options that must be there, with a value of their kind."""
    values = {"integer": "1", "number": "1", "json": "{}", "choice": "", "flag": ""}
    return [
        word
        for p in entry.parameters
        if p.required and p.place not in {"path", "upload"} and not (p.place == "local" and p.name == "file")
        for word in (f"--{p.name.replace('_', '-')}", values.get(p.kind) or (p.choices or ("x",))[0])
        if word and p.kind != "flag"
    ]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.name))
def test_an_unknown_flag_is_wrong_use(entry: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    _told(carry_out(command_tree(), [*entry.command.split(), "--no-such-flag"]), {2}, capsys)


@pytest.mark.parametrize(
    "entry",
    [e for e in ENTRIES if e.path.count("{") and e.upload_name is None],
    ids=lambda entry: str(entry.name),
)
def test_a_nasty_name_is_refused(entry: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    for value in NASTY:
        args = [*entry.command.split(), *[value] * entry.path.count("{"), *_required(entry)]
        code = carry_out(command_tree(), args)
        if code == 0 and value in FINE:
            assert "nothing to show" in capsys.readouterr().err
        else:
            _told(code, {2, 3, 6}, capsys)


@pytest.mark.parametrize(
    "entry",
    [e for e in ENTRIES if e.local and any(p.name == "file" for p in e.parameters)],
    ids=lambda entry: str(entry.name),
)
def test_a_file_that_is_not_right_is_refused(
    entry: Entry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\0\xff" * 100)
    for file in ("nothing.parquet", str(wrong), str(tmp_path)):
        if entry.name == "platform.backup" and file != str(tmp_path):
            continue
        code = carry_out(command_tree(), [*entry.command.split(), file, *_required(entry)])
        _told(code, {2, 3, 6, 70}, capsys)
