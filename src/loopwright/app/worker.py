"""`loopwright worker`: jobs, reactions and schedules of a workspace, without a port."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import click

from loopwright.app.logs import log_to_stderr
from loopwright.surfaces.cli import Command, Output, json_option
from loopwright.workspace import Settings, Workspace, load_settings

__all__ = ["command", "work"]


def work(settings: Settings, output: Output, stop: threading.Event) -> None:
    """Keep a workspace going until `stop` is set."""
    with Workspace.open(settings=settings) as workspace:
        workspace.start()
        output.say(f"Working for {settings.folder}  (Ctrl-C stops it)")
        output.document({"workspace": str(settings.folder), "pid": os.getpid()})
        output.stream.flush()
        stop.wait()
        output.note("stopping")


def _callback(ctx: click.Context, /, **given: Any) -> None:
    log_to_stderr()
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        work(load_settings(given), ctx.ensure_object(Output), stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


command = Command(
    "worker",
    help="Carry out jobs, reactions and schedules of a workspace beside its server, without a port.",
    callback=click.pass_context(_callback),
    params=[
        click.Option(["--workspace"], metavar="DIR", help="The workspace's folder."),
        click.Option(["--database"], metavar="URL", help="The ledger: postgresql://... in place of SQLite."),
        click.Option(["--objects"], metavar="URL", help="The object store: s3://bucket/prefix."),
        json_option(),
    ],
)
