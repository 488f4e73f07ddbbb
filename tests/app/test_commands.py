from __future__ import annotations

import json
import logging
import signal
import time
from pathlib import Path

import click
import pytest

import loopwright as lw
from loopwright.app.doctor import examine
from loopwright.app.logs import KeyValueFormatter
from loopwright.app.main import NOUNS, command_tree
from loopwright.client import Client
from loopwright.core.errors import Invalid
from loopwright.workspace import Settings, Workspace, load_settings
from tests.app.processes import loopwright, started


def test_the_version_is_shown(tmp_path: Path) -> None:
    assert loopwright(tmp_path, "--version").stdout == f"loopwright {lw.__version__}\n"


def test_every_group_of_commands_says_what_it_is_about() -> None:
    groups = {name for name, command in command_tree().commands.items() if isinstance(command, click.Group)}
    assert groups == set(NOUNS)


def test_reading_makes_no_workspace(tmp_path: Path) -> None:
    done = loopwright(tmp_path, "assets", "list")
    assert done.returncode == 3
    assert "loopwright up" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_commands_work_on_the_workspace_of_the_folder(tmp_path: Path) -> None:
    Workspace.open(tmp_path / ".loopwright").close()
    below = tmp_path / "some" / "folder"
    below.mkdir(parents=True)
    verified = loopwright(below, "journal", "verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["ok"]) == (0, True)
    assert loopwright(below, "assets", "show", "model", "nothing").returncode == 3
    assert loopwright(below, "versions", "show", "not an address").returncode == 2


def test_a_backup_is_restored_by_command(tmp_path: Path) -> None:
    Workspace.open(tmp_path / "a" / ".loopwright").close()
    (tmp_path / "b").mkdir()
    backup = tmp_path / "kept.backup"
    assert loopwright(tmp_path / "a", "backup", str(backup)).returncode == 0
    restored = loopwright(tmp_path / "b", "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    assert loopwright(tmp_path / "b", "db", "check").returncode == 0
    assert loopwright(tmp_path, "backup", "x").returncode == 3


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / ".loopwright").write_text("a file where a folder should be")
    done = loopwright(tmp_path, "up", "--port", "0")
    assert (done.returncode, "Traceback" in done.stderr) == (6, False)
    assert "--workspace" in done.stderr


def test_a_worker_works_until_it_is_told_to_stop(tmp_path: Path) -> None:
    said = tmp_path / "worker.json"
    with started(tmp_path, "worker", "--json", str(said)) as process:
        while not said.exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert json.loads(said.read_text())["workspace"] == str(tmp_path / ".loopwright")


def test_the_doctor_looks_and_makes_nothing(tmp_path: Path) -> None:
    done = loopwright(tmp_path, "doctor", "--port", "0", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True)
    found = {finding["check"]: finding for finding in report["findings"]}
    assert found["sqlalchemy"]["held"]
    assert {"python", "disk", "workspace", "extra postgres", "port 0"} <= set(found)
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_looks_into_a_workspace(tmp_path: Path) -> None:
    settings = load_settings({"workspace": str(tmp_path / ".loopwright"), "port": 0}, environment={})
    Workspace.open(settings=settings).close()
    found = {finding.check: finding for finding in examine(settings).findings}
    assert found["ledger"].found.startswith("revision ")
    assert found["objects"].found == "readable and writable"


def test_the_doctor_finds_what_does_not_hold(tmp_path: Path) -> None:
    folder = tmp_path / ".loopwright"
    folder.mkdir()
    (folder / "ledger.db").write_bytes(b"this is no database" * 1000)
    done = loopwright(tmp_path, "doctor", "--port", "0", "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (1, False)
    assert "FAIL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", sorted(set(lw.__all__) - {"__version__"}))
def test_every_name_of_the_facade_is_there(name: str) -> None:
    assert getattr(lw, name).__name__
    assert name in dir(lw)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        getattr(lw, "nothing")  # noqa: B009 - looking is what fails


def test_connecting_goes_to_a_server_or_to_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_URL", "http://127.0.0.1:9")
    with lw.connect() as client, lw.connect(workspace=str(tmp_path / ".loopwright")) as workspace:
        assert isinstance(client, Client)
        assert isinstance(workspace, Workspace)
        assert workspace.call("assets.list").items == ()
    with pytest.raises(Invalid):
        lw.connect("nowhere")


def test_settings_are_told_without_secrets() -> None:
    assert "s3cret" not in repr(Settings(workspace="/w", token="s3cret"))


def test_the_stub_of_the_facade_names_what_the_facade_has() -> None:
    stub = Path(lw.__file__).with_name("__init__.pyi").read_text()
    named = {line.rpartition(" as ")[2] for line in stub.splitlines() if " as " in line}
    assert named | {"__version__"} == set(lw.__all__)


def test_a_log_line_has_what_belongs_to_it() -> None:
    record = logging.makeLogRecord(
        {"msg": "fault", "levelname": "ERROR", "fault": "a1", "doing": "two words"}
    )
    line = KeyValueFormatter().format(record)
    assert line.endswith("fault fault=a1 doing='two words'")
