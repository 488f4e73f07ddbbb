"""Files of settings that somebody else wrote: refused with a reason, soon; nothing is told or obeyed."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.app.connecting import connect
from loopwright.core.errors import Denied, Invalid, LoopwrightError, NotFound
from loopwright.tracking.views import drop_view, save_view, show_view
from loopwright.workspace import Workspace, load_settings
from loopwright.workspace.settings import find_workspace
from tests.app.processes import loopwright

SECRET = "hunter2-of-the-file"
STRANGER = 54_321

BROKEN: dict[str, bytes] = {
    "deep lists": b"a = " + b"[" * 100_000,
    "deep tables": b"objects_options = " + b"{a=" * 5_000 + b"1" + b"}" * 5_000,
    "a long key": b"a." * 50_000 + b"b = 1",
    "no text": b"\xff\xfe\x00" * 100,
    "half a pair": b'user = "\\ud800"',
    "a name that is none": b"evil = 1",
    "a secret that is cut": f'token = "{SECRET}'.encode(),
    "a secret without quotes": f"token = {SECRET}".encode(),
    "a secret in a list": f'token = ["{SECRET}"]'.encode(),
    "a secret beside a mistake": f'token = "{SECRET}"\nport = "x"'.encode(),
    "options beside a mistake": f'port = "x"\n[objects_options]\nsecret = "{SECRET}"'.encode(),
    "a port that is none": b"port = 65536",
    "a negative port": b"port = -1",
    "a port beyond all numbers": b"port = " + b"9" * 4_000,
    "a time instead of a text": b"user = 1979-05-27",
    "an engine that is none": b'table_engine = "/bin/sh"',
    "a folder with NUL": b'workspace = "a\\u0000b"',
    "two of a name": b'user = "a"\nuser = "b"',
    "fifty megabytes": b"# " + b"x" * 50_000_000,
    "a pickle": b"\x80\x04\x95" + b"cos\nsystem\n(S'touch hacked'\ntR.",
}  # fmt: skip
ODD: dict[str, Callable[[Path], None]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a ring of links": lambda file: file.symlink_to(file),
    "a link to nothing": lambda file: file.symlink_to("nothing"),
    "a device": lambda file: file.symlink_to("/dev/zero"),
}


def refused(error: LoopwrightError) -> None:
    assert error.hint
    assert SECRET not in f"{error.message} {error.hint}"
    assert len(error.message) < 1_000


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "loopwright.toml").write_bytes(content)
    began = time.process_time()
    with pytest.raises(Invalid) as caught:
        load_settings({}, environment={}, folder=tmp_path)
    refused(caught.value)
    assert time.process_time() - began < 5
    assert os.listdir(tmp_path) == ["loopwright.toml"]


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_what_is_no_file_is_not_read_or_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "loopwright.toml")
    assert load_settings({}, environment={}, folder=tmp_path).port == 7070


def test_a_link_tells_nothing_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(f"{SECRET}:x:0:0\n" * 3)
    (tmp_path / "loopwright.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Invalid) as caught:
        load_settings({}, environment={}, folder=tmp_path)
    refused(caught.value)


if os.geteuid() == 0:  # only root gives files away

    @pytest.mark.parametrize("name", ["loopwright.toml", ".loopwright"])
    def test_what_a_stranger_put_above_is_not_taken(tmp_path: Path, name: str) -> None:
        """In a folder that all may write to, whoever comes first would say where tokens go."""
        mine = tmp_path / "mine"
        mine.mkdir()
        planted = tmp_path / name
        if name == ".loopwright":
            planted.mkdir()
        else:
            planted.write_text('url = "http://evil.example"')
        assert load_settings({}, environment={}, folder=mine).workspace
        os.chown(planted, STRANGER, STRANGER)
        with pytest.raises(Denied) as caught:
            load_settings({}, environment={}, folder=mine)
        refused(caught.value)
        os.chown(mine, STRANGER, STRANGER)
        load_settings({}, environment={}, folder=mine)
        if name == ".loopwright":
            os.chown(mine, 0, 0)
            named = load_settings({"workspace": str(planted)}, environment={}, folder=mine)
            assert named.workspace == str(planted)
            with pytest.raises(Denied):
                find_workspace(mine)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "file:///etc/passwd", "ftp://127.0.0.1", "//evil.example", "evil.example",
        "http://", "http:///x", "http://[::1", "http://a b", "http://a\r\nx: y", "http://a\0b", "x" * 100_000,
        "unix:/run/x", "http://127.0.0.1:99999", "http+unix://x",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_no_server(tmp_path: Path, url: str) -> None:
    with pytest.raises(LoopwrightError) as caught:
        connect(url, token=SECRET).call("assets.list")
    assert caught.value.hint
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("token", ["a\r\nx-evil: 1", "a\0b", "é☂", "\ud800", " "])
def test_a_token_is_no_header_of_its_own(token: str) -> None:
    with pytest.raises(LoopwrightError) as caught:
        connect("http://127.0.0.1:1", token=token).call("assets.list")
    assert "evil" not in caught.value.message


def test_no_command_shows_a_traceback_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "loopwright.toml").write_bytes(BROKEN["deep lists"])
    done = loopwright(tmp_path, "assets", "list")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "hint" in done.stderr


def test_secrets_are_their_owners_alone(tmp_path: Path) -> None:
    found = load_settings({"workspace": str(tmp_path / ".loopwright")}, environment={})
    with Workspace.open(settings=found) as workspace:
        workspace.ports.signer.sign(b"x")
        workspace.ports.keys.sign(b"x")
        keys = [each for each in (tmp_path / ".loopwright" / "keys").rglob("*") if each.is_file()]
        assert keys
        for each in keys:
            assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each.name


@pytest.mark.parametrize(
    "query",
    [
        "javascript:alert(1)", "filter=x&token=y", "next=//evil.example", "//evil.example",
        "filter=" + "x" * 8_001, "&".join(["column=x"] * 201), "filter", "=1", "filter=x#<script>&x=y",
    ],
)  # fmt: skip
def test_a_view_holds_what_a_table_has_and_nothing_else(tmp_path: Path, query: str) -> None:
    found = load_settings({"workspace": str(tmp_path / ".loopwright")}, environment={})
    with Workspace.open(settings=found) as workspace:
        workspace.call("experiments.create", name="e")
        with pytest.raises(Invalid):
            save_view(workspace.context(), "e", "v", query=query)


def test_a_view_is_its_owners_and_of_its_experiment(tmp_path: Path) -> None:
    found = load_settings({"workspace": str(tmp_path / ".loopwright"), "user": "me"}, environment={})
    with Workspace.open(settings=found) as workspace:
        ctx = workspace.context()
        workspace.call("experiments.create", name="e")
        workspace.call("experiments.create", name="other")
        view = save_view(ctx, "e", "mine", query="filter=x")
        for name in ("", " ", "a\nb", "\u202egnp", "x" * 101, "\0"):
            with pytest.raises(Invalid):
                save_view(ctx, "e", name, query="")
        with pytest.raises(NotFound):
            show_view(ctx, "other", view.id)
        for odd in ("", "..", "../x", f"../{view.id}", "%", "' OR 1=1 --"):
            with pytest.raises(NotFound):
                show_view(ctx, "e", odd)
        stranger = workspace.context(type(ctx.principal)(name="stranger", scopes=ctx.principal.scopes))
        with pytest.raises(Denied):
            drop_view(stranger, "e", view.id)
        assert save_view(stranger, "e", "mine", query="filter=y").id != view.id
        assert show_view(ctx, "e", view.id).query == "filter=x"
