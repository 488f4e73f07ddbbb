"""`loopwright up`: UI, API, scheduler and controller in one process."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from typing import Any

import click

from loopwright.app.assembling import assemble, check_exposure
from loopwright.app.logs import log_to_stderr
from loopwright.app.memory import bound_arenas
from loopwright.app.server import Server
from loopwright.app.testing import RESET, TestingServer, check_testing
from loopwright.surfaces.cli import Command, Output, json_option
from loopwright.workspace import Settings, Workspace, load_settings

__all__ = ["command", "serve", "serve_for_testing"]

log = logging.getLogger(__name__)


def serve(settings: Settings, output: Output) -> None:
    """Serve a workspace until it is told to stop; says where once it answers."""
    with Workspace.open(settings=settings) as workspace:
        app = assemble(workspace)
        server = Server(app, host=settings.host, port=settings.port, on_stopping=app.stop_feeds)
        workspace.start()
        _run(server, settings, output)


def serve_for_testing(settings: Settings, output: Output) -> None:
    """As `serve`, with a route that throws everything away; says so loudly."""
    with closing(TestingServer(settings, assemble)) as app:
        server = Server(app, host=settings.host, port=settings.port, on_stopping=app.stop_feeds)
        app.start()
        log.warning(
            "TESTING: whoever calls this server can throw away everything in its workspace",
            extra={"route": f"POST {RESET}", "workspace": str(settings.folder)},
        )
        _run(server, settings, output)


def _run(server: Server, settings: Settings, output: Output) -> None:
    def tell() -> None:
        output.say(f"Loopwright is up at {server.url}  (workspace {settings.folder}; Ctrl-C stops it)")
        if settings.token:
            output.say(f"Browsers sign in at {server.url}/?token=TOKEN")
        output.document({"url": server.url, "workspace": str(settings.folder), "pid": os.getpid()})
        output.stream.flush()

    server.run(tell)
    output.note("stopping")


def _callback(ctx: click.Context, /, *, insecure: bool, testing: bool, **given: Any) -> None:
    log_to_stderr()
    bound_arenas()
    settings = load_settings(given)
    check_exposure(settings, is_insecure=insecure)
    if testing:
        check_testing(settings)
        serve_for_testing(settings, ctx.ensure_object(Output))
    else:
        serve(settings, ctx.ensure_object(Output))


command = Command(
    "up",
    help="Start the server: UI, API, scheduler and controller in one process.\n\n"
    "Whatever is not given comes from LOOPWRIGHT_* in the environment, then from loopwright.toml.",
    callback=click.pass_context(_callback),
    params=[
        click.Option(["--host"], metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]"),
        click.Option(
            ["--port"], type=click.IntRange(0, 65535), help="Port; 0 takes a free one.  [default: 7070]"
        ),
        click.Option(["--workspace"], metavar="DIR", help="The workspace's folder."),
        click.Option(["--database"], metavar="URL", help="The ledger: postgresql://... in place of SQLite."),
        click.Option(["--objects"], metavar="URL", help="The object store: s3://bucket/prefix."),
        click.Option(["--insecure"], is_flag=True, help="Listen beyond this machine without a token."),
        click.Option(
            ["--testing"],
            is_flag=True,
            help=f"For test suites: let anyone on this machine empty the workspace by POST {RESET}.",
        ),
        json_option(),
    ],
)
