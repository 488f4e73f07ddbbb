"""`loopwright db upgrade`: brings an older ledger to this version's schema, after a copy."""

from __future__ import annotations

from typing import Any

import click

from loopwright.surfaces.cli import Command, Output, json_option
from loopwright.workspace import load_settings, upgrade_database

__all__ = ["command"]


def _callback(ctx: click.Context, /, **given: Any) -> None:
    output = ctx.ensure_object(Output)
    report = upgrade_database(load_settings(given))
    output.say(f"the ledger is at {report.after} (was {report.before}); copy: {report.copy or 'none needed'}")
    output.document(report)


command = Command(
    "upgrade",
    help="Bring the ledger to this version's schema. A SQLite file is copied first.",
    callback=click.pass_context(_callback),
    params=[
        click.Option(["--workspace"], metavar="DIR", help="The workspace's folder."),
        click.Option(["--database"], metavar="URL", help="The ledger: postgresql://... in place of SQLite."),
        json_option(),
    ],
)
