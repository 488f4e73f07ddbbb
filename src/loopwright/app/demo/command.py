"""`loopwright demo`: runs the story, prints what it came to, and keeps the UI up."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from loopwright.app.assembling import assemble
from loopwright.app.demo.definitions import ENDPOINT, MODEL
from loopwright.app.demo.flights import load
from loopwright.app.demo.measuring import Outcome, measure
from loopwright.app.demo.memory import PeakMemory
from loopwright.app.demo.progress import load_progress
from loopwright.app.demo.story import FULL_DAYS, START, Story
from loopwright.app.server import Server
from loopwright.core.errors import CheckFailed
from loopwright.core.instants import format_instant, parse_instant
from loopwright.core.nouns import Event, Json
from loopwright.engine.context import Context
from loopwright.monitoring.verbs import skew
from loopwright.ports.ledger import PageRequest
from loopwright.surfaces.cli import Command, Output, json_option
from loopwright.workspace import ReplayClock, Settings, Workspace, load_settings

__all__ = ["command"]

_DECEMBER = ("2013-12-01T05:00:00Z", "2014-01-01T05:00:00Z")
_FOLDER = "loopwright-demo"
_LOOK_S = 0.5


def _settings(given: dict[str, Any]) -> Settings:
    given.setdefault("workspace", None)
    if given["workspace"] is None:
        given["workspace"] = str(Path.cwd() / _FOLDER / ".loopwright")
    return load_settings(given)


def _catch_up(workspace: Workspace, clock: ReplayClock) -> float:
    """Move the clock to where the story stands in that workspace; the seconds it took to there."""
    found = load_progress(workspace.context())
    if found is None or found.instant is None:
        clock.advance(START)  # from now on other processes are told where it stands
        return 0.0
    clock.advance(found.instant)
    return found.seconds


class _Teller:
    """Says where the story is: whole lines, and one line that is written over."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = time.monotonic()
        self._is_open = False

    def __call__(self, text: str) -> None:
        if text.startswith("\r"):
            if sys.stderr.isatty():
                sys.stderr.write(f"\r  {text[1:]}  ")
                sys.stderr.flush()
                self._is_open = True
            return
        if self._is_open:
            sys.stderr.write("\n")
            self._is_open = False
        self._output.note(f"{time.monotonic() - self._begun:6.1f} s  {text}")


def _events(ctx: Context, kind: str) -> list[Event]:
    """All lines of a kind, oldest first."""
    found: list[Event] = []
    token = ""
    while True:
        with ctx.read() as tx:
            page = tx.journal.page(ctx.space, PageRequest(limit=500, token=token), kind=kind)
        found += page.items
        token = page.next_token
        if not token:
            return found[::-1]


def _incidents(ctx: Context) -> list[Json]:
    with ctx.read() as tx:
        runs = tx.runs.page(ctx.space, PageRequest(limit=200), kind="incident").items
    names = ("subject", "columns", "since", "detected_at", "until")
    return [{"cause": run.name, **{name: run.facts.get(name) for name in names}} for run in reversed(runs)]


def _decisions(ctx: Context) -> list[Json]:
    with ctx.read() as tx:
        found = tx.decisions.page(ctx.space, PageRequest(limit=1000), subject=None).items
    return [
        {
            "at": format_instant(d.at),
            "action": d.action,
            "subject": d.subject,
            "verdict": d.verdict.value,
            "reason": d.reason,
        }
        for d in reversed(found)
    ]


def _summary(workspace: Workspace, outcome: Outcome, peak_mb: float) -> Json:
    ctx = workspace.context()
    decisions = _decisions(ctx)
    moves = [event for event in _events(ctx, "alias.moved") if event.payload.get("alias") == "champion"]
    with ctx.read() as tx:
        retrainings = tx.runs.page(ctx.space, PageRequest(limit=200), kind="retraining").items
    checked = workspace.call("journal.verify")
    low, high = outcome.difference.low, outcome.difference.high
    return {
        "auc": {"frozen": outcome.frozen, "loop": outcome.loop},
        "auc_all": {"frozen": round(outcome.frozen_all, 5), "loop": round(outcome.loop_all, 5)},
        "auc_difference": {
            "value": outcome.difference.value,
            "low": low,
            "high": high,
            "n": outcome.difference.n,
        },
        "predictions": sum(outcome.predictions.values()),
        "labelled": sum(outcome.labelled.values()),
        "quarantined": sum(int(e.payload.get("rows", 0)) for e in _events(ctx, "quarantine.added")),
        "incidents": _incidents(ctx),
        "retrainings": len(retrainings),
        "refusals": [d for d in decisions if d["verdict"] == "deny"],
        "promotions": [
            {"at": format_instant(e.at), "to": e.payload["to"], "from": e.payload["from"]} for e in moves
        ],
        "journal_ok": checked.ok,
        "peak_mb": peak_mb,
    }


def _skew(workspace: Workspace, days: int) -> Json:
    """Logged vectors of December (or of the whole shortened story) against the offline join."""
    start, end = _DECEMBER if days >= FULL_DAYS else (format_instant(START), "2014-01-03")
    report = skew(workspace.context(), ENDPOINT, parse_instant(start), parse_instant(end))
    return {"rows": report.rows, "values": report.values, "mismatches": report.mismatches}


def _tables(output: Output, outcome: Outcome, summary: Json) -> None:
    table = Table(title=f"{MODEL}: ROC-AUC by month", title_justify="left")
    for name in ("month", "predictions", "labelled", "frozen first model", "the loop"):
        table.add_column(name, justify="right")
    for month in sorted(outcome.predictions, key=int):
        share = outcome.labelled[month] / outcome.predictions[month]
        auc = [f"{side[month]:.4f}" if month in side else "-" for side in (outcome.frozen, outcome.loop)]
        table.add_row(month, f"{outcome.predictions[month]:,}", f"{share:.1%}", *auc)
    pooled = summary["auc_all"]
    shares = (f"{summary['predictions']:,}", f"{summary['labelled'] / summary['predictions']:.1%}")
    table.add_row("all", *shares, f"{pooled['frozen']:.4f}", f"{pooled['loop']:.4f}")
    output.console(sys.stderr).print(table)
    found = outcome.difference
    held = "is above" if found.low > 0 else "is below" if found.high < 0 else "cannot be told from"
    output.note(
        f"the loop {held} the frozen model: {found.value:+.5f} [{found.low:+.5f}, {found.high:+.5f}], "
        f"paired, {found.n:,} flights"
    )


def _timeline(output: Output, summary: Json) -> None:
    lines = [(p["at"], f"champion is version {p['to']}") for p in summary["promotions"]]
    lines += [(r["at"], f"refused: {r['action']} {r['subject']}: {r['reason']}") for r in summary["refusals"]]
    for incident in summary["incidents"]:
        columns = ", ".join(incident["columns"] or [])
        lines.append(
            (
                incident["detected_at"],
                f"incident on {incident['subject']}: {columns} since {incident['since']}",
            )
        )
        if incident["until"]:
            lines.append((incident["until"], f"incident on {incident['subject']} resolved"))
    for at, text in sorted(lines):
        output.note(f"{at[:16].replace('T', ' ')}  {text[:200]}")


def _told(workspace: Workspace, story: Story, output: Output, peak: PeakMemory, begun: float) -> Json:
    outcome = measure(workspace.context(), story.flights)
    skewed = _skew(workspace, story.count)
    summary = {**_summary(workspace, outcome, peak.peak_mb), "skew": skewed}
    summary["seconds"] = round(time.monotonic() - begun, 1)
    _tables(output, outcome, summary)
    _timeline(output, summary)
    output.note(
        f"online against offline: {skewed['mismatches']} mismatches in {skewed['values']:,} values of "
        f"{skewed['rows']:,} flights; journal {'whole' if summary['journal_ok'] else 'BROKEN'}; "
        f"{summary['seconds']} s, {summary['peak_mb']} MB at most"
    )
    return summary


def run(settings: Settings, output: Output, *, days: int, once: bool) -> None:
    """The story from where it stands, then the UI until Ctrl-C."""
    teller = _Teller(output)
    begun = time.monotonic()
    flights = load()
    clock = ReplayClock(START)
    with (
        PeakMemory() as peak,
        Workspace.open(settings=settings, clock=clock) as workspace,
        workspace.replaying(),
    ):
        begun -= _catch_up(workspace, clock)
        app = assemble(workspace)
        with Server(app, host=settings.host, port=settings.port, on_stopping=app.stop_feeds) as server:
            output.say(f"watch it at {server.url}")
            workspace.runtime.start()
            story = Story(workspace, clock, flights, count=days, port=server.port, tell=teller)
            story.run(begun)
            summary = _told(workspace, story, output, peak, begun)
            output.document(summary)
            output.stream.flush()
            if not once:
                output.say(f"the UI stays at {server.url} until Ctrl-C")
                _wait(workspace)
            workspace.end_replay()
    if not summary["journal_ok"] or summary["skew"]["mismatches"]:
        raise CheckFailed("the story ended, but a check did not hold", hint="see the lines above")


def _wait(workspace: Workspace) -> None:
    """Carry out the jobs that others ask for meanwhile: no other process may, while this one replays."""
    forever = threading.Event()
    try:
        while not forever.wait(_LOOK_S):
            workspace.settle()
    except KeyboardInterrupt:
        return


def _callback(ctx: click.Context, /, *, days: int, once: bool, **given: Any) -> None:
    run(_settings(given), ctx.ensure_object(Output), days=days, once=once)


command = Command(
    "demo",
    help="Replay half a year of real flights through the whole loop, then keep the UI up until Ctrl-C.\n\n"
    "Killed half way, the same command goes on where the story was.",
    callback=click.pass_context(_callback),
    params=[
        click.Option(
            ["--days"],
            type=click.IntRange(1, FULL_DAYS),
            default=FULL_DAYS,
            show_default=True,
            help="Days to replay; fewer tell a shortened story.",
        ),
        click.Option(["--once"], is_flag=True, help="End when the story has ended."),
        click.Option(
            ["--workspace"], metavar="DIR", help="The workspace's folder.  [default: ./loopwright-demo]"
        ),
        click.Option(["--host"], metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]"),
        click.Option(
            ["--port"], type=click.IntRange(0, 65535), help="Port; 0 takes a free one.  [default: 7070]"
        ),
        json_option(),
    ],
)
