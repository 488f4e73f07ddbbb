"""Damaged, foreign and newer workspaces: every command says what, where and the way out, which works."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.app.main import command_tree
from loopwright.surfaces.cli import carry_out
from loopwright.workspace import Workspace
from tests.faults.test_full_disk import rows_of, uploaded

COMMANDS = (
    "data list",
    "data upload d rows.csv",
    "journal verify",
    "db check",
    "db upgrade",
    "backup kept.tar",
    "gc",
    "up --port 0",
    "worker",
    "restore good.tar",
)
LEDGER = Path(".loopwright/ledger.db")


def _garbage() -> None:
    LEDGER.write_bytes(bytes(range(255, 0, -1)) * 400)


def _truncated() -> None:
    LEDGER.write_bytes(LEDGER.read_bytes()[:60_000])


def _foreign() -> None:
    LEDGER.unlink()
    with sqlite3.connect(LEDGER) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()


def _newer() -> None:
    with sqlite3.connect(LEDGER) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def _folder() -> None:
    LEDGER.unlink()
    LEDGER.mkdir()


BREAKS: dict[str, tuple[Callable[[], object], set[int], str]] = {
    "garbage": (_garbage, {70}, "restore FILE --force"),
    "truncated": (_truncated, {70}, "restore FILE --force"),
    "foreign": (_foreign, {2}, "--database"),
    "newer": (_newer, {6}, "install the newer loopwright"),
    "folder": (_folder, {2, 6}, ""),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace, a backup of it, and rows to upload."""
    found: Path = tmp_path_factory.mktemp("whole")
    with Workspace.open(found / ".loopwright") as workspace:
        uploaded(workspace, "d", 50)
        workspace.call("platform.backup", file=str(found / "good.tar"))
    (found / "rows.csv").write_text("id,v\n1,2\n")
    return found


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to break, as the current folder."""
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    monkeypatch.chdir(folder)
    for name in ("URL", "TOKEN", "WORKSPACE"):
        monkeypatch.delenv(f"LOOPWRIGHT_{name}", raising=False)
    return folder


def _run(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = carry_out(command_tree(), command.split())
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "a mistake of ours" not in err
    return code, err


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("kind", BREAKS)
def test_every_command_says_the_way_out(here: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken, codes, way_out = BREAKS[kind]
    broken()
    before, handlers = sorted(path.name for path in here.iterdir()), _handlers()
    for command in COMMANDS:
        code, err = _run(command, capsys)
        assert code in codes, f"{command}: {err}"
        assert "error: " in err
        assert "hint: " in err
        assert str(here / LEDGER) in err, command
        assert way_out in err or command in {"db upgrade", "restore good.tar"}, f"{command}: {err}"
    assert _handlers() == handlers
    code, _ = _run("doctor --port 0", capsys)
    assert code == 1
    assert sorted(path.name for path in here.iterdir()) == before
    code, err = _run("restore good.tar --force", capsys)
    assert code == 0, err
    with Workspace.open(here / ".loopwright") as workspace:
        assert rows_of(workspace, "d") == 50
    assert len(list(here.glob(".loopwright.before-restore-*"))) == 1


def test_overwritten_pages_are_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(LEDGER.read_bytes())
    data[3 * 4096 : 23 * 4096] = b"\xa5" * (20 * 4096)
    LEDGER.write_bytes(data)
    for command, codes in (("doctor --port 0", {1}), ("db check", {1, 70}), ("data list", {70})):
        code, err = _run(command, capsys)
        assert code in codes, f"{command}: {err}"
    assert "restore FILE --force" in err


def test_a_damaged_object_is_told_with_its_versions(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = (here / ".loopwright/objects").glob("??/*")
    part = next(path for path in found if path.read_bytes().startswith(b"PAR1"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.chmod(0o600)
    part.write_bytes(data)
    for command in ("data rows d", "data download d --out got.parquet"):
        code, err = _run(command, capsys)
        assert code == 70
        assert part.name in err
        assert "(dataset:d@1)" in err
        assert "restore it from a backup" in err
    assert not Path("got.parquet").exists()
    code, err = _run("backup kept.tar", capsys)
    assert code == 1
    assert "(dataset:d@1)" in err
    part.unlink()
    code, err = _run("data rows d", capsys)
    assert code == 3
    assert "(dataset:d@1)" in err


def test_nothing_is_put_in_place_of_a_workspace_in_use(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Workspace.open(here / ".loopwright") as workspace:
        code, err = _run("restore good.tar --force", capsys)
        assert code == 2
        assert "is open in another process" in err
        uploaded(workspace, "d", 1, start=50)
    code, err = _run("restore good.tar", capsys)
    assert code == 2
    assert "not empty" in err
    with Workspace.open(here / ".loopwright") as workspace:
        assert rows_of(workspace, "d") == 51


@pytest.mark.parametrize("harm", ["cut", "changed", "foreign", "missing", "folder"])
def test_a_bad_backup_leaves_the_workspace_alone(
    here: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = here / "good.tar"
    data = bytearray(backup.read_bytes())
    if harm == "cut":
        backup.write_bytes(data[: len(data) // 2])
    elif harm == "changed":
        data[len(data) // 2] ^= 1
        backup.write_bytes(data)
    elif harm == "foreign":
        backup.write_bytes(b"\x1f\x8b garbage" * 500)
    else:
        backup.unlink()
    if harm == "folder":
        backup.mkdir()
    code, err = _run("restore good.tar --force", capsys)
    assert code in {2, 3, 6, 70}, err
    assert "good.tar" in err or "backup" in err
    assert "hint: " in err
    with Workspace.open(here / ".loopwright") as workspace:
        assert rows_of(workspace, "d") == 50


def test_a_file_in_place_of_the_workspace_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (*COMMANDS, "restore good.tar --force"):
        code, err = _run(f"{command} --workspace rows.csv", capsys)
        assert code in {3, 6}, f"{command}: {err}"
        assert "rows.csv" in err
        assert "hint: " in err
    assert _run("doctor --port 0 --workspace rows.csv", capsys)[0] == 1
    assert Path("rows.csv").read_text() == "id,v\n1,2\n"


def test_a_workspace_needs_a_name(here: Path) -> None:
    assert carry_out(command_tree(), ["data", "list", "--workspace", ""]) == 2
