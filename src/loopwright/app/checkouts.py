"""Puts recorded code and its environment in place again: a worktree of the repository, a lock's packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import loopwright
from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable

__all__ = ["checked_out", "repository_with", "with_packages"]

_GIT_S = 120.0
_INSTALL_S = 3600.0


def _git(folder: Path, *words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Git in a folder, without its hooks."""
    command = ["git", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *words]
    try:
        return subprocess.run(command, input=given or b"", capture_output=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"git cannot be run: {error}", hint="install git") from error


def repository_with(commit: str, candidates: list[Path]) -> Path:
    """The first of these folders that is a repository which has the commit; `NotFound` when none is."""
    for folder in candidates:
        if folder.is_dir() and _git(folder, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
            top = _git(folder, "rev-parse", "--show-toplevel").stdout.decode().strip()
            return Path(top or folder)
    raise NotFound(
        f"no repository here has the commit {commit[:12]}",
        hint="fetch it, and name the folder: --repository DIR",
    )


@contextmanager
def checked_out(repository: Path, commit: str, diff: bytes, folder: Path) -> Iterator[Path]:
    """The commit in a fresh folder with the changes on top; the folder is gone afterwards."""
    made = _git(repository, "worktree", "add", "--detach", "--quiet", str(folder), commit)
    if made.returncode:
        raise Conflict(
            f"the commit {commit[:12]} cannot be checked out: {made.stderr.decode(errors='replace')[:300]}",
            hint="see `git worktree list`",
        )
    try:
        if diff:
            applied = _git(folder, "apply", "--whitespace=nowarn", "-", given=diff)
            if applied.returncode:
                raise Invalid(
                    f"the recorded changes do not apply: {applied.stderr.decode(errors='replace')[:300]}",
                    hint="the run's file loopwright/changes.diff has them",
                )
        yield folder
    finally:
        _git(repository, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        _git(repository, "worktree", "prune")


def with_packages(lock: str, folder: Path) -> Path:
    """The Python of a new environment with the packages of a lock; our own stays the one that is running."""
    wanted = "".join(f"{line}\n" for line in lock.splitlines() if not line.lower().startswith("loopwright=="))
    folder.mkdir(parents=True)
    (folder / "lock.txt").write_text(wanted)
    python = folder / "env/bin/python"
    uv = shutil.which("uv")
    if uv:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder / "env"))
        _run(uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(folder / "lock.txt"))
    else:
        _run(sys.executable, "-m", "venv", str(folder / "env"))
        _run(str(python), "-m", "pip", "install", "--quiet", "-r", str(folder / "lock.txt"))
    _lend_ours(next((folder / "env/lib").glob("python*/site-packages")))
    return python


def _lend_ours(site: Path) -> None:
    """Make this very Loopwright importable in another environment, as installed as it is here."""
    version = loopwright.__version__
    (site / "loopwright-here.pth").write_text(f"{Path(loopwright.__file__).parents[1]}\n")
    told = site / f"loopwright-{version}.dist-info"
    told.mkdir(exist_ok=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: loopwright\nVersion: {version}\n")


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_S, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[-400:]
        raise Unavailable(
            f"the recorded environment cannot be made: {said}",
            hint="use --environment same to run with this one",
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"the recorded environment cannot be made: {error}", hint="install uv, or pip"
        ) from error
