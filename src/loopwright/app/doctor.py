"""`loopwright doctor`: what is installed, reachable, migrated and writable, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

import loopwright
from loopwright.app.server import listen
from loopwright.core.errors import LoopwrightError
from loopwright.surfaces.cli import Command, Output, json_option
from loopwright.workspace import Settings, Workspace, load_settings

__all__ = ["Finding", "Report", "command", "examine"]

_LEAST_FREE = 1 << 30
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;\s*(.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `needed` tells a fault from something that is only absent."""

    check: str
    held: bool
    found: str
    needed: bool = True
    hint: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings; `ok` when everything that is needed held."""

    ok: bool
    version: str
    workspace: str
    findings: tuple[Finding, ...]


def examine(settings: Settings) -> Report:
    """Look at everything; nothing is made or changed."""
    findings = (*_python(), *_libraries(), *_extras(), *_workspace(settings), _port(settings))
    return Report(
        ok=all(finding.held for finding in findings if finding.needed),
        version=loopwright.__version__,
        workspace=str(settings.folder),
        findings=findings,
    )


def _python() -> Iterator[Finding]:
    is_new_enough = sys.version_info >= (3, 11)
    hint = "" if is_new_enough else "install Python 3.11 or newer"
    yield Finding(check="python", held=is_new_enough, found=platform.python_version(), hint=hint)


def _requirements() -> Iterator[tuple[str, str, str]]:
    """Name, bounds and extra ('' for none) of what the installed package asks for."""
    for line in importlib.metadata.requires("loopwright") or ():
        matched = _REQUIREMENT.match(line)
        if matched is None or ("sys_platform" in (matched[3] or "") and sys.platform == "win32"):
            continue
        extra = _EXTRA.search(matched[3] or "")
        yield matched[1], matched[2].strip(), extra[1] if extra else ""


def _version_of(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _libraries() -> Iterator[Finding]:
    for name, bounds, extra in _requirements():
        if not extra:
            version = _version_of(name)
            hint = "" if version else "pip install loopwright"
            yield Finding(check=name, held=bool(version), found=version or f"missing, {bounds}", hint=hint)


def _extras() -> Iterator[Finding]:
    by_extra: dict[str, list[str]] = {}
    for name, _, extra in _requirements():
        if extra and name != "loopwright":
            by_extra.setdefault(extra, []).append(name)
    for extra, names in sorted(by_extra.items()):
        missing = [name for name in names if not _version_of(name)]
        yield Finding(
            check=f"extra {extra}",
            held=not missing,
            found=f"{', '.join(missing)} missing" if missing else "installed",
            needed=False,
            hint=f"pip install 'loopwright[{extra}]'" if missing else "",
        )


def _workspace(settings: Settings) -> Iterator[Finding]:
    folder = settings.folder
    yield _disk(folder)
    if not folder.exists():
        yield Finding(
            check="workspace",
            held=True,
            found=f"{folder} is not made yet",
            needed=False,
            hint="loopwright up",
        )
        return
    if not folder.is_dir():
        hint = "move it away, or choose another folder with --workspace"
        yield Finding(check="workspace", held=False, found=f"{folder} is no folder", hint=hint)
        return
    try:
        with Workspace.open(settings=settings) as workspace:
            yield Finding(check="workspace", held=True, found=f"{folder} is writable")
            yield _ledger(workspace)
            yield _tried("objects", lambda: _kept(workspace))
    except LoopwrightError as error:
        yield Finding(check="workspace", held=False, found=error.message, hint=error.hint)


def _ledger(workspace: Workspace) -> Finding:
    """All of it is read once (`loopwright db check` tells more)."""
    try:
        found = workspace.ports.ledger.check()
    except LoopwrightError as error:
        return Finding(check="ledger", held=False, found=error.message, hint=error.hint)
    faults = "; ".join(found.faults[:3])
    return Finding(
        check="ledger",
        held=not faults,
        found=faults or f"revision {found.revision}, whole",
        hint="restore a backup: loopwright restore FILE --force" if faults else "",
    )


def _kept(workspace: Workspace) -> str:
    """Keep and read one small object; keeping it again later changes nothing."""
    text = b"loopwright doctor"
    digest = workspace.ports.objects.put(text)
    return "readable and writable" if workspace.ports.objects.get(digest) == text else "not what was kept"


def _tried(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check=check, held=True, found=look())
    except LoopwrightError as error:
        return Finding(check=check, held=False, found=error.message, hint=error.hint)


def _disk(folder: Path) -> Finding:
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    return Finding(
        check="disk",
        held=free >= _LEAST_FREE,
        found=f"{free / 1e9:.1f} GB free at {there}",
        hint="" if free >= _LEAST_FREE else "free some space, or choose another --workspace",
    )


def _port(settings: Settings) -> Finding:
    check = f"port {settings.port}"
    try:
        listen(settings.host, settings.port).close()
    except LoopwrightError as error:
        if _answers(settings):
            return Finding(check=check, held=True, found="a Loopwright server answers there", needed=False)
        return Finding(check=check, held=False, found=error.message, hint=error.hint)
    return Finding(check=check, held=True, found="free")


def _answers(settings: Settings) -> bool:
    """Whether what listens there is a Loopwright."""
    request = f"GET /healthz HTTP/1.1\r\nHost: {settings.host}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((settings.host, settings.port), timeout=2.0) as sock:
            sock.sendall(request.encode())
            return b'{"status":"ok"}' in sock.makefile("rb").read(65_536)
    except OSError:
        return False


def _callback(ctx: click.Context, /, **given: Any) -> None:
    output = ctx.ensure_object(Output)
    report = examine(load_settings(given))
    for finding in report.findings:
        mark = "ok  " if finding.held else "FAIL" if finding.needed else "-   "
        advice = f"   -> {finding.hint}" if finding.hint else ""
        output.say(f"{mark} {finding.check:<18} {finding.found}{advice}")
    output.say("all that is needed is there" if report.ok else "something that is needed does not hold")
    output.document(report)
    if not report.ok:
        ctx.exit(1)


command = Command(
    "doctor",
    help="Say what is installed, reachable, migrated and writable, and what to do about the rest.\n\n"
    "Exit code 1 when something that is needed does not hold.",
    callback=click.pass_context(_callback),
    params=[
        click.Option(["--workspace"], metavar="DIR", help="The workspace's folder."),
        click.Option(["--database"], metavar="URL", help="The ledger: postgresql://... in place of SQLite."),
        click.Option(["--objects"], metavar="URL", help="The object store: s3://bucket/prefix."),
        click.Option(["--host"], metavar="ADDRESS", help="Address the server would listen on."),
        click.Option(["--port"], type=click.IntRange(0, 65535), help="Port the server would listen on."),
        json_option(),
    ],
)
