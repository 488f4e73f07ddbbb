"""`loopwright import mlflow` and `loopwright export mlflow`: histories brought in, and given back."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from loopwright.client import Client
from loopwright.core.errors import Invalid
from loopwright.loops.bringing import Asked, Caller, Report
from loopwright.loops.comparing import Compared, compare
from loopwright.loops.exporting import export
from loopwright.loops.own import OwnHistory
from loopwright.loops.recorded import bring_recorded, record_comparison
from loopwright.ports.histories import History
from loopwright.surfaces.cli import Command, Output, json_option
from loopwright.workspace import Settings, Workspace, load_settings
from loopwright.workspace.histories import open_history, open_sink

__all__ = ["export_command", "import_command"]

_SHOWN = 10
_DEFAULT_SPACE = "default"


@contextmanager
def _target(settings: Settings) -> Iterator[Workspace | Client]:
    if settings.url:
        with Client(settings.url, settings.token, space=settings.space, typed=False) as client:
            yield client
    else:
        with Workspace.open(settings=settings) as workspace:
            yield workspace


@contextmanager
def _ours(target: Workspace | Client, settings: Settings) -> Iterator[History]:
    """Our side as a history: the ledger itself, or a server's by the protocol that it speaks."""
    if isinstance(target, Workspace):
        yield OwnHistory(target.context())
        return
    if settings.space != _DEFAULT_SPACE:
        raise Invalid(
            f"the space {settings.space} of a server cannot be read from here",
            hint="run this on the server's machine, with --workspace",
        )
    with closing(open_history(settings.url, environment={}, token=settings.token)) as history:
        yield history


def _settings(given: dict[str, Any]) -> Settings:
    return load_settings({name: given.pop(name) for name in ("workspace", "url", "space")})


def _import(ctx: click.Context, /, **given: Any) -> None:
    output, settings = ctx.ensure_object(Output), _settings(given)
    if settings.url and given["verify"] and settings.space != _DEFAULT_SPACE:
        raise Invalid("--verify reads a server's default space alone", hint="run it on the server's machine")
    experiments = tuple(given["experiment"])
    asked = Asked(
        dry_run=given["dry_run"],
        overwrite=given["overwrite"],
        artifacts=given["artifacts"],
        experiments=experiments,
    )
    with (
        closing(open_history(given["source"], given["artifact_root"])) as history,
        _target(settings) as target,
        output.console(sys.stderr).status("reading") as status,
    ):
        if given["verify"]:
            with _ours(target, settings) as ours:
                compared = compare(
                    history, ours, files=asked.artifacts, experiments=experiments, tell=status.update
                )
            record_comparison(target, history.address, compared)
            ok = _show_comparison(compared, output, history.address)
        else:
            report, run_id = bring_recorded(history, _called(target), asked, status.update)
            ok = _show_report(report, run_id, output)
    if not ok:
        ctx.exit(1)


def _called(target: Workspace | Client) -> Caller:
    return target


def _show_report(report: Report, run_id: str, output: Output) -> bool:
    what = "would come in" if report.dry_run else "came in"
    output.say(f"{report.source} ({report.version}): what {what}")
    rows = [{"kind": kind, **_words(count)} for kind, count in report.counts.items() if count]
    output.rows(rows)
    output.say(
        f"{report.points:,} points, {report.params:,} params, {report.tags:,} tags, {report.files:,} files, "
        f"{report.bytes / 1e6:,.1f} MB in {report.seconds:,.1f} s"
    )
    for note, count in report.notes.items():
        output.note(f"note: {note}: {count:,}")
    for problem in report.problems[:_SHOWN]:
        output.note(f"{problem.kind} {problem.id}: {problem.why}")
    if len(report.problems) > _SHOWN:
        output.note(f"and {len(report.problems) - _SHOWN:,} more: --json tells all")
    if run_id:
        output.say(f"kept as run:{run_id}; --verify compares both sides")
    output.document({**msgspec.to_builtins(report), "run_id": run_id})
    return report.ok


def _words(count: dict[str, int]) -> dict[str, int | str]:
    names = ("found", "new", "changed", "same", "joined", "ours", "failed")
    return {name: count.get(name, 0) or "" for name in names}


def _show_comparison(compared: Compared, output: Output, address: str) -> bool:
    kinds = [*dict.fromkeys((*compared.there, *compared.here))]
    output.rows(
        [{"kind": k, "there": compared.there.get(k, 0), "here": compared.here.get(k, 0)} for k in kinds]
    )
    output.say(f"there {compared.digest_there[:32]}  {address}")
    output.say(f"here  {compared.digest_here[:32]}")
    for each in compared.differences[:_SHOWN]:
        output.note(f"{each.kind} {each.id}: {each.what}")
    if len(compared.differences) > _SHOWN:
        output.note(f"and {len(compared.differences) - _SHOWN:,} more: --json tells all")
    for left in compared.left_out[:_SHOWN]:
        output.note(f"{left.kind} {left.id}: {left.path or 'all its files'}: left out: {left.why}")
    for why, count in compared.left_out_counts.items():
        output.note(f"left out: {why}: {count:,}")
    output.say(_verdict(compared))
    output.document(compared)
    return compared.ok


def _verdict(compared: Compared) -> str:
    left_out = sum(compared.left_out_counts.values())
    if compared.ok:
        return "both sides are the same"
    if compared.differences or not left_out:
        return "the sides differ"
    return f"the sides are the same but for {left_out:,} left out: --json tells which and why"


def _export(ctx: click.Context, /, **given: Any) -> None:
    output, settings = ctx.ensure_object(Output), _settings(given)
    python = given["mlflow_python"] or _python()
    folder = Path(given["target"])
    with (
        _target(settings) as target,
        _ours(target, settings) as ours,
        output.console(sys.stderr).status("writing") as status,
    ):
        sink = open_sink(folder, python)
        done = export(ours, sink, status.update)
        status.update("comparing")
        with closing(open_history(done.target, [str(folder / "mlartifacts")])) as written:
            compared = compare(ours, written, tell=status.update)
    output.show(done.counts)
    for note, count in done.notes.items():
        output.note(f"note: {note}: {count:,}")
    output.say(f"open it: mlflow server --backend-store-uri {done.target} \\")
    output.say(f"           --artifacts-destination {folder / 'mlartifacts'}")
    same = _show_comparison(compared, output, "this workspace")
    output.document({**msgspec.to_builtins(done), "compared": msgspec.to_builtins(compared)})
    if not same:
        ctx.exit(1)


def _python() -> str:
    """The Python beside the `mlflow` command, where there is one, else this one."""
    script = shutil.which("mlflow")
    beside = Path(script).resolve().parent / "python" if script else None
    return str(beside) if beside and beside.exists() else sys.executable


def _common() -> list[click.Parameter]:
    return [
        json_option(),
        click.Option(["--workspace"], metavar="DIR", help="The workspace's folder."),
        click.Option(["--url"], metavar="URL", help="A server, in place of the local workspace."),
        click.Option(["--space"], metavar="NAME", help="The space (project) to work in."),
    ]


import_command = Command(
    "mlflow",
    help="Bring an MLflow history in: a server (http://...), a database (sqlite:///mlflow.db, "
    "postgresql://...) or a folder (./mlruns). Stopped at any moment it goes on when it is run again; run "
    "later it brings what is new.",
    callback=click.pass_context(_import),
    params=[
        click.Argument(["source"]),
        click.Option(
            ["--artifact-root"],
            multiple=True,
            metavar="FOLDER|URL",
            help="Where files may be read: FOLDER, s3://bucket/prefix, or ADDRESS=FOLDER where they were "
            "moved. (may be repeated)",
        ),
        click.Option(
            ["--experiment"], multiple=True, metavar="NAME", help="This one alone. (may be repeated)"
        ),
        click.Option(["--artifacts/--no-artifacts"], default=True, help="Bring files too.  [default: yes]"),
        click.Option(["--dry-run"], is_flag=True, help="Count what would come in, and change nothing."),
        click.Option(["--verify"], is_flag=True, help="Compare both sides instead; 1 when they differ."),
        click.Option(["--overwrite"], is_flag=True, help="Replace what was changed here since it came in."),
        *_common(),
    ],
)

export_command = Command(
    "mlflow",
    help="Write everything as a fresh MLflow store into TARGET (mlflow.db and mlartifacts), and compare.",
    callback=click.pass_context(_export),
    params=[
        click.Argument(["target"]),
        click.Option(
            ["--mlflow-python"],
            metavar="PYTHON",
            help="A Python with MLflow, whose own package makes the schema.  [default: beside `mlflow`]",
        ),
        *_common(),
    ],
)
