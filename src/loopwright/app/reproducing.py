"""`loopwright reproduce RUN`: does a run again from what it recorded, and says how near it came."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from loopwright.app.capturing import DIFF_FILE, LOCK_FILE
from loopwright.app.checkouts import checked_out, repository_with, with_packages
from loopwright.app.connecting import connect
from loopwright.app.recording import REPEATS
from loopwright.client import Client
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import CheckFailed, Corrupt, Invalid, NotFound
from loopwright.core.nouns import Run
from loopwright.loops.reproduce import Outcome, Reproduction
from loopwright.surfaces.cli import Command, Output, json_option
from loopwright.workspace import Workspace

__all__ = ["Plan", "command", "planned", "reproduce"]

TAG = "loopwright.reproduces"
_LATEST = 200
_NO_PROGRAM = (
    "runs of `lw.run` in a program record one; cells of a notebook and lines typed by hand are none: "
    "put them into a file"
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be run, where it was recorded, and on which code."""

    run: Run
    words: tuple[str, ...]
    machine: str
    is_foreign: bool
    """whether it was recorded on another machine"""
    commit: str = ""
    changes: str = ""
    """digest of the changes on top of the commit"""
    root: str = ""
    folder: str = ""
    """where in the repository it was started"""
    lock: str = ""
    """digest of the environment's lock"""


def planned(run: Run) -> Plan:
    """What a run recorded of itself; `Invalid` names what is missing."""
    facts = run.facts
    code, machine = facts.get("code") or {}, facts.get("machine") or {}
    words = facts.get("command") or []
    if len(words) < 2:
        raise _missing(run, "the command that started it", _NO_PROGRAM)
    if not code.get("commit"):
        raise _missing(run, "a commit", "start it from a git repository; or say --code here in its folder")
    if code.get("diff") and not code.get("file"):
        raise _missing(run, "its uncommitted changes, which were too large", "commit before you train")
    name = str(machine.get("name", ""))
    return Plan(
        run=run,
        words=tuple(map(str, words)),
        machine=name,
        is_foreign=name != platform.node(),
        commit=str(code["commit"]),
        changes=str(code.get("diff", "")),
        root=str(code.get("root", "")),
        folder=str(facts.get("folder", "")),
        lock=str((facts.get("environment") or {}).get("digest", "")),
    )


def _missing(run: Run, what: str, hint: str) -> Invalid:
    return Invalid(f"run:{run.id} cannot be done again: it did not record {what}", hint=hint)


def reproduce(
    face: Workspace | Client,
    plan: Plan,
    *,
    environment: str = "same",
    code: str = "recorded",
    repository: Path | None = None,
    tolerance: tuple[str, ...] = (),
) -> Reproduction:
    """Do the run again in a fresh folder as a new run, and compare the two.

    `environment` is `same` (what runs now) or `recorded` (made by the stored lock), `code` is `recorded` or
    `here`: the working tree as it is. `CheckFailed` when the command fails or tracks no run.
    """
    before = _again(face, plan.run)
    diff = _file(face, plan, DIFF_FILE, plan.changes) if plan.changes and code == "recorded" else b""
    with tempfile.TemporaryDirectory(prefix="loopwright-") as passing:
        python = Path(sys.executable)
        if environment == "recorded":
            lock = _file(face, plan, LOCK_FILE, plan.lock)
            python = with_packages(lock.decode(), Path(passing) / "packages")
        with _placed(plan, code, repository, diff, Path(passing) / "code") as folder:
            _carried_out(face, plan, python, folder)
    fresh = [run for run in _again(face, plan.run) if run.id not in {each.id for each in before}]
    if not fresh:
        raise CheckFailed(
            "the command ended well, and tracked no run of that name here",
            hint="it has to track where `lw.connect()` leads: leave out `to=` and addresses of its own",
        )
    found: Reproduction = face.call(
        "runs.reproduction", run_id=plan.run.id, other=fresh[0].id, tolerance=tolerance
    )
    return found


def _again(face: Workspace | Client, run: Run) -> list[Run]:
    """Runs that did it again, newest first."""
    page = face.call("runs.list", kind=run.kind, experiment=run.experiment, limit=_LATEST)
    return [each for each in page.items if each.tags.get(TAG) == run.id and each.name == run.name]


def _file(face: Workspace | Client, plan: Plan, path: str, digest: str) -> bytes:
    try:
        with face.call("runs.download", run_id=plan.run.id, path=path).file as opened:
            data: bytes = opened.read()
    except NotFound as error:
        raise _missing(plan.run, f"the file {path}", "it was recorded by an older version") from error
    if digest_bytes(data) != digest:
        raise Corrupt(
            f"the file {path} of run:{plan.run.id} is not what it recorded", hint="somebody replaced it"
        )
    return data


@contextlib.contextmanager
def _placed(plan: Plan, code: str, repository: Path | None, diff: bytes, target: Path) -> Iterator[Path]:
    """The folder to run in."""
    if code == "here":
        yield (repository or Path.cwd()) / plan.folder
        return
    candidates = [repository] if repository else [Path(plan.root), Path.cwd()]
    found = repository_with(plan.commit, candidates)
    with checked_out(found, plan.commit, diff, target) as folder:
        yield folder / plan.folder


def _carried_out(face: Workspace | Client, plan: Plan, python: Path, folder: Path) -> None:
    words = [_moved(word, plan, folder) for word in plan.words[1:]]
    script = folder / words[0]
    if words[0] not in {"-m", "-c"} and not script.is_file():
        raise Invalid(
            f"{words[0]!r} is not in the commit {plan.commit[:12]}: it was not under git's care",
            hint="add it to the repository, run it once more, and reproduce that run",
        )
    done = subprocess.run(
        [str(python), *words],
        cwd=folder,
        env={**os.environ, **_environment(face, plan)},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise CheckFailed(
            f"the command ended with {done.returncode}: {' '.join(words)[:300]}",
            hint="what it said stands above",
        )


def _moved(word: str, plan: Plan, folder: Path) -> str:
    """A path within the recorded repository, where that is now."""
    if not plan.root or not word.startswith(f"{plan.root}/"):
        return word
    top = folder
    for _ in Path(plan.folder).parts:
        top = top.parent
    return str(top / word.removeprefix(f"{plan.root}/"))


def _environment(face: Workspace | Client, plan: Plan) -> dict[str, str]:
    where = {"LOOPWRIGHT_URL": face.url} if isinstance(face, Client) else {"LOOPWRIGHT_URL": ""}
    if isinstance(face, Workspace):
        where["LOOPWRIGHT_WORKSPACE"] = str(face.settings.folder)
    seeds = {key: str(value) for key, value in (plan.run.facts.get("seeds") or {}).items()}
    return {**where, **seeds, REPEATS: plan.run.id}


# -- the command -------------------------------------------------------------------------


def _tell(plan: Plan, code: str, environment: str, output: Output) -> None:
    changes = " with its uncommitted changes" if plan.changes else ""
    where = "the working tree here" if code == "here" else f"commit {plan.commit[:12]}{changes}"
    output.note(
        f"run {plan.run.id} ({plan.run.name}), recorded on {plan.machine or 'a machine without a name'}"
    )
    output.note(f"  code         {where}")
    output.note(f"  environment  {environment}")
    output.note(f"  command      {' '.join(plan.words)}")


def _callback(
    ctx: click.Context,
    /,
    *,
    run: str,
    environment: str,
    code: str,
    tolerance: tuple[str, ...],
    repository: str | None,
    yes: bool,
    workspace: str | None,
    url: str | None,
) -> None:
    output = ctx.ensure_object(Output)
    with connect(url, workspace=workspace) as face:
        plan = planned(face.call("runs.show", run_id=run.removeprefix("run:")).run)
        _tell(plan, code, environment, output)
        if plan.is_foreign and not yes:
            _ask(plan)
        found = reproduce(
            face,
            plan,
            environment=environment,
            code=code,
            repository=None if repository is None else Path(repository).absolute(),
            tolerance=tolerance,
        )
    _show(found, output)
    ctx.exit(1 if found.outcome is Outcome.DIFFERENT else 0)


def _ask(plan: Plan) -> None:
    """Nothing of another machine is run unasked."""
    if not sys.stdin.isatty():
        raise Invalid(
            f"the run is of another machine ({plan.machine or 'unnamed'}): its command is not run unasked",
            hint="look at the command above, and say --yes",
        )
    if not click.confirm("This run is of another machine. Run its command here?", err=True):
        raise Invalid("nothing was run", hint="say --yes to run it")


def _show(found: Reproduction, output: Output) -> None:
    output.say(f"{found.outcome.value}: run {found.other} did run {found.run_id} again")
    for each in found.compared:
        if each.outcome is not Outcome.EQUAL:
            distance = "" if each.distance is None else f" (distance {each.distance:.3g})"
            output.say(f"  {each.what}: {each.outcome.value}, {each.first} -> {each.second}{distance}")
    for change in found.changed:
        output.say(f"  {change.kind} changed: {change.what}, {change.first} -> {change.second}")
    output.say(f"  {found.note}")
    output.document(msgspec.to_builtins(found))


_ENVIRONMENT = click.Choice(["same", "recorded"])
_CODE = click.Choice(["recorded", "here"])


def _options() -> list[Any]:
    return [
        click.Argument(["run"], metavar="RUN"),
        click.Option(["--environment"], type=_ENVIRONMENT, default="same", help="Packages to run with."),
        click.Option(
            ["--code"], type=_CODE, default="recorded", help="The recorded commit, or what is here."
        ),
        click.Option(
            ["--tolerance"], multiple=True, metavar="METRIC=DISTANCE", help="What still counts as near."
        ),
        click.Option(["--repository"], metavar="DIR", help="A repository that has the commit."),
        click.Option(["--yes"], is_flag=True, help="Run the command of another machine without asking."),
        click.Option(["--workspace"], metavar="DIR", help="The workspace's folder."),
        click.Option(["--url"], metavar="URL", help="A server in place of the workspace."),
        json_option(),
    ]


command = Command(
    "reproduce",
    help="Do a run again from its commit, changes and command, and say how near it came.\n\n"
    "It becomes a new run, tagged with the first. The exit code is 0 when params, metrics, files and "
    "versions are equal to the bit or within tolerance, 1 when they differ.",
    callback=click.pass_context(_callback),
    params=_options(),
)
